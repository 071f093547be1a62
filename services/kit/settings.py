"""Settings that every service has, read from the environment (prefix HOURBOOK_); a service adds its own in a
subclass.
"""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kit.bodies import BodyLimits

REPOSITORY = Path(__file__).resolve().parents[2]
FETCH_MAX_WAIT_MS = 5_000  # how long the broker keeps a fetch that finds nothing; short ones keep an idle venue busy


class Settings(BaseSettings):
    """Addresses, folders and limits. Every default fits the sandbox that `./hourbook up` starts."""

    model_config = SettingsConfigDict(env_prefix="HOURBOOK_", extra="ignore", frozen=True)

    kafka: str = "127.0.0.1:19092"
    kafka_user: str = ""  # the login at Kafka, its password in `kafka.password` of the user's key folder; "": none
    kafka_ca: Path | None = None  # the authority behind the broker's certificate, which turns TLS on
    database_url: str = "postgresql://hourbook@127.0.0.1:15432/hourbook"
    data: Path = REPOSITORY / ".hourbook"
    host: str = "127.0.0.1"
    shard: int = 0
    gateway_port: int = 18080
    market_data_port: int = 18081
    delivery_port: int = 18082
    listings_port: int = 18083
    ledger_port: int = 18084
    matching_port: int = 18085
    terminal_port: int = 18088
    signature_window_ms: int = 5_000
    signature_ahead_ms: int = 1_000  # how far a caller's clock may be ahead; also how long a start takes no requests
    body_bytes_max: int = 262_144
    bodies_bytes_max: int = 67_108_864  # of all bodies that are held at a time; the rest come again
    body_within_s: float = 60.0
    unsigned_requests_per_s: int = 2_000
    refused_signatures_per_s: int = 50
    key_requests_per_s: int = 500
    connections_per_address_max: int = 1_000  # at a service's own port; a trusted proxy has as many as it wants
    open_requests_per_address_max: int = 1_000  # unsigned requests and sockets, by the client's own address
    head_bytes_max: int = 32_768
    url_bytes_max: int = 8_192
    head_within_s: float = 30.0
    socket_message_bytes_max: int = 262_144
    trusted_proxies: str = ""  # addresses whose X-Forwarded-For says who the client is, separated by commas
    database_connections_max: int = 4
    reconnect_delay_s: float = 0.5
    event_linger_s: float = 0.1
    event_log_grows_within_s: float = 10.0
    servers_answer_within_s: float = 1.0
    servers_known_for_s: float = 1.0
    disk_free_bytes_min: int = 64_000_000
    first_answers_days: Annotated[int, Field(ge=31)] = 90  # the protocols promise 30
    log_level: str = "info"

    @property
    def body_limits(self) -> BodyLimits:
        """How much of requests' bodies may be in memory."""
        return BodyLimits(self.body_bytes_max, self.bodies_bytes_max, self.body_within_s)

    @field_validator("trusted_proxies")
    @classmethod
    def _names_networks(cls, text: str) -> str:
        for part in _parts(text):
            ip_network(part)  # raises ValueError, also for "*": whom everybody may speak for is nobody
        return text

    @property
    def trusted_networks(self) -> list[str]:
        """The trusted proxies, each by itself."""
        return _parts(self.trusted_proxies)

    @property
    def keys_dir(self) -> Path:
        """The folder with the services' Ed25519 keys."""
        return self.data / "keys"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
