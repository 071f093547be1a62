"""`hourbook shopper run` as the venue runs it: rents at a running exchange, enters by SSH, and proves what is inside.

CI tier (`slow`), a minute and a half: an exchange of its own, real agents whose leases are shells behind real SSH
servers.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients.actors import Actor
from clients.http import result_of
from console.demo.login import add_ssh_key
from console.demo.sites import AgentSite
from infra.exchange import RunningExchange
from infra.places import REPOSITORY
from infra.reference.products import Timing
from tests.end_to_end.test_the_whole_exchange import wait_for
from tests.fixtures.exchange import open_market

PERIOD_S, VISIT_S = 20, 120
HOOK = Path(__file__).with_name("ssh_hook.py")
# Where each operator's node stands, and what runs there as hourbook-agent.
SITES = {"honest": ("CNE", "agents.node"), "cheat": ("CNS", "tests.end_to_end.other_gpu")}
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Venue:
    """The running exchange, its operators' nodes, and the shopper."""

    exchange: RunningExchange
    sites: dict[str, AgentSite]
    shopper: Actor
    ssh_key: Path

    def visit(self, hub: str, *more: str) -> subprocess.Popen[str]:
        """Starts one visit to a node in a hub, with the command of the venue's staff."""
        command = [sys.executable, "-m", "console", "shopper", "run", "--visits", "1", "--currency", "CNY"]
        command += ["--budget-per-day", "1000", "--product", f"H100SXM80.{hub}.F", "--identity", str(self.ssh_key)]
        command += ["--key", self.shopper.credentials.key_id, *more]
        services = ("gateway", "delivery", "market_data")
        known = {f"HOURBOOK_{name.upper()}_URL": self.exchange.addresses[name] for name in services}
        variables = os.environ | known | {"HOURBOOK_DATA": str(self.shopper.key_file.parents[1])}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=REPOSITORY, env=variables, **quiet)


def install(folder: Path, module: str, site: AgentSite) -> None:
    """Installs hourbook-agent where the sessions of a node look first; there it sees the node's GPUs."""
    (folder / "bin").mkdir(parents=True)
    known = " ".join(f"{name}={shlex.quote(value)}" for name, value in site.program.environment.items())
    agent = folder / "bin" / "hourbook-agent"
    agent.write_text(f'#!/bin/sh\ncd {REPOSITORY}\nexec env {known} {sys.executable} -m {module} "$@"\n')
    agent.chmod(0o755)


@pytest.fixture
def venue(servers_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Venue]:
    work = servers_folder / "shopper"
    monkeypatch.setenv("HOURBOOK_SHOPPER_ACCOUNTS", "passer-by")
    with open_market(work, Timing.sandbox(PERIOD_S)) as (exchange, registry, agents):
        sites = {}
        for label, (hub, module) in SITES.items():
            operator, folder = registry.open_account(label, "operate", CNY="1000.00"), work / f"{label}-leases"
            hooks = {each: [sys.executable, str(HOOK), str(folder), each] for each in ("start", "stop")}
            policy = {"hub": hub, "periods_ahead": 3, "price": {"floor": "12.50"}, "hooks": hooks}
            sites[label] = agents.start_agent(operator, label, policy, gpus=1)
            install(folder, module, sites[label])
        shopper = registry.open_account("passer-by", "trade", CNY="1000.00")
        yield Venue(exchange, sites, shopper, add_ssh_key(shopper, work))


def standing(venue: Venue, label: str) -> tuple[str, str]:
    """A node's state, and why it is so."""
    view = result_of(venue.shopper.delivery.get(f"/v1/nodes/{venue.sites[label].node_id}"))
    return view["state"], view["reason"]


def is_offered(venue: Venue, hub: str) -> bool:
    points = result_of(venue.shopper.market_data.get(f"/v1/curve/H100SXM80.{hub}.F"))["points"]
    return any(point.get("ask") for point in points)


def test_a_visit_passes_an_honest_node_and_takes_one_out_that_gives_buyers_another_gpu(venue: Venue):
    for hub, _ in SITES.values():
        wait_for(f"asks in {hub}", lambda hub=hub: is_offered(venue, hub))
    visits = {label: venue.visit(hub) for label, (hub, _) in SITES.items()}
    try:
        told = {label: visit.communicate(timeout=VISIT_S) for label, visit in visits.items()}
    finally:
        for visit in visits.values():
            visit.kill()
    assert {label: visit.returncode for label, visit in visits.items()} == {"honest": 0, "cheat": 6}, told
    assert {label: errors.splitlines()[-1].partition(": its ")[2] for label, (_, errors) in told.items()} == {
        "honest": "GPUs are proven",
        "cheat": "GPUs are not proven",
    }
    assert standing(venue, "honest") == ("active", "challenge_passed")
    wait_for("the cheat to be out", lambda: standing(venue, "cheat") == ("quarantined", "inside_row_differs"))
