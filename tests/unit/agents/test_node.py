"""A whole node against a venue at the end of its wire: it enrols, proves, sells and leases out what it can prove."""

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.app import make_node
from agents.node.client import ApiKey, DeliveryClient, GatewayClient
from agents.node.errors import BadConfiguration
from agents.node.fleet import PlayedTelemetry, Site
from agents.node.inventory import absent
from agents.node.market import OperatorAccount
from agents.node.policy import PolicyFile
from agents.node.state import StateFolder
from schemas.nodes import LeaseStart, LeaseStop
from tests.fakes.venue import DELIVERY, GATEWAY, MARKET_DATA, FakeVenue, until

PRODUCT = "H100SXM80.CNE.F"
POLICY = f"""
label = "site-a"
hub = "CNE"
periods_ahead = 3
idle.for_ms = 0
price.floor = "12.84"
hooks.start = ["{sys.executable}", "-c", "print('{{\\"endpoint\\": \\"ssh://a\\", \\"credential\\": \\"key\\"}}')"]
hooks.stop = ["{sys.executable}", "-c", "pass"]
"""


class Telemetry(PlayedTelemetry):
    """Played GPUs of which some can be lost or busy."""

    def __init__(self, policy: Path, gpus: int) -> None:
        super().__init__(
            Site(
                policy=PolicyFile(policy).current,
                api_key="key",
                api_key_file="none",
                token="token",
                chip_grade="H100SXM80",
                gpu_name="NVIDIA H100 80GB HBM3",
                memory_mib=81559,
                gpus=gpus,
            )
        )
        self.lost: set[str] = set()
        self.busy: set[str] = set()

    def read(self):
        return tuple(self._changed(reading) for reading in super().read())

    def _changed(self, reading):
        if reading.uuid in self.lost:
            return absent(reading.uuid, (79,))
        return reading.model_copy(update={"utilisation_percent": 100}) if reading.uuid in self.busy else reading


class PlayedSite:
    """One node, its policy file, its GPUs and its venue."""

    def __init__(self, folder: Path, gpus: int = 4) -> None:
        self.folder = folder
        self.policy = folder / "policy.toml"
        self.policy.write_text(POLICY)
        self.telemetry = Telemetry(self.policy, gpus)
        self.uuids = [gpu.uuid for gpu in self.telemetry.inventory()]
        self.key = ApiKey("operator-key", Ed25519PrivateKey.generate())
        self.venue = FakeVenue(PRODUCT, self.key.private_key.public_key().public_bytes_raw().hex())
        self.node = None

    @asynccontextmanager
    async def running(self, token: str | None = "token"):
        """Runs the node; stops it at the end, and passes on what ended it before."""
        async with self.venue.client() as http:
            with ThreadPoolExecutor(1) as executor:
                account = OperatorAccount(GatewayClient(http, GATEWAY, MARKET_DATA, self.key), fresh_for_s=0)
                state = StateFolder(self.folder / "state")
                delivery = DeliveryClient(http, DELIVERY)
                policy = PolicyFile(self.policy)
                self.node = make_node(self.telemetry, policy, state, delivery, account, executor, token)
                running = asyncio.get_running_loop().create_task(self.node.run())
                try:
                    yield running
                finally:
                    self.node.stop()
                    await running

    def gpus_offered(self) -> list[int]:
        offered: dict[int, int] = {}
        for start_s, gpus, _ in self.venue.standing():
            offered[start_s] = offered.get(start_s, 0) + gpus
        return list(offered.values())

    def lease(self, name: str = "lease-1", gpu: int = 0) -> LeaseStart:
        return LeaseStart(
            lease_id=name,
            position_ids=(1,),
            contract=f"{PRODUCT}-261122130000",
            gpu_uuids=(self.uuids[gpu],),
            starts_ms=1,
            ends_ms=2,
            access_reference="ssh-ed25519 AAAA",
        )


@pytest.fixture
def site(tmp_path) -> PlayedSite:
    return PlayedSite(tmp_path)


async def test_a_node_enrols_proves_itself_and_posts_all_its_idle_hours(site):
    async with site.running():
        await until(lambda: len(site.venue.standing()) >= 3)
        request = site.venue.enrolments[0]
        assert (request.grade, request.hub, request.token, len(request.gpus)) == ("H100SXM80", "CNE", "token", 4)
        assert request.nvml_simulated
        assert [verdict.passed for verdict in site.venue.verdicts] == [True]
        starts = [start for start, _, _ in site.venue.standing()]
        assert starts[1] - starts[0] == starts[2] - starts[1] == 3600
        assert {(gpus, price) for _, gpus, price in site.venue.standing()} == {(4, "12.840000")}


