"""What delivery's tables hold, as its rules read it."""

from dataclasses import dataclass

from schemas.delivery import MeterInputs, MeterOutcome
from schemas.disputes import ArbiterInputs
from schemas.nodes import (
    Challenge,
    ChallengeCommit,
    ChallengeVerdict,
    OpeningRequest,
    ResidencyAnswer,
    ResidencyRequest,
)
from schemas.receipts import Receipt
from services.delivery.packing import unpack


@dataclass(frozen=True)
class Product:
    """A product's terms, as far as delivery needs them."""

    product: str
    grade: str
    hub: str
    currency: str
    period_ms: int
    gate_ms: int
    final_ms: int


@dataclass(frozen=True)
class Position:
    """A position as it stands, its product's times, and what is known of its node.

    `wait_seq` is the report up to which the meter has to be before it is settled, `meter_seq` where the meter is.
    """

    position_id: int
    contract: str
    node: str
    buyer: str
    operator: str
    qty: int
    start_ms: int
    end_ms: int
    state: str
    gpus: tuple[str, ...]
    lease_id: str | None
    offered_ms: int | None
    traded_ms: int | None
    wait_seq: int | None
    due_ms: int | None
    revision: int
    changed_ms: int | None
    final: bool
    period_ms: int
    final_ms: int
    node_grade: str | None
    simulated: bool
    last_live_ms: int | None
    meter_seq: int


@dataclass(frozen=True)
class Settlement:
    """What delivery sent to the engine as one revision of a position; its documents are packed."""

    revision: int
    digest: str
    inputs: bytes
    outcome: bytes
    noticed: bool
    recalled_gpus: int
    disputed_gpu_s: int
    disputed_used_gpu_s: int

    @property
    def meter_inputs(self) -> MeterInputs:
        """What the meter was given."""
        return MeterInputs.model_validate_json(unpack(self.inputs))

    @property
    def meter_outcome(self) -> MeterOutcome:
        """What it said."""
        return MeterOutcome.model_validate_json(unpack(self.outcome))


@dataclass(frozen=True)
class StoredReceipt:
    """A receipt's bytes, and whose it is."""

    position_id: int
    document: bytes
    buyer: str
    operator: str

    @property
    def receipt(self) -> Receipt:
        """The receipt itself."""
        return Receipt.model_validate_json(self.document)

    @property
    def parties(self) -> tuple[str, str]:
        """Who may read it."""
        return self.buyer, self.operator


@dataclass(frozen=True)
class Dispute:
    """A dispute as it stands, and its position's parties; `inputs` are an arbiter's, as he gave them."""

    dispute_id: str
    position_id: int
    contract: str
    node: str
    simulated: bool
    buyer: str
    operator: str
    side: str
    account: str
    idempotency_key: str
    reason: str
    evidence: str
    state: str
    opened_ms: int
    deadline_ms: int
    revision: int
    engine_has: bool
    decided_by: str | None
    decided_ms: int | None
    decision_reason: str
    inputs: str | None
    outcome: str

    @property
    def arbiter_inputs(self) -> ArbiterInputs | None:
        """What an arbiter found, None where none did."""
        return ArbiterInputs.model_validate_json(self.inputs) if self.inputs else None


@dataclass(frozen=True)
class StoredChallenge:
    """A challenge as it stands: what was asked, what came, when, and what was said of it."""

    challenge_id: str
    node: str
    cause: str
    lease_id: str | None
    prover: str | None
    state: str
    deadline_ms: int
    joint_gate_ms: int | None
    seen_us: int | None
    trip_us: int | None
    lag_us: int
    residency_us: int | None
    residency_lag_us: int
    secret: bytes | None
    asked: bytes
    commitment: bytes | None
    residency: bytes | None
    digests: bytes | None
    opening: bytes | None
    verdict: bytes | None

    @property
    def challenge(self) -> Challenge:
        """What was asked."""
        return Challenge.model_validate_json(self.asked)

    @property
    def commit(self) -> ChallengeCommit | None:
        """The heads that were committed to."""
        return self.commitment and ChallengeCommit.model_validate_json(self.commitment)

    @property
    def residency_request(self) -> ResidencyRequest | None:
        """The second nonce, where there is one."""
        return self.residency and ResidencyRequest.model_validate_json(self.residency)

    @property
    def residency_answer(self) -> ResidencyAnswer | None:
        """The digests that answered it."""
        return self.digests and ResidencyAnswer.model_validate_json(self.digests)

    @property
    def opening_request(self) -> OpeningRequest | None:
        """What is to be opened."""
        return self.opening and OpeningRequest.model_validate_json(self.opening)

    @property
    def final_verdict(self) -> ChallengeVerdict | None:
        """What was said of it in the end."""
        return self.verdict and ChallengeVerdict.model_validate_json(self.verdict)
