"""The played market's decisions: functions of what a trader sees and of a seed, and nothing else."""

import json
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from random import Random

import httpx
import pytest

from clients.cli import join
from clients.cli.join import offer_of
from console.play.accidents import CALM_MINUTES, accident_in
from console.play.block_buyers import BlockBuyer
from console.play.chance import WAVE_MAX, stream, wave
from console.play.cost import PACE_MAX, SHARE_MAX, next_pace
from console.play.hardware import next_step, offer_text
from console.play.makers import LEVELS, PERIODS, Maker
from console.play.people import people
from console.play.resellers import Reseller
from console.play.sites import Stall, choose_offers, price_of
from console.play.takers import Taker
from console.play.value import Value
from console.play.view import Holding, Order, Point, Terms, View
from console.play.wishes import Block, Cancel, Limit, Resell, rfc3339
from infra.reference.offers import load_offers
from schemas.ids import contract_name
from schemas.rest import ORDER_FORM, BatchForm

NOW_S, PERIOD_S, LEAD_S, TICK, BASE = 1_795_351_800, 60, 35, 1_000, 2_000_000
PRODUCT = "H100SXM80.USC.F"
REPLY = httpx.Response(201, json={})
TERMS = Terms(PRODUCT, "USD", 1, TICK, PERIOD_S, LEAD_S)


def a_view(asks: dict[int, int] | None = None, bids: dict[int, int] | None = None, **own) -> View:
    """Twenty-four periods; asks and bids by place, 5 GPUs each."""
    asks = dict.fromkeys(range(24), BASE) if asks is None else asks
    points = []
    for place in range(24):
        start_s = NOW_S + LEAD_S + (place + 1) * PERIOD_S
        point = Point(contract_name(PRODUCT, start_s, PERIOD_S), PRODUCT, start_s, start_s - LEAD_S)
        if place in asks:
            point = replace(point, ask_micros=asks[place], ask_qty=5)
        if place in (bids or {}):
            point = replace(point, bid_micros=bids[place], bid_qty=5)
        points.append(point)
    value = Value(7, PRODUCT, BASE, PERIOD_S)
    return View(NOW_S, {PRODUCT: TERMS}, {PRODUCT: value}, {PRODUCT: tuple(points)}, **own)


def test_a_seed_decides_every_stream_and_no_name_shifts_anothers():
    draws = [stream(1, "a", 3).random(), stream(1, "b", 3).random(), stream(2, "a", 3).random()]
    assert len(set(draws)) == 3
    assert draws[0] == stream(1, "a", 3).random() == 0.824131861732807


def test_a_wave_is_smooth_and_stays_within_its_heights():
    heights = [wave(1, "x", moment_s, 60) for moment_s in range(6_000)]
    assert all(-WAVE_MAX <= height <= WAVE_MAX for height in heights)
    assert max(abs(b - a) for a, b in pairwise(heights)) <= 2 * WAVE_MAX / 60 + 1
    assert max(heights) - min(heights) > WAVE_MAX


def test_a_value_drifts_by_the_seed_and_never_far_from_its_base():
    value = Value(1, PRODUCT, BASE, PERIOD_S)
    seen = [value.at(NOW_S + 600, NOW_S + step) for step in range(0, 3_600, 5)]
    assert seen == [Value(1, PRODUCT, BASE, PERIOD_S).at(NOW_S + 600, NOW_S + step) for step in range(0, 3_600, 5)]
    assert seen != [Value(2, PRODUCT, BASE, PERIOD_S).at(NOW_S + 600, NOW_S + step) for step in range(0, 3_600, 5)]
    assert 0.85 * BASE < min(seen) < max(seen) < 1.15 * BASE
    assert max(seen) - min(seen) > BASE // 50


@pytest.mark.parametrize("seed", range(20))
def test_a_maker_bids_below_the_value_and_never_reaches_an_ask(seed):
    maker = Maker((PRODUCT,), 9_000, 2)
    view = a_view(asks={place: BASE + (place - 8) * 20_000 for place in range(24)})
    wishes = maker.decide(view, 0, Random(seed))
    assert wishes == maker.decide(view, 0, Random(seed))
    points = {point.contract: point for point in view.points(PRODUCT)[:PERIODS]}
    assert {wish.contract for wish in wishes} == set(points)
    for wish in wishes:
        point = points[wish.contract]
        assert wish.side == "buy" and wish.price_micros % TICK == 0 and wish.qty in (1, 2)
        assert wish.price_micros < view.value(point) and wish.price_micros < point.ask_micros


