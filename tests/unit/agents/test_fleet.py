"""Many sites in one process: each its own node with its own key, and none stops another."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node import fleet as fleet_module
from agents.node.fleet import Fleet, PlayedTelemetry, run_fleet
from agents.node.node import Node
from schemas.nodes import EnrolRequest, node_id_of
from tests.fakes.venue import DELIVERY, GATEWAY, MARKET_DATA, FakeVenue, until

PRODUCT = "H100SXM80.USE.F"
HOOKS = {"start": ["true"], "stop": ["true"]}


def site(label: str, folder, gpus: int = 2) -> dict:
    return {
        "policy": {
            "label": label,
            "hub": "USE",
            "periods_ahead": 2,
            "idle": {"for_ms": 0},
            "price": {"floor": "2.199"},
            "hooks": HOOKS,
        },
        "api_key": "operator",
        "api_key_file": str(folder / "operator-api.ed25519"),
        "token": "token",
        "chip_grade": "H100SXM80",
        "gpu_name": "H100 SXM",
        "memory_mib": 81559,
        "gpus": gpus,
    }


def fleet_of(folder, *labels: str) -> Fleet:
    venue = {"gateway_url": GATEWAY, "delivery_url": DELIVERY, "market_data_url": MARKET_DATA}
    sites = [site(label, folder) for label in labels]
    return Fleet.model_validate({"venue": venue, "state_dir": str(folder / "state"), "sites": sites})


def write_key(folder) -> str:
    key = Ed25519PrivateKey.generate()
    (folder / "operator-api.ed25519").write_text(key.private_bytes_raw().hex())
    return key.public_key().public_bytes_raw().hex()


class ManyNodes(FakeVenue):
    """One venue per node behind one wire, told apart by the node's id."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments)
        self.nodes: dict[str, FakeVenue] = {}

    def _deliver(self, request, path):
        if path == ["nodes"]:
            node_id = node_id_of(EnrolRequest.model_validate_json(request.content).public_key)
            self.nodes.setdefault(node_id, FakeVenue(self.product, self.api_public_key))
            return self.nodes[node_id]._deliver(request, path)
        return self.nodes[path[1]]._deliver(request, path)


@pytest.fixture
def venue(tmp_path) -> ManyNodes:
    return ManyNodes(PRODUCT, write_key(tmp_path))


@pytest.fixture
def nodes(monkeypatch) -> list[Node]:
    """The nodes that the fleet makes, in order."""
    nodes: list[Node] = []
    made = fleet_module.make_node
    monkeypatch.setattr(fleet_module, "make_node", lambda *parts: nodes.append(made(*parts)) or nodes[-1])
    return nodes


async def test_every_site_is_a_node_of_its_own_and_posts_its_own_capacity(tmp_path, venue, nodes):
    running = asyncio.get_running_loop().create_task(run_fleet(fleet_of(tmp_path, "a", "b", "c"), venue.client()))
    await until(lambda: len({form["node"] for form in venue.posted}) == 3)
    assert {form["node"] for form in venue.posted} == set(venue.nodes)
    assert {(form["gpus"], form["floor_price"]) for form in venue.posted} == {(2, "2.200000")}
    assert all(node.enrolments[0].nvml_simulated for node in venue.nodes.values())
    for node in nodes:
        node.stop()
    assert await running == 0
    assert venue.standing() == []


async def test_a_site_that_the_venue_refuses_leaves_the_others_be(tmp_path, venue, nodes):
    fleet = fleet_of(tmp_path, "a", "b")
    fleet = fleet.model_copy(update={"sites": (fleet.sites[0].model_copy(update={"token": ""}), fleet.sites[1])})
    running = asyncio.get_running_loop().create_task(run_fleet(fleet, venue.client()))
    await until(lambda: venue.posted)
    for node in nodes:
        node.stop()
    assert await running == 1
    assert len(venue.nodes) == 1


def test_played_gpus_are_the_same_at_every_start_and_differ_between_sites(tmp_path):
    first, other = (PlayedTelemetry(each) for each in fleet_of(tmp_path, "a", "b").sites)
    again = PlayedTelemetry(fleet_of(tmp_path, "a").sites[0])
    assert again.inventory() == first.inventory()
    uuids = {gpu.uuid for played in (first, other) for gpu in played.inventory()}
    assert len(uuids) == 4


def test_played_energy_only_grows(tmp_path):
    played = PlayedTelemetry(fleet_of(tmp_path, "a").sites[0])
    readings = [played.read()[0].energy_mj for _ in range(3)]
    assert readings == sorted(readings)
