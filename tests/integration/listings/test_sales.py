"""Sales on real servers: repeats, rivals, disputes, and what time alone makes of a sale that nobody touches any more.

Tier: core. A minute; a day of the deadlines is a second here.
"""

import asyncio

import pytest

from clients.http import result_of
from schemas.venue import NodeGpu, RegisterNode
from tests.api.conftest import problem_of
from tests.fixtures.used_hardware import inspected, serial_of, uuid_of
from tests.integration.listings.conftest import DAY_MS, Board, offer

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHIPMENT = {"carrier": "SF Express", "tracking": "SF1020304050"}


async def test_a_repeat_under_its_key_gets_the_first_answer_and_does_nothing_again(board: Board):  # F15
    form = offer(await board.inspect("seller", 1))

    async def known():
        answer = await board.post("seller", "", form, "k-list")
        return answer if answer.is_success else None

    first = await board.wait_for(known)
    again = await board.post("seller", "", form, "k-list")
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    other = await board.post("seller", "", form | {"title": "another"}, "k-list")
    assert problem_of(other) == (409, "conflict")
    listing_id = first.json()["listing_id"]
    await board.in_state("seller", listing_id, "LISTED")
    bought, once_more = [await board.post("buyer", f"/{listing_id}/buy", key="k-buy") for _ in range(2)]
    assert (bought.status_code, once_more.json()) == (200, bought.json())
    assert problem_of(await board.post("buyer", f"/{listing_id}/ship", SHIPMENT, "k-buy"))[0] == 403
    assert problem_of(await board.post("buyer", f"/{listing_id}/cancel", key="k-buy")) == (409, "conflict")
    assert problem_of(await board.post("buyer", f"/{listing_id}/buy")) == (409, "already_bought")
    assert problem_of(await board.post("rival", f"/{listing_id}/buy")) == (409, "wrong_state")
    locked = [event for event in await board.events("hardware_locked") if event.listing_id == listing_id]
    assert len(locked) == 1


async def test_a_key_longer_than_128_characters_is_malformed(board: Board):
    answer = await board.post("buyer", "/nothing/buy", key="k" * 129)
    assert problem_of(answer) == (400, "malformed_request")


async def test_a_buyer_cancels_until_the_goods_are_shipped(board: Board):
    early, late = await asyncio.gather(board.funded("seller", "buyer", 2), board.funded("seller", "buyer", 3))
    result_of(await board.post("buyer", f"/{early}/cancel"))
    result_of(await board.post("seller", f"/{late}/ship", SHIPMENT))
    assert problem_of(await board.post("buyer", f"/{late}/cancel")) == (409, "wrong_state")
    ended = await board.in_state("buyer", early, "WITHDRAWN")
    assert [(step["step"], step["by"]) for step in ended["history"]] == [
        ("offer", "seller"),
        ("locked", "engine"),
        ("buy", "buyer"),
        ("funded", "engine"),
        ("cancel", "buyer"),
        ("refunded", "engine"),
        ("unlocked", "engine"),
    ]


async def test_a_dispute_is_a_partys_and_its_end_the_arbiters(board: Board):
    listing_id = await board.funded("seller", "buyer", 4)
    assert problem_of(await board.post("rival", f"/{listing_id}/dispute", {"reason": "mine"})) == (403, "not_yours")
    too_long = await board.post("seller", f"/{listing_id}/dispute", {"reason": "x" * 1_001})
    assert problem_of(too_long) == (400, "malformed_request")
    disputed = result_of(await board.post("seller", f"/{listing_id}/dispute", {"reason": "address does not exist"}))
    assert (disputed["state"], disputed["default_outcome"]) == ("DISPUTED", "refund")
    verdict = {"outcome": "release", "reason": "the seller showed the receipt"}
    assert problem_of(await board.post("buyer", f"/{listing_id}/decide", verdict)) == (403, "scope_missing")
    decided = result_of(await board.post("judge", f"/{listing_id}/decide", verdict))
    assert decided["state"] == "RELEASING"
    sold = await board.in_state("buyer", listing_id, "RELEASED")
    assert sold["history"][-2]["words"] == "the seller showed the receipt"
    anyone = result_of(await board.clients["rival"].get(f"/v1/listings/{listing_id}"))
    assert (anyone["history"], anyone["buyer"], anyone["escrow_id"]) == ([], None, None)


