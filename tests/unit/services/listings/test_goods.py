"""What may be listed, and in which condition: every lie of a seller is refused with its reason (cases L09–L14, F27)."""

import pytest

from schemas.listings import ListingForm
from schemas.money import BadDecimal
from services.listings.domain import BadInspection, NotListable
from services.listings.goods import (
    Standing,
    Terms,
    grade_condition,
    is_serial,
    kind_complaint,
    listed_gpu,
    make_terms,
    worst,
)
from services.listings.settings import Settings
from tests.fixtures.used_hardware import L40S, inspected, inspection, passport, reading, serial_of, uuid_of

BOARD = Settings().board
NOW_MS = 2_000


def form(**changes) -> ListingForm:
    usual = {"kind": "module", "title": "H100", "hub": "CNE", "price": "189000.00", "currency": "CNY"}
    return ListingForm(**usual | {"inspection_id": "1" * 64} | changes)


def reason(offer=None, found=None, standing=None) -> str:
    with pytest.raises(NotListable) as refused:
        make_terms(offer or form(), found or inspection(), NOW_MS, BOARD, standing)
    return str(refused.value)


def test_an_honest_offer_becomes_the_terms_of_a_listing_with_the_gpus_passports():
    gpu = listed_gpu(inspected(), passport())
    terms = make_terms(form(), inspection(), NOW_MS, BOARD)
    assert terms == Terms("H100SXM80", "A", (gpu,), 189_000_000_000, 1_890_000_000, simulated=True)
    assert (gpu.condition, gpu.reasons, gpu.passport) == ("A", (), passport())


@pytest.mark.parametrize(
    "serial",
    [
        *("unknown", "0", "0000000000000", "N-A", "none", "1111111111", "1234567890", "abcdefgh", "12345"),
        *("Unknown-Error", "1234567890123", "9876543210", "1111111112", "123123123123", "0101010101", "ABC0001ABC0001"),
        *("-------12345", "12345-------"),
    ],
)
def test_a_serial_that_is_erased_or_implausible_is_refused(serial):  # L09
    found = inspection(inspected(told={"serial": serial}), passports=(passport(serial=serial),))
    assert not is_serial(serial)
    words = f"{uuid_of(1)}: `{serial}` is no serial number; GPUs without one are not sold here"
    assert reason(found=found) == words


@pytest.mark.parametrize("serial", ["1650000000001", "1324017037741", "SN-16500-0001", "1600000001"])
def test_a_boards_number_is_a_serial(serial):
    assert is_serial(serial)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"serial": "1659999999999"}, "its serial is 1659999999999, it was enrolled with 1650000000001"),
        (
            {"name": "NVIDIA H200"},
            "it is a NVIDIA H200 (H100SXM80), it was enrolled as NVIDIA H100 80GB HBM3 (H100SXM80)",
        ),
        ({"memory_mib": 40_000}, "it shows 40000 MiB, it was enrolled with 81559"),
    ],
)
def test_a_gpu_that_is_not_the_one_enrolled_is_refused(told, words):
    found = inspection(inspected(told=told))
    assert reason(found=found) == f"{uuid_of(1)}: {words}"


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ({"uuid": uuid_of(2)}, f"the measurement is of {uuid_of(2)}"),
        ({"memory_total_mib": 40_000}, "40000 MiB were measured, it is said to have 81559"),
    ],
)
def test_what_was_measured_is_of_the_gpu_that_is_offered(measured, words):
    found = inspection(inspected(**measured))
    assert reason(found=found) == f"{uuid_of(1)}: {words}"


def test_one_serial_is_listed_and_enrolled_once():
    twice = inspection(inspected(1), inspected(2, told={"serial": serial_of(1)}))
    assert reason(found=twice) == f"a GPU is listed twice: {serial_of(1)}, {serial_of(1)}"
    elsewhere = inspection(passports=(passport(serial_elsewhere=True),))
    assert reason(found=elsewhere).endswith(f"another GPU is enrolled under its serial {serial_of(1)}")


def test_a_gpu_that_is_not_the_nodes_is_refused():
    assert reason(found=inspection(passports=())) == f"{uuid_of(1)} is not enrolled at this node"


@pytest.mark.parametrize("state", ["quarantined", "banned"])
def test_nothing_of_a_barred_node_counts(state):  # L10
    words = f"the node is {state}: its inspections do not count"
    assert reason(found=inspection(state=state)) == words
    assert reason(standing=Standing(state, frozenset({uuid_of(1)}), "")) == words


@pytest.mark.parametrize(
    ("state", "gpus", "why"),
    [
        ("active", {uuid_of(2)}, "ecc_uncorrected"),  # L12: what came after the inspection counts too
        ("lost", set(), "xid_79"),
        ("retired", set(), "retired_by_account"),
        ("enrolled", set(), "gate_challenge_missed"),
    ],
)
def test_an_inspection_from_before_its_gpu_left_the_market_is_outdated(state, gpus, why):
    with pytest.raises(BadInspection) as refused:
        make_terms(form(), inspection(), NOW_MS, BOARD, Standing(state, frozenset(gpus), why))
    assert str(refused.value) == f"since the inspection the node has changed ({why}); let the agent make another"


