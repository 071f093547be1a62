"""Good at every exam, and the buyer gets less than he pays for: only who looks inside the sold hour sees it."""

import asyncio
import time
from dataclasses import dataclass

import asyncssh

from agents.node.challenge import Chain, run_chain
from schemas.nodes import Challenge, LeaseStart, Report
from tests.fakes.cheats import RankOne
from tests.zoo.machine import RATED_S, Chip
from tests.zoo.program import Given, Program

STEP_S, SWAP_S = 0.02, 0.1  # to move the lease's memory out of the way


class GivesBuyersAnotherGpu(Program):
    """Is good at every exam, and gives its buyers another GPU."""

    caught_by, sign = "shopper", "quarantined inside_row_differs"
    sells, visit, sold_before = True, "prove", True

    def given_chip(self, uuid: str) -> Chip:
        return Chip(backend=RankOne())


class StopsALeaseForExams(Program):
    """Gives one of its GPUs away when its buyer's hour has begun, and stops his work on the other to pass exams."""

    caught_by, sign = "shopper", "quarantined inside_score_below_band"
    sells, visit, proofs, periods = True, "prove", 6, 2

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.exams = 0

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        if not self.is_time:
            return await super().chain(challenge, uuid)
        self.exams += 1
        try:
            await asyncio.sleep(SWAP_S)
            return await self.chips[self.node.gpus[0]].run(challenge, self.node.node_id, uuid)
        finally:
            self.exams -= 1

    def given_chip(self, uuid: str) -> "Stopped":
        return Stopped(program=self)


@dataclass
class Stopped(Chip):
    """The chip of a lease, which computes nothing while there is an exam."""

    program: StopsALeaseForExams | None = None

    async def run(self, challenge: Challenge, agent: str, gpu_uuid: str) -> Chain:
        chain, left_s = run_chain(self.backend, challenge, agent, gpu_uuid), RATED_S
        while left_s > 0:
            began = time.monotonic()
            await asyncio.sleep(STEP_S)
            if not self.program.exams:
                left_s -= time.monotonic() - began
        return chain


class TakesTheGpuBack(Program):
    """Takes the GPU out of the rented environment when the hour has begun, and reports the whole hour as delivered."""

    caught_by, sign, in_the_end = "renter", "disputed meters_differ", "metered renter_saw_fault"
    sells, visit = True, "meter"

    def is_gone_inside(self) -> bool:
        return self.is_hour


class ShutsTheDoor(Program):
    """Ends the buyer's environment, and its door with it, when the hour has begun; reports the hour as delivered."""

    caught_by, sign, sells = "door", "metered unreachable", True
    server: asyncssh.SSHAcceptor | None = None

    async def open(self, lease: LeaseStart) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key])
        self.host_key = " ".join(key.export_public_key().decode().split()[:2])
        await super().open(lease)

    def door(self, lease_id: str) -> dict[str, str]:
        """Returns where its server listens; who enters is called as the node is."""
        return {
            "endpoint": f"ssh://{self.node.node_id}@127.0.0.1:{self.server.get_port()}",
            "host_key": self.host_key,
        }

    async def report(self) -> None:
        if self.is_hour:
            self.server.close()
        await super().report()


class InventedUptime(Program):
    """Is dark for the whole hour, its buyer shut out, and comes back with reports for all of it."""

    caught_by, sign, sells = "witness", "metered unproven", True

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.invented: list[Report] = []

    async def report(self) -> None:
        if self.is_hour:
            self.invented.append(self.make_report(queued=True))
            return
        while self.invented:
            await self.send(self.invented.pop(0))
        await super().report()
