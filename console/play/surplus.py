"""A seller's surplus GPUs and their buyer: listed from real inspections, bought through escrow, shipped, accepted."""

import asyncio
import time
from collections import Counter
from pathlib import Path

from clients.actors import Registry
from clients.http import ApiError, open_async_client, result_of
from console.demo.sites import AgentSite, Sites
from console.play.chance import stream
from console.play.hardware import BOARD_MAX, LIST_ODDS, OVER, next_step, offer_text
from infra.fake_nvml.scenario import gpu_uuids

SELLER, BUYER = "surplus-house", "campus-lab"
LABEL, HUB = "surplus", "CNS"
GPUS = 8
FORMS = {"ship": {"carrier": "SF Express", "tracking": "SF{number}"}}


class Surplus:
    """One seller with a node of GPUs that it does not rent out, and one buyer."""

    def __init__(self, registry: Registry, sites: Sites, folder: Path, seed: int, tally: Counter[str]) -> None:
        self._registry, self._sites, self._seed, self._tally = registry, sites, seed, tally
        self._built = len(list(folder.glob(f"{LABEL}-*")))
        self._site: AgentSite | None = None
        self._left: list[str] = []
        self._waiting: tuple[str, str] | None = None  # an inspection that is not listed yet, and its GPU
        self._sales: dict[str, tuple[str, float]] = {}
        self._listed = 0

    def start(self) -> None:
        """Opens both accounts and starts the seller's agent."""
        seller = self._registry.open_account(SELLER, "operate", "sell_hw", CNY="100000.00")
        buyer = self._registry.open_account(BUYER, "trade", CNY="900000000.00")
        url = seller.addresses["listings"]
        self._http = {
            "seller": open_async_client(url, seller.credentials),
            "buyer": open_async_client(url, buyer.credentials),
        }
        self._build()

    async def step(self, turn: int) -> None:
        """Takes the steps that are due in the running sales, and lists one more GPU where the board has room."""
        if not turn:
            await self._adopt()
        for listing_id in list(self._sales):
            await self._go_on(listing_id)
        chance = stream(self._seed, "surplus", turn)
        if self._waiting or (len(self._sales) < BOARD_MAX and (not self._listed or chance.random() < LIST_ODDS)):
            await self._list()

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._http.values():
            await client.aclose()

    def _build(self) -> None:
        self._built += 1
        label = f"{LABEL}-{self._built}"
        policy = {"hub": HUB, "reserve_gpus": GPUS, "price": {"floor": "13.50"}}
        self._site = self._sites.start_agent(self._registry.actors[SELLER], label, policy, GPUS)
        self._left = gpu_uuids(label, GPUS)

    async def _adopt(self) -> None:
        """Goes on with the sales that an earlier play in this folder left open."""
        board = result_of(await self._http["seller"].get("/v1/listings"))["listings"]
        for listing_id in (row["listing_id"] for row in board if row["state"] not in OVER):
            sale = result_of(await self._http["seller"].get(f"/v1/sales/{listing_id}"))
            if sale.get("seller") == SELLER:
                self._sales[listing_id] = (sale["state"], time.monotonic())

    async def _list(self) -> None:
        if not self._left and not self._waiting:
            if not self._sales:  # everything is sold: the next server comes from the cellar
                await asyncio.to_thread(self._sites.end, self._site)
                await asyncio.to_thread(self._build)
            return
        if self._site.node_id is None:
            return
        if self._waiting is None:
            uuid = self._left[0]
            self._waiting = (await asyncio.to_thread(self._sites.inspect, self._site, uuid), uuid)
        title, price = offer_text(stream(self._seed, "offer", self._listed))
        form = {"kind": "module", "title": title, "hub": HUB, "price": price, "currency": "CNY"}
        try:
            reply = await self._http["seller"].post("/v1/listings", json=form | {"inspection_id": self._waiting[0]})
            listing_id = result_of(reply)["listing_id"]
        except ApiError as refusal:
            if refusal.code == "bad_inspection":
                return  # the listings service has not heard of it yet
            raise
        self._left.remove(self._waiting[1])
        self._waiting, self._listed = None, self._listed + 1
        self._sales[listing_id] = ("LOCKING", time.monotonic())

    async def _go_on(self, listing_id: str) -> None:
        state, since = self._sales[listing_id]
        now_state = result_of(await self._http["seller"].get(f"/v1/sales/{listing_id}"))["state"]
        if now_state != state:
            state, since = self._sales[listing_id] = (now_state, time.monotonic())
        if state in OVER:
            self._tally["hardware sold"] += state == "RELEASED"
            del self._sales[listing_id]
            return
        step = next_step(state, time.monotonic() - since, stream(self._seed, listing_id, state))
        if step:
            form = {name: text.format(number=listing_id[-8:]) for name, text in FORMS.get(step.name, {}).items()}
            result_of(await self._http[step.role].post(f"/v1/listings/{listing_id}/{step.name}", json=form))
