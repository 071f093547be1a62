"""What a node's report costs the venue: many nodes that really sign, paced as agents are, then a tenfold burst.

Counted is the processor time of delivery, PostgreSQL and the broker per report; the nodes' own time is shown beside it.
docs/decisions/0022-cost-of-a-report.md has the figures, and says where the time goes.
"""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.challenge import NumpyBackend
from agents.node.client import DeliveryClient
from agents.node.enrol import AGENT_VERSION
from agents.node.identity import Identity
from agents.node.proving import Prover
from benchmarks.raw_http import Connection, post
from benchmarks.rest import processor_s
from benchmarks.round_trip import percentiles
from clients.actors import Actor, Registry
from clients.http import result_of
from infra.admin import send_commands
from infra.exchange import RunningExchange, free_ports, running
from infra.reference.products import Timing, list_products
from schemas.nodes import GENESIS_HASH, EnrolRequest, GpuInventory, GpuReading, Report, message_hash
from schemas.topics import METER_REPORTS

GRADE, HUB = "H100SXM80", "CNE"
PRODUCT = f"{GRADE}.{HUB}.F"
MEMORY_MIB = 81_559
IDLE_POWER_W = 70
GROUP = f"delivery.{METER_REPORTS.name}"
COUNTED = ("delivery", "postgres", "kafka")
SETTINGS = {
    "HOURBOOK_SIMULATED_CHALLENGE_N": "32",
    "HOURBOOK_SIMULATED_CHALLENGE_ROUNDS": "1",
    "HOURBOOK_CHALLENGE_OPEN_ROWS": "1",
    # GPUs' histories are written after ten reports at most, so that they are in the figures; by default after thirty.
    "HOURBOOK_HISTORY_INTERVAL_S": "10",
}
ENROL_AT_ONCE = 8
INTERVAL_MS = 10_000
BURST = 10
DRAIN_S_MAX = 300
OK = 200
DRIVER = {"agent_version": AGENT_VERSION, "driver_version": "570.86.15", "library_sha256": "0" * 64}


class ReportRefused(Exception):
    """A report of the benchmark was not taken, so its time would mean nothing."""


@dataclass
class PlayedNode:
    """One node: its key, its chain, and the nonce for its next report. Its clock advances by one interval a report."""

    identity: Identity
    node_id: str
    gpus: tuple[GpuInventory, ...]
    nonce: str
    seq: int = 0
    hash: str = GENESIS_HASH
    mono_ms: int = 0

    def next_report(self, window_ms: int) -> Report:
        """Returns the next report of the chain, signed; all GPUs are idle."""
        return self.identity.sign(
            Report,
            agent=self.node_id,
            boot_id="boot-1",
            seq=self.seq + 1,
            prev_hash=self.hash,
            server_nonce=self.nonce,
            mono_start_ms=self.mono_ms,
            mono_end_ms=self.mono_ms + window_ms,
            wall_ms=time.time_ns() // 1_000_000,
            queued=False,
            lease_ids=(),
            nvml_simulated=True,
            gpus=tuple(_idle_reading(gpu, self.mono_ms + window_ms) for gpu in self.gpus),
            **DRIVER,
        )

    def taken(self, report: Report, next_nonce: str) -> None:
        """Goes on behind a report that the venue has taken."""
        self.seq, self.hash, self.mono_ms = report.seq, message_hash(report), report.mono_end_ms
        self.nonce = next_nonce


def measure_reports(work: Path, nodes: int, gpus: int, rounds: int, connections: int) -> dict[str, Any]:
    """Starts an exchange of its own, lets `nodes` nodes of `gpus` GPUs report `rounds` times each, and bursts once."""
    with running(work / "data", **free_ports(), **SETTINGS) as exchange:
        product = next(each for each in list_products(Timing()) if each.product == PRODUCT)
        asyncio.run(send_commands(exchange.addresses["kafka"], exchange.data / "keys", [product]))
        registry = Registry(exchange.addresses, exchange.data / "keys", work / "keys")
        operator = registry.open_account("bench-operator", "operate", CNY="1000.00")
        return asyncio.run(_measure(exchange, operator, nodes, gpus, rounds, connections))