def test_a_maker_leaves_quotes_near_the_value_alone_and_takes_back_what_the_value_left_behind():
    maker = Maker((PRODUCT,), 9_000, 2)
    first = [wish for wish in maker.decide(a_view(asks={}), 0, Random(1)) if isinstance(wish, Limit)]
    assert len(first) == LEVELS * PERIODS
    standing = tuple(Order(number, w.contract, w.side, w.price_micros, w.qty) for number, w in enumerate(first, 1))
    assert maker.decide(a_view(asks={}, orders=standing), 0, Random(2)) == []
    moved = (replace(standing[0], price_micros=standing[0].price_micros - 300_000), *standing[1:])
    assert maker.decide(a_view(asks={}, orders=moved), 0, Random(2)) == [
        Cancel(1),
        Limit(first[0].contract, "buy", 1, first[0].price_micros),
    ]


def test_a_maker_offers_what_it_bought_above_the_value_once():
    view = a_view(asks={})
    point = view.points(PRODUCT)[2]
    view = replace(view, holdings=(Holding(9, point.contract, 3, BASE),))
    sells = [wish for wish in Maker((PRODUCT,), 9_000, 2).decide(view, 0, Random(1)) if wish.side == "sell"]
    assert [(wish.contract, wish.qty) for wish in sells] == [(point.contract, 3)]
    assert sells[0].price_micros >= view.value(point) * 1.009
    offered = replace(view, orders=(Order(5, point.contract, "sell", sells[0].price_micros, 3),))
    again = Maker((PRODUCT,), 9_000, 2).decide(offered, 0, Random(1))
    assert [wish for wish in again if getattr(wish, "side", "") == "sell"] == []


