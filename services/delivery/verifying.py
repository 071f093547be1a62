"""Verifies openings apart from the event loop: small ones in threads, those of real GPUs in processes of their own.

Reading a GPU's 12 MB holds the interpreter's lock for a tenth of a second, and its products take seconds of a core:
neither may delay the reports of other nodes. No database lock is held meanwhile.
"""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from multiprocessing.connection import wait

from pydantic import ValidationError

from schemas.nodes import ChallengeOpening, GpuVerdict
from services.delivery.challenges import ChallengeMismatch, Proof, judge_opened
from services.delivery.domain import DeliveryError, NotThisNode
from services.delivery.signatures import check_signature

LARGE_BYTES = 1_048_576  # from here on a process is worth its start


class MalformedOpening(DeliveryError):
    """The body is no opening."""

    code, status = "malformed_request", 400


class VerifiersBusy(DeliveryError):
    """Too many proofs wait to be verified; the node sends its opening again."""

    code, status, retryable = "unavailable", 503, True


def verify_opening(
    body: bytes, node_id: str, challenge_id: str, public_key: str, proof: Proof | None
) -> tuple[GpuVerdict, ...]:
    """Reads an opening, checks who signed it, and judges what it opens; without a proof on record nothing is judged.

    Raises MalformedOpening, NotThisNode, ChallengeMismatch or BadSignature.
    """
    try:
        opening = ChallengeOpening.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise MalformedOpening(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if opening.agent != node_id:
        raise NotThisNode(f"the path names {node_id}, the message {opening.agent}")
    if opening.challenge_id != challenge_id:
        raise ChallengeMismatch(f"the path names {challenge_id}, the message {opening.challenge_id}")
    check_signature(opening, public_key)
    return () if proof is None else judge_opened(proof, opening)


class Verifier:
    """So many verifications at a time; so many more may wait, and the rest come again."""

    def __init__(self, workers: int, waiting_max: int):
        self._workers, self._places = workers, workers + waiting_max
        self._turns = asyncio.Semaphore(workers)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="verify")
        self._processes: ProcessPoolExecutor | None = None
        self.under_way: dict[str, int] = {}

    @asynccontextmanager
    async def turn(self, challenge_id: str) -> AsyncIterator[None]:
        """Waits for a turn. Raises VerifiersBusy. Whoever waits in time is not late: see `under_way`."""
        if sum(self.under_way.values()) >= self._places:
            raise VerifiersBusy("too many proofs wait to be verified")
        self.under_way[challenge_id] = self.under_way.get(challenge_id, 0) + 1
        try:
            async with self._turns:
                yield
        finally:
            self.under_way[challenge_id] -= 1
            if not self.under_way[challenge_id]:
                del self.under_way[challenge_id]

    async def verify(
        self, body: bytes, node_id: str, challenge_id: str, public_key: str, proof: Proof | None
    ) -> tuple[GpuVerdict, ...]:
        """Runs `verify_opening` where its size says; to be called within a turn."""
        executor, facts = self._executor(len(body)), (body, node_id, challenge_id, public_key, proof)
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, verify_opening, *facts)
        except BrokenProcessPool as error:
            if self._processes is executor:
                self._processes = None  # the next one starts new processes
            raise VerifiersBusy("a process that verifies proofs has ended; the opening is taken again") from error

    async def run(self) -> None:
        """Ends threads and processes when it is cancelled; what they are at is dropped."""
        try:
            await asyncio.Event().wait()
        finally:
            self._close()

    def _close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(wait=False, cancel_futures=True)

    def _executor(self, size_bytes: int) -> Executor:
        if size_bytes < LARGE_BYTES:
            return self._threads
        if self._processes is None:
            # A forked child would hold the service's sockets and locks.
            context = multiprocessing.get_context("spawn")
            self._processes = ProcessPoolExecutor(self._workers, context, initializer=_end_with_parent)
        return self._processes


def _end_with_parent() -> None:
    """Ends this process when the service is gone, however it went."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
