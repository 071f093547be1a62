"""The demo's buyer gets in by `hourbook ssh` with a key of his own and starts a job; that job is what is metered."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from agents.node.hooks.readiness import problem_of
from agents.node.hooks.sandbox import NoSandbox, find_program
from agents.node.policy import HookRule
from agents.node.processes import ProcessTable
from clients.actors import Actor
from clients.http import result_of
from console.demo.sites import AgentSite
from console.demo.story import DemoFailed
from infra.fake_nvml.scenario import write_scenario
from infra.places import REPOSITORY

IMAGE = "debian:stable-slim"
JOB_SECONDS, JOB_MEMORY_MIB = 3_600, 20_480
LOGIN_S = 60


def ready_hook(folder: Path) -> dict[str, Any] | None:
    """Returns the policy's table of a ready hook: `container` where an engine has the image, else `shell`, else None.

    HOURBOOK_DEMO_IMAGE names the image; nothing is fetched.
    """
    container = {"kind": "container", "image": os.environ.get("HOURBOOK_DEMO_IMAGE", IMAGE), "folder": str(folder)}
    return shell_hook(folder) if problem_of(HookRule.model_validate(container)) else container


def shell_hook(folder: Path) -> dict[str, Any] | None:
    """Returns the policy's table of the ready hook `shell`, None where this machine cannot run it."""
    try:
        find_program()
    except NoSandbox:
        return None
    return {"kind": "shell", "folder": str(folder)}


def why_no_shell() -> str:
    """Says what the hook misses here."""
    try:
        find_program()
    except NoSandbox as reason:
        return str(reason)
    return ""


def add_ssh_key(buyer: Actor, folder: Path) -> Path:
    """Makes a key pair, tells the venue its public half; returns the file of the private one."""
    private = asyncssh.generate_private_key("ssh-ed25519", comment=buyer.account)
    file = folder / f"{buyer.account}-ssh"
    file.touch(mode=0o600)
    file.write_bytes(private.export_private_key())
    line = private.export_public_key().decode()
    result_of(buyer.delivery.post("/v1/ssh-keys", json={"public_key": line}))
    return file


@dataclass
class Login:
    """A buyer's way into one position, by the same command that anybody types."""

    buyer: Actor
    position_id: int
    key: Path

    def run(self, command: str) -> str:
        """Runs a command on the leased node; returns what it printed. Raises DemoFailed."""
        line = [sys.executable, "-m", "console", "ssh", str(self.position_id), "--identity", str(self.key)]
        line += ["--key", self.buyer.credentials.key_id, "--url", self.buyer.addresses["delivery"], "--", command]
        variables = os.environ | {"HOURBOOK_DATA": str(self.buyer.key_file.parents[1])}
        quiet = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": LOGIN_S}
        done = subprocess.run(line, cwd=REPOSITORY, env=variables, **quiet)
        if done.returncode:
            raise DemoFailed(f"hourbook ssh ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    def start_job(self) -> int:
        """Starts a job that outlives its session; returns its number on the machine, as the node's agent sees it."""
        mark = f"{JOB_SECONDS}.{self.position_id:06d}"
        self.run(f"nohup sleep {mark} >/dev/null 2>&1 & echo started")
        table = ProcessTable()
        found = [pid for pid in table.pids() if _arguments(pid) == ["sleep", mark]]
        if not found:
            raise DemoFailed(f"the job of position {self.position_id} does not run")
        return found[0]


def start_gpu_load(site: AgentSite, pid: int, uuids: list[str]) -> None:
    """Lets the stand-in NVML show a process on GPUs, as the real one would show one that works on them."""
    text = site.scenario.read_text()
    facts = [line.split() for line in text.splitlines()]
    indexes = [fact[1] for fact in facts if fact[2:3] == ["uuid"] and fact[3] in uuids]
    lines = "".join(f"gpu {index} process {pid} {JOB_MEMORY_MIB} compute\n" for index in indexes)
    write_scenario(site.scenario, text + lines)


def end_gpu_load(site: AgentSite, pid: int) -> None:
    """Takes the process off again."""
    kept = [line for line in site.scenario.read_text().splitlines() if f" process {pid} " not in line]
    write_scenario(site.scenario, "\n".join(kept) + "\n")


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []
