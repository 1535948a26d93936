"""What every conformance script in Python shares: where the sandbox is, and how a step is told."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import SimpleNamespace

sandbox = SimpleNamespace(**json.loads(os.environ["SANDBOX"]))
"""The addresses, the credentials, somebody's mailbox, and where notifications may go."""


@contextmanager
def step(name: str) -> Iterator[None]:
    """One thing that the client does; the last one that was named is the one that failed."""
    sys.stderr.write(f"{name} ...\n")
    yield
    sys.stdout.write(f"step {name}\n")


def tell(*packages: str) -> None:
    """Say which clients these were."""
    for package in packages:
        sys.stdout.write(f"client {package} {version(package)}\n")
