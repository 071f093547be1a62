"""What may be listed, and in which condition: the seller's word against the inspection and the venue's own record."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

from schemas.delivery import GpuPassport, HardwareInspected
from schemas.gpu_health import FATAL_XIDS
from schemas.ids import Grade
from schemas.listings import Condition, ListedGpu, ListingForm, ListingKind
from schemas.money import BadDecimal, format_micros, parse_micros
from schemas.nodes import GpuReading, InspectedGpu
from services.listings.domain import BadInspection, NotListable

FEE_BASE_BPS = 10_000
BARRED = ("quarantined", "banned")
COUNTERS = ("ecc_corrected", "ecc_uncorrected", "remapped_correctable", "remapped_uncorrectable")
# A board's number has digits enough to be one; erased ones read as words, as a character or two over and over, as a
# row (12345…, 98765…), or as one piece again and again.
SERIAL = re.compile(r"(?=(?:.*[0-9]){5})[A-Za-z0-9](?:[A-Za-z0-9-]{4,30})[A-Za-z0-9]")
REPEATED = re.compile(r"(.{1,8})\1+")
CHARACTERS_MIN = 3
MEMORY_TOLERANCE_PERCENT = 5  # what a driver shows differs by ECC's share
MEZZANINE = re.compile(r"SXM|OAM")
# How many GPUs each form of goods has, on which kind of board. Modules and cards come singly or as a lot of one node;
# HGX baseboards carry 4 or 8 SXM GPUs (NVIDIA HGX A100/H100/H200 product pages); servers with PCIe cards take up to 10.
MODULE_LOT, BASEBOARD, SERVER, RACK = range(1, 17), (4, 8), (2, 4, 8, 10, 16), range(8, 65)


@dataclass(frozen=True)
class Board:
    """What the venue sets for its board: how old an inspection may be, price bounds per GPU, fee, money it knows."""

    inspection_age_ms_max: int
    price_micros_min: int
    price_micros_max: int
    fee_bps: int
    currencies: tuple[str, ...]


@dataclass(frozen=True)
class Terms:
    """What a listing offers: GPUs of one grade, graded by condition, at a price, with the venue's fee in it."""

    grade: Grade
    condition: Condition
    gpus: tuple[ListedGpu, ...]
    price_micros: int
    fee_micros: int
    simulated: bool


@dataclass(frozen=True)
class Standing:
    """What the venue said of a node since it was inspected: its state, the GPUs that it may sell, and why."""

    state: str
    gpus: frozenset[str]
    reason: str


def make_terms(
    form: ListingForm, inspection: HardwareInspected, now_ms: int, board: Board, standing: Standing | None = None
) -> Terms:
    """Returns the terms of a listing. Raises BadInspection for an old one, NotListable, BadDecimal.

    `standing` is what the venue has said of the node since the inspection, if anything.
    """
    if inspection.ts_ms < now_ms - board.inspection_age_ms_max:
        raise BadInspection("the inspection is too old; let the agent make another")
    check_node(inspection, standing)
    passports = {passport.uuid: passport for passport in inspection.passports}
    gpus = inspection.report.gpus
    check_identities(gpus, passports)
    grades = sorted({gpu.inventory.grade for gpu in gpus})
    if len(grades) != 1:
        raise BadInspection(f"a listing has GPUs of one grade, not of {', '.join(grades)}")
    check_form(form, inspection, grades[0], board)
    price_micros = check_price(form.price, len(gpus), board)
    listed = tuple(listed_gpu(gpu, passports[gpu.inventory.uuid]) for gpu in gpus)
    fee_micros = price_micros * board.fee_bps // FEE_BASE_BPS
    condition = worst([gpu.condition for gpu in listed])
    return Terms(grades[0], condition, listed, price_micros, fee_micros, inspection.report.nvml_simulated)


