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
MISSING = "not_answered"


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
    """Raises ChallengeMismatch for a head of a GPU that was not asked, or two of one; a lost GPU has none."""
    given = [head.gpu_uuid for head in commit.heads]
    if len(set(given)) != len(given) or not set(given) <= set(challenge.gpu_uuids):
        raise ChallengeMismatch("at most one head for each GPU that was asked, and for no other")


def draw(
    challenge: Challenge, commit: ChallengeCommit, secret: bytes, deadline_ms: int, rules: ChallengeRules
) -> OpeningRequest:
    """Draws what is to be opened, the same for the same secret; the secret is made after the commit has come."""
    committed = {head.gpu_uuid for head in commit.heads}
    gpus = (
        draw_opening(secret, challenge, gpu, rules.open_rounds, rules.open_rows)
        for gpu in challenge.gpu_uuids
        if gpu in committed
    )
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
    wanted = {gpu.gpu_uuid: gpu for gpu in asked.gpus}
    late = committed_ms > challenge.deadline_ms or now_ms > asked.deadline_ms
    score = operations_per_s(challenge.n, challenge.rounds, committed_ms - challenge.issued_ms)
    verdicts = []
    for gpu in challenge.gpu_uuids:
        if gpu not in wanted:
            reason = MISSING
        elif late:
            reason = LATE
        elif gpu not in openings:
            reason = "wrong_shape"
        else:
            reason = check_chain(challenge, commit.agent, heads[gpu], wanted[gpu], openings[gpu], secret)
        verdicts.append(GpuVerdict(gpu_uuid=gpu, passed=not reason, reason=reason, operations_per_s=score))
    return _verdict(challenge, verdicts, now_ms)


def late_verdict(challenge: Challenge, now_ms: int) -> ChallengeVerdict:
    """The verdict on a challenge that nobody answered in time."""
    verdicts = [GpuVerdict(gpu_uuid=gpu, passed=False, reason=LATE, operations_per_s=0) for gpu in challenge.gpu_uuids]
    return _verdict(challenge, verdicts, now_ms)


def is_honest_failure(verdict: ChallengeVerdict) -> bool:
    """Says whether nothing was wrong, only missing or late: no reason for quarantine, only for another try."""
    return all(gpu.passed or gpu.reason in (LATE, MISSING) for gpu in verdict.gpus)


def may_serve(verdict: ChallengeVerdict) -> bool:
    """Says whether a lease may start: some GPUs passed, and the others are gone rather than wrong or late."""
    return any(gpu.passed for gpu in verdict.gpus) and all(g.passed or g.reason == MISSING for g in verdict.gpus)


def first_reason(verdict: ChallengeVerdict) -> str:
    """Returns the first reason for which a GPU failed, or ""."""
    return next((gpu.reason for gpu in verdict.gpus if not gpu.passed), "")


def _verdict(challenge: Challenge, verdicts: Sequence[GpuVerdict], now_ms: int) -> ChallengeVerdict:
    return ChallengeVerdict(
        challenge_id=challenge.challenge_id,
        passed=all(gpu.passed for gpu in verdicts),
        judged_ms=now_ms,
        gpus=tuple(verdicts),
    )
