"""The sandbox that a buyer's sessions run in: bubblewrap with process, user and IPC namespaces of its own.

It shows the system's programs, the lease's own home, and the device nodes of the lease's GPUs; nothing of the agent, of
other leases, or of the operator's files.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSIDE_HOME = "/home/gpu"
USER, USER_ID = "gpu", 1000
SYSTEM_FOLDERS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SHOWN_OF_ETC = (
    *("alternatives", "bash.bashrc", "ca-certificates", "crypto-policies", "hosts", "inputrc", "ld.so.cache"),
    *("ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "nsswitch.conf", "OpenCL", "pki", "profile"),
    *("protocols", "python3", "resolv.conf", "services", "ssl", "terminfo", "vulkan"),
)
SHARED_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps")
DRIVER_GPUS = Path("/proc/driver/nvidia/gpus")
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
TEMPORARY_BYTES = 4 << 30
PROCESSES_MAX = 32_768
TRY_S = 10
NOT_SERVED = 127


class NoSandbox(Exception):
    """This machine cannot run a sandbox; the message is one line that says what is missing."""


@dataclass(frozen=True)
class Sandbox:
    """How sessions of one lease are started.

    `devices` are the nodes of its GPUs under /dev; `tenant` is the user of this machine that they run as, None for the
    agent's own; `file_bytes_max` is how large one file may become; `resolver` is shown as /etc/resolv.conf.
    """

    program: str
    python: str
    home: Path
    names: Path
    variables: dict[str, str]
    devices: tuple[str, ...] = ()
    tenant: int | None = None
    file_bytes_max: int = resource.RLIM_INFINITY
    resolver: Path | None = None

    def process_options(self) -> dict[str, Any]:
        """Return the options of `subprocess.Popen` that start the sandbox within bounds, as its tenant."""
        user = {} if self.tenant is None else {"user": self.tenant, "group": self.tenant, "extra_groups": ()}
        return user | {"preexec_fn": self._set_limits}

    def _set_limits(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        bounds = [each for each in (hard, self.file_bytes_max) if each != resource.RLIM_INFINITY]
        if bounds:
            resource.setrlimit(resource.RLIMIT_FSIZE, (min(bounds), min(bounds)))
        if self.tenant is not None:  # the agent's own user has processes beside the lease's, which would count too
            resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES_MAX, PROCESSES_MAX))

    def command(self, inside: list[str]) -> list[str]:
        """Return the command line that runs another one inside."""
        arguments = [self.program, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        arguments += ["--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL", "--clearenv"]
        arguments += ["--uid", str(USER_ID), "--gid", str(USER_ID), "--hostname", "hourbook"]
        arguments += ["--ro-bind", "/usr", "/usr", *_system_folders(), *_python_folder(self.python)]
        for name in SHOWN_OF_ETC:
            arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        for name in ("passwd", "group"):
            arguments += ["--ro-bind", str(self.names / name), f"/etc/{name}"]
        if self.resolver is not None:
            arguments += ["--ro-bind", str(self.resolver), "/etc/resolv.conf"]
        arguments += ["--ro-bind-try", "/sys", "/sys", "--proc", "/proc", "--dev", "/dev"]
        for name in (*self.devices, *(SHARED_DEVICES if self.devices else ())):
            arguments += ["--dev-bind-try", f"/dev/{name}", f"/dev/{name}"]
        for place in ("/tmp", "/var/tmp", "/run", "/dev/shm"):
            arguments += ["--size", str(TEMPORARY_BYTES), "--tmpfs", place]
        arguments += ["--bind", str(self.home), INSIDE_HOME, "--chdir", INSIDE_HOME]
        arguments += ["--remount-ro", "/dev", "--remount-ro", "/"]  # both are memory, without a bound of their own
        for name, value in self.variables.items():
            arguments += ["--setenv", name, value]
        return [*arguments, "--", *inside]


def find_program() -> str:
    """Return the path of bubblewrap, after it has shown that it works here. Raises NoSandbox."""
    program = shutil.which("bwrap")
    if program is None:
        raise NoSandbox("the shell hook needs bubblewrap: there is no bwrap on PATH")
    trial = [program, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "--", "/bin/true"]
    try:
        done = subprocess.run(trial, capture_output=True, text=True, timeout=TRY_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoSandbox(f"the shell hook needs bubblewrap, and {program} does not run here: {error}") from error
    if done.returncode:
        words = " ".join(done.stderr.split())[:200]
        raise NoSandbox(f"the shell hook needs user namespaces, and {program} cannot make any here: {words}")
    return program


def write_names(folder: Path) -> None:
    """Write the passwd and group files that a sandbox shows."""
    shell = shell_program()
    users = f"root:x:0:0:root:/root:/bin/sh\n{USER}:x:{USER_ID}:{USER_ID}:buyer:{INSIDE_HOME}:{shell}\n"
    (folder / "passwd").write_text(users + "nobody:x:65534:65534:nobody:/:/bin/false\n")
    (folder / "group").write_text(f"root:x:0:\n{USER}:x:{USER_ID}:\nnogroup:x:65534:\n")


def shell_program() -> str:
    """Return the buyer's shell."""
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"


def sftp_program() -> str | None:
    """Return OpenSSH's SFTP server, where this machine has one."""
    return next((path for path in SFTP_SERVERS if os.access(path, os.X_OK)), None)


def device_nodes(gpu_uuids: tuple[str, ...], gpus: Path = DRIVER_GPUS) -> tuple[str, ...]:
    """Return the names under /dev of GPUs, as NVIDIA's driver numbers them; none for GPUs that it does not know."""
    nodes: dict[str, str] = {}
    for information in sorted(gpus.glob("*/information")):
        try:
            text = information.read_text()
        except OSError:
            continue
        uuid, minor = re.search(r"GPU UUID:\s*(\S+)", text), re.search(r"Device Minor:\s*(\d+)", text)
        if uuid and minor:
            nodes[uuid.group(1)] = f"nvidia{minor.group(1)}"
    return tuple(nodes[each] for each in gpu_uuids if each in nodes)


def find_python(tenant: int | None) -> str:
    """Return an interpreter that may be run as the tenant inside a sandbox. Raises NoSandbox."""
    own = os.path.realpath(sys.executable)
    options = {} if tenant is None else {"user": tenant, "group": tenant, "extra_groups": ()}
    for python in ("/usr/bin/python3", "/usr/local/bin/python3", own):
        trial = [python, "-I", "-c", "import socket; socket.recv_fds"]
        with suppress(OSError, subprocess.TimeoutExpired):
            if subprocess.run(trial, capture_output=True, cwd="/", env={}, timeout=TRY_S, **options).returncode == 0:
                return python
    raise NoSandbox(f"the shell hook needs a Python 3.9 or newer that tenants may run; {own} is closed to them")


def _python_folder(python: str) -> list[str]:
    """Show the interpreter's own folder where it lies outside the system's."""
    folder = os.path.realpath(sys.base_prefix)
    is_shown = python.startswith("/usr/") or folder == "/usr" or folder.startswith("/usr/")
    return [] if is_shown else ["--ro-bind", folder, folder]


def _system_folders() -> list[str]:
    arguments: list[str] = []
    for folder in SYSTEM_FOLDERS:
        if os.path.islink(folder):
            arguments += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            arguments += ["--ro-bind", folder, folder]
    return arguments
