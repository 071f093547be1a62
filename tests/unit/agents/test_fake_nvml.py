"""The stand-in library as the real, unpatched pynvml reads it, in a child process."""

import time
from pathlib import Path

import pytest

from infra.fake_nvml.scenario import H100_SXM, GpuModel, lose_gpu, scenario_text, write_scenario

READ = """
import json, sys, time
from agents.node.inventory import Nvml
nvml = Nvml()
def facts(reading):
    return json.loads(reading.model_dump_json())
"""


BARE_BOARD = (
    "gpu 0 uuid GPU-0000000a",
    "gpu 0 pci 00000000:01:00.0",
    "gpu 0 name NVIDIA L4",
    "gpu 0 memory_mib 23034",
)


@pytest.fixture
def scenario(tmp_path) -> Path:
    path = tmp_path / "scenario.txt"
    write_scenario(path, scenario_text("site-a", H100_SXM, 2))
    return path


def add(scenario: Path, *lines: str) -> None:
    write_scenario(scenario, scenario.read_text() + "\n".join(lines) + "\n")


def test_structures_have_the_sizes_that_pynvml_expects(in_child, scenario):
    code = """
import ctypes, json, pynvml
pynvml.nvmlInit()
names = ["c_nvmlMemory_t", "c_nvmlMemory_v2_t", "c_nvmlUtilization_t", "c_nvmlProcessInfo_t", "nvmlPciInfo_t",
         "c_nvmlEventData_t", "c_nvmlFieldValue_t", "c_nvmlGpuFabricInfo_t", "c_nvmlGpuFabricInfo_v2_t"]
sizeof = pynvml.nvmlLib.hourbook_fake_nvml_sizeof
print(json.dumps([[name, sizeof(name.encode()), ctypes.sizeof(getattr(pynvml, name))] for name in names]))
"""
    sizes = in_child(code, scenario)
    assert len(sizes) == 9
    assert [(name, ours) for name, ours, _ in sizes] == [(name, theirs) for name, _, theirs in sizes]


def test_a_stand_in_does_not_pass_the_machines_own_driver_off_as_its_kernels(in_child, scenario, tmp_path):
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04\n")
    code = f"""
import json
from pathlib import Path
from agents.node import inventory
inventory.KERNEL_DRIVER = Path({str(tmp_path / "version")!r})
driver = inventory.Nvml().driver
print(json.dumps([driver.simulated, driver.kernel_version]))
"""
    assert in_child(code, scenario) == [True, ""]


def test_the_inventory_is_the_scenarios_and_says_that_it_is_simulated(in_child, scenario):
    code = READ + "print(json.dumps([nvml.driver.simulated, [g.model_dump() for g in nvml.inventory()]]))"
    simulated, gpus = in_child(code, scenario)
    assert simulated is True
    assert gpus[0] == {
        "uuid": "GPU-17393937-3a84-ed41-488e-a0cc5e2cad07",
        "pci_address": "00000000:1B:00.0",
        "serial": "1654030184695",
        "board_part_number": "692-2G520-0200-000",
        "name": "NVIDIA H100 80GB HBM3",
        "memory_mib": 81559,
        "grade": "H100SXM80",
        "pci_device_id": "233010de",
    }
    assert gpus[1]["uuid"] != gpus[0]["uuid"] and gpus[1]["serial"] != gpus[0]["serial"]


def test_every_scripted_fact_comes_through(in_child, scenario):
    add(
        scenario,
        "gpu 1 uuid GPU-00000001-0000",
        "gpu 1 used_mib 4096",
        "gpu 1 utilisation 87",
        "gpu 1 temperature 71",
        "gpu 1 throttle 0x20",
        "gpu 1 ecc_corrected 3",
        "gpu 1 remap_corrected 2",
        "gpu 1 remap_uncorrected 1",
        "gpu 1 sm_clock 1980",
        "gpu 1 process 4194303 512",
    )
    reading = in_child(READ + "print(json.dumps(facts(nvml.read()[1])))", scenario)
    energy_mj = reading.pop("energy_mj")
    assert energy_mj >= 0
    assert reading == {
        "uuid": "GPU-00000001-0000",
        "present": True,
        "healthy": True,
        "memory_total_mib": 81559,
        "memory_used_mib": 4096,
        "utilisation_percent": 87,
        "power_mw": 70000,
        "temperature_c": 71,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "throttle": 32,
        "ecc_corrected": 3,
        "ecc_uncorrected": 0,
        "remapped_correctable": 2,
        "remapped_uncorrectable": 1,
        "remap_failed": False,
        "mig_enabled": False,
        "xid": [],
        "processes": [{"pid": 4194303, "memory_mib": 512, "lease_id": None, "kind": "compute"}],
    }


