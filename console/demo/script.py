"""The demo, chapter by chapter: reference data, agents, orders, delivery, settlement, hardware, the feed, checks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agents.node.proof.compiler import EXTRA, is_installed
from clients import trading
from clients.actors import Actor, Registry
from clients.http import result_of
from console.demo import hardware
from console.demo.checks import Check, replay, run_checks
from console.demo.login import Login, add_ssh_key, end_gpu_load, ready_hook, start_gpu_load, why_no_shell
from console.demo.own_gpus import OwnGpus, why_not_sold
from console.demo.sites import AgentSite, Sites, own_gpus
from console.demo.story import DemoFailed, Story
from console.demo.watching import Watcher
from infra.exchange import RunningExchange
from infra.fake_nvml.scenario import lose_gpu
from infra.reference.load import load_products
from infra.reference.offers import load_offers
from infra.reference.products import CHINESE_GRADES, Timing
from schemas.gpu_models import GRADE_OF_NAME

FLEET_PERIODS_AHEAD, BLOCK_PERIODS, GATE_IN_S = 4, 3, 8
UNPROVEN = "T0"
LEAVE_BEFORE = timedelta(seconds=1)
PLACES = {"shell": "sandbox", "container": "container"}


class Demo:
    """One run on a running exchange; `summary` afterwards holds what the services answered."""

    def __init__(self, exchange: RunningExchange, work: Path, timing: Timing, story: Story):
        self._exchange, self._timing, self._story = exchange, timing, story
        self._registry = Registry(exchange.addresses, exchange.data / "keys", work / "keys")
        self._sites = Sites(self._registry, work / "sites", exchange.data / "logs")
        self._watcher: Watcher | None = None
        self._own: OwnGpus | None = None
        self._work, self._hook = work, ready_hook(work / "leases")
        self._job: int | None = None
        self.checks: list[Check] = []
        self.summary: dict[str, Any] = {}

    def run(self) -> None:
        """Plays every chapter. Raises DemoFailed, or the ApiError of a request that should have been taken."""
        try:
            self._reference()
            self._enrol()
            self._trade()
            self._deliver()
            self._settle()
            self._sell_hardware()
            self._watch()
        finally:
            self._sites.stop()
        self._check()

    # -- chapters ------------------------------------------------------------------------------------------------------

    def _reference(self) -> None:
        with self._story.chapter("reference", "Reference data, and real offers of GPU servers"):
            products = load_products(self._exchange.addresses["kafka"], self._exchange.data / "keys", self._timing)
            offers, unmapped = load_offers()
            self._story.lines(
                f"{len(products)} products, contracts of {self._timing.period_s} s, "
                f"{self._timing.horizon_periods} periods listed ahead",
                f"{len(offers)} real offers become sites with {sum(site.gpus for site in offers)} GPUs; "
                f"{len(unmapped)} name no hub:",
                *(f"  row {each.row}: {each.gpu_name} in “{each.place}”" for each in unmapped),
            )

    def _enrol(self) -> None:
        with self._story.chapter("enrolment", "Operators' agents enrol, prove their GPUs, and post idle capacity"):
            east = self._registry.open_account("yangtze-compute", "operate", CNY="200000.00")
            west = self._registry.open_account("taihu-cloud", "operate", CNY="200000.00")
            seller = self._registry.open_account("shenzhen-surplus", "operate", "sell_hw", CNY="1000.00")
            self._north = self._agent(east, "yangtze-01", 8, hub="CNE", price=trading.PRICE_CNY, hooks=self._hook)
            self._south = self._agent(west, "taihu-01", 8, hub="CNE", price="13.10")
            self._surplus = self._agent(seller, "surplus-01", 2, hub="CNS", price="13.50", whole=False)
            self._story.line("these agents read a scripted libnvidia-ml.so.1, and say so in every report")
            self._own = self._enrol_own_gpus(own_gpus())
            self._played = self._sites.start_fleet(FLEET_PERIODS_AHEAD)
            self._story.wait_for("the live agents to be proven and active", self._live_active, 120)
            self._own = self._leave_out_unsold(self._own)
            for site in self._shown():
                node = self._node(site.operator)
                gpus = f"{len(node['fit_gpus'])} × {node['grade']}"
                self._story.line(f"{site.label}: {node['node']}, {gpus}, level {node['level']}")
            self._story.wait_for("asks of both live agents", lambda: self._asks(trading.PRODUCT) >= 2, 60)
            self._story.line(f"{len(self._played)} sites of the real offers prove their GPUs meanwhile")

    def _enrol_own_gpus(self, names: tuple[str, ...]) -> OwnGpus | None:
        """Lets the GPUs that this machine really has be sold beside the scripted ones."""
        if not names:
            self._story.line("this machine has no GPU of its own to sell beside them")
            return None
        if not is_installed():
            self._story.line(f"this machine's {', '.join(names)} are left out: to prove them, {EXTRA}")
            return None
        grade = GRADE_OF_NAME.get(names[0])
        if grade not in CHINESE_GRADES or len(set(names)) > 1:
            self._story.line(f"this machine's {', '.join(names)} are left out: no product is listed for them")
            return None
        operator = self._registry.open_account("this-machine", "operate", CNY="200000.00")
        policy = {"hub": "CNE", "periods_ahead": self._timing.horizon_periods, "price": {"floor": trading.PRICE_CNY}}
        site = self._sites.start_own_agent(operator, "own-gpus", policy)
        self._story.line(f"this machine's {len(names)} × {names[0]} are sold beside them, read by NVIDIA's own library")
        return OwnGpus(site, f"{grade}.CNE.F", len(names))

    def _leave_out_unsold(self, own: OwnGpus | None) -> OwnGpus | None:
        """Goes on without this machine's own GPUs where they are not proven or not offered, and says why."""
        if own is None:
            return None
        account = own.site.operator.account
        why = why_not_sold(own, self._story, lambda: self._node_of(account), lambda: self._asks(own.product))
        if not why:
            return own
        self._story.line(f"this machine's own GPUs are left out: {why}")
        self._sites.end(own.site)
        return None

    def _agent(
        self, operator: Actor, label: str, gpus: int, hub: str, price: str, whole: bool = True, hooks: Any = None
    ) -> AgentSite:
        policy = {
            "hub": hub,
            "whole_node": whole,
            "periods_ahead": self._timing.horizon_periods,
            "reserve_gpus": 0 if whole else gpus,
            "price": {"floor": price},
        } | ({"hooks": hooks} if hooks else {})
        return self._sites.start_agent(operator, label, policy, gpus)

    def _trade(self) -> None:
        with self._story.chapter("trading", "Traders bid over the public REST API"):
            for name, deposit in (("alice", "50000.00"), ("bob", "50000.00"), ("carol", "50000.00"), ("dave", "0.05")):
                self._registry.open_account(name, "trade", CNY=deposit)
            self._key = add_ssh_key(self._registry.actors["bob"], self._work)
            alice, bob, carol, dave = (self._registry.actors[name] for name in ("alice", "bob", "carol", "dave"))
            self._periods = self._choose_periods(alice)
            first = self._periods[0].contract
            candles = "1m" if self._timing.period_s >= 60 else f"{self._timing.period_s}s"
            self._watcher = Watcher(self._exchange.addresses["market_data"], first, candles)
            self._watcher.start()
            self._watcher.subscribed.wait(10)
            rests = trading.place(alice, "alice-1", contract=first, side="buy", qty=8, price="12.50")["order"]
            trades = trading.place(bob, "bob-1", contract=first, side="buy", qty=8, price=trading.PRICE_CNY)["order"]
            block = trading.place(
                carol,
                "carol-1",
                kind="block",
                product=trading.PRODUCT,
                start=self._periods[0].start.isoformat(),
                periods=BLOCK_PERIODS,
                qty=8,
                limit_price="13.20",
            )["order"]
            trading.cancel(alice, rests["order_id"])
            refusal = trading.refusal_of(dave, "dave-1", contract=first, side="buy", qty=8, price="12.84")
            if refusal is None or refusal.code != "insufficient_funds":
                raise DemoFailed(f"dave's order should lack money: {refusal}")
            self._story.lines(
                f"alice  {trading.describe(rests)}, then canceled",
                f"bob    {trading.describe(trades)}",
                f"carol  {trading.describe(block)}, the same node throughout",
                f"dave   refused: {refusal}",
            )
            if (trades["status"], block["status"]) != ("filled", "filled"):
                raise DemoFailed("bob's order and carol's block should have traded")
            if self._own:
                self._buy_own_gpus(self._own)

    def _buy_own_gpus(self, own: OwnGpus) -> None:
        erin = self._registry.open_account("erin", "trade", CNY="50000.00")
        period = next(
            each for each in trading.open_periods(erin, own.product, 0) if each.start == self._periods[0].start
        )
        terms = {"side": "buy", "qty": own.gpus, "price": trading.PRICE_CNY}
        order = trading.place(erin, "erin-1", contract=period.contract, **terms)["order"]
        self._story.line(f"erin   {trading.describe(order)}, on this machine's own GPUs")
        if order["status"] != "filled":
            raise DemoFailed("erin's order should have traded")

    def _choose_periods(self, actor: Actor) -> list[trading.Period]:
        """Takes consecutive periods that both live agents already offer, far enough ahead to trade in calm."""

        def offered() -> list[trading.Period] | None:
            periods = trading.open_periods(actor, trading.PRODUCT, GATE_IN_S)[:BLOCK_PERIODS]
            asks = [trading.book_of(actor, period.contract)["asks"] for period in periods]
            return periods if len(periods) == BLOCK_PERIODS and all(len(levels) >= 2 for levels in asks) else None

        return self._story.wait_for("periods that both agents offer", offered, 60)

    def _deliver(self) -> None:
        with self._story.chapter("delivery", "Gate, nomination, challenge, lease, metered delivery"):
            bob, carol = self._registry.actors["bob"], self._registry.actors["carol"]
            first, second = self._periods[0], self._periods[1]
            self._sleep_until(first.gate, "the gate")
            self._story.wait_for("the positions to lock", lambda: self._state(bob) != "OPEN", 60)
            access = self._story.wait_for("bob's access", lambda: self._access(bob), 60)
            self._story.lines(
                f"gate closed for {first.contract}: GPUs nominated, challenge passed, lease hook ran",
                f"bob gets in at {access['endpoint']} on {len(access['gpus'])} GPUs",
            )
            self._log_in(bob, access)
            self._sleep_until(first.end - LEAVE_BEFORE, "the last moments of bob's hour")
            if self._job is not None:
                end_gpu_load(self._north, self._job)
            self._sleep_until(second.start + (second.end - second.start) / 2, "the middle of the second period")
            lose_gpu(self._south.scenario, 3)
            self._story.line("taihu-01 loses GPU 3 in mid-delivery (XID 79)")
            self._sleep_until(self._periods[-1].end, "the last period's end")
            self._story.line(f"{len(trading.positions_of(carol))} periods of carol's block are over")
            sites = len(self._played) + len(self._shown()) + 1
            self._story.wait_for("every site to be proven", lambda: self._proven(sites), 300)
            self._story.line(f"{sites} sites are proven; {self._open_asks()} hour books have asks, posted by agents")

    def _log_in(self, buyer: Actor, access: dict[str, Any]) -> None:
        """Lets a buyer in by ssh; what he runs there shows on the GPUs, and is what the meter calls used."""
        if self._hook is None:
            self._story.line(f"left out: nobody logs in by ssh, since {why_no_shell()}")
            return
        login = Login(buyer, access["position_id"], self._key)
        who = login.run("echo $(id -un)@$(hostname), $HOURBOOK_LEASE_ID, $(ls -A / | wc -l) folders to see")
        self._job = login.start_job()
        start_gpu_load(self._north, self._job, access["gpus"])
        place = PLACES[self._hook["kind"]]
        self._story.line(f"bob logs in by hourbook ssh, into a {place}: {who}; his job is process {self._job} here")

    def _settle(self) -> None:
        with self._story.chapter("settlement", "Only what was delivered is paid"):
            buyers = self._buyers()
            wanted = 1 + BLOCK_PERIODS + bool(self._own)
            within_s = self._timing.grace_s + 60
            self._story.wait_for("all receipts", lambda: len(self._receipts(buyers)) == wanted, within_s)
            for buyer in buyers:
                for receipt in self._receipts([buyer]):
                    self._story.lines(receipt_line(receipt), *self._shortfalls(buyer, receipt))
                    if used_gpu_s := receipt["used_gpu_s"]:
                        self._story.line(f"       {buyer.account}'s own process was on it for {used_gpu_s} GPU-s")
            if self._job is not None and not any(each["used_gpu_s"] for each in self._receipts(buyers[:1])):
                raise DemoFailed("the job that bob ran by ssh should have been metered as his")
            partial = [each for each in self._receipts(buyers) if each["delivered_gpu_s"] < each["contracted_gpu_s"]]
            if not partial:
                raise DemoFailed("the lost GPU should have shortened a delivery")

    def _sell_hardware(self) -> None:
        with self._story.chapter("hardware", "Used H100s change hands, the money waits in escrow"):
            seller = self._registry.actors["shenzhen-surplus"]
            buyer = self._registry.open_account("hangzhou-lab", "trade", CNY="400000.00")
            inspection_id = self._sites.inspect(self._surplus)
            listing = hardware.list_hardware(seller, inspection_id, self._story)
            listing_id = listing["listing_id"]
            self._story.line(f"listed: {listing['title']}, condition {listing['condition']}, {listing['price']} CNY")
            hardware.step(buyer, listing_id, "buy")
            hardware.wait_state(buyer, listing_id, "FUNDED", self._story)
            self._story.line("bought: the money is in escrow")
            hardware.step(seller, listing_id, "ship", {"carrier": "SF Express", "tracking": "SF1020304050"})
            hardware.step(buyer, listing_id, "receive")
            hardware.step(buyer, listing_id, "accept")
            sold = hardware.wait_state(buyer, listing_id, "RELEASED", self._story)
            self._story.line("shipped, received, accepted: the seller is paid")
            self.summary["hardware"] = [sold]

    def _watch(self) -> None:
        with self._story.chapter("feed", "A watcher's feed, and the same by REST"):
            watcher, contract = self._watcher, self._periods[0].contract
            watcher.stop()
            reader = self._registry.admin.market_data
            trades = result_of(reader.get("/v1/trades", params={"sym": contract}))["items"]
            if watcher.faults:
                raise DemoFailed("; ".join(watcher.faults))
            if [each["trade_id"] for each in reversed(trades)] != [each["trade_id"] for each in watcher.trades]:
                raise DemoFailed("the feed's trades are not those of REST")
            self._story.lines(
                f"snapshot, {watcher.deltas} deltas without a hole, every checksum right, "
                f"{watcher.heartbeats} heartbeats",
                f"{len(watcher.trades)} trades, the same by REST; candles: "
                + "; ".join(candle_line(each) for each in watcher.candles.values()),
            )
            self.summary["feed"] = {
                "contract": contract,
                "deltas": watcher.deltas,
                "trades": watcher.trades,
                "candles": list(watcher.candles.values()),
                "faults": watcher.faults,
            }

    def _check(self) -> None:
        with self._story.chapter("checks", "Checks"):
            admin = self._registry.admin
            replayed = replay(self._exchange.environment)
            self._story.wait_for(
                "the ledger to reach the replay",
                lambda: result_of(admin.ledger.get("/v1/ledger/trial-balance"))["seq"] >= replayed["seq"],
                30,
            )
            trial = result_of(admin.ledger.get("/v1/ledger/trial-balance"))
            self.checks = run_checks(admin, replayed, trial)
            for check in self.checks:
                self._story.line(f"{'ok  ' if check.held else 'FAIL'}  {check.name}: {check.figures}")
            self._summarize(replayed, trial)
            failed = [check.name for check in self.checks if not check.held]
            if failed:
                raise DemoFailed(f"checks failed: {', '.join(failed)}")

    # -- what the services say -----------------------------------------------------------------------------------------

    def _summarize(self, replayed: dict[str, Any], trial: dict[str, Any]) -> None:
        buyers = self._buyers()
        traders = [self._registry.actors["alice"], *buyers, self._registry.actors["dave"]]
        fills = [fill for actor in buyers for fill in result_of(actor.gateway.get("/v1/fills"))["items"]]
        self.summary |= {
            "orders": {actor.account: trading.orders_of(actor) for actor in traders},
            "trades": fills,
            "positions": self._receipts(buyers),
            "balances": replayed["balances"],
            "ledger": trial,
            "replay": {name: value for name, value in replayed.items() if name != "balances"},
            "checks": [{"name": each.name, "held": each.held, "figures": each.figures} for each in self.checks],
            "durations_s": self._story.durations_s,
        }

    def _buyers(self) -> list[Actor]:
        """Those whose orders traded."""
        names = ("bob", "carol", "erin") if self._own else ("bob", "carol")
        return [self._registry.actors[name] for name in names]

    def _shown(self) -> tuple[AgentSite, ...]:
        """The sites of live agents whose hours are bought."""
        return (self._north, self._south, self._own.site) if self._own else (self._north, self._south)

    def _receipts(self, buyers: list[Actor]) -> list[dict[str, Any]]:
        found = [each for actor in buyers for each in result_of(actor.delivery.get("/v1/receipts"))["items"]]
        return sorted(found, key=lambda receipt: receipt["position_id"])

    def _shortfalls(self, buyer: Actor, receipt: dict[str, Any]) -> list[str]:
        """Says from the meter's own record why GPU-seconds are missing."""
        if receipt["delivered_gpu_s"] == receipt["contracted_gpu_s"]:
            return []
        meter = result_of(buyer.delivery.get(f"/v1/positions/{receipt['position_id']}/meter"))
        missing_ms: dict[str, int] = {}
        for interval in meter["outcome"]["intervals"]:
            if not interval["conforming"]:
                length_ms = interval["end_ms"] - interval["start_ms"]
                missing_ms[interval["reason"]] = missing_ms.get(interval["reason"], 0) + length_ms
        if absent := receipt["qty"] - len(receipt["gpus"]):
            missing_ms[f"{absent} of {receipt['qty']} GPUs not nominated"] = absent * receipt["period_s"] * 1000
        return [f"       missing {ms / 1000:.1f} GPU-s: {reason}" for reason, ms in missing_ms.items()]

    def _nodes(self) -> list[dict[str, Any]]:
        return result_of(self._registry.admin.delivery.get("/v1/nodes"))["items"]

    def _node(self, operator: Actor) -> dict[str, Any]:
        return self._node_of(operator.account)

    def _node_of(self, account: str) -> dict[str, Any] | None:
        return next((node for node in self._nodes() if node["account"] == account), None)

    def _proven(self, wanted: int) -> bool:
        return sum(node["level"] != UNPROVEN for node in self._nodes()) >= wanted

    def _live_active(self) -> bool:
        operators = {site.operator.account for site in (self._north, self._south, self._surplus)}
        return operators <= {node["account"] for node in self._nodes() if node["state"] == "active"}

    def _asks(self, product: str) -> int:
        periods = trading.open_periods(self._registry.admin, product, GATE_IN_S)
        return len(trading.book_of(self._registry.admin, periods[0].contract)["asks"]) if periods else 0

    def _open_asks(self) -> int:
        reader, (offers, _) = self._registry.admin.market_data, load_offers()
        products = {trading.PRODUCT} | {f"{site.node_grade}.{site.hub}.F" for site in offers}
        curves = [result_of(reader.get(f"/v1/curve/{product}"))["points"] for product in products]
        return sum("ask" in point for points in curves for point in points)

    def _state(self, actor: Actor) -> str:
        return trading.positions_of(actor)[-1]["state"]

    def _access(self, actor: Actor) -> dict[str, Any] | None:
        position_id = trading.positions_of(actor)[-1]["position_id"]
        response = actor.delivery.get(f"/v1/positions/{position_id}/access")
        if response.status_code == 404:
            return None
        access = result_of(response)
        return access if access["endpoint"] else None

    def _sleep_until(self, moment: datetime, what: str) -> None:
        self._story.wait_for(what, lambda: datetime.now(UTC) >= moment, 600)


def receipt_line(receipt: dict[str, Any]) -> str:
    """Puts a receipt into a line."""
    share = 100 * receipt["delivered_gpu_s"] / receipt["contracted_gpu_s"]
    paid, refunded, damages = (
        receipt[name] / 1_000_000 for name in ("paid_micros", "refunded_micros", "damages_micros")
    )
    return (
        f"{receipt['buyer']:<6} {receipt['contract']}  delivered {receipt['delivered_gpu_s']} of "
        f"{receipt['contracted_gpu_s']} GPU-s ({share:.1f} %), paid {paid:.6f} {receipt['asset']}, "
        f"refunded {refunded:.6f}, damages {damages:.6f}"
    )


def candle_line(candle: dict[str, Any]) -> str:
    """Puts a candle into a few words."""
    return f"{candle['interval']} {candle['start'][11:19]} o {candle['open']} c {candle['close']} qty {candle['qty']}"
