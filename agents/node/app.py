"""Puts one node together from its configuration file and runs it until it is told to stop."""

import asyncio
import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from agents.node.challenge import NumpyBackend
from agents.node.client import ApiKey, DeliveryClient, GatewayClient
from agents.node.config import AgentConfig
from agents.node.errors import AgentError
from agents.node.identity import Identity
from agents.node.inventory import NoGpus, Nvml
from agents.node.leases import LeaseBook
from agents.node.lessor import Lessor
from agents.node.market import OperatorAccount
from agents.node.node import Node, Parts
from agents.node.policy import PolicyFile
from agents.node.proving import Prover
from agents.node.seller import Seller
from agents.node.state import StateFolder

HTTP_TIMEOUT_S = 10
BOOK_FRESH_S = 0.5
SIMULATED = (
    "NVML IS SIMULATED: these GPUs come from the stand-in library %s, not from hardware. "
    "Every report says so; only a sandbox takes them."
)
log = logging.getLogger("hourbook.agent")


def main() -> int:
    """Runs the agent; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if len(sys.argv) != 3 or sys.argv[1] != "--config":
        print("usage: python -m agents.node --config FILE", file=sys.stderr)
        return 2
    try:
        asyncio.run(run_agent(AgentConfig.load(Path(sys.argv[2]))))
    except* (AgentError, NoGpus) as errors:
        for error in errors.exceptions:
            log.error("%s", error)
        return 1
    return 0


async def run_agent(config: AgentConfig) -> None:
    """Runs one node until SIGINT or SIGTERM."""
    policy = PolicyFile(config.policy)
    telemetry = Nvml(policy.current.grade)
    if telemetry.driver.simulated:
        log.warning(SIMULATED, telemetry.driver.library_sha256[:16])
    key = ApiKey.load(config.api_key, config.api_key_file)
    async with httpx.AsyncClient(timeout=HTTP_TIMEOUT_S) as http:
        with ThreadPoolExecutor(max_workers=1) as executor:
            gateway = GatewayClient(http, config.venue.gateway_url, config.venue.market_data_url, key)
            account = OperatorAccount(gateway, BOOK_FRESH_S)
            delivery = DeliveryClient(http, config.venue.delivery_url)
            state = StateFolder(config.state_dir)
            node = make_node(telemetry, policy, state, delivery, account, executor, config.read_token())
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, node.stop)
            await node.run()


def make_node(
    telemetry, policy: PolicyFile, state: StateFolder, delivery: DeliveryClient, account: OperatorAccount, executor, token
) -> Node:
    """Puts a node together on a machine's own state folder."""
    identity = Identity.load_or_make(state)
    return Node(
        Parts(
            identity=identity,
            telemetry=telemetry,
            policy=policy,
            state=state,
            delivery=delivery,
            prover=Prover(identity, NumpyBackend(), delivery, executor),
            lessor=Lessor(identity, LeaseBook(state), policy, delivery),
            seller=Seller(account),
            token=token,
        )
    )
