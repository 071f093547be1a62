"""The services' keys: made once, private to their owner, and all named by the genesis."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.genesis import genesis_command
from infra.keys import OPERATOR_API_KEY, OWNERS, make_keys
from schemas.commands import read_command
from schemas.venue import NEWEST_RULESET


def files_in(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_keys_are_made_once_and_only_their_owner_can_read_them(tmp_path):
    folder = tmp_path / "keys"
    make_keys(folder)
    first = files_in(folder)
    make_keys(folder)
    assert files_in(folder) == first
    private = {*(f"{owner}/{owner}.ed25519" for owner in OWNERS), f"{OPERATOR_API_KEY}.ed25519"}
    assert set(first) == private | {f"public/{name}.pub" for name in (*OWNERS, OPERATOR_API_KEY)}
    assert {(folder / name).stat().st_mode & 0o777 for name in private} == {0o600}
    assert {(folder / owner).stat().st_mode & 0o777 for owner in OWNERS} == {0o700}


def test_the_files_of_an_older_installation_move_to_their_owners(tmp_path):
    seeds = {owner: f"{number:064x}" for number, owner in enumerate((*OWNERS, OPERATOR_API_KEY))}
    for owner, seed in seeds.items():
        (tmp_path / f"{owner}.ed25519").write_text(seed)
        (tmp_path / f"{owner}.pub").write_text("older")
    (tmp_path / "delivery.box").write_text("sealed")
    make_keys(tmp_path)
    found = files_in(tmp_path)
    assert found.pop("delivery/delivery.box") == "sealed"
    assert found.pop(f"{OPERATOR_API_KEY}.ed25519") == seeds[OPERATOR_API_KEY]
    assert {name: text for name, text in found.items() if not name.startswith("public/")} == {
        f"{owner}/{owner}.ed25519": seeds[owner] for owner in OWNERS
    }
    assert all(text != "older" for text in found.values())


def test_the_genesis_names_the_public_key_of_every_owner(tmp_path):
    make_keys(tmp_path)
    genesis = read_command(genesis_command(tmp_path).canonical())
    expected = {}
    for owner in OWNERS:
        seed = bytes.fromhex((tmp_path / owner / f"{owner}.ed25519").read_text())
        expected[owner] = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
    assert {entry.source: entry.public_key for entry in genesis.service_keys} == expected
    assert (genesis.type, genesis.shard, genesis.ruleset) == ("genesis", 0, NEWEST_RULESET)