@pytest.mark.parametrize("premium_ppm, takes", [(0, False), (300_000, True)])
def test_a_taker_takes_the_best_ask_only_where_it_is_worth_it(premium_ppm, takes):
    view = a_view(asks=dict.fromkeys(range(24), BASE * 6 // 5))
    taker = Taker((PRODUCT,), 3, 1.0, premium_ppm)
    orders = [wish for seed in range(30) for wish in taker.decide(view, 0, Random(seed))]
    assert bool(orders) is takes
    assert all((order.tif, order.side, order.price_micros) == ("IOC", "buy", BASE * 6 // 5) for order in orders)
    assert all(1 <= order.qty <= 3 for order in orders)


def test_a_block_is_asked_for_only_over_periods_that_all_have_asks_or_waits_below_the_value():
    buyer = BlockBuyer((PRODUCT,), 1.0)
    nothing_offered = [wish for seed in range(60) for wish in buyer.decide(a_view(asks={}), 0, Random(seed))]
    assert nothing_offered and {wish.tif for wish in nothing_offered} == {"GTG"}
    wishes = [wish for seed in range(200) for wish in buyer.decide(a_view(), 0, Random(seed))]
    assert {wish.tif for wish in wishes} == {"IOC", "GTG"}
    assert {wish.latest_s is None for wish in wishes} == {True, False}
    assert {wish.periods for wish in wishes} == {2, 3, 4}


def test_a_reseller_offers_dearer_what_it_holds_and_lets_it_go_near_the_gate():
    view = a_view(bids={0: BASE - 50_000})
    near, far = view.points(PRODUCT)[0], view.points(PRODUCT)[10]
    view = replace(view, now_s=near.gate_s - 30, holdings=(Holding(1, near.contract, 2, BASE),))
    assert Reseller((PRODUCT,), 0.0).decide(view, 0, Random(1)) == [
        Limit(near.contract, "sell", 2, BASE - 50_000, "IOC")
    ]
    view = a_view(holdings=(Holding(1, far.contract, 2, BASE),))
    (offer,) = Reseller((PRODUCT,), 0.0).decide(view, 0, Random(1))
    assert (offer.position_id, offer.qty, offer.start_s, offer.end_s) == (1, 2, far.start_s, far.start_s + PERIOD_S)
    assert offer.price_micros > max(BASE, view.value(far))


def test_everything_a_trader_wishes_is_a_form_that_the_gateway_takes():
    limit = Limit(a_view().points(PRODUCT)[0].contract, "buy", 1, BASE, "IOC", True)
    block = Block(PRODUCT, NOW_S, 2, 1, BASE, "GTG")
    flex = Block(PRODUCT, NOW_S, 2, 1, BASE, "IOC", NOW_S + 600)
    resell = Resell(PRODUCT, 4, NOW_S, NOW_S + PERIOD_S, 1, BASE)
    kinds = [ORDER_FORM.validate_python(wish.form()).kind for wish in (limit, block, flex, resell)]
    assert kinds == ["limit", "block", "flex", "resell"]
    members = [{"op": "place", "order": wish.form()} for wish in (limit, block, flex)]
    assert len(BatchForm.model_validate({"members": [*members, {"op": "cancel", "order_id": 3}]}).members) == 4


def test_everyone_has_a_name_of_his_own_and_decides_the_same_by_the_same_seed():
    everyone = people((PRODUCT,), (PRODUCT,), (PRODUCT,))
    assert len({person.name for person in everyone}) == len(everyone) == 11
    view = a_view(holdings=(Holding(1, a_view().points(PRODUCT)[9].contract, 2, BASE),))

    def decided(seed: int) -> list:
        return [
            person.trader.decide(view, turn, stream(seed, person.name, turn))
            for person in everyone
            for turn in range(9)
        ]

    assert decided(1) == decided(1) != decided(2)


def test_the_played_offers_are_real_ones_of_products_with_several_sites():
    chosen = choose_offers(load_offers()[0], 27)
    assert len(chosen) == len({site.name for site in chosen}) == 27
    assert len({(site.node_grade, site.hub) for site in chosen}) <= 9


def test_a_sites_price_follows_the_value_and_keeps_its_distance():
    value = Value(3, PRODUCT, BASE, PERIOD_S)
    cheap, dear = Stall("vast-1", PRODUCT, BASE), Stall("vast-2", PRODUCT, BASE * 2)
    for now_s in range(NOW_S, NOW_S + 3_600, 60):
        prices = [price_of(stall, value, 3, now_s, TICK) for stall in (cheap, dear)]
        assert all(price % TICK == 0 for price in prices)
        assert 0.85 * BASE < prices[0] < 1.15 * BASE and 1.7 < prices[1] / BASE < 2.3


def test_accidents_come_by_the_seed_after_a_calm_beginning_and_hurt_only_sites_that_are_well():
    minutes = [accident_in(4, minute, ("yangtze", "helan"), 8) for minute in range(300)]
    assert minutes == [accident_in(4, minute, ("yangtze", "helan"), 8) for minute in range(300)]
    assert minutes[:CALM_MINUTES] == [None] * CALM_MINUTES
    happened = [accident for accident in minutes if accident]
    assert 50 < len(happened) < 150
    assert {accident.kind for accident in happened} == {"gpu_lost", "node_gone"}
    assert {accident.site for accident in happened} == {"yangtze", "helan"}
    assert accident_in(4, 50, (), 8) is None


def test_a_sale_takes_its_steps_in_time_and_waits_for_the_venue_in_between():
    due = {
        state: [next_step(state, age_s, Random(1)) is not None for age_s in (0, 1_000)]
        for state in ("LISTED", "FUNDING", "FUNDED", "SHIPPED", "INSPECTING", "RELEASED")
    }
    never, in_time = [False, False], [False, True]
    assert due == {
        "LISTED": in_time,
        "FUNDING": never,
        "FUNDED": in_time,
        "SHIPPED": in_time,
        "INSPECTING": in_time,
        "RELEASED": never,
    }
    assert float(offer_text(Random(1))[1]) >= 168_000


def test_a_newcomer_is_offered_a_cheap_period_whose_gate_leaves_time_to_type():
    terms = {"gate_lead_s": LEAD_S, "tick": "0.01", "lot": 8}
    starts = [NOW_S + LEAD_S + wait_s for wait_s in (10, 60, 120, 180, 240, 300)]
    asks = ("1.00", "1.00", None, "12.84", "12.71", "12.99")
    points = [
        {"contract": f"c{place}", "start": rfc3339(start_s)} | ({"ask": ask} if ask else {})
        for place, (start_s, ask) in enumerate(zip(starts, asks, strict=True))
    ]
    assert offer_of(terms, points, NOW_S) == {"contract": "c4", "price": "12.97", "qty": 8}
    assert offer_of(terms, points[:3], NOW_S) is None


def test_the_play_goes_slower_when_it_costs_too_much_and_as_usual_again_when_it_does_not():
    pace = 1.0
    for _ in range(20):
        pace = next_pace(pace, SHARE_MAX)
    assert pace == PACE_MAX
    for _ in range(40):
        pace = next_pace(pace, 0.1)
    assert pace == 1.0


def test_a_newcomer_without_an_ssh_key_registers_none_and_one_with_a_key_his_own(tmp_path, monkeypatch):
    sent = []

    @contextmanager
    def signed(service, signer):
        transport = httpx.MockTransport(lambda request: sent.append((service, signer.key, request)) or REPLY)
        with httpx.Client(base_url="http://venue", transport=transport) as client:
            yield client

    monkeypatch.setattr(join, "signed", signed)
    assert join.register_ssh_key("neo", tmp_path) is None
    (tmp_path / ".ssh").mkdir()
    key = tmp_path / ".ssh" / "id_ed25519.pub"
    key.write_text("ssh-ed25519 AAAA neo")
    assert join.register_ssh_key("neo", tmp_path) == str(key)
    ((service, signer, request),) = sent
    assert (service, signer, request.url.path) == ("delivery", "neo", "/v1/ssh-keys")
    assert json.loads(request.content) == {"public_key": "ssh-ed25519 AAAA neo"}
