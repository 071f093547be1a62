"""Kafka over TLS: who knows the venue's authority logs in as ever; a foreign broker is given no password."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from infra import kafka
from infra.embedded import Running
from infra.kafka_access import secure_broker
from infra.kafka_clients import started
from infra.keys import INFRA, make_password
from infra.ports import LOOPBACK, distinct_ports
from infra.topics import create_topics
from schemas.topics import COMMANDS
from services.kit.kafka import login_options
from services.kit.settings import Settings
from services.kit.topics import make_broker

TLS = """
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
"""


class Authority:
    """An authority that signs certificates for this machine; its own certificate lies in `file`."""

    def __init__(self, file: Path) -> None:
        self.file, self._key = file, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the venue's authority")])
        own = self._unsigned(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        file.write_bytes(own.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def write_keystore(self, file: Path) -> None:
        """Writes a server's key and certificate as one PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(LOOPBACK))])
        signed = self._unsigned(name, key).add_extension(names, critical=False).sign(self._key, SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + signed.public_bytes(Encoding.PEM))

    def _unsigned(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))


@dataclass(frozen=True)
class Room:
    """A broker that speaks TLS alone with its clients."""

    server: Running
    keys: Path
    authority: Authority
    folder: Path

    def options(self, user: str, authority: Authority | None = None) -> dict:
        return login_options(self.server.address, self.keys, user, (authority or self.authority).file)


@pytest.fixture(scope="module")
def room(servers_folder: Path) -> Iterator[Room]:
    folder = servers_folder / "encrypted"
    keys, keystore = folder / "keys", folder / "keystore.pem"
    password = make_password(keys, INFRA, "kafka")
    authority = Authority(folder / "authority.pem")
    authority.write_keystore(keystore)
    plan = kafka.KafkaPlan(folder / "kafka", folder / "kafka.log", *distinct_ports(2), password)
    program = kafka.prepare(plan)
    properties = plan.data / "server.properties"
    text = properties.read_text().replace("CLIENTS:SASL_PLAINTEXT", "CLIENTS:SASL_SSL")
    properties.write_text(text + TLS.format(keystore=keystore, authority=authority.file))
    server = Running(replace(program, ready=lambda: speaks_tls(plan.port, authority)), plan.bootstrap)
    yield Room(server, keys, authority, folder)
    server.stop()


def speaks_tls(port: int, authority: Authority) -> bool:
    context = ssl.create_default_context(cafile=authority.file)
    try:
        with (
            socket.create_connection((LOOPBACK, port), timeout=1) as connection,
            context.wrap_socket(connection, server_hostname=LOOPBACK),
        ):
            return True
    except OSError:
        return False


async def test_services_log_in_over_tls_write_and_read(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOURBOOK_KAFKA_CA", str(room.authority.file))
    await secure_broker(room.server.address, room.keys)
    await create_topics(room.server.address, **room.options(INFRA))
    async with started(AIOKafkaProducer(**room.options("gateway"))) as producer:
        await producer.send_and_wait(COMMANDS.name, b"{}", partition=0)
    settings = Settings(kafka=room.server.address, kafka_user="ledger", kafka_ca=room.authority.file, data=room.folder)
    async with make_broker(settings) as broker:
        await broker.start()
        await broker.publish(b"{}", COMMANDS.name, partition=0)
    partition = TopicPartition(COMMANDS.name, 0)
    async with started(AIOKafkaConsumer(**room.options("matching"), enable_auto_commit=False)) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        found = await consumer.getmany(partition, timeout_ms=10_000)
    assert [record.value for record in found[partition]] == [b"{}", b"{}"]


async def test_who_trusts_another_authority_or_speaks_no_tls_is_not_connected(room: Room, tmp_path: Path):
    foreign = Authority(tmp_path / "foreign.pem")
    for options in (room.options(INFRA, foreign), login_options(room.server.address, room.keys, INFRA)):
        with pytest.raises(KafkaConnectionError):
            async with started(AIOKafkaProducer(**options, request_timeout_ms=3_000)):
                pass
