"""A node as a program: enrols, reports, proves until its standard input closes, and prints what it is told.

It reads one line of JSON, `Given`, and prints first who it is, `Named`, then lines: `refused CODE`, `proof REASON`
(`passed` where there is none), `accepted` for a report, `lease ID` where it lets a buyer in, and `inside REASON` of a
proof there. Each further line that it reads is a `Visit`, somebody who enters what he rents. The honest node is
`Program` itself; a cheat overrides the one thing in which it differs.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

import httpx

from agents.node.challenge import Chain, Residency
from schemas.nodes import (
    Challenge,
    ChallengeOffer,
    ChallengeWait,
    EnrolReply,
    EnrolRequest,
    GpuOpening,
    GpuReading,
    LeaseResult,
    LeaseStart,
    Report,
    ReportReply,
    SignedMessage,
)
from tests.fixtures.answering import answer_challenge, ask_patiently
from tests.fixtures.delivery import TestNode, gpu_uuid, reading
from tests.zoo.inside import Visit, enter
from tests.zoo.machine import Chip

PCI_DEVICE_ID = "233010de"  # H100 SXM
DRIVER, LIBRARY = "570.86.15", "b" * 64
REAL = {
    "nvml_simulated": False,
    "driver_version": DRIVER,
    "kernel_driver_version": DRIVER,
    "library_sha256": LIBRARY,
}


@dataclass(frozen=True)
class Given:
    """What the keeper of the zoo gives a program: where the venue is, tokens to enrol with, a number of its own, and
    whether it will be sold an hour, how long that is, and how long before it the gate closes.
    """

    url: str
    tokens: list[str]
    number: int
    is_sold: bool = False
    period_s: int = 0
    gate_lead_s: int = 0


@dataclass(frozen=True)
class Named:
    """Who a program is: the node that it is known by, those whose GPUs it would sell, and all its GPUs."""

    node: str
    sellers: list[str]
    gpus: list[str]


class Program:
    """An honest node with two GPUs.

    Of a cheat `caught_by` is the layer that sees through it, `sign` what then is said; `held_by` names what holds even
    without that layer, where it cannot be switched off. A cheat that `sells` gets past its enrolment and is sold an
    hour, or a block of `periods`: `visit` is what its buyer does inside, so many `proofs` at most, `in_the_end` what
    becomes of it besides its sign, before its money is counted. One that was `sold_before` had another buyer first;
    of what it sells it `serves` so many hours in truth.
    """

    caught_by, sign, held_by = "", "", ""
    sells, visit, in_the_end = False, "", ""
    periods, proofs, sold_before, serves = 1, 1, False, 0
    gpus, backend_name = 2, "cuda"

    def __init__(self, given: Given, http: httpx.AsyncClient | None = None) -> None:
        self.given, self.accepted, self.refused = given, 0, 0
        uuids = tuple(gpu_uuid(100 * given.number + index) for index in range(self.gpus))
        self.node = TestNode(seed=1_000 + given.number, gpus=uuids, software=dict(REAL))
        self.chips = {uuid: Chip() for uuid in uuids}
        self.http = http or httpx.AsyncClient(base_url=given.url, timeout=30)
        self.nonce, self.mono_ms, self.energy_mj, self.interval_s = "", 0, 1_000_000, 0.3
        self.proving: dict[str, asyncio.Task] = {}
        self.leases: dict[str, LeaseStart] = {}
        self.has_begun, self.has_passed = False, asyncio.Event()

    @property
    def sellers(self) -> list[str]:
        """The nodes whose GPUs it would sell: one of each."""
        return [self.node.node_id]

    @property
    def is_hour(self) -> bool:
        """Whether the hour of a buyer is on."""
        now_ms = time.time_ns() // 1_000_000
        return any(lease.starts_ms <= now_ms < lease.ends_ms for lease in self.leases.values())

    @property
    def is_time(self) -> bool:
        """Whether it is time for a cheat who behaves at first: in the hour that it sold, or after two reports."""
        self.has_begun |= self.is_hour if self.given.is_sold else self.accepted >= 2
        return self.has_begun

    async def run(self) -> None:
        """Enrols and works until it is cancelled."""
        if await self.enrol() is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.listen())
            while True:
                await self.report()
                await asyncio.sleep(self.interval_s)

    async def enrol(self) -> EnrolReply | None:
        """Enrols; None where the venue refuses."""
        answer = await self.post("/v1/nodes", self.enrolment(self.given.tokens[0]))
        if answer is None:
            return None
        reply = EnrolReply.model_validate_json(answer)
        self.nonce, self.mono_ms = reply.server_nonce, mono_ms()
        if reply.challenge:
            self.begin(reply.challenge)
        return reply

    def enrolment(self, token: str) -> EnrolRequest:
        """Makes the request to enrol."""
        gpus = [self.node.inventory(uuid, index) for index, uuid in enumerate(self.node.gpus)]
        named = tuple(gpu.model_copy(update={"pci_device_id": PCI_DEVICE_ID}) for gpu in gpus)
        return self.node.enrolment(token, gpus=named)

    # -- reports

    async def report(self) -> None:
        """Sends one report."""
        await self.send(self.make_report())

    async def send(self, report: Report) -> None:
        """Sends a report and follows the answer."""
        answer = await self.post(f"/v1/nodes/{self.node.node_id}/reports", report)
        if answer is None:
            return
        self.accepted += 1
        self.tell("accepted")
        reply = ReportReply.model_validate_json(answer)
        self.nonce, self.interval_s = reply.next_nonce, reply.report_interval_ms / 1000
        for challenge in reply.challenges:
            self.begin(challenge)
        for stop in reply.stop_leases:
            await self.answer(stop.lease_id, "stop")
        for start in reply.start_leases:
            await self.open(start)

    def make_report(self, **changes: object) -> Report:
        """Makes the next report of the chain."""
        start_ms, self.mono_ms = self.mono_ms, mono_ms()
        self.energy_mj += 70 * (self.mono_ms - start_ms)
        window = {"mono_start_ms": start_ms, "mono_end_ms": self.mono_ms}
        return self.node.report(self.nonce, **window | {"gpus": self.readings()} | changes)

    def readings(self) -> tuple[GpuReading, ...]:
        """Reads all GPUs."""
        return tuple(reading(uuid, **{"energy_mj": self.energy_mj} | self.facts(uuid)) for uuid in self.node.gpus)

    def facts(self, uuid: str) -> dict[str, object]:
        """Returns what a GPU's reading says besides the usual."""
        return {}

    # -- leases

    async def open(self, lease: LeaseStart) -> None:
        """Lets a buyer in."""
        self.leases[lease.lease_id] = lease
        await self.answer(lease.lease_id, "start", **self.door(lease.lease_id))
        self.tell(f"lease {lease.lease_id}")

    def door(self, lease_id: str) -> dict[str, str]:
        """Returns where a buyer gets in, as the hook of a played site says."""
        return {"endpoint": f"played://{lease_id}"}

    async def answer(self, lease_id: str, action: str, **place: str) -> None:
        """Says that a buyer is in, or out."""
        usual = {"endpoint": "", "credential": "", "host_key": ""}
        me = {"agent": self.node.node_id, "lease_id": lease_id, "action": action}
        result = self.node.sign(LeaseResult, **me, ok=True, wall_ms=0, **usual | place)
        await self.post(f"/v1/nodes/{self.node.node_id}/leases/{lease_id}", result)

    async def let_in(self, visit: Visit) -> None:
        """Runs what a buyer brings into his lease, on the chips that he was given."""
        await enter(self, visit)

    def given_chip(self, uuid: str) -> Chip:
        """Returns the chip that a buyer of a GPU was given."""
        return self.chips[uuid]

    def is_gone_inside(self) -> bool:
        """Whether the rented environment has lost its GPUs."""
        return False

    # -- challenges

    def begin(self, challenge: Challenge) -> None:
        """Answers a challenge beside everything else, once."""
        if challenge.challenge_id not in self.proving:
            self.proving[challenge.challenge_id] = asyncio.create_task(self.prove(challenge))

    async def listen(self) -> None:
        """Holds a request for challenges open, for ever."""
        path, echo = f"/v1/nodes/{self.node.node_id}/challenges/next", ""
        while True:
            await self.is_held()
            wait = self.node.sign(ChallengeWait, agent=self.node.node_id, echo=echo, wall_ms=0)
            answer = await self.http.post(path, content=wait.canonical())
            if not answer.is_success:
                await asyncio.sleep(1)
                continue
            offer = ChallengeOffer.model_validate_json(answer.content)
            echo = offer.echo
            for challenge in offer.challenges:
                self.begin(challenge)

    async def is_held(self) -> None:
        """Returns when it is to hold a request: at once."""

    async def prove(self, challenge: Challenge) -> None:
        """Answers a challenge, and notes what the venue says of each GPU."""
        verdict = await answer_challenge(self, challenge)
        for gpu in verdict.gpus if verdict else ():
            self.tell(f"proof {gpu.reason or 'passed'}")
        if verdict and verdict.passed:
            self.has_passed.set()

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        """Runs one GPU's chain."""
        return await self.chips[uuid].run(challenge, self.node.node_id, uuid)

    async def held(self, chain: Chain, nonce: str, stride: int) -> Residency:
        """Answers the second nonce for one GPU."""
        return await self.chips[chain.gpu_uuid].hold(chain, self.node.node_id, nonce, stride)

    def opening(self, opened: GpuOpening) -> GpuOpening:
        """Returns what is sent of an opening."""
        return opened

    def tell(self, words: str) -> None:
        """Says something to the keeper."""
        print(words, flush=True)

    # -- HTTP

    async def ask(self, path: str, message: SignedMessage) -> bytes | None:
        """Posts a step of an answer to a challenge."""
        return await self.post(path, message)

    async def post(self, path: str, message: SignedMessage) -> bytes | None:
        """Posts a message; None where it was refused, the code of which is noted. A busy venue is asked again."""
        answer = await ask_patiently(self.http, path, content=message.canonical())
        if answer.is_success:
            return answer.content
        self.refused += 1
        self.tell(f"refused {answer.json()['code']}")
        return None


async def main(kind: type[Program]) -> None:
    """Runs one program until standard input closes; each line until then is a visit."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    program = kind(Given(**json.loads(await lines.readline())))
    program.tell(json.dumps(asdict(Named(program.node.node_id, program.sellers, list(program.node.gpus)))))
    work = [asyncio.create_task(program.run())]
    while line := await lines.readline():
        work.append(asyncio.create_task(program.let_in(Visit(**json.loads(line)))))
    for task in work:
        task.cancel()
    done, _ = await asyncio.wait(work)
    failed = next((task.exception() for task in done if not task.cancelled()), None)
    if failed is not None:
        raise failed


def mono_ms() -> int:
    """The machine's monotonic clock."""
    return time.monotonic_ns() // 1_000_000
