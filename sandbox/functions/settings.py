"""What the host is told: `host.json` and the app settings.

Key names, defaults and limits are those of the documentation ("host.json reference for Azure Functions", "Azure Queue
storage trigger and bindings: host.json settings"). A key that is unknown, or known and not simulated, is refused:
a setting that silently does nothing here would be a surprise in Azure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

_UNBOUNDED = -1
_WITHOUT_EFFECT = frozenset(
    {
        "aggregator",
        "extensionBundle",
        "healthMonitor",
        "logging.applicationInsights",
        "logging.console",
        "logging.fileLoggingMode",
        "singleton",
        "telemetryMode",
        "watchDirectories",
        "watchFiles",
    }
)
"""Keys (and all below them) that are about Azure's surroundings of the host, not about what functions see."""


class SettingsError(ValueError):
    """The host cannot start with these settings; the message says which one and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """`extensions.queues`."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: timedelta = timedelta()
    max_polling_interval: timedelta = timedelta(minutes=1)
    base64: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """`extensions.http`; `None` is no limit."""

    route_prefix: str = "api"
    max_outstanding: int | None = None
    max_concurrent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """`host.json`."""

    function_timeout: timedelta | None = timedelta(minutes=30)
    log_levels: Mapping[str, str] = field(default_factory=dict)
    http: HttpLimits = field(default_factory=HttpLimits)
    queues: QueueLimits = field(default_factory=QueueLimits)

    @classmethod
    def read(cls, path: Path) -> HostConfig:
        """Read and check a `host.json`. Raises `SettingsError`."""
        return _Reader(path.name, _read_json(path)).config()