async def test_a_node_withdraws_its_capacity_when_it_is_stopped(site):
    async with site.running():
        await until(lambda: site.venue.standing())
    assert site.venue.standing() == []


async def test_nothing_is_offered_before_a_challenge_was_passed(site):
    site.venue.sell = False
    async with site.running():
        await until(lambda: len(site.venue.reports) > 5)
        assert site.venue.posted == []
        site.venue.sell = True
        await until(lambda: site.gpus_offered() == [4, 4, 4])


async def test_a_lost_gpu_is_reported_with_its_xid_and_leaves_the_books(site):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.telemetry.lost = {site.uuids[1]}
        await until(lambda: site.gpus_offered() == [3, 3, 3])
        reading = site.venue.reports[-1].gpus[1]
        assert (reading.uuid, reading.present, reading.healthy, reading.xid) == (site.uuids[1], False, False, (79,))


async def test_a_busy_gpu_is_withdrawn_and_comes_back_when_it_is_idle_again(site):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.telemetry.busy = set(site.uuids[:2])
        await until(lambda: site.gpus_offered() == [2, 2, 2])
        site.telemetry.busy = set()
        await until(lambda: site.gpus_offered() == [4, 4, 4])


async def test_what_is_sold_is_not_offered_again(site):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        middle_s = site.venue.standing()[1][0]
        site.venue.sell_gpus(middle_s, 3)
        reports = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > reports + 5)
        assert site.gpus_offered() == [4, 1, 4]
        assert len(site.venue.posted) == 1


def products_offered(site: PlayedSite) -> set[str]:
    return {form["product"] for order_id, form in enumerate(site.venue.posted, 1) if order_id in site.venue.orders}


async def test_an_edited_tier_withdraws_what_stands_under_the_old_one(site):
    site.venue.also_listed = ("H100SXM80.CNE.I",)
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.policy.write_text('tier = "I"\n' + POLICY)
        await until(lambda: products_offered(site) == {"H100SXM80.CNE.I"} and site.gpus_offered() == [4, 4, 4])


async def test_what_stands_is_withdrawn_when_the_policy_names_what_the_venue_does_not_list(site, caplog):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.policy.write_text('tier = "M"\n' + POLICY)
        await until(lambda: site.venue.standing() == [])
        await until(lambda: "the venue lists no H100SXM80.CNE.M: nothing can be sold" in caplog.text)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("CNE", "USE"), "hub = USE, but the node is enrolled at CNE: it must enroll again"),
        (("idle", 'grade = "H200SXM141"\nidle'), "grade = H200SXM141, but the node is enrolled as H100SXM80"),
        (("idle", "whole_node = true\nidle"), "whole_node = true, but the node is enrolled as H100SXM80"),
    ],
)
async def test_a_policy_that_no_more_fits_the_node_is_said_and_sells_nothing_until_it_does(site, caplog, edit, words):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.policy.write_text(POLICY.replace(*edit, 1))
        await until(lambda: site.venue.standing() == [] and words in caplog.text)
        site.policy.write_text(POLICY)
        await until(lambda: site.gpus_offered() == [4, 4, 4])


async def test_gpus_that_the_policy_names_from_now_on_are_said_to_need_an_update(site, caplog):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.policy.write_text('gpus = ["index:0"]\n' + POLICY)
        await until(lambda: "the policy's gpus were edited" in caplog.text)


async def test_why_the_venue_lets_a_node_not_sell_is_said_from_the_first_answer_on(site, caplog):
    caplog.set_level("INFO", "hourbook.agent")
    site.venue.sell = False
    async with site.running():
        await until(lambda: site.venue.verdicts and len(site.venue.reports) > 5)
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("node is ")]
    assert said[-1] == "node is active: told so" and len(said) == len(set(said))


async def test_terms_that_cannot_be_are_one_line_and_are_asked_for_again(site, caplog):
    site.venue.odd_rows = ({"product": PRODUCT, "period_s": 0, "horizon_periods": 5, "gate_lead_s": 6, "tick": "0.01"},)
    async with site.running():
        await until(lambda: "gave an unreadable answer: ValueError('period_s = 0')" in caplog.text)
        site.venue.odd_rows = ({"product": "X.CNE.F", "period_s": None},)
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        assert site.node.faults == {}


