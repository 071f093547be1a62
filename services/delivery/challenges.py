"""Challenges as the venue runs them: what is asked, when it is too late, and what the answer is worth."""

from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from schemas.challenge import check_chain, draw_opening, operations_per_s
from schemas.nodes import (
    Challenge,
    ChallengeCommit,
    ChallengeOpening,
    ChallengeVerdict,
    GpuOpening,
    GpuVerdict,
    OpeningRequest,
    ResidencyAnswer,
    ResidencyRequest,
)
from schemas.residency import SampledRow, check_residency, residency_key
from services.delivery.bands import TOO_FAST, TOO_SLOW, Band
from services.delivery.domain import DeliveryError

LATE = "too_late"
MISSING = "not_answered"
HELD_BACK = "not_opened"
VENUE_BUSY = "venue_busy"
NOT_RESIDENT = "not_resident"
# Not a proof of fraud at first sight: the node is asked again, and after some in a row a person looks.
REVIEWED_AS = {
    TOO_SLOW: "score_below_band",
    TOO_FAST: "score_above_band",
    NOT_RESIDENT: "not_resident",
    HELD_BACK: "openings_held_back",
}
DOUBTED = frozenset(f"challenge_{reason}" for reason in REVIEWED_AS)  # why a node in doubt left the market
TRIED_AGAIN = frozenset({LATE, MISSING, VENUE_BUSY, *REVIEWED_AS})


class ChallengeClosed(DeliveryError):
    """The challenge is over, or stands at another step."""

    code, status = "challenge_closed", 409


class ChallengeMismatch(DeliveryError):
    """The answer is not for the GPUs that were asked."""

    code = "challenge_mismatch"


@dataclass(frozen=True)
class ChallengeRules:
    """Size and sampling of challenges."""

    n: int
    rounds: int
    open_rounds: int
    open_rows: int


def make_challenge(
    challenge_id: str,
    cause: str,
    nonce: str,
    gpu_uuids: Sequence[str],
    issued_ms: int,
    deadline_ms: int,
    rules: ChallengeRules,
    lease_id: str | None = None,
) -> Challenge:
    """Returns a challenge to all these GPUs over one nonce."""
    return Challenge(
        challenge_id=challenge_id,
        cause=cause,
        nonce=nonce,
        n=rules.n,
        rounds=rules.rounds,
        gpu_uuids=tuple(gpu_uuids),
        issued_ms=issued_ms,
        deadline_ms=deadline_ms,
        lease_id=lease_id,
    )


def check_heads(challenge: Challenge, commit: ChallengeCommit) -> None:
    """Raises ChallengeMismatch for a head of a GPU that was not asked, or two of one; a lost GPU has none. [D-27]"""
    given = [head.gpu_uuid for head in commit.heads]
    if len(set(given)) != len(given) or not set(given) <= set(challenge.gpu_uuids):
        raise ChallengeMismatch("at most one head for each GPU that was asked, and for no other")


def check_digests(commit: ChallengeCommit, answer: ResidencyAnswer) -> None:
    """Raises ChallengeMismatch unless there is a digest for each GPU that was committed to."""
    given = [gpu.gpu_uuid for gpu in answer.gpus]
    if sorted(given) != sorted(head.gpu_uuid for head in commit.heads):
        raise ChallengeMismatch("one digest for each GPU that was committed to, and for no other")


def draw(
    challenge: Challenge, commit: ChallengeCommit, secret: bytes, deadline_ms: int, rules: ChallengeRules
) -> OpeningRequest:
    """Draws what is to be opened, the same for the same secret; the secret is made after the commit has come. [D-26]"""
    committed = {head.gpu_uuid for head in commit.heads}
    gpus = (
        draw_opening(secret, challenge, gpu, rules.open_rounds, rules.open_rows)
        for gpu in challenge.gpu_uuids
        if gpu in committed
    )
    return OpeningRequest(challenge_id=challenge.challenge_id, deadline_ms=deadline_ms, gpus=tuple(gpus))