def check_node(inspection: HardwareInspected, standing: Standing | None) -> None:
    """Nothing of a node that the venue does not trust counts, nor an inspection that a GPU's fault has outdated.

    Raises NotListable or BadInspection.
    """
    if inspection.state is None:
        raise NotListable("the inspection is not of an enrolled node; the venue knows nothing of these GPUs")
    state = inspection.state if standing is None else standing.state
    if state in BARRED:
        raise NotListable(f"the node is {state}: its inspections do not count")
    if standing is not None and not standing.gpus.issuperset(gpu.inventory.uuid for gpu in inspection.report.gpus):
        since = standing.reason or standing.state
        raise BadInspection(f"since the inspection the node has changed ({since}); let the agent make another")


def check_identities(gpus: Sequence[InspectedGpu], passports: dict[str, GpuPassport]) -> None:
    """Each GPU is the one that was enrolled, under a serial that is one and stands nowhere else. Raises NotListable."""
    for names in ([gpu.inventory.uuid for gpu in gpus], [gpu.inventory.serial for gpu in gpus]):
        if len(set(names)) != len(names):
            raise NotListable(f"a GPU is listed twice: {', '.join(sorted(names))}")
    for gpu in gpus:
        found, known = gpu.inventory, passports.get(gpu.inventory.uuid)
        if known is None:
            raise NotListable(f"{found.uuid} is not enrolled at this node")
        if not is_serial(found.serial):
            raise NotListable(f"{found.uuid}: `{found.serial}` is no serial number; GPUs without one are not sold here")
        if found.serial != known.serial:
            raise NotListable(f"{found.uuid}: its serial is {found.serial}, it was enrolled with {known.serial}")
        if known.serial_elsewhere:
            raise NotListable(f"{found.uuid}: another GPU is enrolled under its serial {found.serial}")
        if (found.name, found.grade) != (known.name, known.grade):
            enrolled = f"{known.name} ({known.grade})"
            raise NotListable(f"{found.uuid}: it is a {found.name} ({found.grade}), it was enrolled as {enrolled}")
        if abs(found.memory_mib - known.memory_mib) * 100 > known.memory_mib * MEMORY_TOLERANCE_PERCENT:
            sizes = f"{found.memory_mib} MiB, it was enrolled with {known.memory_mib}"
            raise NotListable(f"{found.uuid}: it shows {sizes}")
        check_reading(gpu)


def check_reading(gpu: InspectedGpu) -> None:
    """What was measured is this GPU's, and of its size. Raises NotListable."""
    found, reading = gpu.inventory, gpu.reading
    if reading.uuid != found.uuid:
        raise NotListable(f"{found.uuid}: the measurement is of {reading.uuid}")
    shown_mib = reading.memory_total_mib
    if shown_mib is not None and abs(shown_mib - found.memory_mib) * 100 > found.memory_mib * MEMORY_TOLERANCE_PERCENT:
        raise NotListable(f"{found.uuid}: {shown_mib} MiB were measured, it is said to have {found.memory_mib}")


def is_serial(text: str) -> bool:
    """Whether a text can be a board's serial: not erased, not a placeholder."""
    if SERIAL.fullmatch(text) is None or len(set(text)) < CHARACTERS_MIN or REPEATED.fullmatch(text):
        return False
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(text)} if text.isdigit() else set()
    return steps not in ({1}, {9})


def check_form(form: ListingForm, inspection: HardwareInspected, grade: Grade, board: Board) -> None:
    """The offer says where the goods are, in which money, and what they are. Raises NotListable."""
    if form.hub != inspection.hub:
        raise NotListable(f"hub: the node is in {inspection.hub}, not in {form.hub}")
    currencies = inspection.currencies or board.currencies
    if form.currency not in currencies:
        raise NotListable(f"currency: {form.hub} trades in {', '.join(currencies)}, not in {form.currency}")
    count, is_mezzanine = len(inspection.report.gpus), MEZZANINE.search(grade) is not None
    if complaint := kind_complaint(form.kind, count, is_mezzanine, count == inspection.node_gpus):
        raise NotListable(f"kind: {complaint}")


