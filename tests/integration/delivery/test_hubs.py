"""A node is measured by its hub's beacon, over HTTP: near by it is shown with its figure, far away its level is held.

Tier: delivery. A quarter of a minute beside its own venue.
"""

import asyncio

import httpx

from agents.node.client import DeliveryClient
from agents.node.hub import show_hub
from agents.node.identity import Identity
from infra.ports import free_port
from services.beacon import app as beacon_app
from services.beacon.settings import Settings as BeaconSettings
from services.kit.keys import public_hex
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import Venue, in_background, open_venue

BOUND_MS = 500
TRIP_S = 0.6  # what the test adds to each request on its way to the beacon


class LongWay(httpx.AsyncHTTPTransport):
    """A network in which one server is far away."""

    def __init__(self, port: int):
        super().__init__()
        self.port, self.trip_s = port, 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.port == self.port:
            await asyncio.sleep(self.trip_s)
        return await super().handle_async_request(request)


async def known_hub(venue: Venue, node: TestNode) -> tuple[dict, list[str]]:
    view = await venue.node(node.node_id)
    return view["hub_known"], [hold["reason"] for hold in view["level_held"]]


async def test_a_beacons_figure_is_shown_and_one_beyond_the_bound_holds_the_level(own_kafka, fresh_database, tmp_path):
    settings = BeaconSettings(beacon_hub="CNE", beacon_key=tmp_path / "beacon.key", beacon_port=free_port())
    url, key = f"http://127.0.0.1:{settings.beacon_port}", beacon_app.load_or_make_key(settings)
    hubs = tmp_path / "hubs.csv"
    hubs.write_text(f"hub,url,public_key,bound_ms\nCNE,{url},{public_hex(key)},{BOUND_MS}\n")
    node, way = TestNode(seed=301, gpus=(gpu_uuid(301),)), LongWay(settings.beacon_port)
    changed = {"hub_beacons": hubs}
    async with (
        open_venue(own_kafka.address, fresh_database, tmp_path, changed) as venue,
        in_background(lambda tasks: beacon_app.start(tasks, settings)),
        venue.delivery(),
        httpx.AsyncClient(transport=way) as http,
        venue.site("ops-hub", node),
    ):
        delivery, identity = DeliveryClient(http, venue.url), Identity(node.key, is_new=False)
        listed = (await venue.http.get("/v1/hubs")).json()["items"]
        assert listed == [{"hub": "CNE", "url": url, "public_key": public_hex(key), "bound_us": BOUND_MS * 1000}]
        declared = {"evidence": "declared", "trip_us": None, "bound_us": None, "measured_ms": None}
        assert await known_hub(venue, node) == (declared, [])
        await show_hub(identity, delivery, "CNE")
        near, holds = await known_hub(venue, node)
        assert (near["evidence"], near["bound_us"], holds) == ("measured", BOUND_MS * 1000, [])
        assert 0 < near["trip_us"] < BOUND_MS * 1000
        way.trip_s = TRIP_S
        await show_hub(identity, delivery, "CNE")
        far, holds = await known_hub(venue, node)
        assert (far["trip_us"] >= TRIP_S * 1_000_000, holds) == (True, ["hub_too_far"])
        assert (await venue.node(node.node_id))["state"] == "active"
        way.trip_s = 0.0
        await show_hub(identity, delivery, "CNE")
        assert (await known_hub(venue, node))[1] == []
        await show_hub(identity, delivery, "CNW")  # without a beacon there is nothing to do
