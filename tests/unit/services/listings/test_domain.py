"""What may be listed, and what the counters say of a GPU."""

import pytest

from schemas.listings import ListedGpu, ListingForm
from schemas.money import BadDecimal
from schemas.nodes import GpuInventory, GpuReading, InspectedGpu, InspectionReport
from services.listings.domain import BadInspection, Inspection, Terms, grade_condition, make_terms, worst

UUID = "GPU-00000000-0000-0000-0000-000000000001"
CLEAN = GpuReading(
    uuid=UUID,
    present=True,
    healthy=True,
    memory_total_mib=81_559,
    memory_used_mib=0,
    utilisation_percent=0,
    power_mw=60_000,
    energy_mj=1,
    temperature_c=30,
    sm_clock_mhz=345,
    memory_clock_mhz=2_619,
    throttle=0,
    ecc_corrected=0,
    ecc_uncorrected=0,
    remapped_correctable=0,
    remapped_uncorrectable=0,
    remap_failed=False,
    mig_enabled=False,
)
INVENTORY = GpuInventory(
    uuid=UUID,
    pci_address="0000:17:00.0",
    serial="1650000000001",
    board_part_number="692-2G520",
    name="NVIDIA H100 80GB HBM3",
    memory_mib=81_559,
    grade="H100SXM80",
)


def gpu(**reading) -> InspectedGpu:
    return InspectedGpu(inventory=INVENTORY, reading=CLEAN.model_copy(update=reading))


def inspection(*gpus: InspectedGpu, ts_ms: int = 1_000) -> Inspection:
    report = InspectionReport(
        agent="node-1",
        public_key="0" * 64,
        nonce="0" * 64,
        driver_version="570.86",
        library_sha256="0" * 64,
        agent_version="1",
        nvml_simulated=True,
        wall_ms=0,
        gpus=gpus or (gpu(),),
        signature="0" * 128,
    )
    return Inspection("seller", ts_ms, report)


def form(price: str = "189000.00") -> ListingForm:
    return ListingForm(kind="module", title="One H100", hub="CNE", price=price, currency="CNY", inspection_id="0" * 64)


@pytest.mark.parametrize(
    ("reading", "condition"),
    [
        ({}, "A"),
        ({"ecc_corrected": 3}, "B"),
        ({"remapped_correctable": 1}, "B"),
        ({"ecc_uncorrected": 1}, "C"),
        ({"xid": (63,)}, "C"),
        ({"remapped_uncorrectable": 1}, "P"),
        ({"remap_failed": True}, "P"),
        ({"present": False}, "P"),
        ({"healthy": False}, "P"),
    ],
)
def test_the_condition_comes_from_the_counters(reading, condition):
    assert grade_condition(gpu(**reading)) == condition


def test_a_lot_is_as_good_as_its_worst_gpu():
    assert worst(["A", "C", "B"]) == "C"


def test_an_inspection_becomes_the_terms_of_a_listing():
    listed = ListedGpu(
        uuid=UUID, serial="1650000000001", name="NVIDIA H100 80GB HBM3", memory_mib=81_559, condition="A"
    )
    terms = make_terms(form(), inspection(), oldest_ms=1_000, fee_bps=100)
    assert terms == Terms("H100SXM80", "A", (listed,), 189_000_000_000, 1_890_000_000, simulated=True)


def test_an_old_inspection_is_refused():
    with pytest.raises(BadInspection, match="too old"):
        make_terms(form(), inspection(ts_ms=999), oldest_ms=1_000, fee_bps=100)


def test_a_lot_of_several_grades_is_refused():
    other = InspectedGpu(inventory=INVENTORY.model_copy(update={"grade": "A100SXM80"}), reading=CLEAN)
    with pytest.raises(BadInspection, match="A100SXM80, H100SXM80"):
        make_terms(form(), inspection(gpu(), other), oldest_ms=0, fee_bps=100)


def test_a_price_of_nothing_is_refused():
    with pytest.raises(BadDecimal):
        make_terms(form(price="0.00"), inspection(), oldest_ms=0, fee_bps=100)