@dataclass(frozen=True)
class ResidencyProof:
    """What a node answered to the second nonce, how far beyond its limit, and how long we were busy meanwhile."""

    asked: ResidencyRequest
    digests: Mapping[str, str]
    over_us: int
    lag_us: int = 0

    @property
    def lateness(self) -> str:
        """Returns "" for an answer in time, else the reason."""
        if self.over_us <= 0:
            return ""
        return VENUE_BUSY if self.over_us <= self.lag_us else NOT_RESIDENT


@dataclass(frozen=True)
class Proof:
    """A committed challenge as it is on record: what was asked and committed, what is to be opened, how long it took.

    `seen_us` is the time from the nonce's leaving to the commit's arrival by the venue's clock, less the round trip;
    for `lag_us` of it the venue itself was busy. A node that `was_absent` heard of it later than that. [D-28]
    """

    challenge: Challenge
    commit: ChallengeCommit
    asked: OpeningRequest
    secret: bytes
    seen_us: int
    band: Band
    lag_us: int = 0
    judges_work: bool = True
    judges_score: bool = True
    residency: "ResidencyProof | None" = None
    was_absent: bool = False

    @property
    def ops_per_s(self) -> int:
        """The score: the operations of a chain's products over the time seen."""
        return self._ops_per_s(self.seen_us)

    def judge_score(self) -> str:
        """Returns "" for a score within the band, else the reason.

        Too slow is only what is so without our own lag, and late what is so of a node that was absent.
        """
        reason = self.band.judge(self.ops_per_s)
        if reason == TOO_SLOW and self._ops_per_s(self.seen_us - self.lag_us) >= self.band.low_ops_per_s:
            return VENUE_BUSY
        return LATE if reason == TOO_SLOW and self.was_absent else reason

    def _ops_per_s(self, took_us: int) -> int:
        return operations_per_s(self.challenge.n, self.challenge.rounds, took_us)


def judge_opened(proof: Proof, opening: ChallengeOpening) -> tuple[GpuVerdict, ...]:
    """Judges the GPUs that an opening names; costs processor time, so it does not run in the event loop.

    What was not asked is passed over. Work that is right but comes too slowly or too fast is said only then.
    """
    heads = {head.gpu_uuid: head.head for head in proof.commit.heads}
    wanted = {gpu.gpu_uuid: gpu for gpu in proof.asked.gpus}
    verdicts = {}
    for opened in opening.gpus:
        asked = wanted.get(opened.gpu_uuid)
        if asked is None or opened.gpu_uuid in verdicts:
            continue
        head, reason = heads[opened.gpu_uuid], ""
        if proof.judges_work:
            reason = check_chain(proof.challenge, proof.commit.agent, head, asked, opened, proof.secret)
        if not reason and proof.residency is not None:
            reason = _check_residency(proof, head, opened)
        if not reason and proof.judges_score:
            reason = proof.judge_score()
        verdicts[opened.gpu_uuid] = _gpu_verdict(opened.gpu_uuid, reason, proof.ops_per_s)
    return tuple(verdicts.values())


def _check_residency(proof: Proof, head: str, opened: GpuOpening) -> str:
    asked, digest = proof.residency.asked, proof.residency.digests.get(opened.gpu_uuid)
    if digest is None:
        return NOT_RESIDENT
    key = residency_key(asked.nonce, proof.commit.agent, opened.gpu_uuid, bytes.fromhex(head))
    roots = [bytes.fromhex(root) for root in opened.residency_roots]
    try:
        rows = list(_sampled_rows(opened))
    except ValueError:
        return "wrong_shape"
    wrong = check_residency(key, proof.challenge.n, asked.stride, bytes.fromhex(digest), roots, rows)
    return wrong or proof.residency.lateness


def _sampled_rows(opened: GpuOpening) -> Iterator[SampledRow]:
    for round_ in opened.rounds:
        for row in round_.rows:
            path = tuple(bytes.fromhex(sibling) for sibling in row.residency_path)
            yield SampledRow(round_.round, row.index, b64decode(row.values), path)