async def test_a_return_has_two_legs_and_ends_in_a_refund(board: Board):
    listing_id = await board.funded("seller", "buyer", 5)
    for account, step, form in (
        ("seller", "ship", SHIPMENT),
        ("buyer", "receive", {}),
        ("buyer", "reject", {"reason": "fan broken"}),
        ("buyer", "return", SHIPMENT),
        ("seller", "returned", {}),
    ):
        result_of(await board.post(account, f"/{listing_id}/{step}", form))
    ended = await board.in_state("buyer", listing_id, "WITHDRAWN")
    states = [step["state"] for step in ended["history"]]
    assert states[4:] == ["SHIPPED", "INSPECTING", "REJECTED", "RETURNING", "RETURNED", "REFUNDED", "WITHDRAWN"]


async def test_a_sale_that_nobody_touches_ends_by_time_alone_even_over_a_restart(board: Board):
    ids = await asyncio.gather(*(board.funded("seller", "buyer", number) for number in range(10, 14)))
    unshipped, shipped, rejected, returning = ids
    for listing_id in (shipped, rejected, returning):
        result_of(await board.post("seller", f"/{listing_id}/ship", SHIPMENT))
    for listing_id in (rejected, returning):
        result_of(await board.post("buyer", f"/{listing_id}/receive"))
        result_of(await board.post("buyer", f"/{listing_id}/reject", {"reason": "not as described"}))
    result_of(await board.post("buyer", f"/{returning}/return", SHIPMENT))
    before = await board.sale("buyer", shipped)
    assert before["default_outcome"] == "received"
    ends = {unshipped: "WITHDRAWN", shipped: "RELEASED", rejected: "WITHDRAWN", returning: "WITHDRAWN"}
    await board.stop()
    await board.start()
    for listing_id, state in ends.items():
        await board.in_state("buyer", listing_id, state, 60)
    told = {name: (await board.sale("buyer", name))["history"] for name in ids}
    by_time = {name: [step["step"] for step in steps if step["by"] == "time"] for name, steps in told.items()}
    assert by_time == {
        unshipped: ["not_shipped"],
        shipped: ["received_by_time", "accepted_by_time"],
        rejected: ["not_returned", "refunded_by_time"],
        returning: ["return_not_confirmed", "refunded_by_time"],
    }
    received = next(step for step in told[shipped] if step["step"] == "received_by_time")
    assert received["ts_ms"] == before["deadline_ms"]
    money = {event.escrow_id for event in await board.events("escrow_opened")}
    ended = [event.escrow_id for kind in ("escrow_released", "escrow_refunded") for event in await board.events(kind)]
    assert len(ended) == len(set(ended)) and set(ended) <= money
    assert {(await board.sale("buyer", name))["escrow_id"] for name in ids} <= set(ended)
    # Where the money went back the GPUs are the seller's to rent out again, where it was paid they are not.
    unlocked = {event.listing_id for event in await board.events("hardware_unlocked")}
    assert unlocked & set(ids) == {unshipped, rejected, returning}


async def test_a_gpu_stands_in_one_listing_and_a_barred_node_sells_nothing(board: Board):  # L10
    await board.listed("seller", 20)
    again = offer(await board.inspect("seller", 20))
    barred = offer(await board.inspect("seller", 21, state="quarantined", node="node-2"))
    foreign = offer(await board.inspect("seller", 22), hub="CNS", currency="XYZ")

    async def known() -> bool:
        return (await board.post("seller", "", foreign)).json()["code"] != "bad_inspection"

    await board.wait_for(known)
    for form, words in (
        (again, "is offered already, in lst-"),
        (barred, "the node is quarantined: its inspections do not count"),
        (foreign, "hub: the node is in CNE, not in CNS"),
    ):
        answer = await board.post("seller", "", form)
        assert problem_of(answer) == (422, "not_listable")
        assert words in answer.json()["detail"]


async def test_an_inspection_is_worth_nothing_once_its_gpu_has_shown_a_fault(board: Board):  # L12
    before = offer(await board.inspect("seller", 24, node="node-3"))
    await board.node_changes(node="node-3", reason="ecc_uncorrected", gpus=())
    after = offer(await board.inspect("seller", 24, node="node-3", state="lost"))

    async def known() -> bool:
        return "no such inspection" not in (await board.post("seller", "", after)).json().get("detail", "")

    await board.wait_for(known)
    answer = await board.post("seller", "", before)
    assert problem_of(answer) == (422, "bad_inspection")
    assert "the node has changed (ecc_uncorrected)" in answer.json()["detail"]
    words = await board.post("seller", "", after | {"title": "\u202egnp"})
    assert problem_of(words) == (400, "malformed_request")