def test_a_gpu_lost_while_the_agent_runs_is_reported_absent_with_its_xid_once(in_child, scenario):
    code = (
        READ
        + f"""
from pathlib import Path
from infra.fake_nvml.scenario import lose_gpu
seen = [nvml.read()]
lose_gpu(Path({str(scenario)!r}), 1)
end = time.monotonic() + 20
while time.monotonic() < end and not seen[-1][1].xid:
    seen.append(nvml.read())
    time.sleep(0.05)
seen.append(nvml.read())
print(json.dumps([[[r.present, r.healthy, r.blind, r.xid] for r in readings] for readings in seen]))
"""
    )
    seen = in_child(code, scenario)
    well = [True, True, False, []]
    assert [readings[0] for readings in seen] == [well] * len(seen)
    assert seen[0][1] == well
    assert [seen[-2][1], seen[-1][1]] == [[False, False, False, [79]], [False, False, False, []]]


def test_a_timed_line_takes_effect_at_its_time(stand_in):
    nvml = stand_in.open()
    start_ms = int(time.time() * 1000)
    stand_in.write(scenario_text("site-a", H100_SXM, 1, start_ms=start_ms), "at 1.5 gpu 0 lost 1")
    seen = []
    while time.time() * 1000 < start_ms + 2_500:
        began_ms = time.time() * 1000 - start_ms
        present = nvml.read()[0].present
        seen.append((began_ms, time.time() * 1000 - start_ms, present))
        time.sleep(0.05)
    assert {present for _, ended_ms, present in seen if ended_ms < 1_500} == {True}
    assert {present for began_ms, _, present in seen if began_ms > 1_550} == {False}


def test_energy_is_power_over_time_and_never_falls_when_the_script_is_edited(in_child, scenario):
    start_ms = int(time.time() * 1000) - 100_000
    text = scenario_text("site-a", GpuModel("NVIDIA H200", 143771, power_mw=50_000), 1, start_ms=start_ms)
    write_scenario(scenario, text)
    code = (
        READ
        + f"""
from pathlib import Path
from infra.fake_nvml.scenario import write_scenario
first = nvml.read()[0].energy_mj
write_scenario(Path({str(scenario)!r}), {text.replace("power_mw 50000", "power_mw 0")!r})
print(json.dumps([first, nvml.read()[0].energy_mj]))
"""
    )
    first_mj, second_mj = in_child(code, scenario)
    assert 100 * 50_000 <= first_mj < 160 * 50_000
    assert second_mj == first_mj


@pytest.mark.parametrize("line", ["gpu 0 mig 1", "gpu 0 remap_failed 1"])
def test_a_sliced_or_worn_out_gpu_is_not_healthy(in_child, scenario, line):
    add(scenario, line)
    assert in_child(READ + "print(json.dumps([r.healthy for r in nvml.read()]))", scenario) == [False, True]


def test_an_uncorrectable_error_after_the_start_makes_a_gpu_unhealthy(in_child, scenario):
    add(scenario, "gpu 0 ecc_uncorrected 2")
    code = (
        READ
        + f"""
from pathlib import Path
from infra.fake_nvml.scenario import write_scenario
path = Path({str(scenario)!r})
before = nvml.read()[0].healthy
write_scenario(path, path.read_text() + "gpu 0 ecc_uncorrected 3\\n")
print(json.dumps([before, nvml.read()[0].healthy]))
"""
    )
    assert in_child(code, scenario) == [True, False]


def test_a_board_without_a_serial_or_part_number_is_taken_as_unknown(in_child, scenario):
    write_scenario(scenario, "driver 570.1\n" + "\n".join(BARE_BOARD) + "\n")
    code = READ + "gpu = nvml.inventory()[0]; print(json.dumps([gpu.serial, gpu.board_part_number, gpu.grade]))"
    assert in_child(code, scenario) == ["unknown", "", "L424"]


def test_a_node_without_gpus_says_so(in_child, scenario):
    write_scenario(scenario, "driver 570.1\n")
    code = """
import json
from agents.node.inventory import NoGpus, Nvml
try:
    Nvml()
except NoGpus as error:
    print(json.dumps(str(error)))
"""
    assert in_child(code, scenario) == "NVML lists no GPU"


def test_losing_a_gpu_adds_its_xid_and_its_loss_to_the_scenario(scenario):
    before = scenario.read_text()
    lose_gpu(scenario, 1)
    assert scenario.read_text() == before + "gpu 1 xid 79\ngpu 1 lost 1\n"
