"""Settlement of one position in exact integers, for every engine and anyone checking a bill."""

from typing import NamedTuple

NOTICE_S = 120


class BadMeterValues(ValueError):
    """E, D and U are not 0 ≤ U ≤ D ≤ q·T − E. [D-6]"""


class Settlement(NamedTuple):
    """What is due in micro-units: delivered gross, liquidated damages, fee, and each party's part (sum zero)."""

    gross: int
    ld: int
    fee: int
    buyer: int
    operator: int
    venue: int


def settle(
    q: int,
    T: int,
    P: int,
    I: int,  # noqa: E741
    E: int,
    r: int,
    hi: int,
    lo: int,
    bond: int,
    fee_bps: int,
    D: int,
    U: int,
    interruptible: bool = False,
    noticed: bool = False,
    recalled_gpus: int = 0,
) -> Settlement:
    """Settles q GPUs over T seconds at price P and index I (micro-units per GPU-hour), with the rulebook's own names.

    E excused, D delivered and U used are GPU-seconds; r, hi and lo are ‰. Raises BadMeterValues where they cannot be.
    [D-4]
    """
    if not (E >= 0 and 0 <= U <= D <= q * T - E):
        raise BadMeterValues(f"excused {E}, delivered {D}, used {U} of {q * T} GPU-seconds")
    base = q * T - E
    gross = P * (r * D + (1000 - r) * U) // (3600 * 1000)
    ld = recall_damages(P, noticed, recalled_gpus) if interruptible else damages(base, P, I, hi, lo, D)
    ld = min(ld, bond)
    fee = gross * fee_bps // 10_000
    return Settlement(gross, ld, fee, buyer=-gross + ld, operator=gross - fee - ld, venue=fee)


def undisputed(low: Settlement, high: Settlement) -> Settlement:
    """What two meters that differ both grant: the gross of the lower figures, the damages of the higher ones."""
    operator = low.gross - low.fee - high.ld
    return Settlement(low.gross, high.ld, low.fee, buyer=-low.gross + high.ld, operator=operator, venue=low.fee)


def recall_damages(price: int, noticed: bool, recalled_gpus: int) -> int:
    """Tier I: nothing with notice, without it the price of the notice's time. [D-5]"""
    return 0 if noticed else NOTICE_S * price * recalled_gpus // 3600


def damages(base: int, price: int, index: int, hi: int, lo: int, delivered: int) -> int:
    """What a shortfall costs before the cap: the dearer replacement, and a share of the price that grows up to `lo`."""
    num = min(hi * base - 1000 * delivered, (hi - lo) * base)
    den = (hi - lo) * base
    if num <= 0:
        return 0
    return (base - delivered) * (max(index - price, 0) * den + price * num) // (3600 * den)
