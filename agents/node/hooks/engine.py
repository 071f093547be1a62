"""Docker or Podman, by its command line: what the container hook asks of it, each failure one line."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from agents.node.hooks.lease_folder import HookFailed

ENGINES = ("docker", "podman")
ASK_S, RUN_S = 20, 600
WORDS_MAX = 300
DRIVER = Path("/dev/nvidiactl")
DEVICE_INTERFACES = (Path("/etc/cdi"), Path("/var/run/cdi"))
TOOLKIT_HOOK = "nvidia-container-runtime-hook"
# For each kind of thing: how the engine lists the names of all, and how it removes one.
LISTING = {
    "container": ("ps", "--all", "--format", "{{.Names}}"),
    "volume": ("volume", "ls", "--format", "{{.Name}}"),
    "network": ("network", "ls", "--format", "{{.Name}}"),
}
REMOVAL = {
    "container": ("rm", "--force", "--volumes"),
    "volume": ("volume", "rm", "--force"),
    "network": ("network", "rm"),
}


class Engine:
    """One engine on PATH."""

    def __init__(self, program: str) -> None:
        self.program = program

    @property
    def name(self) -> str:
        """The program's name, `docker` or `podman`."""
        return Path(self.program).name

    @classmethod
    def find(cls, name: str | None) -> "Engine":
        """Return the named engine, or the first that is on PATH, after it has answered. Raises HookFailed."""
        program = next((found for each in ([name] if name else ENGINES) if (found := shutil.which(each))), None)
        if program is None:
            raise HookFailed(f"the container hook needs {name or 'docker or podman'}: not on PATH")
        engine = cls(program)
        engine.ask("version")
        return engine

    def ask(self, *arguments: str, within_s: float = ASK_S, variables: Mapping[str, str] | None = None) -> str:
        """Run one command; returns what it printed. Raises HookFailed with its complaint."""
        command, environment = [self.program, *arguments], os.environ | (variables or {})
        try:
            done = subprocess.run(command, capture_output=True, timeout=within_s, env=environment)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HookFailed(f"{self.program} {arguments[0]}: {error}"[:WORDS_MAX]) from error
        if done.returncode:
            words = " ".join(done.stderr.decode(errors="replace").split())[-WORDS_MAX:]
            raise HookFailed(f"{self.program} {arguments[0]} failed: {words}")
        return done.stdout.decode(errors="replace").strip()

    def has(self, kind: str, name: str) -> bool:
        """Tell whether there is a container, volume or network of that name."""
        return name in self.ask(*LISTING[kind]).splitlines()

    def remove(self, kind: str, name: str) -> None:
        """Remove a container, volume or network, and see that it is gone. Raises HookFailed."""
        with suppress(HookFailed):
            self.ask(*REMOVAL[kind], name, within_s=RUN_S)
        if self.has(kind, name):
            raise HookFailed(f"the {kind} {name} cannot be removed")

    def runs(self, name: str) -> bool:
        """Tell whether a container is running."""
        return self.ask("inspect", "--format", "{{.State.Running}}", name) == "true"

    def pull_as_anybody(self, image: str, within_s: float) -> None:
        """Fetch an image as one that has no account at any registry would. Raises HookFailed."""
        with tempfile.TemporaryDirectory(prefix="hourbook-pull-") as nothing:
            if self.name == "docker":
                host = self.ask("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
                variables = {"DOCKER_CONFIG": nothing, "DOCKER_HOST": os.environ.get("DOCKER_HOST") or host}
                self.ask("pull", "--quiet", image, within_s=within_s, variables=variables)
            else:
                (Path(nothing) / "auth.json").write_text("{}")
                self.ask("pull", "--quiet", "--authfile", f"{nothing}/auth.json", image, within_s=within_s)

    def gpu_options(self, uuids: Sequence[str]) -> list[str]:
        """Return the options that give a container these GPUs and no others. Raises HookFailed.

        NVIDIA_VISIBLE_DEVICES is always set: images ask for `all` by it, and a default runtime would listen to them.
        """
        if self.name == "docker" and self._has_nvidia_runtime():
            named = ",".join(uuids)
            return ["--gpus", f'"device={named}"', "--env", f"NVIDIA_VISIBLE_DEVICES={named}"]
        none_by_variable = ["--env", "NVIDIA_VISIBLE_DEVICES=void"]
        files = [file for place in DEVICE_INTERFACES for file in place.glob("*nvidia*")]
        if files:
            known = "".join(file.read_text(errors="replace") for file in files)
            if missing := [uuid for uuid in uuids if uuid not in known]:
                how = "nvidia-ctk cdi generate --device-name-strategy=uuid"
                raise HookFailed(f"the CDI specification has no device {missing[0]}: make it again by {how}")
            return [*none_by_variable, *(part for uuid in uuids for part in ("--device", f"nvidia.com/gpu={uuid}"))]
        if DRIVER.exists():
            raise HookFailed("the NVIDIA container toolkit is missing: a container would get no GPU")
        return none_by_variable  # no driver on this machine: the stand-in library's GPUs are in no container

    def _has_nvidia_runtime(self) -> bool:
        is_named = '"nvidia"' in self.ask("info", "--format", "{{json .Runtimes}}")
        return is_named or (DRIVER.exists() and shutil.which(TOOLKIT_HOOK) is not None)