def residency_limit_us(challenge: Challenge, stride: int, band: Band, passes: int, slack_ms: int) -> int:
    """Returns how long the answer to a second nonce may take besides the round trip.

    So many readings of what is to be touched at the speed of the grade's own memory, and a fixed slack. [D-37]
    """
    touched_bytes = 4 * challenge.n**2 * challenge.rounds // stride
    return passes * touched_bytes * 1_000_000 // band.memory_bytes_per_s + 1_000 * slack_ms


def conclude(
    challenge: Challenge, band: Band, opened: Mapping[str, GpuVerdict], asked: Collection[str], now_ms: int
) -> ChallengeVerdict:
    """Puts a challenge's verdict together: a GPU without a head has not answered, one without an opening is pending."""
    verdicts, pending = [], []
    for gpu in challenge.gpu_uuids:
        if gpu in opened:
            verdicts.append(opened[gpu])
        elif gpu in asked:
            pending.append(gpu)
        else:
            verdicts.append(_gpu_verdict(gpu, MISSING, 0))
    return _verdict(challenge, band, verdicts, now_ms, tuple(pending))


def late_verdict(
    challenge: Challenge,
    band: Band,
    now_ms: int,
    opened: Mapping[str, GpuVerdict] = MappingProxyType({}),
    asked: Collection[str] = (),
    committed: Collection[str] = (),
) -> ChallengeVerdict:
    """The verdict on a challenge whose time is over.

    Whoever committed and went no further is not merely late: he holds nothing, or the draw hit his wrong rows.
    """
    left_at = {gpu: NOT_RESIDENT if gpu in committed else LATE for gpu in challenge.gpu_uuids}
    reasons = left_at | dict.fromkeys(asked, HELD_BACK)
    verdicts = [opened.get(gpu) or _gpu_verdict(gpu, reason, 0) for gpu, reason in reasons.items()]
    return _verdict(challenge, band, verdicts, now_ms)


def is_honest_failure(verdict: ChallengeVerdict) -> bool:
    """Says whether no work was wrong, only missing, late, or done at an odd speed: a reason for another try."""
    return all(gpu.passed or gpu.reason in TRIED_AGAIN for gpu in verdict.gpus)


def may_serve(verdict: ChallengeVerdict) -> bool:
    """Says whether a lease may start: some GPUs passed, and the others are gone rather than wrong or late.

    Where the venue was too busy to tell, the buyer is not kept out for it. [D-32]
    """
    serving = [gpu for gpu in verdict.gpus if gpu.passed or gpu.reason == VENUE_BUSY]
    gone = [gpu for gpu in verdict.gpus if gpu.reason == MISSING]
    return bool(serving) and len(serving) + len(gone) == len(verdict.gpus)


def is_undecided(verdict: ChallengeVerdict) -> bool:
    """Says whether the venue was too busy to tell of some GPUs, and nothing speaks against the others. [D-31]"""
    reasons = {gpu.reason for gpu in verdict.gpus if not gpu.passed}
    return reasons == {VENUE_BUSY}


def first_reason(verdict: ChallengeVerdict) -> str:
    """Returns the first reason for which a GPU failed, or ""."""
    return next((gpu.reason for gpu in verdict.gpus if not gpu.passed), "")


def suspicion(verdict: ChallengeVerdict) -> str:
    """Returns the reason for which the node goes to review when this verdict comes often in a row, or ""."""
    return next((REVIEWED_AS[gpu.reason] for gpu in verdict.gpus if gpu.reason in REVIEWED_AS), "")


def _gpu_verdict(gpu: str, reason: str, ops_per_s: int) -> GpuVerdict:
    return GpuVerdict(gpu_uuid=gpu, passed=not reason, reason=reason, operations_per_s=ops_per_s)


def _verdict(
    challenge: Challenge, band: Band, verdicts: Sequence[GpuVerdict], now_ms: int, pending: tuple[str, ...] = ()
) -> ChallengeVerdict:
    return ChallengeVerdict(
        challenge_id=challenge.challenge_id,
        passed=not pending and all(gpu.passed for gpu in verdicts),
        judged_ms=now_ms,
        gpus=tuple(verdicts),
        pending=pending,
        simulated=band.kind == "simulated",
        band=band.kind,
    )
