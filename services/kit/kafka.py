"""How every client of Kafka's connects: where to, with which login, and with TLS where that is set up."""

import ssl
from pathlib import Path
from typing import Any

from faststream.security import BaseSecurity, SASLScram256

from services.kit.settings import Settings

MECHANISM = "SCRAM-SHA-256"


def kafka_client_options(settings: Settings) -> dict[str, Any]:
    """Returns the options of aiokafka's clients that say where to connect, and as whom. Raises FileNotFoundError."""
    return login_options(settings.kafka, settings.keys_dir, settings.kafka_user, settings.kafka_ca)


def operator_options(kafka: str, keys_dir: Path, user: str = "admin") -> dict[str, Any]:
    """Returns the options of a program of the venue's operator; it logs in where the installation has a password."""
    known = password_file(keys_dir, user).exists()
    return login_options(kafka, keys_dir, user if known else "", Settings().kafka_ca)


def login_options(kafka: str, keys_dir: Path, user: str, ca: Path | None = None) -> dict[str, Any]:
    """Returns the options for one broker and one user; without a user there is no login."""
    options: dict[str, Any] = {"bootstrap_servers": kafka, "security_protocol": "SSL" if ca else "PLAINTEXT"}
    if user:
        options["security_protocol"] = "SASL_SSL" if ca else "SASL_PLAINTEXT"
        options["sasl_mechanism"] = MECHANISM
        options["sasl_plain_username"] = user
        options["sasl_plain_password"] = password_file(keys_dir, user).read_text().strip()
    if ca:
        options["ssl_context"] = ssl.create_default_context(cafile=ca)
    return options


def password_file(keys_dir: Path, user: str) -> Path:
    """Returns where the user's password lies."""
    return keys_dir / user / "kafka.password"


def faststream_security(settings: Settings) -> BaseSecurity:
    """Returns the same for FastStream's broker."""
    options = kafka_client_options(settings)
    tls = {"use_ssl": "ssl_context" in options, "ssl_context": options.get("ssl_context")}
    if not settings.kafka_user:
        return BaseSecurity(**tls)
    return SASLScram256(options["sasl_plain_username"], options["sasl_plain_password"], **tls)
