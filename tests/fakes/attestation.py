"""An attester that answers from a recorded set of claims, in the form that NVIDIA documents (claims version 3.0)."""

from schemas.delivery import Attestation
from services.delivery.attestation import read_claims

NONCE = "5b1f" * 16
ANSWERED_MS = 1_795_300_000_000
# Invented after the documented form: no verifier has run here.
CLAIMS = (
    b'{"sub":"NVIDIA-PLATFORM-ATTESTATION","x-nvidia-ver":"3.0","iss":"LOCAL_GPU_VERIFIER",'
    b'"x-nvidia-overall-att-result":true,"eat_nonce":"' + NONCE.encode() + b'",'
    b'"submods":{"GPU-0":["DIGEST",["SHA-256","9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]]}}'
)


class RecordedAttester:
    """Answers for one node, and that nothing is known of any other."""

    def __init__(self, node_id: str, claims: bytes = CLAIMS, nonce: str = NONCE):
        self._node_id, self._claims, self._nonce = node_id, claims, nonce

    async def standing(self, node_id: str) -> Attestation:
        """Returns what the recorded claims are worth."""
        if node_id != self._node_id:
            return Attestation(state="refused", reason="no claims of this node are recorded")
        return read_claims(self._claims, self._nonce, ANSWERED_MS)
