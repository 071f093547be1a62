"""What a GPU's proof costs the venue at its full size: the bytes of an opening, and the processor time to verify it.

No GPU is needed: of each opened round the rows that will be drawn are computed, and the leaves of all others are
made up, which no verifier can see. Such an opening passes, with the same work as an honest one.
"""

import asyncio
import time
from base64 import b64encode
from hashlib import sha256
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.challenge import multiply_exactly
from schemas.challenge import (
    GENESIS_LINK,
    MATRIX_A,
    MATRIX_B,
    leaf_hash,
    matrix_rows,
    merkle_levels,
    merkle_path,
    next_link,
    round_key,
)
from schemas.nodes import (
    Challenge,
    ChallengeCommit,
    ChallengeOpening,
    GpuCommit,
    GpuOpening,
    OpenedRound,
    OpenedRow,
    ResidencyRequest,
    RoundRows,
    SignedMessage,
    node_id_of,
    signing_bytes,
)
from schemas.residency import fold_rows, residency_digest, residency_key, residency_leaf
from services.delivery.challenges import ChallengeRules, Proof, ResidencyProof, draw, make_challenge
from services.delivery.settings import Settings
from services.delivery.verifying import Verifier, verify_opening

GRADE, GPU = "H100SXM80", "GPU-00000001-0000-0000-0000-000000000000"
SEEN_US = 300_000
SECRET, MADE_UP = b"s" * 32, b"m" * 32
PROOFS_PER_HOUR = 3
TICK_S = 0.001


class ProofRefused(Exception):
    """The opening of the benchmark did not pass, so its time would mean nothing."""


class MadeUpNode:
    """A node that opens, rightly, a chain of which it has computed the drawn rows alone."""

    def __init__(self, rules: ChallengeRules):
        self._key = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
        self.public_key = self._key.public_key().public_bytes_raw().hex()
        self.node_id, self._rules = node_id_of(self.public_key), rules
        self.challenge = make_challenge("ch-1", "idle", "ab" * 32, (GPU,), 0, 1, rules)
        self._opened: dict[int, tuple[np.ndarray, list[list[bytes]]]] = {}

    def answer(self, settings: Settings) -> tuple[bytes, Proof]:
        """Returns the body of the opening, and the proof that it belongs to."""
        band = settings.bands.of(GRADE, simulated=False)
        wanted = {drawn.round: drawn for drawn in self._draw(self.challenge, "0" * 64).gpus[0].rounds}
        roots, link = [], GENESIS_LINK
        for number in range(1, self._rules.rounds + 1):
            key = round_key(self.challenge.nonce, self.node_id, GPU, number, link)
            made_up = sha256(key).digest()
            roots.append(self._compute(key, wanted[number]) if number in wanted else made_up)
            link = next_link(link, roots[-1])
        asked = self._draw(self.challenge, link.hex())
        second = ResidencyRequest(challenge_id="ch-1", nonce="cd" * 32, stride=settings.residency_stride, deadline_ms=1)
        rounds, held = self._open(asked.gpus[0].rounds, residency_key(second.nonce, self.node_id, GPU, link), second)
        opening = GpuOpening(
            gpu_uuid=GPU,
            roots=tuple(root.hex() for root in roots),
            rounds=rounds,
            residency_roots=tuple(root.hex() for root in held),
        )
        body = self._sign(ChallengeOpening, gpus=(opening,)).canonical()
        residency = ResidencyProof(second, {GPU: residency_digest(held).hex()}, over_us=0)
        commit = self._commit(link.hex())
        return body, Proof(self.challenge, commit, asked, SECRET, SEEN_US, band, residency=residency)

    def _draw(self, challenge: Challenge, head: str):
        return draw(challenge, self._commit(head), SECRET, 1, self._rules)

    def _commit(self, head: str) -> ChallengeCommit:
        return self._sign(ChallengeCommit, backend="made up", heads=(GpuCommit(gpu_uuid=GPU, head=head),))

    def _compute(self, key: bytes, wanted: RoundRows) -> bytes:
        """Computes the drawn rows of a round; returns the root over them and made-up leaves."""
        n = self._rules.n
        some = np.concatenate([matrix_rows(key, MATRIX_A, n, index, 1) for index in wanted.rows]).astype(np.float32)
        rows = multiply_exactly(some, matrix_rows(key, MATRIX_B, n, 0, n).astype(np.float32))
        leaves = [MADE_UP] * n
        for index, row in zip(wanted.rows, rows, strict=True):
            leaves[index] = leaf_hash(row.astype("<i4").tobytes())
        levels = merkle_levels(leaves)
        self._opened[wanted.round] = rows, levels
        return levels[-1][0]

    def _open(
        self, drawn: tuple[RoundRows, ...], key: bytes, second: ResidencyRequest
    ) -> tuple[tuple[OpenedRound, ...], list[bytes]]:
        rounds, held = [], [sha256(bytes([number % 256])).digest() for number in range(self._rules.rounds)]
        for wanted in drawn:
            rows, levels = self._opened[wanted.round]
            folds = fold_rows(key, wanted.round, wanted.rows, rows, second.stride).tolist()
            leaves = [MADE_UP] * self._rules.n
            for index, fold in zip(wanted.rows, folds, strict=True):
                leaves[index] = residency_leaf(fold)
            folded = merkle_levels(leaves)
            held[wanted.round - 1] = folded[-1][0]
            opened = tuple(
                OpenedRow(
                    index=index,
                    values=b64encode(row.astype("<i4").tobytes()).decode(),
                    path=tuple(sibling.hex() for sibling in merkle_path(levels, index)),
                    residency_path=tuple(sibling.hex() for sibling in merkle_path(folded, index)),
                )
                for index, row in zip(wanted.rows, rows, strict=True)
            )
            rounds.append(OpenedRound(round=wanted.round, rows=opened))
        return tuple(rounds), held

    def _sign(self, model: type[SignedMessage], **fields: object) -> SignedMessage:
        unsigned = model(agent=self.node_id, challenge_id="ch-1", **fields, signature="0" * 128)
        return unsigned.model_copy(update={"signature": self._key.sign(signing_bytes(unsigned)).hex()})