def test_an_inspection_from_before_another_gpu_left_the_market_stands():
    standing = Standing("active", frozenset({uuid_of(1)}), "xid_79")
    assert make_terms(form(), inspection(), NOW_MS, BOARD, standing).condition == "A"


def test_an_inspection_by_a_key_that_is_no_nodes_lists_nothing():
    assert reason(found=inspection(state=None)).startswith("the inspection is not of an enrolled node")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"currency": "XYZ"}, "currency: CNE trades in CNY, not in XYZ"),  # L14, F27
        ({"hub": "XX"}, "hub: the node is in CNE, not in XX"),
        ({"kind": "server"}, "kind: a server does not have 1 GPU"),
        ({"kind": "pcie_card"}, "kind: these are modules, not cards"),
        ({"price": "0.01"}, "price: 1.00 to 10000000.00 for 1 GPU"),
        ({"price": "999999999999.00"}, "price: 1.00 to 10000000.00 for 1 GPU"),
    ],
)
def test_what_an_offer_says_of_the_goods_is_so(changes, words):
    assert reason(form(**changes)) == words


@pytest.mark.parametrize(
    ("kind", "count", "is_mezzanine", "is_whole", "fits"),
    [
        ("module", 1, True, False, True),
        ("module", 2, True, True, True),
        ("module", 1, False, True, False),
        ("pcie_card", 1, False, False, True),
        ("baseboard", 8, True, False, True),
        ("baseboard", 4, True, False, True),
        ("baseboard", 1, True, True, False),
        ("baseboard", 8, False, True, False),
        ("server", 8, True, True, True),
        ("server", 10, False, True, True),
        ("server", 8, True, False, False),
        ("server", 1, False, True, False),
        ("rack_lot", 8, True, True, True),
        ("rack_lot", 4, True, True, False),
    ],
)
def test_a_kind_fits_the_number_of_gpus_and_their_form(kind, count, is_mezzanine, is_whole, fits):
    assert (kind_complaint(kind, count, is_mezzanine, is_whole) is None) == fits


def test_a_hub_that_trades_nothing_yet_takes_the_venues_currencies():
    found = inspection(currencies=())
    assert make_terms(form(currency="USD"), found, NOW_MS, BOARD).price_micros == 189_000_000_000
    assert reason(form(currency="EUR"), found) == "currency: CNE trades in CNY, USD, not in EUR"


@pytest.mark.parametrize(
    ("shown", "known", "condition", "reasons"),
    [
        ({}, {}, "A", ()),
        ({"ecc_corrected": 3}, {}, "B", ("ecc_corrected",)),
        ({"remapped_correctable": 1}, {}, "B", ("remapped_correctable",)),
        ({"ecc_uncorrected": 1}, {}, "C", ("ecc_uncorrected",)),
        ({"xid": (13,)}, {}, "C", ("xid_13",)),
        ({"remapped_uncorrectable": 1}, {}, "P", ("remapped_uncorrectable",)),
        ({"remap_failed": True}, {}, "P", ("row_remap_failed",)),
        ({"present": False}, {}, "P", ("lost",)),
        ({"healthy": False}, {}, "P", ("unhealthy",)),
        ({}, {"remap_failed": True}, "P", ("row_remap_failed",)),
        ({}, {"xids": (13, 79)}, "C", ("xid_79",)),
        ({}, {"xids": (13, 31)}, "A", ()),  # the application's doing
        ({}, {"counters_went_back": True}, "P", ("counters_went_back",)),
        # L12: a clean inspection minutes after reports with errors is a counter that went back.
        ({}, {"ecc_uncorrected": 7, "remapped_correctable": 3}, "P", ("counters_went_back",)),
        # What the driver no longer tells is known all the same.
        ({"ecc_uncorrected": None}, {"ecc_uncorrected": 7}, "C", ("ecc_uncorrected",)),
        ({"ecc_uncorrected": 7}, {"ecc_uncorrected": 7}, "C", ("ecc_uncorrected",)),
        ({"remapped_correctable": None}, {"remapped_correctable": 1}, "B", ("remapped_correctable",)),
    ],
)
def test_the_condition_is_the_worst_of_inspection_and_record(shown, known, condition, reasons):
    assert grade_condition(reading(**shown), passport(**known)) == (condition, reasons)


def test_a_lot_is_as_good_as_its_worst_gpu():
    assert worst(["A", "C", "B"]) == "C"


def test_an_old_inspection_and_a_lot_of_several_grades_are_refused():
    age_ms = BOARD.inspection_age_ms_max
    with pytest.raises(BadInspection, match="too old"):
        make_terms(form(), inspection(), 1_001 + age_ms, BOARD)
    mixed = inspection(
        inspected(1), inspected(2, told=L40S, memory_total_mib=46_068), passports=(passport(1), passport(2, **L40S))
    )
    with pytest.raises(BadInspection, match="H100SXM80, L40S48"):
        make_terms(form(), mixed, NOW_MS, BOARD)


def test_a_price_of_nothing_is_no_price():
    with pytest.raises(BadDecimal):
        make_terms(form(price="0.00"), inspection(), NOW_MS, BOARD)
