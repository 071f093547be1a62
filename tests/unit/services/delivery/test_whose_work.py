"""Whose work the meter sees: a process counts by its owner and by how that is known, never by a name it gave itself."""

import pytest

from schemas.nodes import GpuProcess
from services.delivery.meter import measure
from tests.fixtures.delivery import TestNode
from tests.unit.services.delivery.test_meter import END_MS, G1, LEASE, every_step, honest_records, inputs_for

SECONDS = (END_MS - 1_000_000) // 1000
FIRM, METERED = "H100SXM80.CNE.F-26112213", "H100SXM80.CNE.M-26112213"


def seen(**facts: object) -> GpuProcess:
    return GpuProcess(pid=4_242, memory_mib=1_024, **facts)


@pytest.mark.parametrize(
    "case, contract, process, delivered, used, reason",
    [
        ("M13", FIRM, seen(owner="foreign"), 0, 0, "foreign_process"),
        ("M14", FIRM, seen(owner="lease", lease_id=LEASE, evidence="user"), SECONDS, SECONDS, ""),
        ("M17", METERED, seen(owner="lease", lease_id=LEASE), SECONDS, 0, ""),
        ("M17", METERED, seen(lease_id=LEASE), SECONDS, 0, ""),
        ("M17", METERED, seen(owner="lease", lease_id=LEASE, evidence="cgroup"), SECONDS, SECONDS, ""),
        ("A26", FIRM, seen(owner="unknown"), SECONDS, 0, ""),
        ("A26", METERED, seen(owner="unknown"), SECONDS, 0, ""),
        ("A36", FIRM, seen(owner="lease", lease_id="lease-999", evidence="cgroup"), 0, 0, "foreign_process"),
        ("A35", FIRM, seen(owner="other", kind="mps"), SECONDS, 0, ""),
        ("A35", FIRM, seen(owner="other", kind="graphics"), SECONDS, 0, ""),
        ("an older report", FIRM, seen(lease_id=LEASE), SECONDS, SECONDS, ""),
        ("an older report", FIRM, seen(), 0, 0, "foreign_process"),
    ],
)
def test_a_second_is_delivered_and_used_by_whose_process_it_shows(case, contract, process, delivered, used, reason):
    node = TestNode(gpus=(G1,))
    records = honest_records(node, every_step(), gpus_at=lambda ms: {G1: {"processes": (process,)}})
    outcome = measure(inputs_for(records, contract=contract, qty=1, gpus=(G1,)), records)
    assert (outcome.delivered_gpu_s, outcome.used_gpu_s) == (delivered, used), case
    assert {interval.reason for interval in outcome.intervals} == {reason}