def measure_proofs(gpus: int) -> dict[str, Any]:
    """Verifies so many openings, one by one and as the service does. Raises ProofRefused."""
    settings = Settings()
    rules = settings.challenge_rules(settings.bands.of(GRADE, simulated=False))
    node = MadeUpNode(rules)
    body, proof = node.answer(settings)
    arguments = (body, node.node_id, "ch-1", node.public_key, proof)
    began_s = time.process_time()
    (verdict,) = verify_opening(*arguments)
    cpu_s = time.process_time() - began_s
    if not verdict.passed:
        raise ProofRefused(verdict.reason)
    wall_s, stall_s = asyncio.run(_serve(settings, gpus, arguments))
    return {
        "grade": GRADE,
        "n": rules.n,
        "rounds": rules.rounds,
        "opened_rows": rules.open_rounds * rules.open_rows,
        "opening_megabytes": round(len(body) / 1e6, 1),
        "core_s_per_gpu": round(cpu_s, 2),
        "core_s_per_1000_gpus": round(1_000 * cpu_s),
        "cores_busy_per_1000_gpus_at_3_an_hour": round(1_000 * cpu_s * PROOFS_PER_HOUR / 3_600, 2),
        "gpus_in_a_row": gpus,
        "seconds_for_them": round(wall_s, 1),
        "longest_stall_of_the_event_loop_ms": round(1_000 * stall_s, 1),
    }


async def _serve(settings: Settings, gpus: int, arguments: tuple) -> tuple[float, float]:
    """Verifies openings as the service does; returns the time it took and the longest stall of the loop meanwhile."""
    verifier, longest_s = Verifier(settings.proof_verifiers, settings.proofs_waiting_max), 0.0

    async def verify(number: int) -> None:
        async with verifier.turn(str(number)):
            await verifier.verify(*arguments)

    async def watch() -> None:
        nonlocal longest_s
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(TICK_S)
            longest_s = max(longest_s, time.perf_counter() - began_s - TICK_S)

    closing = asyncio.create_task(verifier.run())
    await verify(-1)  # starts the processes
    watching, began_s = asyncio.create_task(watch()), time.perf_counter()
    await asyncio.gather(*map(verify, range(gpus)))
    wall_s = time.perf_counter() - began_s
    for task in (watching, closing):
        task.cancel()
    return wall_s, longest_s
