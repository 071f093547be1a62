"""Claims are worth something only with our nonce and a whole yes; without a verifier nothing is said either way."""

import pytest

from schemas.delivery import Attestation
from services.delivery.attestation import NoVerifier, read_claims
from tests.fakes.attestation import ANSWERED_MS, CLAIMS, NONCE, RecordedAttester


async def test_without_a_verifier_a_node_is_not_attestable_today_which_is_neither_good_nor_bad():
    assert await NoVerifier().standing("node-1") == Attestation(
        state="not_attestable_today", reason="the venue has no verifier of the maker's evidence"
    )


async def test_recorded_claims_over_our_nonce_attest_the_node():
    facts = {"nonce": NONCE, "answered_ms": ANSWERED_MS}
    assert await RecordedAttester("node-1").standing("node-1") == Attestation(state="attested", **facts)


@pytest.mark.parametrize(
    ("answer", "nonce", "reason"),
    [
        (CLAIMS, "ab" * 32, "the claims do not carry our nonce"),
        (CLAIMS.replace(b"true", b"false"), NONCE, "the verifier did not confirm all GPUs"),
        (CLAIMS.replace(b"true", b'"true"'), NONCE, "the verifier did not confirm all GPUs"),
        (CLAIMS[:-1], NONCE, "the answer is not a set of claims"),
        (b"[]", NONCE, "the answer is not a set of claims"),
    ],
)
def test_claims_of_another_nonce_a_partial_yes_or_a_broken_answer_are_refused(answer, nonce, reason):
    refused = Attestation(state="refused", reason=reason, nonce=nonce, answered_ms=ANSWERED_MS)
    assert read_claims(answer, nonce, ANSWERED_MS) == refused
