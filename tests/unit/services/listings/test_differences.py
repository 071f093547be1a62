"""What the buyer's machine found against what was listed, by rule."""

import pytest

from schemas.listings import Difference, Finding
from services.listings.differences import compare
from services.listings.goods import listed_gpu
from tests.fixtures.used_hardware import inspected, inspection, passport, serial_of, uuid_of

SOLD = inspection(inspected(1), inspected(2))
LISTED = tuple(listed_gpu(gpu, passport(number)) for number, gpu in enumerate(SOLD.report.gpus, 1))


def found(*gpus) -> Difference:
    return compare(LISTED, SOLD.report, inspection(*gpus, account="buyer", inspection_id="2" * 64))


def test_goods_as_listed_differ_in_nothing():
    assert found(inspected(1), inspected(2)) == Difference(inspection_id="2" * 64, condition="A", findings=())


@pytest.mark.parametrize(
    ("gpu", "findings"),
    [
        (inspected(2, told={"serial": "1659999999999"}), [("serial", serial_of(2), "1659999999999", True)]),
        (inspected(2, told={"memory_mib": 40_000}), [("memory_mib", "81559", "40000", True)]),
        (inspected(2, told={"name": "NVIDIA A100"}), [("name", "NVIDIA H100 80GB HBM3", "NVIDIA A100", True)]),
        (inspected(2, ecc_corrected=4), [("ecc_corrected", "0", "4", False), ("condition", "A", "B", True)]),
        (inspected(2, ecc_uncorrected=1), [("ecc_uncorrected", "0", "1", True), ("condition", "A", "C", True)]),
        (inspected(2, healthy=False), [("healthy", "True", "False", True), ("condition", "A", "P", True)]),
        (inspected(2, ecc_corrected=None), []),
    ],
)
def test_each_fact_that_differs_is_a_finding(gpu, findings):
    expected = [Finding(gpu=uuid_of(2), what=w, listed=a, found=b, worse=c) for w, a, b, c in findings]
    assert list(found(inspected(1), gpu).findings) == expected


def test_another_gpu_in_the_parcel_is_one_missing_and_one_that_was_not_listed():
    assert found(inspected(1), inspected(3)).findings == (
        Finding(gpu=uuid_of(2), what="gpu", listed=serial_of(2), found="missing", worse=True),
        Finding(gpu=uuid_of(3), what="gpu", listed="not listed", found=serial_of(3), worse=False),
    )


def test_a_counter_that_fell_is_worse_than_one_that_stands():
    sold = inspection(inspected(1, ecc_corrected=9))
    listed = (listed_gpu(sold.report.gpus[0], passport(1, ecc_corrected=9)),)
    difference = compare(listed, sold.report, inspection(inspected(1), inspection_id="2" * 64))
    finding = Finding(gpu=uuid_of(1), what="ecc_corrected", listed="9", found="0", worse=True)
    assert difference.findings == (finding,)
