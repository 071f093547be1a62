"""The services' keys: made once, private to their owner, and all named by the genesis."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.genesis import genesis_command
from infra.keys import OPERATOR_API_KEY, OWNERS, make_keys
from schemas.commands import read_command
from schemas.venue import NEWEST_RULESET


def test_keys_are_made_once_and_only_their_owner_can_read_them(tmp_path):
    folder = tmp_path / "keys"
    make_keys(folder)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    make_keys(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    owners = (*OWNERS, OPERATOR_API_KEY)
    assert sorted(first) == sorted(f"{owner}.{kind}" for owner in owners for kind in ("ed25519", "pub"))
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.ed25519")} == {0o600}


def test_the_genesis_names_the_public_key_of_every_owner(tmp_path):
    make_keys(tmp_path)
    genesis = read_command(genesis_command(tmp_path).canonical())
    expected = {}
    for owner in OWNERS:
        seed = bytes.fromhex((tmp_path / f"{owner}.ed25519").read_text())
        expected[owner] = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
    assert {entry.source: entry.public_key for entry in genesis.service_keys} == expected
    assert (genesis.type, genesis.shard, genesis.ruleset) == ("genesis", 0, NEWEST_RULESET)
