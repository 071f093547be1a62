"""The ready hooks as commands: the options of a policy's hook table become arguments of our own programs."""

import sys
from collections.abc import Mapping
from typing import Any

PROGRAMS = {"shell": "agents.node.hooks.shell", "container": "agents.node.hooks.container"}
# Options of the table that the programs take, by the argument that carries them.
ARGUMENTS = {
    "listen": "--listen",
    "address": "--address",
    "ports": "--ports",
    "folder": "--folder",
    "volume_mib": "--volume-mib",
}
SHELL_ARGUMENTS = {"network": "--network"}
CONTAINER_ARGUMENTS = {
    "image": "--image",
    "engine": "--engine",
    "buyers_image": "--buyers-image",
    "memory_mib": "--memory-mib",
    "cpus": "--cpus",
}
OPTIONS = (*ARGUMENTS, *SHELL_ARGUMENTS, *CONTAINER_ARGUMENTS)


def ready_commands(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `start` and `stop` of a ready hook. Raises ValueError for options that do not go with it."""
    kind = given["kind"]
    if given.keys() & {"start", "stop"}:
        raise ValueError(f"kind = {kind} has commands of its own: leave start and stop out")
    own = {"shell": SHELL_ARGUMENTS, "container": CONTAINER_ARGUMENTS}
    for other in own.keys() - {kind}:
        if strange := given.keys() & own[other].keys():
            raise ValueError(f"{min(strange)} is for kind = {other}")
    known = ARGUMENTS | own[kind] | ({"timeout_s": "--timeout-s"} if kind == "container" else {})
    options = [part for name, flag in known.items() if given.get(name) is not None for part in (flag, str(given[name]))]
    return {action: [sys.executable, "-P", "-m", PROGRAMS[kind], action, *options] for action in ("start", "stop")}
