"""`python -m sandbox COMMAND ...`; people start it through `dev.py`, which makes the environment first."""

from __future__ import annotations

import asyncio
import importlib
import sys

COMMANDS = {"up": "sandbox.up", "demo": "sandbox.demo"}
"""Each command's module; it is imported when the command is given, and has `async def run(argv) -> int`."""


def main() -> int:
    """Run one command; 2 for one that does not exist."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        sys.stderr.write(f"usage: python -m sandbox {{{'|'.join(COMMANDS)}}} ...\n")
        return 2
    result: int = asyncio.run(importlib.import_module(COMMANDS[name]).run(sys.argv[2:]))
    return result


if __name__ == "__main__":
    sys.exit(main())
