"""Attestation (layer L7) behind a port: what the maker of a node's GPUs says of them, bound to a nonce of ours.

NVIDIA's verifier is a C++ program that is in no package registry, and no agent carries its evidence, so nothing is
attestable today. Whatever an attester says is shown beside a node and decides nothing: T3 needs an audit.
"""

import json
from typing import Protocol

from schemas.delivery import Attestation

NOT_ATTESTABLE_TODAY = Attestation(
    state="not_attestable_today", reason="the venue has no verifier of the maker's evidence"
)


class Attester(Protocol):
    """Whoever asks the maker's verifier."""

    async def standing(self, node_id: str) -> Attestation:
        """Returns what the verifier last said of a node."""


class NoVerifier:
    """What stands where no verifier is."""

    async def standing(self, node_id: str) -> Attestation:
        """Returns that it cannot be said: a state of its own, neither good nor bad."""
        return NOT_ATTESTABLE_TODAY


def read_claims(answer: bytes, nonce: str, answered_ms: int) -> Attestation:
    """Returns what a verifier's overall claims (NVIDIA's claims, version 3.0) are worth to whoever drew the nonce."""
    facts = {"nonce": nonce, "answered_ms": answered_ms}
    try:
        claims = json.loads(answer)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        return Attestation(state="refused", reason="the answer is not a set of claims", **facts)
    if claims.get("eat_nonce") != nonce:
        return Attestation(state="refused", reason="the claims do not carry our nonce", **facts)
    if claims.get("x-nvidia-overall-att-result") is not True:
        return Attestation(state="refused", reason="the verifier did not confirm all GPUs", **facts)
    return Attestation(state="attested", **facts)
