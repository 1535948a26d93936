"""`python -m sandbox.functions --app DIR ...`: run a function app.

When all is ready, one line of JSON goes to stdout: the base URL and the keys. The log goes to stderr. SIGTERM and
SIGINT end it: what runs is finished first. Exit codes: 0 stopped, 1 did not start, 3 a function took longer than the
function timeout: then Azure restarts the worker process, and here the host has to be started again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from sandbox.functions.host import Host, Options
from sandbox.functions.http import Keys
from sandbox.functions.settings import AppSettings, SettingsError
from sandbox.functions.worker import WorkerError, WorkerTimeoutError

RESTART = 3


def main() -> int:
    """Run until told to stop."""
    options = _options()
    os.chdir(options.app)  # as the platform does
    out, sys.stdout = sys.stdout, sys.stderr  # what the app prints is log
    code = asyncio.run(_run(options, out))
    if code == RESTART:
        os._exit(code)  # a thread of the function that took too long would hold up an orderly exit
    return code


async def _run(options: Options, out: TextIO) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with Host(options) as host:
            ready = {"functions": host.url, "host_key": options.keys.host, "master_key": options.keys.master}
            out.write(json.dumps(ready) + "\n")
            out.flush()
            await host.run(stop)
    except WorkerTimeoutError as error:
        sys.stderr.write(f"{error}\n")
        return RESTART
    except (SettingsError, WorkerError, OSError) as error:
        sys.stderr.write(f"The functions host did not start. {error}\n")
        return 1
    return 0


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m sandbox.functions", description="Run a function app locally.")
    parser.add_argument("--app", type=Path, default=Path(), help="the directory with function_app.py and host.json")
    parser.add_argument("--port", type=int, default=0, help="the port; a free one if not given")
    parser.add_argument("--settings", default="env", help="a file like local.settings.json, or 'env' for none")
    parser.add_argument("--tls-cert", type=Path, help="PEM certificate; HTTPS instead of HTTP")
    parser.add_argument("--tls-key", type=Path, help="its private key")
    parser.add_argument("--master-key", help="random if not given")
    parser.add_argument("--host-key", help="random if not given")
    parser.add_argument("--function-key", action="append", default=[], metavar="NAME=KEY", help="may be repeated")
    parser.add_argument("--timers", type=Path, help="a file that remembers schedules over restarts")
    parser.add_argument("--message-lease", type=float, default=600, metavar="SECONDS", help="of queue messages")
    parser.add_argument("--grace", type=float, default=10, metavar="SECONDS", help="for running functions at the stop")
    given = parser.parse_args()
    if (given.tls_cert is None) != (given.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    settings = dict(os.environ)
    if given.settings != "env":
        try:
            settings = AppSettings.read(Path(given.settings)).values | settings
        except SettingsError as error:
            parser.error(str(error))
        os.environ.update(settings)  # the environment wins, as with `func start`
    keys = {"master": given.master_key, "host": given.host_key}
    functions = dict(pair.split("=", 1) for pair in given.function_key)
    return Options(
        app=given.app.resolve(),
        settings=AppSettings(settings),
        port=given.port,
        tls=(given.tls_cert.resolve(), given.tls_key.resolve()) if given.tls_cert else None,
        keys=Keys(functions=functions, **{name: key for name, key in keys.items() if key}),
        timers=given.timers.resolve() if given.timers else None,
        lease=timedelta(seconds=given.message_lease),
        grace=given.grace,
    )


if __name__ == "__main__":
    sys.exit(main())
