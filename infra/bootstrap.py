"""Makes the checkout's own environment on first use; standard library only, since nothing else is there yet."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

AGENT = "packaging/hourbook-agent"
OURS = ["schemas", "matching_engine", "services", "agents", "infra", "clients", "console"]


class SetupFailed(SystemExit):
    """Environment cannot be made; the message says what is missing, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(f"hourbook: {message}")


def show_progress(title: str, log: Path, done: threading.Event) -> None:
    """Say what is being done; after two seconds, for how long, and on a terminal also the log's last line."""
    started = time.monotonic()
    print(f"  {title} …", file=sys.stderr, flush=True)
    terminal = sys.stderr.isatty()
    while not done.wait(0.5 if terminal else 10):
        seconds = int(time.monotonic() - started)
        lines = log.read_text(errors="replace").strip().splitlines()
        last = lines[-1].strip()[:80] if lines else ""
        if terminal:
            print(f"\r\x1b[K    {seconds:3d} s  {last}", end="", file=sys.stderr, flush=True)
        else:
            print(f"    {seconds:3d} s  {last}", file=sys.stderr, flush=True)
    if terminal:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run_step(title: str, command: list[str], log: Path, **environment: str) -> None:
    """Run one command with its output in the log file; on failure show the log's end and stop."""
    done = threading.Event()
    with log.open("wb") as output:
        reporter = threading.Thread(target=show_progress, args=(title, log, done), daemon=True)
        reporter.start()
        result = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        done.set()
        reporter.join()
    if result.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise SetupFailed(f"{title}: failed with status {result.returncode}; the end of {log}:\n{tail}")


def make_environment(venv: Path, log: Path) -> Path:
    """Create .venv with the running interpreter, unless it stands already; answer its Python."""
    python = venv / "bin" / "python"
    works = python.exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0
    if not works:
        for module in ("venv", "ensurepip"):
            if importlib.util.find_spec(module) is None:
                name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
                raise SetupFailed(f"{sys.executable} has no {module} module: install {name} (Debian and Ubuntu)")
        run_step("making .venv", [sys.executable, "-m", "venv", "--clear", str(venv)], log)
    return python


def compiler_environment(python: Path, root: Path, log: Path) -> dict[str, str]:
    """Environment in which setup.py finds a C compiler, or builds no engine where Python's headers are missing."""
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        print(
            f"  Python.h is missing: {name} (Debian, Ubuntu) or python3-devel (Fedora) brings it. Going on with the"
            " plain-Python reference engine: slower, same results.",
            file=sys.stderr,
        )
        return {"HOURBOOK_NO_ENGINE": "1"}
    if os.environ.get("CC") or any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return {}
    lock = root / "infra" / "compiler.lock"
    run_step(
        "no C compiler here: installing one from a wheel",
        [str(python), "-m", "pip", "install", "--require-hashes", "--no-deps", "-r", str(lock)],
        log,
    )
    return {"CC": f"{python} -m ziglang cc"}


def bring_up_to_date(root: Path) -> None:
    """Install the locked packages with their hashes, then both distributions of this checkout, editable.

    The second builds the engine.
    """
    venv = root / ".venv"
    log = root / ".hourbook-setup.log"
    print(f"hourbook: setting up {venv} (once, and after changes to the lock or the engine)", file=sys.stderr)
    python = make_environment(venv, log)
    pip = [str(python), "-m", "pip", "install", "--no-deps"]
    lock = root / "requirements.lock"
    installed = venv / ".hourbook-lock"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        run_step(
            "installing the locked packages",
            [*pip, "--require-hashes", "--progress-bar", "off", "-r", str(lock)],
            log,
        )
        installed.write_bytes(lock.read_bytes())
    run_step("installing the agent", [*pip, "--no-build-isolation", "-e", str(root / AGENT)], log)
    run_step(
        "building the matching engine",
        [*pip, "--no-build-isolation", "-v", "-e", str(root)],
        log,
        **compiler_environment(python, root, log),
    )
    subprocess.run([str(python), "-m", "compileall", "-q", *OURS], cwd=root)  # as pip does for every other package
    log.unlink()


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    started = time.monotonic()
    lock = os.open(root, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # of two first uses at the same time the second waits, and finds it done
    stamp, wanted = root / ".venv" / ".hourbook-stamp", sys.argv[2] + "\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    bring_up_to_date(root)
    stamp.write_text(wanted)
    print(f"  ready after {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
