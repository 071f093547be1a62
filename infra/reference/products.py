"""The products that the venue lists: Chinese hubs in CNY, foreign hubs in USD, all with one set of timings."""

from collections.abc import Iterable
from dataclasses import dataclass

from infra.reference.offers import USD_TICK_MICROS, load_offers
from schemas.ids import lot_of
from schemas.reporting import gate_lead_min_s
from schemas.venue import DefineProduct

CHINESE_HUBS = ("CNE", "CNN", "CNS", "CNC", "CNW")
CHINESE_GRADES = (
    "H100SXM80",
    "H100SXM80X8",
    "H100PCIE80",
    "H200SXM141",
    "H20SXM96X8",
    "H800SXM80X8",
    "A100SXM80",
    "L40S48",
    "RTX4090D24",
)
# Boards that stand in Chinese hubs one at a time, and seldom: listed firm only, since each product costs a start.
CHINESE_SINGLES = ("H20SXM96", "H800SXM80", "A800SXM80", "A100PCIE40", "H200NVL141", "B200SXM180", "RTX308010")
CNY_TICK_MICROS = 10_000
TIERS = ("F", "I", "M")
METERED_RESERVATION_PERMILLE = 300
BOND_PERMILLE = (1000, 500, 200, 100)
HOUR_S = 3_600


class LeadTooShort(ValueError):
    """A product's gate leaves an honest node no time to hear of its challenge and to answer."""


@dataclass(frozen=True)
class Timing:
    """How long a period is and what hangs on it. Sandboxes shorten the period and everything with it."""

    period_s: int = HOUR_S
    horizon_periods: int = 14 * 24
    gate_lead_s: int = 600
    grace_s: int = 300
    final_after_s: int = 24 * HOUR_S

    @classmethod
    def sandbox(cls, period_s: int, horizon_periods: int = 30) -> "Timing":
        """Scales gates and graces to a short period; what must pass before FINAL is one period.

        The gate's lead does not shrink with the rest: a challenge and a lease hook take their seconds at any scale.
        """
        lead_s = max(gate_lead_min_s(period_s), period_s * 600 // HOUR_S)
        return cls(period_s, horizon_periods, lead_s, max(2, period_s * 300 // HOUR_S), period_s)


def check_leads(products: Iterable[DefineProduct]) -> None:
    """Raises LeadTooShort for the first product whose gate closes too late before the start."""
    for terms in products:
        least_s = gate_lead_min_s(terms.period_s)
        if terms.gate_lead_s < least_s:
            raise LeadTooShort(
                f"{terms.product}: gate_lead_s is {terms.gate_lead_s}, at least {least_s} with periods of "
                f"{terms.period_s} s: three report intervals and the time of a challenge"
            )


def list_products(timing: Timing) -> list[DefineProduct]:
    """Returns every product: the grades that trade in Chinese hubs, the grades of the offers in foreign ones."""
    sites, _ = load_offers()
    foreign_grades = sorted({site.grade for site in sites} | {site.node_grade for site in sites})
    foreign_hubs = sorted({site.hub for site in sites})
    chinese = [
        _product(grade, hub, tier, "CNY", CNY_TICK_MICROS, timing)
        for grade in CHINESE_GRADES
        for hub in CHINESE_HUBS
        for tier in TIERS
    ]
    singles = [
        _product(grade, hub, "F", "CNY", CNY_TICK_MICROS, timing) for grade in CHINESE_SINGLES for hub in CHINESE_HUBS
    ]
    foreign = [
        _product(grade, hub, "F", "USD", USD_TICK_MICROS, timing) for grade in foreign_grades for hub in foreign_hubs
    ]
    return chinese + singles + foreign


def _product(grade: str, hub: str, tier: str, currency: str, tick_micros: int, timing: Timing) -> DefineProduct:
    return DefineProduct(
        product=f"{grade}.{hub}.{tier}",
        grade=grade,
        hub=hub,
        tier=tier,
        currency=currency,
        lot=lot_of(grade),
        tick_micros=tick_micros,
        period_s=timing.period_s,
        horizon_periods=timing.horizon_periods,
        gate_lead_s=timing.gate_lead_s,
        grace_s=timing.grace_s,
        final_after_s=timing.final_after_s,
        maker_fee_bps=0,
        taker_fee_bps=0,
        settlement_fee_bps=100,
        reservation_permille=METERED_RESERVATION_PERMILLE if tier == "M" else 1000,
        dead_band_permille=990,
        full_damage_permille=800,
        bond_permille=BOND_PERMILLE,
        block_trials_per_command=1_000,
    )