async def test_a_refusal_stands_in_the_status_until_the_venue_takes_the_offer(site):
    site.venue.refusals = ["unknown_node"]

    def troubles() -> dict:
        file = site.folder / "state" / "status.json"
        return json.loads(file.read_text())["troubles"] if file.exists() else {}

    async with site.running():
        await until(lambda: "post" in troubles())
        await until(lambda: site.gpus_offered() == [4, 4, 4] and troubles() == {})


async def test_an_edited_price_reprices_what_stands(site):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.policy.write_text(POLICY.replace('"12.84"', '"13.005"'))
        await until(lambda: {price for _, _, price in site.venue.standing()} == {"13.010000"})
        assert site.gpus_offered() == [4, 4, 4]
        assert (len(site.venue.posted), len(site.venue.repriced)) == (1, 1)


async def test_a_broken_policy_edit_leaves_the_last_good_one_at_work(site):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.policy.write_text("label = ")
        reports = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > reports + 3)
        assert site.gpus_offered() == [4, 4, 4]


async def test_where_money_for_the_bond_is_short_the_first_periods_are_offered(site):
    site.venue.refusals = ["insufficient_funds"]
    async with site.running():
        await until(lambda: site.gpus_offered() == [4])


async def test_reports_of_an_outage_wait_on_disk_and_arrive_in_order_with_their_chain_intact(site):
    async with site.running():
        await until(lambda: len(site.venue.reports) >= 3)
        before = len(site.venue.reports)
        site.venue.down = True
        await until(lambda: site.node.reports_waiting >= 4)
        site.venue.stale_next = True
        site.venue.down = False
        await until(lambda: len(site.venue.reports) >= before + 6)
        queued = [report.queued for report in site.venue.reports[before:]]
        assert queued[:4] == [True] * 4
        assert False in queued
        assert [report.seq for report in site.venue.reports] == list(range(1, len(site.venue.reports) + 1))


async def test_a_venue_that_is_slow_to_answer_keeps_no_report_from_being_made(site):
    async with site.running():
        await until(lambda: len(site.venue.reports) >= 3)
        before = len(site.venue.reports)
        site.venue.silent = True
        await until(lambda: site.node.reports_waiting >= 4)
        site.venue.silent = False
        await until(lambda: len(site.venue.reports) >= before + 6)
        windows = [(report.mono_start_ms, report.mono_end_ms) for report in site.venue.reports]
        assert [start for start, _ in windows[1:]] == [end for _, end in windows[:-1]]
        assert [report.seq for report in site.venue.reports] == list(range(1, len(site.venue.reports) + 1))


async def test_a_restarted_node_is_the_same_node_and_goes_on_with_its_chain(site):
    async with site.running():
        await until(lambda: len(site.venue.reports) >= 3)
    async with site.running(token=None):
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 2)
        await until(lambda: site.gpus_offered() == [4, 4, 4])
    assert len(site.venue.enrolments) == 1
    assert len({report.agent for report in site.venue.reports}) == 1


@pytest.mark.parametrize("code", ["report_forked", "node_barred", "unknown_node", "never_heard_of", "report_gap"])
async def test_no_refusal_of_a_report_ends_the_node_its_leases_run_on_and_it_heals(site, code):
    async with site.running() as running:
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.venue.starts = [site.lease()]
        await until(lambda: site.venue.reports[-1].lease_ids == ("lease-1",))
        take = site.venue._report
        site.venue._report = lambda report: _refuse(code)
        await until(lambda: site.venue.standing() == [])
        await until(lambda: site.node.reports_waiting > 3)
        assert not running.done()
        site.venue._report = take
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        assert site.venue.reports[-1].lease_ids == ("lease-1",)
        assert [report.seq for report in site.venue.reports] == list(range(1, len(site.venue.reports) + 1))
    assert site.node.faults == {}


async def test_a_barred_node_closes_the_leases_that_the_refusal_names_and_passes_over_what_is_no_order(site):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.venue.starts = [site.lease()]
        await until(lambda: site.venue.reports[-1].lease_ids == ("lease-1",))
        orders = [7, {"lease_id": None}, {"lease_id": "lease-1", "reason": "ended"}]
        site.venue._report = site.venue._place_chain = lambda request: _refuse("node_barred", stop_leases=orders)
        await until(lambda: "stop" in [result.action for result in site.venue.lease_results])
    assert site.node.faults == {}