async def _measure(
    exchange: RunningExchange, operator: Actor, nodes: int, gpus: int, rounds: int, connections: int
) -> dict[str, Any]:
    url, kafka = urlsplit(exchange.addresses["delivery"]), exchange.kafka_options()
    played = await _enrol_all(exchange.addresses["delivery"], operator, nodes, gpus)
    await _report_all(url, played, connections, INTERVAL_MS / 1000)  # a first round warms every path
    await _drained_s(kafka)
    before, began = processor_s(exchange.data), time.perf_counter()
    taken_ms: list[float] = []
    for _ in range(rounds):
        taken_ms += await _report_all(url, played, connections, INTERVAL_MS / 1000)
    elapsed_s = time.perf_counter() - began
    await _drained_s(kafka)
    after = processor_s(exchange.data)
    burst_ms, burst_s = [], time.perf_counter()
    for _ in range(BURST):
        burst_ms += await _report_all(url, played, connections, INTERVAL_MS / 1000 / BURST)
    burst_s = time.perf_counter() - burst_s
    drained_s = await _drained_s(kafka)
    last = processor_s(exchange.data)
    cost_us = {name: round((after[name] - before[name]) / len(taken_ms) * 1e6) for name in after}
    burst_us = {name: round((last[name] - after[name]) / len(burst_ms) * 1e6) for name in after}
    return {
        "nodes": nodes,
        "gpus_per_node": gpus,
        "reports": len(taken_ms),
        "reports_per_s": round(len(taken_ms) / elapsed_s),
        "taken": percentiles(taken_ms),
        "processor_us_per_report": cost_us,
        "venue_us_per_report": sum(cost_us[name] for name in COUNTED),
        "burst_reports_per_s": round(len(burst_ms) / burst_s),
        "burst_taken": percentiles(burst_ms),
        "burst_processor_us_per_report": burst_us,
        "burst_venue_us_per_report": sum(burst_us[name] for name in COUNTED),
        "lag_zero_after_burst_s": round(drained_s, 1),
    }


async def _enrol_all(delivery_url: str, operator: Actor, nodes: int, gpus: int) -> list[PlayedNode]:
    turns = asyncio.Semaphore(ENROL_AT_ONCE)
    async with httpx.AsyncClient(timeout=60) as http:
        with ThreadPoolExecutor(max_workers=1) as executor:
            client = DeliveryClient(http, delivery_url)

            async def enrol(number: int) -> PlayedNode:
                async with turns:
                    return await _enrol(client, operator, executor, number, gpus)

            return list(await asyncio.gather(*(enrol(number) for number in range(nodes))))


async def _enrol(
    client: DeliveryClient, operator: Actor, executor: ThreadPoolExecutor, number: int, gpus: int
) -> PlayedNode:
    headers = {"Idempotency-Key": f"bench-{number}"}
    token = await asyncio.to_thread(operator.gateway.post, "/v1/enrolment-tokens", json={}, headers=headers)
    identity = Identity(Ed25519PrivateKey.generate())
    inventory = tuple(_inventory(number, index) for index in range(gpus))
    request = identity.sign(
        EnrolRequest,
        token=json.dumps(result_of(token)),
        public_key=identity.public_key,
        label=f"bench-{number}",
        hub=HUB,
        grade=GRADE,
        boot_id="boot-1",
        gpus=inventory,
        nvml_simulated=True,
        wall_ms=time.time_ns() // 1_000_000,
        **DRIVER,
    )
    reply = await client.enrol(request)
    prover = Prover(identity, NumpyBackend(), client, executor)
    await prover.prove(reply.challenge, reply.node_id, frozenset(gpu.uuid for gpu in inventory))
    return PlayedNode(identity, reply.node_id, inventory, reply.server_nonce)


