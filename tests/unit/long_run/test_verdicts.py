"""What the long run finds wrong with a receipt."""

import pytest

from infra.reference.products import Timing, list_products
from tests.long_run.truth import Bounds, Right
from tests.long_run.verdicts import faults_of

PRODUCTS = {product.product: product for product in list_products(Timing.sandbox(20))}
ALL = Right(Bounds(60, 60), Bounds(0, 0), Bounds(0, 60), Bounds(0, 0), Bounds(0, 0))
PRICE = 10_000_000


def receipt(tier: str = "F", **changes: object) -> dict:
    """Three GPUs for 20 s at 10.00, delivered whole: 60 × 10 / 3600 = 0.166666, of it 1 % fee."""
    terms = {"tier": tier, "bond_micros": 3 * 27_778, "recalled_gpus": 0, "noticed": False}
    terms |= changes.pop("terms", {})
    facts = {"contract": f"H100SXM80.CNE.{tier}-261130063000", "qty": 3, "period_s": 20, "price_micros": PRICE}
    facts |= {"index_micros": PRICE, "delivered_gpu_s": 60, "excused_gpu_s": 0, "used_gpu_s": 60}
    facts |= {"paid_micros": 166_666, "damages_micros": 0, "fee_micros": 1_666, "operator_micros": 165_000}
    return facts | changes | {"terms": terms}


def found(right: Right = ALL, tier: str = "F", **changes: object) -> list[str]:
    product = PRODUCTS[f"H100SXM80.CNE.{tier}"]
    return [fault.what for fault in faults_of(receipt(tier, **changes), right, product, 3, PRICE)]


def test_a_receipt_that_is_right_has_no_fault():
    assert found() == []


def test_a_second_too_few_is_a_fault_of_delivery_and_a_shortfall_and_its_money_is_wrong_too():
    assert found(delivered_gpu_s=58, used_gpu_s=58) == [
        "delivered",
        "short",
        "paid_micros, damages_micros, fee_micros, operator_micros",
    ]


def test_time_that_is_excused_without_a_reason_is_a_fault():
    changes = {"delivered_gpu_s": 59, "used_gpu_s": 59, "excused_gpu_s": 1, "paid_micros": 163_888, "fee_micros": 1_638}
    assert found(**changes, operator_micros=162_250) == ["delivered", "excused"]


def test_a_bond_that_is_less_than_the_level_asks_for_is_a_fault():
    assert found(terms={"bond_micros": 3 * 27_777}) == ["bond"]


@pytest.mark.parametrize("tier", ["I", "F"])
@pytest.mark.parametrize("noticed", [True, False])
def test_a_recall_that_never_was_is_a_fault(tier, noticed):
    damages = 0 if noticed or tier == "F" else 83_334  # the bond: 120 s at 10.00 an hour are more
    money = {"damages_micros": damages, "operator_micros": 165_000 - damages}
    assert found(tier=tier, terms={"recalled_gpus": 1, "noticed": noticed}, **money) == ["recalled, noticed"]


def test_what_is_disputed_is_neither_paid_nor_a_shortfall():
    half = Right(*(Bounds(30, 30), Bounds(0, 0), Bounds(0, 30), *[Bounds(0, 0)] * 3), disputed=Bounds(30, 30))
    changes = {"delivered_gpu_s": 30, "used_gpu_s": 30, "paid_micros": 83_333, "fee_micros": 833}
    changes |= {"operator_micros": 82_500, "terms": {"disputed_gpu_s": 30}}
    assert found(half, **changes) == []
    assert found(**changes) == ["delivered", "disputed"]


def test_a_position_sold_at_another_price_is_a_fault():
    product = PRODUCTS["H100SXM80.CNE.F"]
    assert [fault.what for fault in faults_of(receipt(), ALL, product, 3, PRICE + 1)] == ["terms"]