def _refuse(code: str, **members: object) -> httpx.Response:
    return httpx.Response(409, json={"code": code, "detail": "no", "retryable": False} | members)


ODD_ANSWERS = {
    "a proxy's page": httpx.Response(200, text="<html>Sign in</html>"),
    "a redirect": httpx.Response(302, headers={"Location": "http://elsewhere/"}),
    "an empty body": httpx.Response(200),
    "a page that forbids": httpx.Response(403, text="<html>no</html>"),
    "another document": httpx.Response(200, json={"hello": 1}),
    "a list": httpx.Response(200, json=[]),
    "a list as a problem": httpx.Response(409, json=[]),
    "no code": httpx.Response(400, json={"detail": "no"}),
    "broken text": httpx.Response(200, content=b"\xff\xfe{"),
    "a deep document": httpx.Response(200, content=b"[" * 100_000),
    "a huge body": httpx.Response(200, content=b" " * (33 * 2**20)),
    "a stale nonce without a nonce": httpx.Response(409, json={"code": "report_nonce_stale", "detail": "no"}),
}


@pytest.mark.parametrize("words", ODD_ANSWERS)
async def test_whatever_answers_in_the_venues_place_the_node_goes_on_when_it_is_over(site, words, caplog):
    async with site.running() as running:
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        answer = site.venue._answer
        site.venue._answer = lambda request: ODD_ANSWERS[words]
        await until(lambda: site.node.reports_waiting > 2)
        assert not running.done()
        site.venue._answer = answer
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 3 and site.gpus_offered() == [4, 4, 4])
    assert site.node.faults == {}
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_fault_in_one_loop_is_shown_once_and_the_other_loops_live(site, caplog):
    async with site.running() as running:
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        balance = site.node._parts.seller.balance

        async def fail(*arguments: object) -> None:
            raise ZeroDivisionError("a bug")

        site.node._parts.seller.balance = fail
        seen = len(site.venue.reports)
        await until(lambda: site.node.faults == {"selling": 2})
        await until(lambda: len(site.venue.reports) > seen + 10)
        assert not running.done()
        assert len([record for record in caplog.records if record.exc_info]) == 1
        site.node._parts.seller.balance = balance
        site.policy.write_text(POLICY.replace('"12.84"', '"13.00"'))
        await until(lambda: {price for _, _, price in site.venue.standing()} == {"13.000000"})


async def test_a_fault_while_reading_gpus_costs_that_window_and_nothing_else(site):
    async with site.running() as running:
        await until(lambda: len(site.venue.reports) > 3)
        read = site.telemetry.read
        site.telemetry.read = lambda: 1 / 0
        await until(lambda: site.node.faults.get("reporting", 0) >= 1)
        site.telemetry.read = read
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 3)
        assert not running.done()


async def test_a32_a_gate_challenge_of_a_node_without_gpus_goes_unanswered_and_the_node_goes_on(site):
    site.telemetry.lost = set(site.uuids)
    async with site.running() as running:
        await until(lambda: len(site.venue.reports) > 5)
        assert not running.done()
    assert (site.venue.verdicts, site.node.faults) == ([], {})


async def test_a_jump_of_the_wall_clock_moves_nothing(site, monkeypatch):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        wall_ns = time.time_ns
        monkeypatch.setattr("tests.fakes.venue._wall_ms", lambda: wall_ns() // 1_000_000)
        for hours in (1, -1):
            monkeypatch.setattr(time, "time_ns", lambda hours=hours: wall_ns() + hours * 3600 * 10**9)
            seen = len(site.venue.reports)
            await until(lambda seen=seen: len(site.venue.reports) > seen + 5)
            assert site.gpus_offered() == [4, 4, 4]
        assert len(site.venue.posted) == 1


async def test_a_lease_is_opened_by_the_hook_reported_while_it_lives_and_closed_by_the_hook(site):
    lease = site.lease()
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.venue.starts = [lease]
        await until(lambda: site.venue.lease_results)
        started = site.venue.lease_results[0]
        assert (started.action, started.ok, started.endpoint, started.credential) == ("start", True, "ssh://a", "key")
        await until(lambda: site.venue.reports[-1].lease_ids == ("lease-1",))
        site.telemetry.busy = {site.uuids[0]}
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 3)
        assert site.gpus_offered() == [4, 4, 4], "the buyer's own work on a leased GPU takes nothing from the books"
        site.telemetry.busy = set()
        site.venue.stops = [LeaseStop(lease_id="lease-1", reason="ended")]
        await until(lambda: site.venue.lease_results[-1].action == "stop")
        stopped = site.venue.lease_results[-1]
        assert (stopped.action, stopped.ok, stopped.endpoint, stopped.credential) == ("stop", True, "", "")
        await until(lambda: site.venue.reports[-1].lease_ids == ())


