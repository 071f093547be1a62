"""What a node enrols: which boards, under which serials, and what changed in the slots since."""

import logging

import pytest

from agents.node.errors import BadConfiguration
from agents.node.inventory import clean_serial, inventory_of
from infra.fake_nvml.scenario import H100_SXM, scenario_text

FIRST, SECOND = "GPU-17393937-3a84-ed41-488e-a0cc5e2cad07", "GPU-04d151ad-8f6a-a193-a7ad-3cd82d666be8"


@pytest.mark.parametrize(
    "serial, taken",
    [
        ("1650012345678", "1650012345678"),
        ("PN-1324-A", "PN-1324-A"),
        *((serial, "unknown") for serial in ("0", "000000", "", " ", "N/A", "n/a", "[N/A]", "unknown", None, 7)),
        *(
            (serial, "unknown")
            for serial in ("0x0", "FFFFFFFFFFFF", "1111", "N-A", "00-00", "null", "ERR!", "123456789")
        ),
        *((serial, "unknown") for serial in ("[Unknown Error]", "[Not Supported]", "\x01\x02", "a\nb c", "x" * 65)),
    ],
)
def test_the_many_ways_to_say_that_there_is_no_serial_are_unknown(serial, taken):  # A20, A21
    assert clean_serial(serial) == taken


def board(index: int, **changes) -> dict:
    identity = {
        "uuid": f"GPU-0000000{index}",
        "name": "NVIDIA L4",
        "serial": "0",
        "part": None,
        "pci_address": None,
        "pci_device_id": "27b810de",
    }
    facts = {"memory_total": 24 << 30}
    return {"index": index, "lost": False, "failed": {}, "identity": identity | changes, "facts": facts}


def test_two_boards_without_a_serial_are_two_boards():  # A20
    found = inventory_of([board(0), board(1, serial="[Unknown Error]")], None)
    assert [(gpu.serial, gpu.pci_address, gpu.grade) for gpu in found] == [
        ("unknown", "unknown-0", "L424"),
        ("unknown", "unknown-1", "L424"),
    ]


def test_a_gpu_that_drives_a_display_is_left_out_by_itself(stand_in, caplog):  # A18
    caplog.set_level(logging.INFO, "hourbook.agent")
    stand_in.add('gpu 1 name "NVIDIA DGX Display"', "gpu 1 memory_mib 4096", "gpu 1 pci_device 0x1fb010de")
    assert [gpu.uuid for gpu in stand_in.open().inventory()] == [FIRST]
    assert "GPU 1 (NVIDIA DGX Display) is left out: it drives a display" in caplog.text


@pytest.mark.parametrize("choice", [SECOND, "index:1"])
def test_the_policy_chooses_gpus_by_uuid_or_place(stand_in, choice):  # A18
    stand_in.add('gpu 0 name "NVIDIA T400"', "gpu 0 memory_mib 4096", "gpu 0 pci_device 0x1ff210de")
    assert [gpu.uuid for gpu in stand_in.open(chosen=(choice,)).inventory()] == [SECOND]


def test_a_choice_that_is_not_there_is_refused_in_one_line(stand_in):
    with pytest.raises(BadConfiguration, match="the policy names GPUs that are not there: index:7"):
        stand_in.open(chosen=("index:0", "index:7"))


def test_a_replaced_gpu_is_seen_at_the_next_start_as_one_lost_and_one_new(stand_in, caplog):  # A25
    stand_in.add("gpu 1 uuid GPU-0000000b-0000")
    nvml = stand_in.open(known=(FIRST, SECOND))
    assert [(r.uuid, r.present, r.blind) for r in nvml.read()][:2] == [(FIRST, True, False), (SECOND, False, False)]
    assert [gpu.uuid for gpu in nvml.inventory()] == [FIRST, "GPU-0000000b-0000"]
    assert "GPU-0000000b-0000 is there but not enrolled: it is not sold until it is" in caplog.text
    assert f"{SECOND} of the enrolment does not answer as a whole GPU" in caplog.text


def test_a_grade_line_that_the_boards_contradict_is_refused_at_the_first_start_and_ends_no_enrolled_node(stand_in):
    with pytest.raises(BadConfiguration, match="its PCI device id 2330 is that of H100SXM80"):
        stand_in.open(grade="H200SXM141")
    assert [r.present for r in stand_in.open(grade="H200SXM141", known=(FIRST, SECOND)).read()] == [True, True]


def test_boards_that_give_one_serial_give_none(stand_in, caplog):
    stand_in.add("gpu 0 serial 1650012345678", "gpu 1 serial 1650012345678")
    assert [gpu.serial for gpu in stand_in.open().inventory()] == ["unknown", "unknown"]
    assert "2 GPUs give one serial, 1650012345678: it counts as unknown" in caplog.text


ODD_GPUS = {
    "a UUID in capitals": (
        'gpu 1 uuid "GPU-04D151AD-8F6A"',
        "(GPU-04D151AD-8F6A) is left out: that is no UUID of a GPU",
    ),
    "an instance of MIG": (
        'gpu 1 uuid "MIG-04d151ad-8f6a"',
        "(MIG-04d151ad-8f6a) is left out: that is no UUID of a GPU",
    ),
    "no memory": ("gpu 1 memory_mib 0", "is left out: nvmlDeviceGetMemoryInfo says 0 bytes of memory"),
}


@pytest.mark.parametrize("case", ODD_GPUS)
def test_a_gpu_that_says_what_no_gpu_can_be_is_left_out_in_one_line(stand_in, caplog, case):
    line, words = ODD_GPUS[case]
    stand_in.add(line)
    assert [gpu.uuid for gpu in stand_in.open().inventory()] == [FIRST]
    (said,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said.startswith("GPU 1 ") and said.endswith(words)


def test_gpus_that_say_one_uuid_are_all_left_out(stand_in, caplog):
    stand_in.write(scenario_text("site-a", H100_SXM, 3), f"gpu 2 uuid {FIRST}")
    assert [gpu.uuid for gpu in stand_in.open().inventory()] == [SECOND]
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said == [f"GPU {place} ({FIRST}) is left out: another GPU says the same UUID" for place in (0, 2)]


def test_blanks_around_a_uuid_do_not_make_its_gpu_lost(stand_in):
    stand_in.add(f'gpu 1 uuid "{SECOND} "')
    nvml = stand_in.open()
    assert [(reading.uuid, reading.present) for reading in nvml.read()] == [(FIRST, True), (SECOND, True)]


def test_an_address_that_is_no_text_costs_the_address_alone(stand_in):
    stand_in.scenario.write_bytes(stand_in.scenario.read_bytes() + b'gpu 1 pci "\xff"\n')
    nvml = stand_in.open()
    assert [(gpu.uuid, gpu.pci_address) for gpu in nvml.inventory()] == [
        (FIRST, "00000000:1B:00.0"),
        (SECOND, "unknown-1"),
    ]
    assert all(reading.present for reading in nvml.read())


def test_a_count_of_gpus_that_cannot_be_is_one_line_and_they_are_counted_by_their_places(stand_in, caplog):
    stand_in.add("function nvmlDeviceGetCount_v2 * garbage")
    assert [gpu.uuid for gpu in stand_in.open().inventory()] == [FIRST, SECOND]
    (said,) = [record.getMessage() for record in caplog.records if "Count" in record.getMessage()]
    assert "nvmlDeviceGetCount_v2 answers -2 (4278124286 GPUs, which cannot be)" in said
