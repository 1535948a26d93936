"""`dev.py` before anything is installed: how it finds Python, and when it takes an environment for whole."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def old_python(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if dev.py itself ran under Python 3.8."""
    monkeypatch.setattr(dev.sys, "executable", str(program(tmp_path / "old", "echo 3.8 /old")))


@pytest.mark.usefixtures("old_python")
class TestFindPython:
    def test_the_running_one_if_it_fits(self, dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(dev.sys, "executable", str(program(tmp_path / "new", "echo 3.13 /the/running one")))
        assert dev.find_python({"PATH": ""}, tmp_path) == "/the/running one"

    def test_on_the_path_and_shims_that_fail_are_passed_over(self, dev: ModuleType, tmp_path: Path) -> None:
        program(tmp_path / "shims" / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
        program(tmp_path / "bin" / "python3.13", "echo 3.13 /bin/real")
        path = os.pathsep.join(str(tmp_path / name) for name in ("none", "shims", "bin"))
        assert dev.find_python({"PATH": path}, tmp_path) == "/bin/real"

    @pytest.mark.parametrize("by", ["PYENV_ROOT", "home"])
    def test_under_pyenv(self, dev: ModuleType, tmp_path: Path, by: str) -> None:
        root = tmp_path / ("elsewhere" if by == "PYENV_ROOT" else ".pyenv")
        program(root / "versions" / "3.13.0" / "bin" / "python", "echo 3.13 /pyenv")
        program(root / "versions" / "3.12.9" / "bin" / "python", "echo 3.12 /wrong")
        environ = {"PATH": "", **({"PYENV_ROOT": str(root)} if by == "PYENV_ROOT" else {})}
        assert dev.find_python(environ, tmp_path) == "/pyenv"

    def test_known_to_uv(self, dev: ModuleType, tmp_path: Path) -> None:
        real = program(tmp_path / "managed" / "python", "echo 3.13 /uv")
        program(tmp_path / "bin" / "uv", f"echo {real}")
        assert dev.find_python({"PATH": str(tmp_path / "bin")}, tmp_path) == "/uv"

    def test_a_wrong_version_under_the_right_name_is_passed_over(self, dev: ModuleType, tmp_path: Path) -> None:
        program(tmp_path / "bin" / "python3.13", "echo 3.12 /liar")
        with pytest.raises(dev.SetupError):
            dev.find_python({"PATH": str(tmp_path / "bin")}, tmp_path)

    def test_none_at_all_says_what_to_install(self, dev: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(dev.SetupError, match=r"Python 3\.13 is needed.*uv python install 3\.13"):
            dev.find_python({"PATH": str(tmp_path)}, tmp_path)


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    (tmp_path / "requirements.txt").write_text("aiohttp==1\n")
    (tmp_path / "pyproject.toml").write_text(
        '[dependency-groups]\ndev = [\n    "pytest==1",\n]\n\n[tool.ruff]\nline-length = 120\n'
    )
    node = tmp_path / "sandbox" / "node"
    node.mkdir(parents=True)
    (node / "package.json").write_text("{}")
    (node / "package-lock.json").write_text("{}")
    shutil.copytree(node, tmp_path / "tests" / "clients" / "node")
    (tmp_path / "tests" / "clients" / "requirements.txt").write_text("msal==1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "venv", "node"),
    [
        ("requirements.txt", "aiohttp==2\n", True, False),
        ("pyproject.toml", '[dependency-groups]\ndev = [\n    "pytest==2",\n]\n', True, False),
        ("pyproject.toml", '[dependency-groups]\ndev = [\n    "pytest==1",\n]\n\n[tool.mypy]\n', False, False),
        ("sandbox/node/package.json", '{"a": 1}', False, True),
        ("sandbox/node/package-lock.json", '{"a": 1}', False, True),
    ],
)
def test_a_part_is_made_again_only_when_its_own_pins_change(
    dev: ModuleType, pins: Path, *, file: str, text: str, venv: bool, node: bool
) -> None:
    before = dev.venv_stamp(pins), dev.node_stamp(pins)
    (pins / file).write_text(text)
    after = dev.venv_stamp(pins), dev.node_stamp(pins)
    assert [old != new for old, new in zip(before, after, strict=True)] == [venv, node]


@pytest.mark.parametrize("file", ["requirements.txt", "node/package.json", "node/package-lock.json"])
def test_the_clients_are_made_again_only_when_their_own_pins_change(dev: ModuleType, pins: Path, file: str) -> None:
    def stamps() -> list[str]:
        return [dev.venv_stamp(pins), dev.node_stamp(pins), dev.clients_stamp(pins), dev.node_stamp(pins, dev.CLIENTS)]

    before = stamps()
    (pins / "tests" / "clients" / file).write_text("changed")
    changed = [old != new for old, new in zip(before, stamps(), strict=True)]
    assert changed == [False, False, file == "requirements.txt", file != "requirements.txt"]


def test_another_python_makes_another_stamp(dev: ModuleType, pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dev.venv_stamp(pins)
    monkeypatch.setattr(dev, "PYTHON", "3.14")
    assert dev.venv_stamp(pins) != before


def test_only_a_sealed_directory_is_whole(dev: ModuleType, tmp_path: Path) -> None:
    assert not dev.is_made(tmp_path / "missing", "stamp")
    assert not dev.is_made(tmp_path, "stamp")
    dev.seal(tmp_path, "stamp")
    assert dev.is_made(tmp_path, "stamp")
    assert not dev.is_made(tmp_path, "another")


@pytest.fixture
def here(dev: ModuleType, pins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if dev.py stood in a directory of its own."""
    places = {"ROOT": "", "DEV": ".dev", "VENV": ".dev/venv", "NODE_MODULES": ".dev/node_modules", "OWN_NODE": ".dev/n"}
    places |= {"CLIENTS_VENV": ".dev/clients/venv", "CLIENTS_NODE_MODULES": ".dev/clients/node_modules"}
    for name, place in places.items():
        monkeypatch.setattr(dev, name, pins / place)
    return pins


def test_half_an_environment_is_made_anew(
    dev: ModuleType, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    python = program(here / "python3.13", 'mkdir -p "$1/bin"; touch "$1/bin/python"')
    calls: list[list[str]] = []

    def call(_setup: Any, parts: list[object], cwd: Path = here) -> str:
        command = [str(part) for part in parts]
        calls.append(command)
        if "venv" in command:
            subprocess.run([python, command[-1]], check=True)  # noqa: S603 - our own script
        if "ci" in command:
            (cwd / "node_modules").mkdir()
        return ""

    monkeypatch.setattr(dev, "find_python", lambda: str(python))
    monkeypatch.setattr(dev, "find_node", lambda: Path("/usr/bin/node"))
    monkeypatch.setattr(dev.Setup, "_call", call)
    left = here / ".dev" / "venv" / "left-behind"
    left.parent.mkdir(parents=True)
    left.touch()

    dev.set_up()
    assert not left.exists()
    assert dev.has_venv()
    assert dev.has_node_modules()
    assert not list((here / ".dev").glob("old-*"))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1

    made = len(calls)
    dev.set_up()
    assert len(calls) == made, "a whole environment is left alone"
    assert not (here / ".dev" / "clients").exists(), "the clients come only when they are asked for"

    dev.set_up(clients=True)
    assert dev.has_clients_venv()
    assert dev.has_clients_node_modules()
    assert dev.has_venv()
    made = len(calls)
    dev.set_up(clients=True)
    assert len(calls) == made


def test_what_fails_is_told_and_not_sealed(dev: ModuleType, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = program(here / "python3.13", "echo 'no disk left' >&2; exit 1")
    monkeypatch.setattr(dev, "find_python", lambda: str(broken))
    monkeypatch.setattr(dev, "has_node_modules", lambda: True)
    with pytest.raises(dev.SetupError, match="no disk left"):
        dev.set_up()
    assert not dev.has_venv()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "dev.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program


def test_help_and_unknown_commands() -> None:
    helped = run()
    assert helped.returncode == 0
    assert all(name in helped.stdout for name in ("demo", "up", "test", "check"))
    unknown = run("fly")
    assert unknown.returncode == 2
    assert "unknown command 'fly'" in unknown.stderr


@pytest.mark.parametrize(("part", "packages"), [("sandbox", 300), ("tests/clients", 25)])
def test_the_lock_of_the_node_packages_names_no_address(part: str, packages: int) -> None:
    lock = (ROOT / part / "node" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > packages
