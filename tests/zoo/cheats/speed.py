"""L2 to L4: the work is right, but it comes too slowly, from the wrong memory, or from one GPU for two."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import httpx

from agents.node.challenge import Chain, Residency
from schemas.nodes import Challenge, GpuOpening
from tests.zoo.machine import Chip
from tests.zoo.program import Given, Program

STEP_S, AWAY_S = 0.02, 1.0


class Slow(Program):
    """Has chips of its own speed."""

    caught_by, sign = "score", "proof too_slow"
    speed = 1.0

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.chips = {uuid: Chip(self.speed) for uuid in self.node.gpus}


class HalfClock(Slow):
    """A GPU that is held at less than half its clock, for the sake of power."""

    speed = 0.45


class SmallerGpu(Slow):
    """A GPU of a smaller grade, whose driver and PCI id were made to say otherwise."""

    speed = 0.3


class NoGpuAtAll(Slow):
    """Invented GPUs; the CPU computes for them."""

    speed = 0.2


class SharedByTwo(Program):
    """One chip behind two listed GPUs."""

    caught_by, sign = "score", "proof too_slow"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.chips = dict.fromkeys(self.node.gpus, Chip())


class Relay(Program):
    """Hands the challenge to an accomplice far away, whose GPU is real: every step takes the way there and back."""

    caught_by, sign = "residency", "proof not_resident"

    async def held(self, chain: Chain, nonce: str, stride: int) -> Residency:
        await asyncio.sleep(1)
        return await super().held(chain, nonce, stride)


class HostMemory(Program):
    """Keeps the results in host memory, behind a slow link."""

    caught_by, sign = "residency", "proof not_resident"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.chips = {uuid: Chip(memory_speed=0.02) for uuid in self.node.gpus}


class HalfTheMemory(Program):
    """Keeps half of the results and computes the others once more when they are asked for."""

    caught_by, sign = "residency", "proof not_resident"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._asked: dict[str, Challenge] = {}

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        self._asked[uuid] = challenge
        return await super().chain(challenge, uuid)

    async def held(self, chain: Chain, nonce: str, stride: int) -> Residency:
        await self.chips[chain.gpu_uuid].run(self._asked[chain.gpu_uuid], self.node.node_id, chain.gpu_uuid)
        return await super().held(chain, nonce, stride)


class DigestOutOfThinAir(Program):
    """Answers the second nonce with a digest of nothing."""

    caught_by, sign = "residency", "quarantined challenge_residency_roots_differ"

    def opening(self, opened: GpuOpening) -> GpuOpening:
        return opened.model_copy(update={"residency_roots": tuple("6" * 64 for _ in opened.residency_roots)})


class FoldedBeforehand(Program):
    """Folds its rows under a nonce of its own before it lets go of them, and shows that."""

    caught_by, sign = "residency", "quarantined challenge_residency_differs"

    async def held(self, chain: Chain, nonce: str, stride: int) -> Residency:
        return await super().held(chain, "8" * 64, stride)


class GoodAtTheExamOnly(Program):
    """Rents real GPUs for the enrolment, and gives them back."""

    caught_by, sign, sells = "idle", "proof too_slow", True
    in_the_end = "quarantined score_below_band"

    async def prove(self, challenge: Challenge) -> None:
        await super().prove(challenge)
        if self.has_passed.is_set():
            self.chips = {uuid: Chip(0.3) for uuid in self.node.gpus}


class OneOfTwo(Program):
    """A node that shares its chip with another: the chip proves one to its end, and nothing is asked for meanwhile."""

    gpus = 1

    def __init__(self, given: Given, http: httpx.AsyncClient | None = None) -> None:
        super().__init__(given, http)
        self.pair: list[Program] = [self]
        self.chip_turn = asyncio.Lock()

    async def is_held(self) -> None:
        await self.is_free()

    async def report(self) -> None:
        await self.is_free()
        await super().report()

    async def prove(self, challenge: Challenge) -> None:
        async with self.chip_turn:
            await super().prove(challenge)

    async def is_free(self) -> None:
        """Returns when neither proves anything."""
        while any(not proof.done() for each in self.pair for proof in each.proving.values()):
            await asyncio.sleep(STEP_S)


class OneChipForTwoNodes(OneOfTwo):
    """Two nodes of one operator, and one chip that answers for both, as long as it is not asked by both at once."""

    caught_by, sign, sells = "simultaneity", "proof too_slow", True
    in_the_end, serves = "quarantined score_below_band", 1

    def __init__(self, given: Given, http: httpx.AsyncClient | None = None) -> None:
        super().__init__(given, http)
        other = replace(given, tokens=given.tokens[1:], number=given.number + 50_000)
        self.second = AwayAtGates(other, self.chips[self.node.gpus[0]])
        self.pair = self.second.pair = [self, self.second]
        self.second.chip_turn = self.chip_turn

    @property
    def sellers(self) -> list[str]:
        return [self.node.node_id, self.second.node.node_id]

    async def run(self) -> None:
        """Enrols one node after the other, then works as both."""
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run())
            await self.has_passed.wait()
            group.create_task(self.second.run())


class AwayAtGates(OneOfTwo):
    """The second node. It is away whenever a gate may close, and hears of it when the chip has passed for the other."""

    def __init__(self, given: Given, chip: Chip) -> None:
        super().__init__(given)
        self.chips = dict.fromkeys(self.node.gpus, chip)

    @property
    def since_gate_s(self) -> float:
        """How long ago a gate may have closed the last time."""
        return (time.time() + self.given.gate_lead_s) % self.given.period_s

    async def listen(self) -> None:
        """Lets go of its request before each moment in which a gate may close."""
        while self.given.is_sold:
            with suppress(TimeoutError):
                async with asyncio.timeout((self.given.period_s - AWAY_S - self.since_gate_s) % self.given.period_s):
                    await super().listen()
        await super().listen()

    async def is_free(self) -> None:
        while self.given.is_sold and not AWAY_S < self.since_gate_s < self.given.period_s - AWAY_S:
            await asyncio.sleep(STEP_S)
        await super().is_free()


class NeverThere(Program):
    """Holds no request open, so that its nonces come when its next report does."""

    caught_by, sign, sells = "simultaneity", "enrolled not_simultaneous", True
    serves = 1

    async def listen(self) -> None:
        """Does not."""
