"""The first use of a checkout: what is missing is said in one clear line."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import bootstrap
from infra.places import REPOSITORY

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_without_python_headers_the_package_is_named_and_the_reference_engine_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    chosen = bootstrap.compiler_environment(Path(sys.executable), tmp_path, tmp_path / "log")
    assert chosen == {"HOURBOOK_NO_ENGINE": "1"}
    assert f"python{MINOR}-dev" in capsys.readouterr().err


def test_the_machines_own_compiler_is_taken_where_there_is_one(tmp_path, monkeypatch):
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(bootstrap.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: "/usr/bin/cc" if name == "cc" else None)
    assert bootstrap.compiler_environment(Path(sys.executable), tmp_path, tmp_path / "log") == {}


def test_a_missing_venv_module_is_named_with_its_package(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "venv" else found(name))
    with pytest.raises(bootstrap.SetupFailed) as refusal:
        bootstrap.make_environment(tmp_path / ".venv", tmp_path / "log")
    assert str(refusal.value) == (
        f"hourbook: {sys.executable} has no venv module: install python{MINOR}-venv (Debian and Ubuntu)"
    )


def test_a_failed_step_shows_the_end_of_its_log(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('disk full')"]
    with pytest.raises(bootstrap.SetupFailed, match=r"(?s)unpacking: failed with status 1.*disk full"):
        bootstrap.run_step("unpacking", command, tmp_path / "log")


@pytest.fixture
def bare_machine(tmp_path) -> dict[str, str]:
    """A PATH with nothing but the few tools of a shell, and a checkout without its environment."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "cksum", "dirname", "readlink"):
        (tools / name).symlink_to(shutil.which(name))
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copy(REPOSITORY / "hourbook", checkout)
    return {"PATH": str(tools), "checkout": str(checkout)}


def launch(machine: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [f"{machine['checkout']}/hourbook", "version"], env={"PATH": machine["PATH"]}, capture_output=True, text=True
    )


NO_PYTHON = "hourbook: needs Python 3.11 or newer, and found none on PATH (HOURBOOK_PYTHON names another).\n"


def test_a_machine_without_python_is_told_so_in_one_line(bare_machine):
    refused = launch(bare_machine)
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", NO_PYTHON)


def test_a_python_that_is_too_old_does_not_count(bare_machine):
    old = Path(bare_machine["PATH"]) / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # answers the version question as an old one would
    old.chmod(0o755)
    refused = launch(bare_machine)
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", NO_PYTHON)


def test_the_lock_names_no_address_and_pins_every_package_by_hash():
    under_infra = ("docker/venue.lock", "cuda.lock", "compiler.lock", "agent/agent.lock")
    for lock in ("requirements.lock", *(f"infra/{name}" for name in under_infra)):
        text = (REPOSITORY / lock).read_text()
        pins = [
            entry for entry in text.replace("\\\n", " ").splitlines() if "==" in entry and not entry.startswith("#")
        ]
        assert "://" not in text
        assert pins
        assert [entry for entry in pins if "--hash=sha256:" not in entry] == []


def test_images_and_installed_agents_take_the_same_versions_as_the_checkout():
    def pins(lock: str) -> set[str]:
        return {line for line in (REPOSITORY / lock).read_text().splitlines() if "==" in line and line[0] != "#"}

    assert pins("infra/docker/venue.lock") <= pins("requirements.lock")
    assert pins("infra/agent/agent.lock") <= pins("requirements.lock")
    assert os.access(REPOSITORY / "hourbook", os.X_OK)


def test_a_build_takes_away_what_was_compiled_of_sources_that_have_moved(tmp_path):
    shutil.copy(REPOSITORY / "setup.py", tmp_path)
    wing = tmp_path / "matching_engine" / "wing"
    wing.mkdir(parents=True)
    kept = {wing / "__init__.py", wing / "book.pyx", wing / "book.c", wing / "book.cpython-311-linux.so"}
    gone = {wing.parent / "book.c", wing.parent / "book.cpython-311-linux.so", wing / "orders.c"}
    for file in kept | gone:
        file.touch()
    command = [sys.executable, "setup.py", "--name"]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"HOURBOOK_NO_ENGINE": "1"}, check=True)
    assert {file for file in wing.parent.rglob("*") if file.is_file()} == kept
