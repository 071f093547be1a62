"""Compares receipts with what is right, and says what is wrong in words that let one repeat it."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.ids import tier_of
from schemas.venue import DefineProduct
from tests.long_run.truth import Bounds, Right, Terms, money

LEVEL_PROVEN = 1  # a node that has passed a challenge: T1
AMOUNTS = ("paid_micros", "damages_micros", "fee_micros", "operator_micros")


@dataclass(frozen=True)
class Fault:
    """One thing that is not right on a receipt."""

    what: str
    expected: object
    came: object

    def __str__(self) -> str:
        return f"{self.what}: right is {self.expected}, the receipt says {self.came}"


def faults_of(receipt: Mapping, right: Right, product: DefineProduct, qty: int, price_micros: int) -> list[Fault]:
    """Returns everything that is wrong with one receipt."""
    period_s, tier = product.period_s, tier_of(receipt["contract"])
    told = (receipt["qty"], receipt["period_s"], receipt["price_micros"], receipt["terms"]["tier"])
    faults = (
        [] if told == (qty, period_s, price_micros, tier) else [Fault("terms", (qty, period_s, price_micros), told)]
    )
    delivered, excused = receipt["delivered_gpu_s"], receipt["excused_gpu_s"]
    disputed = receipt["terms"].get("disputed_gpu_s", 0)
    counts = {
        "delivered": (right.delivered, delivered),
        "excused": (right.excused, excused),
        "used": (right.used, receipt["used_gpu_s"]),
        "disputed": (right.disputed, disputed),
        "short": (right.short, qty * period_s - excused - delivered - disputed),
    }
    faults += [Fault(name, bounds, came) for name, (bounds, came) in counts.items() if not bounds.holds(came)]
    recall = (receipt["terms"]["recalled_gpus"], receipt["terms"]["noticed"])
    if not (right.allows_recall(*recall) if tier == "I" else recall == (0, False)):
        faults.append(Fault("recalled, noticed", (right.recalled, right.noticed), recall))
    least_bond = qty * -(-price_micros * period_s * product.bond_permille[LEVEL_PROVEN] // 3_600_000)
    bond = Bounds(least_bond, max(least_bond, qty * -(-receipt_top(receipt) * period_s // 3_600)))
    if not bond.holds(receipt["terms"]["bond_micros"]):
        faults.append(Fault("bond", bond, receipt["terms"]["bond_micros"]))
    return faults + _money_faults(receipt, product, tier)


def receipt_top(receipt: Mapping) -> int:
    """The most that a bond may have been held on, per GPU-hour: no index here is beyond ten times the price."""
    return 10 * max(receipt["price_micros"], receipt["index_micros"])


def _money_faults(receipt: Mapping, product: DefineProduct, tier: str) -> list[Fault]:
    terms = Terms(
        qty=receipt["qty"],
        period_s=product.period_s,
        price=receipt["price_micros"],
        index=receipt["index_micros"],
        tier=tier,
        reservation_permille=product.reservation_permille,
        upper_permille=product.dead_band_permille,
        lower_permille=product.full_damage_permille,
        bond=receipt["terms"]["bond_micros"],
        fee_bps=product.settlement_fee_bps,
    )
    counts = (receipt["delivered_gpu_s"], receipt["excused_gpu_s"], receipt["used_gpu_s"])
    recall = (receipt["terms"]["recalled_gpus"], receipt["terms"]["noticed"])
    due = money(terms, *counts, *recall, receipt["terms"].get("disputed_gpu_s", 0))
    expected = (due.gross, due.damages, due.fee, due.operator)
    came = tuple(receipt[name] for name in AMOUNTS)
    return [] if expected == came else [Fault(", ".join(AMOUNTS), expected, came)]
