"""The services' keys: made once, private to their owner, and all named by the genesis."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.genesis import genesis_command
from infra.keys import OPERATOR_API_KEY, OWNERS, make_keys
from schemas.accounts import SignedRequest
from schemas.commands import read_command
from schemas.rest import KeyForm
from schemas.venue import NEWEST_RULESET
from services.kit.key_directory import KeyDirectory
from services.kit.key_requests import key_of


def files_in(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_keys_are_made_once_and_only_their_owner_can_read_them(tmp_path):
    folder = tmp_path / "keys"
    make_keys(folder)
    first = files_in(folder)
    make_keys(folder)
    assert files_in(folder) == first
    private = {*(f"{owner}/{owner}.ed25519" for owner in OWNERS), f"{OPERATOR_API_KEY}.ed25519"}
    assert set(first) == private | {
        "public/admin-api.request.json",
        *(f"public/{name}.pub" for name in (*OWNERS, OPERATOR_API_KEY, "root")),
    }
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


def test_root_signs_the_first_administrator_and_is_not_made_anew_once_it_was_taken_away(tmp_path):
    folder = tmp_path / "keys"
    make_keys(folder)
    private = tmp_path / "root" / "root.ed25519"
    assert private.stat().st_mode & 0o777 == 0o600
    directory = KeyDirectory((folder / "public" / "root.pub").read_text().strip())
    request = SignedRequest.model_validate_json((folder / "public" / "admin-api.request.json").read_bytes())
    record = key_of(KeyForm.model_validate_json(request.body)).model_copy(update={"proof": request})
    assert directory.take(record)
    assert directory.get("admin").public_key == (folder / "public" / "admin-api.pub").read_text().strip()
    public = (folder / "public" / "root.pub").read_text()
    private.unlink()
    make_keys(folder)
    assert (private.exists(), (folder / "public" / "root.pub").read_text()) == (False, public)
