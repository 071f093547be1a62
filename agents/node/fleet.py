"""Plays many sites in one process with the agent's own code and protocol: `python -m agents.node.fleet --config FILE`.

Each site has its own key, state and policy; only the GPUs come from the file instead of NVML, and every report of it
says `nvml_simulated`. The file is JSON: `{"venue": {…}, "state_dir": …, "sites": [{"label": …}, …]}`, see `Site`.
"""

import argparse
import asyncio
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import ConfigDict, Field, ValidationError

from agents.node.app import BOOK_FRESH_S, make_node
from agents.node.client import ApiKey, DeliveryClient, GatewayClient
from agents.node.config import Venue
from agents.node.ending import end_on_signals
from agents.node.errors import AgentError, BadConfiguration
from agents.node.inventory import Driver
from agents.node.logs import set_up_logs
from agents.node.market import OperatorAccount
from agents.node.node import Node
from agents.node.policy import Policy, PolicyFile, Section
from agents.node.state import StateFolder
from agents.node.wire import open_http
from schemas.ids import Grade, Identifier
from schemas.nodes import GpuInventory, GpuReading

START_GAP_S = 0.02
FLEET_STOP_TIMEOUT_S = 60.0
BOOK_FRESH_FLEET_S = 5 * BOOK_FRESH_S
EXTENSIONS_PER_WINDOW = 6
IDLE_POWER_MW = 70_000
log = logging.getLogger("hourbook.fleet")


class Site(Section):
    """One played site: its policy, its account's API key, and GPUs of one kind. `chip_grade` is one GPU's grade.

    With `policy_file` the site follows that file, as every agent does; `policy` is what it starts with.
    """

    model_config = ConfigDict(strict=False)

    policy: Policy
    policy_file: Path | None = None
    api_key: Identifier
    api_key_file: Path
    token: str
    chip_grade: Grade
    gpu_name: str
    memory_mib: Annotated[int, Field(ge=1)]
    gpus: Annotated[int, Field(ge=1, le=64)]


class Fleet(Section):
    """The whole file."""

    model_config = ConfigDict(strict=False)

    venue: Venue
    state_dir: Path
    sites: tuple[Site, ...]


class SitePolicy:
    """A site's policy, but for extending in larger steps: many sites, fewer orders. It follows its file, if any."""

    def __init__(self, site: Site) -> None:
        self._file = PolicyFile(site.policy_file) if site.policy_file else None
        self.current = _in_larger_steps(site.policy)

    def refresh(self) -> Policy:
        """Returns the policy."""
        if self._file is not None:
            self.current = _in_larger_steps(self._file.refresh())
        return self.current


def _in_larger_steps(policy: Policy) -> Policy:
    steps = max(policy.extend_by, policy.periods_ahead // EXTENSIONS_PER_WINDOW)
    return policy.model_copy(update={"extend_by": steps})


class PlayedTelemetry:
    """Healthy idle GPUs; UUIDs and serials follow from the site's label, energy from the machine's clock."""

    def __init__(self, site: Site) -> None:
        digest = sha256(Path(__file__).read_bytes()).hexdigest()
        self.driver = Driver(version="550.90.07", kernel_version="", library_sha256=digest, simulated=True)
        self._inventory = tuple(_played_gpu(site, index) for index in range(site.gpus))

    def inventory(self) -> tuple[GpuInventory, ...]:
        """Returns the site's GPUs."""
        return self._inventory

    def read(self) -> tuple[GpuReading, ...]:
        """Returns their readings."""
        energy_mj = IDLE_POWER_MW * (time.monotonic_ns() // 1_000_000) // 1000
        return tuple(_played_reading(gpu, energy_mj) for gpu in self._inventory)


async def run_fleet(fleet: Fleet, http: httpx.AsyncClient) -> int:
    """Runs all sites until SIGINT or SIGTERM; returns how many ended by an error. One that fails leaves the rest be."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        nodes = _make_nodes(fleet, http, executor)

        def stop() -> None:
            for node in nodes.values():
                node.stop()

        end_on_signals(stop, FLEET_STOP_TIMEOUT_S)
        log.warning("%d sites are PLAYED by this process: no hardware stands behind them", len(nodes))
        ends = await asyncio.gather(
            *(_run_site(label, node, START_GAP_S * place) for place, (label, node) in enumerate(nodes.items()))
        )
    return ends.count(False)


def _make_nodes(fleet: Fleet, http: httpx.AsyncClient, executor: ThreadPoolExecutor) -> dict[str, Node]:
    delivery = DeliveryClient(http, fleet.venue.delivery_url)
    accounts: dict[str, OperatorAccount] = {}
    nodes: dict[str, Node] = {}
    for site in fleet.sites:
        if site.api_key not in accounts:
            key = ApiKey.load(site.api_key, site.api_key_file)
            gateway = GatewayClient(http, fleet.venue.gateway_url, fleet.venue.market_data_url, key, delivery.clock)
            accounts[site.api_key] = OperatorAccount(gateway, BOOK_FRESH_FLEET_S)
        nodes[site.policy.label] = make_node(
            PlayedTelemetry(site),
            SitePolicy(site),
            StateFolder(fleet.state_dir / site.policy.label, durable=False),
            delivery,
            accounts[site.api_key],
            executor,
            site.token,
        )
    return nodes


async def _run_site(label: str, node: Node, delay_s: float) -> bool:
    await asyncio.sleep(delay_s)
    try:
        await node.run()
    except AgentError as error:
        log.error("site %s ended: %s", label, error)
        return False
    return True


def _played_gpu(site: Site, index: int) -> GpuInventory:
    digest = sha256(f"fleet/{site.policy.label}/{index}".encode()).hexdigest()
    return GpuInventory(
        uuid=f"GPU-{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}",
        pci_address=f"00000000:{0x1B + index:02X}:00.0",
        serial=str(1_320_000_000_000 + int(digest[32:42], 16) % 10**9),
        board_part_number="",
        name=site.gpu_name,
        memory_mib=site.memory_mib,
        grade=site.chip_grade,
    )


def _played_reading(gpu: GpuInventory, energy_mj: int) -> GpuReading:
    return GpuReading(
        uuid=gpu.uuid,
        present=True,
        healthy=True,
        memory_total_mib=gpu.memory_mib,
        memory_used_mib=0,
        utilisation_percent=0,
        power_mw=IDLE_POWER_MW,
        energy_mj=energy_mj,
        temperature_c=33,
        sm_clock_mhz=345,
        memory_clock_mhz=1593,
        throttle=0,
        ecc_corrected=0,
        ecc_uncorrected=0,
        remapped_correctable=0,
        remapped_uncorrectable=0,
        remap_failed=False,
        mig_enabled=False,
    )


async def _run_with_client(fleet: Fleet) -> int:
    async with open_http() as http:
        return await run_fleet(fleet, http)


def main() -> int:
    """Runs the fleet; returns the exit status."""
    parser = argparse.ArgumentParser(prog="hourbook-fleet", description="Plays many sites in one process.")
    parser.add_argument("--config", type=Path, required=True, help="the fleet's JSON file")
    file = parser.parse_args().config
    set_up_logs()
    try:
        fleet = Fleet.model_validate_json(file.read_bytes())
        return min(asyncio.run(_run_with_client(fleet)), 1)
    except (OSError, ValidationError, BadConfiguration) as error:
        log.error("%s: %s", file, error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
