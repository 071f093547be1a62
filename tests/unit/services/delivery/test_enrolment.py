"""Rules of enrolment: what a node may state of itself, and when its GPUs may be sold."""

import pytest

from schemas.gpu_health import GpuHealth
from services.delivery.domain import (
    BadToken,
    Implausible,
    check_inventory,
    check_plausible,
    memory_min_mib,
    next_fitness,
    read_token,
    sellable_gpus,
)
from tests.fixtures.delivery import TestNode, gpu_uuid, reading

EIGHT = tuple(gpu_uuid(number) for number in range(8))


def test_an_honest_node_is_plausible():
    check_plausible(TestNode().enrolment("t"), accept_simulated=True)
    check_plausible(TestNode(gpus=EIGHT, grade="H100SXM80X8").enrolment("t", nvml_simulated=False), False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nvml_simulated": True}, "telemetry comes from the stand-in library, which only a sandbox takes"),
        ({"driver_version": "551.23"}, "driver version 551.23 was never published for Linux"),
        ({"driver_version": "31.0.15.5222"}, "driver version 31.0.15.5222 is none"),
        ({"kernel_driver_version": "535.54.03"}, "the library says driver 570.86.15, the kernel 535.54.03"),
        ({"grade": "H100SXM80X8"}, "H100SXM80X8 is sold 8 GPUs at a time, the node has 2"),
    ],
)
def test_an_impossible_fact_is_named(changes, reason):
    request = TestNode().enrolment("t", **({"nvml_simulated": False} | changes))
    with pytest.raises(Implausible) as refused:
        check_plausible(request, accept_simulated=False)
    assert refused.value.detail == reason


def test_a_gpu_listed_twice_is_refused():
    with pytest.raises(Implausible) as refused:
        check_plausible(TestNode(gpus=(gpu_uuid(1), gpu_uuid(1))).enrolment("t"), True)
    assert refused.value.detail == "two GPUs share one uuid"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pci_device_id": "1f8210de"}, "its PCI device id 1f82 is of no such board"),
        ({"pci_device_id": "233110de"}, "its PCI device id 2331 is that of H100PCIE80"),
        ({"name": "NVIDIA L4"}, "its name 'NVIDIA L4' is that of L424"),
    ],
)
def test_a_grade_that_the_board_contradicts_is_refused_of_a_real_library(changes, reason):
    node = TestNode(gpus=(gpu_uuid(1),))
    board = node.inventory(gpu_uuid(1), 0).model_copy(update=changes)
    with pytest.raises(Implausible) as refused:
        check_plausible(node.enrolment("t", gpus=(board,), nvml_simulated=False), True)
    assert refused.value.detail == f"{gpu_uuid(1)} cannot be H100SXM80: {reason}"


@pytest.mark.parametrize(
    ("changes", "grade", "shown"),
    [
        ({"name": "NVIDIA GeForce GTX 1650"}, "H100SXM80", False),
        ({"name": "NVIDIA GeForce GTX 1650", "pci_device_id": "00000000"}, "H100SXM80", False),
        ({"name": "a board of next year", "pci_device_id": "233010de"}, "H100SXM80", True),
        ({"name": "NVIDIA H100 80GB HBM3"}, "H100SXM80", True),
        ({"name": "a board of next year"}, "R300SXM80", True),
    ],
)
def test_a_device_id_or_a_name_must_speak_for_a_known_grade_at_enrolment_and_after_a_change_of_gpus(  # C01
    changes, grade, shown
):
    board = TestNode(grade=grade).inventory(gpu_uuid(1), 0).model_copy(update=changes)
    if shown:
        check_inventory((board,), grade, simulated=False)
    else:
        with pytest.raises(Implausible, match="nothing shows that GPU-00000001-0000-0000-0000-000000000000 is H100"):
            check_inventory((board,), grade, simulated=False)
    check_inventory((board,), grade, simulated=True)


