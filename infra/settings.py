"""Settings of the sandbox itself: its servers' ports and how crashed programs come back."""

from services.kit.settings import Settings

SERVICES = ("ledger", "matching", "gateway", "delivery", "listings", "market_data", "terminal")


class InfraSettings(Settings):
    """What the supervisor needs beyond the services' own settings; all from the environment (prefix HOURBOOK_).

    Here `database_url` is the login of the database's owner, who makes a role for each service (`database_roles`).
    """

    services: tuple[str, ...] = SERVICES
    kafka_port: int = 19092
    kafka_controller_port: int = 19093
    postgres_port: int = 15432
    restart: bool = True
    restart_delay_s: float = 0.2
    restart_delay_max_s: float = 5.0
    ready_within_s: float = 60.0
    start_tries_max: int = 5
    log_bytes_max: int = 64_000_000
    logs_kept: int = 3
    ports_free_within_s: float = 10.0
    database_roles: bool = True
    # The front door: one address before all services. `front_tls` is what Caddy's `tls` takes: `internal` for its own
    # authority, or the files of a certificate and its key; empty is plain HTTP.
    front: bool = True
    front_port: int = 18000
    front_host: str = ""
    front_name: str = ""
    front_tls: str = ""
    front_read_header_s: float = 10
    front_read_body_s: float = 75  # longer than services wait: where they give a body up later, Caddy never answers
    front_idle_s: float = 75
    front_header_bytes_max: int = 65_536  # more than services take: what they refuse, they refuse in words
    front_body_bytes_max: int = 67_108_864
    front_trusted_proxies: tuple[str, ...] = ()
    kafka_password: str = ""

    @property
    def kafka_configured(self) -> bool:
        return "kafka" in self.model_fields_set

    @property
    def database_configured(self) -> bool:
        return "database_url" in self.model_fields_set

    def port_of(self, service: str) -> int:
        return getattr(self, f"{service}_port")
