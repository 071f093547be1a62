"""The ready hook `container`: a container of Docker or Podman for each lease, entered by an SSH server of its own.

`python -m agents.node.hooks.container start|stop --image IMAGE [options]`. The image needs a shell and `sleep`, no SSH
server: sessions are `exec`. Each lease has a container, a volume and a network; all are removed at the end. A container
that the engine or the machine has stopped is started again, with what the buyer keeps in it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agents.node.hooks.engine import ENGINES, RUN_S, Engine
from agents.node.hooks.lease_folder import (
    HookFailed,
    add_options,
    clear,
    end_server,
    endpoint_of,
    lease_folder,
    make_folders,
    read_lease,
    running_server,
    start_server,
    was_open,
)
from schemas.nodes import LeaseStart

if TYPE_CHECKING:
    from agents.node.hooks.container_sessions import ContainerSessions

HOME = "/home/gpu"
PROCESSES_MAX = 32_768
# What /dev/shm may hold: the workers of a data loader hand batches over there, and the engine's 64 MiB are soon full.
SHARED_MEMORY = "16g"
DROPPED = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SYS_CHROOT")
TIMEOUT_S = 60
FETCHED_FILE = "fetched-image"


def main() -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="hourbook-container-hook", description="Opens and closes one container.")
    add_options(parser)
    parser.add_argument("--image", required=True, help="what a lease's container is made of")
    parser.add_argument("--engine", choices=ENGINES, help="default: the first that is on PATH")
    parser.add_argument("--buyers-image", choices=("yes", "no"), default="no", help="may the buyer name another?")
    parser.add_argument("--memory-mib", type=int, help="how much memory a container may use; default: any")
    parser.add_argument("--cpus", type=int, help="how many CPUs a container may use; default: any")
    parser.add_argument("--timeout-s", type=int, default=TIMEOUT_S, help="after how long the agent ends this hook")
    options = parser.parse_args()
    try:
        folder, engine = lease_folder(options), Engine.find(options.engine)
        if options.action == "start":
            print(json.dumps(start(folder, engine, sys.stdin.buffer.read(), options)), flush=True)
        else:
            stop(folder, engine)
    except (HookFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def container_name(folder: Path) -> str:
    """Name a lease's container, its volume and its network."""
    return f"hourbook-{folder.parent.name}-{folder.name}".replace(":", "_")


def start(folder: Path, engine: Engine, raw: bytes, options: argparse.Namespace) -> dict[str, object]:
    """Open the lease, find it open already, or open it again with what is left of it; returns the hook's answer."""
    lease, name = read_lease(raw), container_name(folder)
    if not was_open(folder):
        stop(folder, engine)
        make_folders(folder, lease)
    if not engine.has("container", name):
        _make_container(folder, engine, name, lease, options)
    elif not engine.runs(name):
        engine.ask("start", name, within_s=RUN_S)
    known = running_server(folder) or start_server(folder, options, _make_sessions(engine, name))
    container_id = engine.ask("inspect", "--format", "{{.Id}}", name)
    endpoint = endpoint_of(lease.lease_id, options, known["port"])
    return {"endpoint": endpoint, "host_key": known["host_key"], "container_id": container_id, "pid": known["pid"]}


def _make_sessions(engine: Engine, name: str) -> Callable:
    def make(_folder: Path, _lease: LeaseStart, options: argparse.Namespace) -> "ContainerSessions":
        from agents.node.hooks.container_sessions import ContainerSessions

        return ContainerSessions(engine, name, options.volume_mib << 20)

    return make


def _make_container(folder: Path, engine: Engine, name: str, lease: LeaseStart, options: argparse.Namespace) -> None:
    """Make the lease's container. A buyer's image that cannot be had must not cost him the hour: he gets our own."""
    engine.ask("volume", "create", name)
    if not engine.has("network", name):
        engine.ask("network", "create", name)
    run = _run_options(engine, name, lease, options)
    if lease.image is None or options.buyers_image == "no":
        engine.ask(*run, options.image, "infinity", within_s=RUN_S)
        return
    try:
        _fetch(folder, engine, lease.image, options.timeout_s / 2)
        engine.ask(*run, lease.image, "infinity", within_s=RUN_S)
        engine.ask("exec", name, "sh", "-c", "exit 0")
    except HookFailed as reason:
        engine.remove("container", name)
        engine.ask(*run, options.image, "infinity", within_s=RUN_S)
        words = f"hourbook: your image {lease.image} is not available, this is {options.image}: {reason}"
        note = f'echo "$1" >>{HOME}/start.log'
        engine.ask("exec", name, "sh", "-c", note, "sh", words)


def _fetch(folder: Path, engine: Engine, image: str, within_s: float) -> None:
    """Fetch a buyer's image again, without any account: not one that only the operator may see or that is only here."""
    is_here = True
    with suppress(HookFailed):
        is_here = bool(engine.ask("images", "--quiet", image))
    if not is_here:
        (folder / FETCHED_FILE).write_text(image)
    engine.pull_as_anybody(image, within_s)


def _run_options(engine: Engine, name: str, lease: LeaseStart, options: argparse.Namespace) -> list[str]:
    uuids = ",".join(lease.gpu_uuids)
    variables = {"HOURBOOK_LEASE_ID": lease.lease_id, "HOURBOOK_GPU_UUIDS": uuids, "HOME": HOME}
    run = ["run", "--detach", "--name", name, "--hostname", "hourbook", "--init", "--entrypoint", "sleep"]
    run += ["--user", "0:0", "--restart", "unless-stopped", "--network", name, "--pull", "missing"]
    run += ["--pids-limit", str(PROCESSES_MAX), "--security-opt", "no-new-privileges", "--shm-size", SHARED_MEMORY]
    run += ["--memory", f"{options.memory_mib}m"] if options.memory_mib else []
    run += ["--cpus", str(options.cpus)] if options.cpus else []
    run += [part for capability in DROPPED for part in ("--cap-drop", capability)]
    run += [part for each in variables.items() for part in ("--env", "=".join(each))]
    run += ["--volume", f"{name}:{HOME}", "--workdir", HOME]
    return run + engine.gpu_options(lease.gpu_uuids)


def stop(folder: Path, engine: Engine) -> None:
    """Close the lease: server, container, volume and network are gone. Raises HookFailed."""
    end_server(folder)
    name = container_name(folder)
    for kind in ("container", "volume", "network"):
        engine.remove(kind, name)
    with suppress(HookFailed, FileNotFoundError):
        engine.ask("rmi", (folder / FETCHED_FILE).read_text(), within_s=RUN_S)  # stays where another lease has it
    clear(folder)


if __name__ == "__main__":
    sys.exit(main())
