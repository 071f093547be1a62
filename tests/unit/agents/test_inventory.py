"""What a node enrols: which boards, under which serials, and what changed in the slots since."""

import logging

import pytest

from agents.node.errors import BadConfiguration
from agents.node.inventory import clean_serial, inventory_of

FIRST, SECOND = "GPU-17393937-3a84-ed41-488e-a0cc5e2cad07", "GPU-04d151ad-8f6a-a193-a7ad-3cd82d666be8"


@pytest.mark.parametrize(
    "serial, taken",
    [
        ("1650012345678", "1650012345678"),
        ("PN-1324-A", "PN-1324-A"),
        *((serial, "unknown") for serial in ("0", "000000", "", " ", "N/A", "n/a", "[N/A]", "unknown", None, 7)),
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
    assert "GPU-0000000b-0000 is there and not enrolled: nothing is sold of it until it is" in caplog.text
    assert f"{SECOND} of the enrolment does not answer as a whole GPU" in caplog.text


def test_a_grade_line_that_the_boards_contradict_is_refused_at_the_first_start_and_ends_no_enrolled_node(stand_in):
    with pytest.raises(BadConfiguration, match="its PCI device id 2330 is that of H100SXM80"):
        stand_in.open(grade="H200SXM141")
    assert [r.present for r in stand_in.open(grade="H200SXM141", known=(FIRST, SECOND)).read()] == [True, True]