def kind_complaint(kind: ListingKind, count: int, is_mezzanine: bool, is_whole_node: bool) -> str | None:
    """Says why so many GPUs of a form factor are not this kind of goods; None where they are."""
    if kind in ("module", "baseboard") and not is_mezzanine:
        return f"a {kind} carries SXM or OAM GPUs, these are cards"
    if kind == "pcie_card" and is_mezzanine:
        return "these are modules, not cards"
    counts: dict[ListingKind, Collection[int]] = {
        "module": MODULE_LOT,
        "pcie_card": MODULE_LOT,
        "baseboard": BASEBOARD,
        "server": SERVER,
        "rack_lot": RACK,
    }
    if count not in counts[kind]:
        return f"a {kind} does not have {count} GPU{'' if count == 1 else 's'}"
    if kind in ("server", "rack_lot") and not is_whole_node:
        return f"a {kind} is sold whole, with every GPU of its node"
    return None


def check_price(text: str, gpus: int, board: Board) -> int:
    """Returns the price in micro-units. Raises BadDecimal, or NotListable for one out of the venue's bounds."""
    micros = parse_micros(text)
    if micros <= 0:
        raise BadDecimal(text)
    low, high = board.price_micros_min * gpus, board.price_micros_max * gpus
    if not low <= micros <= high:
        bounds = f"{format_micros(low)} to {format_micros(high)}"
        raise NotListable(f"price: {bounds} for {gpus} GPU{'' if gpus == 1 else 's'}")
    return micros


def listed_gpu(gpu: InspectedGpu, passport: GpuPassport) -> ListedGpu:
    """Returns a GPU as a listing shows it."""
    condition, reasons = grade_condition(gpu.reading, passport)
    return ListedGpu(
        uuid=gpu.inventory.uuid,
        serial=gpu.inventory.serial,
        name=gpu.inventory.name,
        memory_mib=gpu.inventory.memory_mib,
        condition=condition,
        reasons=reasons,
        passport=passport,
    )


def grade_condition(reading: GpuReading, passport: GpuPassport | None = None) -> tuple[Condition, tuple[str, ...]]:
    """Grades a GPU by the worst of its inspection and of its record: P parts only, C errors, B repairs, A clean.

    N (new) and R (repaired by the maker) would need proof that nobody gives yet. The reasons are those of the grade.
    """
    facts = {"P": _ruined(reading, passport), "C": _erred(reading, passport), "B": _repaired(reading, passport)}
    return next(((grade, tuple(why)) for grade, why in facts.items() if why), ("A", ()))


def _ruined(reading: GpuReading, passport: GpuPassport | None) -> list[str]:
    facts = {
        "lost": not reading.present,
        "unhealthy": reading.present and not reading.healthy,
        "row_remap_failed": reading.remap_failed or (passport is not None and passport.remap_failed),
        "counters_went_back": passport is not None and (passport.counters_went_back or _went_back(reading, passport)),
        "remapped_uncorrectable": _highest("remapped_uncorrectable", reading, passport) > 0,
    }
    return [name for name, is_so in facts.items() if is_so]


def _erred(reading: GpuReading, passport: GpuPassport | None) -> list[str]:
    xids = {*reading.xid, *(passport.xids if passport else ())}
    fatal = [f"xid_{xid}" for xid in sorted(xids & FATAL_XIDS.keys())]
    seen = [f"xid_{xid}" for xid in sorted({*reading.xid} - FATAL_XIDS.keys())]
    return ["ecc_uncorrected"] * (_highest("ecc_uncorrected", reading, passport) > 0) + fatal + seen


def _repaired(reading: GpuReading, passport: GpuPassport | None) -> list[str]:
    return [name for name in ("remapped_correctable", "ecc_corrected") if _highest(name, reading, passport) > 0]


def _went_back(reading: GpuReading, passport: GpuPassport) -> bool:
    pairs = ((getattr(passport, name), getattr(reading, name)) for name in COUNTERS)
    return any(before is not None and now is not None and now < before for before, now in pairs)


def _highest(counter: str, reading: GpuReading, passport: GpuPassport | None) -> int:
    return max(getattr(reading, counter) or 0, (getattr(passport, counter) or 0) if passport else 0)


def worst(conditions: Sequence[Condition]) -> Condition:
    """Returns the condition of a lot: that of its worst GPU."""
    order = get_args(Condition)
    return max(conditions, key=order.index)
