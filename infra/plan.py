"""What the exchange consists of on one machine: its servers and services as programs to run, in their order."""

import http.client
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from infra import front_door, kafka, postgres
from infra.database import role_of
from infra.kafka_access import PUBLIC
from infra.keys import INFRA, OWNERS, make_password
from infra.places import REPOSITORY
from infra.ports import accepts, require_free
from infra.processes import Program
from infra.settings import InfraSettings
from schemas.topics import COMMANDS, TOPICS
from services.kit.kafka import password_file


class NoAnswer(RuntimeError):
    """A configured server cannot be reached."""


@dataclass(frozen=True)
class Servers:
    """Kafka's address, and whether it asks for logins; the database with its owner's login; the programs to start where
    none is configured.
    """

    kafka: str
    kafka_asks: bool
    database_url: str
    programs: tuple[Program, ...]


def plan_servers(settings: InfraSettings) -> Servers:
    """Choose each server: the configured address, else an embedded one, which is made ready to start."""
    address, url = settings.kafka, settings.database_url
    programs = []
    if not settings.kafka_configured:
        plan = kafka.KafkaPlan(
            settings.data / "kafka",
            settings.data / "logs" / "kafka.log",
            settings.kafka_port,
            settings.kafka_controller_port,
            make_password(settings.keys_dir, INFRA, "kafka"),
        )
        programs.append(kafka.prepare(plan))
        address = plan.bootstrap
    if not settings.database_configured:
        plan = postgres.PostgresPlan(
            settings.data / "postgres",
            settings.data / "logs" / "postgres.log",
            settings.postgres_port,
            settings.keys_dir,
        )
        programs.append(postgres.prepare(plan))
        url = plan.url()
    asks = not settings.kafka_configured or bool(settings.kafka_user)
    return Servers(address, asks, url, tuple(programs))


def plan_services(settings: InfraSettings, servers: Servers) -> tuple[Program, ...]:
    """Every service as a program; raises PortTaken before any is started."""
    present = [name for name in settings.services if is_present(name)]
    for name in present:
        require_free(name, settings.port_of(name), f"HOURBOOK_{name.upper()}_PORT")
    programs = [service_program(name, settings, environment_of(name, settings, servers)) for name in present]
    return (*programs, front_door.prepare(settings)) if has_front_door(settings, present) else tuple(programs)


def has_front_door(settings: InfraSettings, services: Sequence[str]) -> bool:
    """Whether these services get one address before them all."""
    return settings.front and bool(services) and front_door.is_installed()


def environment_of(service: str, settings: InfraSettings, servers: Servers) -> dict[str, str]:
    """What the service is told; its passwords are in files that are its own."""
    url = servers.database_url
    if settings.database_roles:
        login = urlsplit(url)
        url = login._replace(netloc=f"{role_of(service)}@{login.netloc.rpartition('@')[2]}").geturl()
    return {
        "HOURBOOK_KAFKA": servers.kafka,
        "HOURBOOK_KAFKA_USER": service if servers.kafka_asks else "",
        "HOURBOOK_DATABASE_URL": url,
        "HOURBOOK_DATA": str(settings.data),
        **({"HOURBOOK_TRUSTED_PROXIES": settings.host} if has_front_door(settings, settings.services) else {}),
    }


def is_present(service: str) -> bool:
    return find_spec(f"services.{service}") is not None and find_spec(f"services.{service}.__main__") is not None


def service_program(name: str, settings: InfraSettings, environment: dict[str, str]) -> Program:
    port = settings.port_of(name)
    return Program(
        name=name,
        command=[sys.executable, "-m", f"services.{name}"],
        log=settings.data / "logs" / f"{name}.log",
        ready=lambda: is_ready(port),
        environment=environment,
        folder=REPOSITORY,
    )


def is_ready(port: int) -> bool:
    """Whether the service on the port says that it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def has_run_before(settings: InfraSettings) -> bool:
    """Whether the embedded broker already holds every topic and the genesis, so that services may start beside it."""
    log = settings.data / "kafka" / "log"
    made = all(password_file(settings.keys_dir, owner).exists() for owner in OWNERS)  # older brokers asked for none
    made = made and all((log / f"{topic.name}-0").is_dir() for topic in TOPICS)
    return made and any(path.stat().st_size for path in (log / f"{COMMANDS.name}-0").glob("*.log"))


def addresses(settings: InfraSettings, servers: Servers, services: tuple[Program, ...]) -> dict[str, str]:
    """Where everything answers, without secrets."""
    urls = {program.name: f"http://{settings.host}:{settings.port_of(program.name)}" for program in services}
    if front_door.NAME in urls:
        urls[front_door.NAME] = front_door.url_of(settings)
    return {**urls, "kafka": servers.kafka, "postgres": servers.database_url.rpartition("@")[2]}


def public_login(settings: InfraSettings, servers: Servers) -> dict[str, str] | None:
    """How anybody on this machine reads Kafka's public topics; None where the broker asks for no login."""
    if not servers.kafka_asks:
        return None
    return {"kafka": servers.kafka, "user": PUBLIC, "password": make_password(settings.keys_dir, PUBLIC, "kafka")}


def require_answer(servers: Servers) -> None:
    """Raise NoAnswer when nothing accepts connections at an address that was configured."""
    for name, address in (("Kafka", servers.kafka), ("PostgreSQL", servers.database_url)):
        if not accepts(address):
            raise NoAnswer(f"{name} does not answer at {address.rpartition('@')[2]}")