async def _report_all(url: SplitResult, played: list[PlayedNode], connections: int, over_s: float) -> list[float]:
    """Lets every node report once, spread evenly over some seconds; returns how long each answer took, in ms."""
    shares = [played[first::connections] for first in range(connections)]
    taken = await asyncio.gather(*(_report_some(url, share, over_s) for share in shares if share))
    return [ms for each in taken for ms in each]


async def _report_some(url: SplitResult, share: list[PlayedNode], over_s: float) -> list[float]:
    connection = await Connection.open(url.hostname, url.port)
    began, pause_s, taken_ms = time.perf_counter(), over_s / len(share), []
    for number, node in enumerate(share):
        await asyncio.sleep(max(0.0, began + number * pause_s - time.perf_counter()))
        # A window that is shorter than the time between two reports never claims more time than passed.
        taken_ms.append(await _send(connection, url.netloc, node, node.next_report(window_ms=1)) / 1e6)
    connection.close()
    return taken_ms


async def _send(connection: Connection, host: str, node: PlayedNode, report: Report) -> int:
    """Sends a report; one whose nonce has grown old while others enrolled is signed again with the venue's new one."""
    path = f"/v1/nodes/{node.node_id}/reports"
    status, taken_ns = await connection.exchange(post(host, path, {}, report.canonical()))
    answer = json.loads(connection.body)
    if answer.get("code") == "report_nonce_stale":
        node.nonce = answer["server_nonce"]
        report = node.next_report(report.mono_end_ms - report.mono_start_ms)
        status, taken_ns = await connection.exchange(post(host, path, {}, report.canonical()))
        answer = json.loads(connection.body)
    if status != OK:
        raise ReportRefused(f"status {status}: {answer}")
    node.taken(report, answer["next_nonce"])
    return taken_ns


async def _drained_s(kafka: dict[str, Any]) -> float:
    """Waits until the meter has read every report that was acknowledged; returns the seconds that took."""
    began = time.perf_counter()
    while await _lag(kafka):
        if time.perf_counter() - began > DRAIN_S_MAX:
            raise ReportRefused(f"the meter still lags after {DRAIN_S_MAX} s")
        await asyncio.sleep(0.2)
    return time.perf_counter() - began


async def _lag(kafka: dict[str, Any]) -> int:
    partitions = [TopicPartition(METER_REPORTS.name, number) for number in range(METER_REPORTS.partitions)]
    consumer, admin = AIOKafkaConsumer(**kafka), AIOKafkaAdminClient(**kafka)
    await consumer.start()
    await admin.start()
    try:
        ends = await consumer.end_offsets(partitions)
        taken = await admin.list_consumer_group_offsets(GROUP)
    finally:
        await consumer.stop()
        await admin.close()
    return sum(end - max(0, taken[each].offset if each in taken else 0) for each, end in ends.items())


def _inventory(number: int, index: int) -> GpuInventory:
    return GpuInventory(
        uuid=f"GPU-{number:08x}-{index:04x}-4000-8000-000000000000",
        pci_address=f"00000000:{index + 1:02X}:00.0",
        serial=f"S{number:08d}{index:02d}",
        board_part_number="",
        name="NVIDIA H100 80GB HBM3",
        memory_mib=MEMORY_MIB,
        grade=GRADE,
    )


def _idle_reading(gpu: GpuInventory, mono_ms: int) -> GpuReading:
    return GpuReading(
        uuid=gpu.uuid,
        present=True,
        healthy=True,
        memory_total_mib=gpu.memory_mib,
        memory_used_mib=0,
        utilisation_percent=0,
        power_mw=IDLE_POWER_W * 1000,
        energy_mj=IDLE_POWER_W * mono_ms,
        temperature_c=30,
        sm_clock_mhz=345,
        memory_clock_mhz=2_619,
        throttle=0,
        ecc_corrected=0,
        ecc_uncorrected=0,
        remapped_correctable=0,
        remapped_uncorrectable=0,
        remap_failed=False,
        mig_enabled=False,
    )