def test_half_the_memory_is_refused():
    node = TestNode(gpus=(gpu_uuid(1),))
    half = node.inventory(gpu_uuid(1), 0).model_copy(update={"memory_mib": 40_000})
    with pytest.raises(Implausible) as refused:
        check_plausible(node.enrolment("t", gpus=(half,)), True)
    assert refused.value.detail == f"{gpu_uuid(1)} shows 40000 MiB, too little for H100SXM80"


@pytest.mark.parametrize(
    ("grade", "shown_mib"),
    [
        ("H100SXM80X8", 81_559),
        ("H200SXM141", 143_771),
        ("H20SXM96X8", 97_871),
        ("L40S48", 46_068),
        ("L4048", 46_068),
        ("RTX4090D24", 24_564),
        ("RTXA600048", 49_140),
        ("A100PCIE40", 40_536),
    ],
)
def test_a_real_board_shows_enough_memory_for_its_grade_and_half_of_it_does_not(grade, shown_mib):
    assert shown_mib // 2 < memory_min_mib(grade) <= shown_mib


def test_a_grade_whose_name_says_no_memory_asks_for_none():
    assert memory_min_mib("MYSTERY") == 0


def test_a_token_that_is_no_token_is_refused():
    with pytest.raises(BadToken):
        read_token('{"account":"ops"}')


def test_a_lost_gpu_comes_back_when_it_reads_well_and_one_with_a_fatal_xid_only_after_a_reboot():
    lost, broken, well = gpu_uuid(1), gpu_uuid(2), gpu_uuid(3)
    known = {uuid: GpuHealth("boot-1") for uuid in (lost, broken, well)}
    bad = next_fitness(known, [reading(broken, xid=(13, 79)), reading(well)], "boot-1", 0)
    good_readings = [reading(uuid) for uuid in (lost, broken, well)]
    same_boot = next_fitness(bad, good_readings, "boot-1", 0)
    rebooted = next_fitness(same_boot, good_readings, "boot-2", 0)
    assert [{uuid: state.fault for uuid, state in step.items()} for step in (bad, same_boot, rebooted)] == [
        {lost: "gpu_lost", broken: "xid_79", well: ""},
        {lost: "", broken: "xid_79", well: ""},
        {lost: "", broken: "", well: ""},
    ]


def test_a_whole_node_grade_sells_nothing_when_one_gpu_is_lost():
    fitness = {uuid: GpuHealth("b") for uuid in EIGHT}
    one_lost = fitness | {EIGHT[3]: GpuHealth("b", "gpu_lost")}
    assert sellable_gpus("H100SXM80X8", fitness) == EIGHT
    assert sellable_gpus("H100SXM80X8", one_lost) == ()
    assert sellable_gpus("H100SXM80", one_lost) == tuple(uuid for uuid in EIGHT if uuid != EIGHT[3])


@pytest.mark.parametrize("changes", [{"fabric_state": 2}, {"nvlinks_down": 1}, {"remap_pending": True}])
def test_a_whole_node_grade_sells_nothing_while_its_links_are_down_or_a_gpu_waits_for_a_reset(changes):  # A35
    known = {uuid: GpuHealth("b") for uuid in EIGHT}
    readings = [reading(uuid, **(changes if uuid == EIGHT[3] else {})) for uuid in EIGHT]
    assert sellable_gpus("H100SXM80X8", next_fitness(known, readings, "b", 0, whole_node=True)) == ()
    well = next_fitness(known, [reading(uuid) for uuid in EIGHT], "b", 0, whole_node=True)
    assert sellable_gpus("H100SXM80X8", well) == EIGHT


def test_a_slowed_down_gpu_is_not_sold_once_its_agent_withholds_it_for_that():  # A29
    known = {gpu_uuid(1): GpuHealth("b"), gpu_uuid(2): GpuHealth("b")}
    readings = [reading(gpu_uuid(1), throttle=0x40, withheld="throttled"), reading(gpu_uuid(2), throttle=0x40)]
    assert sellable_gpus("H100SXM80", next_fitness(known, readings, "b", 0)) == (gpu_uuid(2),)
