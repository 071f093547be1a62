"""One function says how every client of Kafka's connects."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from faststream.kafka.security import parse_security

from services.kit.kafka import MECHANISM, faststream_security, kafka_client_options
from services.kit.settings import Settings


@pytest.fixture
def authority(tmp_path):
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "venue")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    file = tmp_path / "ca.pem"
    certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, None)
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    return file


@pytest.mark.parametrize(
    ("user", "with_tls", "protocol"),
    [("", False, "PLAINTEXT"), ("", True, "SSL"), ("ledger", False, "SASL_PLAINTEXT"), ("ledger", True, "SASL_SSL")],
)
def test_a_login_and_tls_come_from_the_settings_for_both_kinds_of_client(authority, tmp_path, user, with_tls, protocol):
    file = tmp_path / "keys" / "ledger" / "kafka.password"
    file.parent.mkdir(parents=True)
    file.write_text("secret\n")
    ca = authority if with_tls else None
    settings = Settings(kafka="broker:9092", data=tmp_path, kafka_user=user, kafka_ca=ca)
    options = kafka_client_options(settings)
    context = options.pop("ssl_context", None)
    login = {"sasl_mechanism": MECHANISM, "sasl_plain_username": "ledger", "sasl_plain_password": "secret"}
    wanted = {"security_protocol": protocol} | (login if user else {})
    assert options == {"bootstrap_servers": "broker:9092"} | wanted
    assert (context is not None) == with_tls
    if context is not None:
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    told = parse_security(faststream_security(settings))
    assert (told.pop("ssl_context") is not None, told) == (with_tls, wanted)


def test_a_service_whose_password_is_missing_does_not_connect_without_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"kafka\.password"):
        kafka_client_options(Settings(data=tmp_path, kafka_user="ledger"))
