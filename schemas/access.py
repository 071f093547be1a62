"""How a buyer gets into what he bought: his SSH keys, and what he wishes for a position. Served by delivery."""

from typing import Annotated

from pydantic import Field

from schemas.base import Model
from schemas.ids import Digest
from schemas.nodes import ImageName, Script

KEYS_NAMED_MAX = 64


class SshKeyForm(Model):
    """POST /v1/ssh-keys: one public key, the line of an OpenSSH `.pub` file."""

    public_key: Annotated[str, Field(min_length=1, max_length=8192)]


class SshKeyView(Model):
    """One key of the account. `key_id` is SHA-256 of the key in hex, `fingerprint` the same as `ssh-keygen -l` says."""

    key_id: Digest
    fingerprint: str
    type: str
    comment: str
    public_key: str
    added_ms: int


class AccessForm(Model):
    """POST /v1/positions/{id}/access, before the position's gate: which keys get in (null: all of the account).

    `image` and `script` reach the operator's hook, which may know what to do with them.
    """

    key_ids: Annotated[tuple[Digest, ...], Field(max_length=KEYS_NAMED_MAX, strict=False)] | None = None
    image: ImageName | None = None
    script: Script | None = None