class _Reader:
    """Takes values out of `host.json`; what nobody took is unknown."""

    def __init__(self, name: str, value: Mapping[str, Any]) -> None:
        self._name = name
        self._left = dict(_flatten(value))

    def config(self) -> HostConfig:
        self._only("version", wanted="2.0")
        self._only("concurrency.dynamicConcurrencyEnabled", wanted=False)
        self._only("extensions.http.dynamicThrottlesEnabled", wanted=False)
        batch_size = self._number("extensions.queues.batchSize", 16, at_most=32)
        config = HostConfig(
            function_timeout=self._duration("functionTimeout", timedelta(minutes=30)),
            log_levels=self._levels(),
            http=HttpLimits(
                route_prefix=str(self._left.pop("extensions.http.routePrefix", "api")).strip("/"),
                max_outstanding=self._limit("extensions.http.maxOutstandingRequests"),
                max_concurrent=self._limit("extensions.http.maxConcurrentRequests"),
            ),
            queues=QueueLimits(
                batch_size=batch_size,
                new_batch_threshold=self._number("extensions.queues.newBatchThreshold", batch_size // 2, at_least=0),
                max_dequeue_count=self._number("extensions.queues.maxDequeueCount", 5),
                visibility_timeout=self._duration("extensions.queues.visibilityTimeout", timedelta()) or timedelta(),
                max_polling_interval=self._polling(),
                base64=self._encoding() == "base64",
            ),
        )
        unknown = [key for key in self._left if not any(f"{key}.".startswith(f"{free}.") for free in _WITHOUT_EFFECT)]
        if unknown:
            raise SettingsError(f"{self._name}: unknown or not simulated: {', '.join(sorted(unknown))}")
        return config

    def _only(self, key: str, *, wanted: object) -> None:
        if (value := self._left.pop(key, wanted)) != wanted:
            raise self._wrong(key, value, f"{json.dumps(wanted)}; the sandbox knows nothing else")

    def _number(self, key: str, default: int, *, at_least: int = 1, at_most: int | None = None) -> int:
        value = self._left.pop(key, default)
        if type(value) is not int or value < at_least or (at_most is not None and value > at_most):
            raise self._wrong(key, value, f"a whole number from {at_least}" + (f" to {at_most}" if at_most else ""))
        return value

    def _limit(self, key: str) -> int | None:
        value = self._number(key, _UNBOUNDED, at_least=_UNBOUNDED)
        return None if value == _UNBOUNDED else value

    def _duration(self, key: str, default: timedelta) -> timedelta | None:
        value = self._left.pop(key, default)
        if isinstance(value, timedelta):
            return value
        if value == "-1" and key == "functionTimeout":
            return None
        parts = re.fullmatch(r"(?:(\d+)\.)?([01]?\d|2[0-3]):([0-5]?\d):([0-5]?\d(?:\.\d{1,7})?)", str(value))
        if not parts:
            raise self._wrong(key, value, "a time span like 00:05:00")
        days, hours, minutes, seconds = parts.groups(default="0")
        return timedelta(days=int(days), hours=int(hours), minutes=int(minutes), seconds=float(seconds))

    def _polling(self) -> timedelta:
        key = "extensions.queues.maxPollingInterval"
        value = self._duration(key, timedelta(minutes=1))
        if not value or value < timedelta(milliseconds=100):
            raise self._wrong(key, value, "00:00:00.1000000 or more")
        return value

    def _encoding(self) -> str:
        key = "extensions.queues.messageEncoding"
        value = str(self._left.pop(key, "base64")).lower()
        if value not in ("base64", "none"):
            raise self._wrong(key, value, "base64 or none")
        return value

    def _levels(self) -> dict[str, str]:
        known = ("Trace", "Debug", "Information", "Warning", "Error", "Critical", "None")
        found = {}
        for key in [key for key in self._left if key.startswith("logging.logLevel.")]:
            if (value := self._left.pop(key)) not in known:
                raise self._wrong(key, value, f"one of {', '.join(known)}")
            found[key.removeprefix("logging.logLevel.")] = value
        return found

    def _wrong(self, key: str, value: object, wanted: str) -> SettingsError:
        return SettingsError(f"{self._name}: {key} is {value!r}, it must be {wanted}")


class AppSettings:
    """The app settings: flat strings, and what the host makes of `%NAME%` and of connections."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Take the settings as they are."""
        self.values = dict(values)

    @classmethod
    def read(cls, path: Path) -> AppSettings:
        """Read a file in the shape of `local.settings.json`. Raises `SettingsError`."""
        content = _read_json(path)
        if unknown := sorted(set(content) - {"IsEncrypted", "Values", "Host", "ConnectionStrings"}):
            raise SettingsError(f"{path.name}: unknown: {', '.join(unknown)}")
        if content.get("IsEncrypted"):
            raise SettingsError(f"{path.name}: encrypted settings cannot be read here")
        values = content.get("Values", {})
        if wrong := sorted(name for name, value in values.items() if not isinstance(value, str)):
            raise SettingsError(f"{path.name}: every value is a string; these are not: {', '.join(wrong)}")
        return cls(values)

    def resolve(self, text: str, where: str) -> str:
        """`text` with each `%NAME%` replaced by that setting. Raises `SettingsError` naming `where` and the setting."""

        def replacement(match: re.Match[str]) -> str:
            if match[1] not in self.values:
                raise SettingsError(
                    f"{where}: '%{match[1]}%' does not resolve to a value; set the app setting {match[1]}"
                )
            return self.values[match[1]]

        return re.sub(r"%([^%]+)%", replacement, text)

    def connection(self, name: str, where: str) -> str:
        """The Storage connection string a binding names.

        As in the platform, `AzureWebJobs` + name goes before the name itself (WebJobs SDK,
        `IConfigurationExtensions.GetWebJobsConnectionString`). Raises `SettingsError`.
        """
        for setting in (f"AzureWebJobs{name}", name):
            if value := self.values.get(setting):
                if value == "UseDevelopmentStorage=true":
                    raise SettingsError(
                        f"{where}: {setting} must be a full connection string here: this host starts no storage"
                    )
                return value
        raise SettingsError(f"{where}: no Storage connection; set the app setting {name} to a connection string")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing") from None
    except ValueError as error:
        raise SettingsError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path.name} must be a JSON object")
    return content


def _flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """`{"a": {"b": 1}}` as `a.b` to 1."""
    found: list[tuple[str, Any]] = []
    for name, inner in value.items():
        key = f"{prefix}{name}"
        found += _flatten(inner, f"{key}.") if isinstance(inner, Mapping) else [(key, inner)]
    return found