async def test_an_answer_on_a_lease_that_was_lost_is_sent_again_without_running_the_hook_again(site):
    count = site.folder / "hook-runs"
    hook = f'echo up >> {count}; echo \'{{\\"endpoint\\": \\"a\\", \\"credential\\": \\"b\\"}}\''
    lines = [line for line in POLICY.splitlines() if not line.startswith("hooks.start")]
    site.policy.write_text("\n".join([*lines, f'hooks.start = ["sh", "-c", "{hook}"]', ""]))
    answer = site.venue._take_lease_result
    site.venue._take_lease_result = lambda result: httpx.Response(503)
    async with site.running():
        site.venue.starts = [site.lease()]
        await until(lambda: site.venue.reports and site.venue.reports[-1].lease_ids == ("lease-1",))
        site.venue._take_lease_result = answer
        await until(lambda: site.venue.lease_results)
        assert (site.venue.lease_results[0].ok, site.venue.lease_results[0].endpoint) == (True, "a")
    assert count.read_text() == "up\n"


async def test_a_node_waits_for_the_venue_before_it_enrols(site):
    site.venue.down = True
    async with site.running():
        await asyncio.sleep(0.1)
        assert site.venue.enrolments == []
        site.venue.down = False
        await until(lambda: site.venue.reports)


async def test_a_node_without_a_token_says_that_it_needs_one(site):
    with pytest.raises(BadConfiguration, match="there is no token"):
        async with site.running(token=None) as running:
            await asyncio.wait_for(asyncio.shield(running), 20)


async def test_the_next_lease_of_a_gpu_waits_until_the_last_one_is_closed(site):
    async with site.running():
        site.venue.starts = [site.lease("lease-1")]
        await until(lambda: site.venue.lease_results)
        site.venue.starts = [site.lease("lease-2")]
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 3)
        assert answers_of(site) == [("lease-1", "start")]
        site.venue.stops = [LeaseStop(lease_id="lease-1", reason="ended")]
        await until(lambda: len(answers_of(site)) == 3)
    assert answers_of(site) == [("lease-1", "start"), ("lease-1", "stop"), ("lease-2", "start")]


def answers_of(site) -> list[tuple[str, str]]:
    """What the hooks' answers are about, each once: what was asked again on the way is answered again."""
    return list(dict.fromkeys((result.lease_id, result.action) for result in site.venue.lease_results))


async def test_a_lost_gpu_is_not_proven(site):
    site.telemetry.lost = {site.uuids[2]}
    async with site.running():
        await until(lambda: site.venue.verdicts)
        assert [(gpu.passed, gpu.reason) for gpu in site.venue.verdicts[0].gpus] == [
            (True, ""),
            (True, ""),
            (False, "missing"),
            (True, ""),
        ]


async def test_a_challenge_that_comes_over_the_held_request_is_proven_and_every_answers_echo_goes_back(site):
    async with site.running():
        await until(lambda: site.venue.verdicts)
        challenge = site.venue.offer()
        await until(lambda: len(site.venue.verdicts) == 2)
        await until(lambda: len(site.venue.echoes) >= 3)
    assert (site.venue.verdicts[1].challenge_id, site.venue.verdicts[1].passed) == (challenge.challenge_id, True)
    assert site.venue.echoes[:3] == ["", f"{1:032x}", f"{2:032x}"]


async def test_a_venue_that_knows_no_held_requests_brings_challenges_with_its_replies(site):
    site.venue.is_old = True
    async with site.running():
        await until(lambda: site.venue.verdicts)
        await until(lambda: len(site.venue.reports) > 3)
    assert (site.venue.verdicts[0].passed, site.venue.echoes) == (True, [])