async def test_what_a_node_offers_leaves_the_board_once_it_is_barred_and_what_was_bought_goes_on(board: Board):
    node = "node-30"
    gpus = tuple(NodeGpu(uuid=uuid_of(n), serial=serial_of(n)) for n in (60, 61))
    registered = RegisterNode(node=node, account="seller", grade="H100SXM80", hub="CNE", level="T1", gpus=gpus)
    await board.log.send("delivery", registered)
    open_id, bought_id = [await board.listed("seller", number, node=node) for number in (60, 61)]
    result_of(await board.post("buyer", f"/{bought_id}/buy"))
    await board.in_state("buyer", bought_id, "FUNDED")
    await board.node_changes(node=node, state="quarantined", level="T0", reason="forked_chain", gpus=())
    withdrawn = await board.in_state("seller", open_id, "WITHDRAWN")
    assert [(step["step"], step["by"]) for step in withdrawn["history"][-2:]] == [
        ("barred", "venue"),
        ("unlocked", "engine"),
    ]
    unlocked = [event.listing_id for event in await board.events("hardware_unlocked")]
    assert (open_id in unlocked, bought_id in unlocked) == (True, False)
    result_of(await board.post("buyer", f"/{bought_id}/cancel"))
    await board.in_state("buyer", bought_id, "WITHDRAWN")


async def test_an_outage_of_the_venue_lengthens_what_is_left_of_every_deadline(board: Board):
    listing_id = await board.funded("seller", "buyer", 32)
    before, usual = await board.sale("buyer", listing_id), board.settings
    await board.stop()
    away_s = 2 * DAY_MS / 1000
    await asyncio.sleep(away_s)
    board.settings = usual.model_copy(update={"listings_outage_ms": DAY_MS})
    await board.start()
    after = await board.wait_for(lambda: lengthened(board, listing_id))
    missed_ms = after["deadline_ms"] - before["deadline_ms"]
    assert away_s * 1000 <= missed_ms <= (away_s + 30) * 1000
    assert [(step["step"], step["by"], step["state"]) for step in after["history"][-1:]] == [
        ("lengthened", "venue", "FUNDED")
    ]
    await board.in_state("buyer", listing_id, "WITHDRAWN", 60)
    ended = (await board.sale("buyer", listing_id))["history"]
    assert [step["ts_ms"] for step in ended if step["step"] == "not_shipped"] == [after["deadline_ms"]]
    await board.stop()
    board.settings = usual
    await board.start()


async def lengthened(board: Board, listing_id: str) -> dict | None:
    sale = await board.sale("buyer", listing_id)
    return sale if sale["history"][-1]["step"] == "lengthened" else None


async def test_the_buyers_own_inspection_shows_what_differs(board: Board):
    listing_id = await board.funded("seller", "buyer", 23)
    result_of(await board.post("seller", f"/{listing_id}/ship", SHIPMENT))
    found = {"inspection_id": await board.inspect("buyer", inspected(23, ecc_uncorrected=2), state=None, passports=())}
    assert problem_of(await board.post("buyer", f"/{listing_id}/inspection", found)) == (409, "wrong_state")
    result_of(await board.post("buyer", f"/{listing_id}/receive"))
    assert problem_of(await board.post("rival", f"/{listing_id}/inspection", found)) == (403, "not_yours")

    async def compared():
        answer = await board.post("buyer", f"/{listing_id}/inspection", found)
        return answer.json() if answer.is_success else None

    difference = (await board.wait_for(compared))["difference"]
    assert [(each["what"], each["listed"], each["found"]) for each in difference["findings"]] == [
        ("ecc_uncorrected", "0", "2"),
        ("condition", "A", "C"),
    ]
    assert (await board.sale("seller", listing_id))["difference"] == difference
    assert result_of(await board.clients["rival"].get(f"/v1/listings/{listing_id}"))["difference"] is None
    result_of(await board.post("buyer", f"/{listing_id}/accept"))
