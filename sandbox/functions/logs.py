"""The host's log: one JSON object per line, filtered by `logging.logLevel` of `host.json`.

Categories are the platform's (documentation: "Configure monitoring for Azure Functions, Configure categories"):
`Function.<name>.User` for what a function logs, `Host.*` for the host. The most specific prefix decides the level.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

_LEVELS = {"Trace": 1, "Debug": 10, "Information": 20, "Warning": 30, "Error": 40, "Critical": 50, "None": 99}
_NAMES = {level: name for name, level in _LEVELS.items()}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

type Running = Callable[[], tuple[str, str] | None]
"""The function and the invocation that the current task or thread runs for, if any."""


class _Lines(logging.Handler):
    def __init__(self, stream: TextIO, levels: Mapping[str, str], running: Running) -> None:
        super().__init__()
        self._stream = stream
        self._levels = {category.lower(): _LEVELS[name] for category, name in levels.items()}
        self._running = running

    def emit(self, record: logging.LogRecord) -> None:
        running = None if record.name.startswith("Host.") else self._running()
        category = f"Function.{running[0]}.User" if running else record.name
        if record.levelno < self._least(category):
            return
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": _NAMES.get(record.levelno, record.levelname),
            "category": category,
            "message": record.getMessage(),
        }
        if running:
            line |= {"function": running[0], "invocation": running[1], "logger": record.name}
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[0]:
            line["exception"] = logging.Formatter().formatException(record.exc_info)
        try:
            print(json.dumps(line, ensure_ascii=False, default=str), file=self._stream, flush=True)
        except (OSError, ValueError):
            self.handleError(record)

    def _least(self, category: str) -> int:
        """The lowest level that is shown of `category`."""
        parts = category.lower().split(".")
        for length in range(len(parts), 0, -1):
            if (level := self._levels.get(".".join(parts[:length]))) is not None:
                return level
        return self._levels.get("default", logging.INFO)


def write_logs(levels: Mapping[str, str], running: Running) -> None:
    """Send all of this process's logging to stderr. The worker passes on INFO and above (its default log level)."""
    root = logging.getLogger()
    root.handlers[:] = [_Lines(sys.stderr, levels, running)]
    root.setLevel(logging.INFO)
    logging.getLogger("azure.functions").setLevel(logging.WARNING)  # the worker's own chatter, not a user's log
