"""Challenges as the venue runs them: what is asked, when it is too late, and what the answer is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.challenge import check_chain, draw_opening, operations_per_s
from schemas.nodes import (
    Challenge,
    ChallengeCommit,
    ChallengeOpening,
    ChallengeVerdict,
    GpuVerdict,
    OpeningRequest,
)
from services.delivery.domain import DeliveryError

LATE = "too_late"


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
    """Raises ChallengeMismatch unless every GPU that was asked commits to exactly one head."""
    if sorted(head.gpu_uuid for head in commit.heads) != sorted(challenge.gpu_uuids):
        raise ChallengeMismatch("one head for each GPU that was asked")


def draw(challenge: Challenge, secret: bytes, deadline_ms: int, rules: ChallengeRules) -> OpeningRequest:
    """Draws what is to be opened, the same for the same secret; the secret is made after the commit has come."""
    gpus = (draw_opening(secret, challenge, gpu, rules.open_rounds, rules.open_rows) for gpu in challenge.gpu_uuids)
    return OpeningRequest(challenge_id=challenge.challenge_id, deadline_ms=deadline_ms, gpus=tuple(gpus))


def judge(
    challenge: Challenge,
    commit: ChallengeCommit,
    committed_ms: int,
    asked: OpeningRequest,
    opening: ChallengeOpening,
    secret: bytes,
    now_ms: int,
) -> ChallengeVerdict:
    """Judges an opening GPU by GPU; costs processor time, so it does not run in the event loop."""
    heads = {head.gpu_uuid: head.head for head in commit.heads}
    openings = {gpu.gpu_uuid: gpu for gpu in opening.gpus}
    late = committed_ms > challenge.deadline_ms or now_ms > asked.deadline_ms
    score = operations_per_s(challenge.n, challenge.rounds, committed_ms - challenge.issued_ms)
    verdicts = []
    for wanted in asked.gpus:
        given = openings.get(wanted.gpu_uuid)
        reason = LATE if late else "wrong_shape" if given is None else ""
        if not reason:
            reason = check_chain(challenge, commit.agent, heads[wanted.gpu_uuid], wanted, given, secret)
        verdicts.append(GpuVerdict(gpu_uuid=wanted.gpu_uuid, passed=not reason, reason=reason, operations_per_s=score))
    return _verdict(challenge, verdicts, now_ms)


def late_verdict(challenge: Challenge, now_ms: int) -> ChallengeVerdict:
    """The verdict on a challenge that nobody answered in time."""
    verdicts = [GpuVerdict(gpu_uuid=gpu, passed=False, reason=LATE, operations_per_s=0) for gpu in challenge.gpu_uuids]
    return _verdict(challenge, verdicts, now_ms)


def is_merely_late(verdict: ChallengeVerdict) -> bool:
    """Says whether nothing was wrong but the time: no reason for quarantine, only for another try."""
    return all(gpu.passed or gpu.reason == LATE for gpu in verdict.gpus)


def _verdict(challenge: Challenge, verdicts: Sequence[GpuVerdict], now_ms: int) -> ChallengeVerdict:
    return ChallengeVerdict(
        challenge_id=challenge.challenge_id,
        passed=all(gpu.passed for gpu in verdicts),
        judged_ms=now_ms,
        gpus=tuple(verdicts),
    )
