"""Puts one node together from its configuration file and runs it until it is told to stop."""

import logging
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from agents.node.client import DeliveryClient, GatewayClient
from agents.node.clock import VenueClock
from agents.node.config import AgentConfig
from agents.node.ending import end_on_signals
from agents.node.enrol import register_key, remembered
from agents.node.identity import Identity
from agents.node.inspection import inspect_gpus
from agents.node.inventory import Nvml, Telemetry
from agents.node.kept import KeptReports
from agents.node.leases import LeaseBook
from agents.node.lessor import Lessor
from agents.node.market import OperatorAccount
from agents.node.node import LEAVE_TIMEOUT_S, Node, Parts
from agents.node.policy import PolicyFile
from agents.node.proof.choice import choose_backend
from agents.node.proving import Prover
from agents.node.seller import Seller
from agents.node.state import StateFolder, only_one_of
from agents.node.wire import open_http
from schemas.nodes import InspectionReply, node_id_of

BOOK_FRESH_S = 2
LEAVE_SHARE = 0.6
SIMULATED = (
    "NVML IS SIMULATED: these GPUs come from the stand-in library %s, not from hardware. "
    "Every report says so; only a sandbox takes them."
)
log = logging.getLogger("hourbook.agent")


async def run_agent(config: AgentConfig) -> None:
    """Runs one node until SIGINT, SIGTERM or SIGHUP. Raises StateInUse where another agent runs on its folder."""
    state = StateFolder(config.state_dir)
    with state.locked():
        await _run_on(state, config)


async def _run_on(state: StateFolder, config: AgentConfig) -> None:
    policy = PolicyFile(config.policy)
    enrolled = remembered(state)
    telemetry = open_nvml(policy, state, enrolled.gpu_uuids if enrolled else ())
    identity = Identity.load_or_make(state)
    key = config.operator_key() if config.api_key else identity.api_key()
    async with open_http() as http:
        # Real GPUs work side by side while the venue's clock runs; a CPU that plays them gains nothing by that.
        workers = 1 if telemetry.driver.simulated else max(1, len(telemetry.inventory()))
        with ThreadPoolExecutor(workers) as executor:
            clock = VenueClock()
            venue = config.venue
            gateway = GatewayClient(http, venue.gateway_url, venue.market_data_url, key, clock, config.patience())
            account = OperatorAccount(gateway, BOOK_FRESH_S)
            delivery = DeliveryClient(http, venue.delivery_url, clock, config.patience())
            token = config.read_token()
            leave_s = LEAVE_SHARE * config.stop_timeout_s
            kept = KeptReports(state, config.kept_bytes_max, config.kept_days)
            node = make_node(telemetry, policy, state, delivery, account, executor, token, leave_s, kept, identity)
            if config.api_key is None:
                node.registers_by(lambda: register_key(identity, gateway, token, state))
            end_on_signals(node.stop, config.stop_timeout_s)
            account.only_node = node.node_id
            with only_one_of(node.node_id), _watched(config, node, telemetry):
                await node.run()


@contextmanager
def _watched(config: AgentConfig, node: Node, telemetry: Nvml) -> Iterator[None]:
    """Answers for metrics and health, where the configuration names a port."""
    if config.metrics_port is None:
        yield
        return
    from agents.node.metrics import MetricsServer  # an agent without it is spared the memory

    server = MetricsServer(
        config.metrics_host, config.metrics_port, lambda: node.status, lambda: telemetry.failed_calls
    )
    try:
        yield
    finally:
        server.close()


async def run_inspection(config: AgentConfig, uuids: tuple[str, ...], nonce: str | None) -> InspectionReply:
    """Inspects GPUs of this machine, and deposits the signed report with the venue.

    A seller's node is enrolled. A buyer's need not be: the nonce, which his API key fetched, says whose report it is.
    """
    state = StateFolder(config.state_dir)
    known, identity = remembered(state), Identity.load_or_make(state)
    node_id = node_id_of(identity.public_key) if known is None else known.node_id
    telemetry = open_nvml(PolicyFile(config.policy), None, () if known is None else known.gpu_uuids)
    async with open_http() as http:
        delivery = DeliveryClient(http, config.venue.delivery_url)
        if nonce is None:
            nonce = await delivery.inspection_nonce(config.operator_key())
        report = inspect_gpus(identity, telemetry, node_id, nonce, uuids)
        return await delivery.inspect(report)


def open_nvml(policy: PolicyFile, state: StateFolder | None, known: tuple[str, ...]) -> Nvml:
    """Opens NVML, and says loudly where it is not NVIDIA's. A node that knows its GPUs starts whatever NVML answers."""
    telemetry = Nvml(policy.current.grade, known, policy.current.gpus, state)
    if telemetry.driver.simulated:
        log.warning(SIMULATED, telemetry.driver.library_sha256[:16])
    return telemetry


def make_node(
    telemetry: Telemetry,
    policy: PolicyFile,
    state: StateFolder,
    delivery: DeliveryClient,
    account: OperatorAccount,
    executor: Executor,
    token: str | None,
    leave_timeout_s: float = LEAVE_TIMEOUT_S,
    kept: KeptReports | None = None,
    identity: Identity | None = None,
) -> Node:
    """Puts a node together on a machine's own state folder."""
    identity = identity or Identity.load_or_make(state)
    backend = choose_backend(telemetry.driver.simulated, [gpu.uuid for gpu in telemetry.inventory()])
    return Node(
        Parts(
            identity=identity,
            telemetry=telemetry,
            policy=policy,
            state=state,
            delivery=delivery,
            prover=Prover(identity, backend, delivery, executor),
            lessor=Lessor(identity, LeaseBook(state), policy, delivery, state),
            seller=Seller(account, delivery.clock),
            token=token,
            leave_timeout_s=leave_timeout_s,
            kept=kept,
        )
    )
