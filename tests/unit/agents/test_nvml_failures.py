"""What a driver answers, hangs in, or lacks stays with its GPU, is said in one line, and ends with its cause."""

import logging
import os
import re
import signal
import sys
import time
from hashlib import sha256

import pytest

from agents.node import nvml as nvml_process
from agents.node.errors import NoGpus
from agents.node.state import StateFolder
from infra.fake_nvml.scenario import H100_SXM, scenario_text
from schemas.nodes import GpuReading

FIRST, SECOND = "GPU-17393937-3a84-ed41-488e-a0cc5e2cad07", "GPU-04d151ad-8f6a-a193-a7ad-3cd82d666be8"
WELL, ABSENT, BLIND = ("present", ""), ("absent", ""), ("blind", "")


def state(reading: GpuReading) -> tuple[str, str]:
    """Says whether a GPU is there, and what speaks against it."""
    seen = "blind" if reading.blind else "present" if reading.present else "absent"
    return seen, reading.fault


def all_present(readings: tuple[GpuReading, ...]) -> bool:
    return all(reading.present for reading in readings)


def states(readings: tuple[GpuReading, ...]) -> list[tuple[str, str]]:
    return [state(reading) for reading in readings]


# One call that fails takes its own metric along, and nothing else.
ONE_CALL = [
    ("A01", "nvmlDeviceGetMemoryInfo_v2 * missing", {}),
    ("A03", "nvmlDeviceGetTemperature * 3", {"temperature_c": None}),
    ("A03", "nvmlDeviceGetTemperature * 999", {"temperature_c": None}),
    ("A03", "nvmlDeviceGetTemperature * 15", {"temperature_c": None}),
    ("A03", "nvmlDeviceGetClockInfo * 3", {"sm_clock_mhz": None, "memory_clock_mhz": None}),
    ("A04", "nvmlDeviceGetUtilizationRates * 3", {"utilisation_percent": None}),
    ("A06", "nvmlDevice*RunningProcesses_v3 * missing", {}),
    ("A06", "nvmlDeviceGetComputeRunningProcesses_v3 * missing", {}),
    ("A06", "nvmlDeviceGetComputeRunningProcesses_v3 * garbage", {}),
    ("A07", "nvmlDeviceGetComputeRunningProcesses_v3 * 999", {"processes_unknown": True, "processes": ()}),
    ("A13", "nvmlDeviceGetTotalEccErrors * 4", {"ecc_corrected": None, "ecc_uncorrected": None}),
    ("power", "nvmlDeviceGetPowerUsage * 999", {"power_mw": None}),
    ("energy", "nvmlDeviceGetTotalEnergyConsumption * 3", {"energy_mj": None}),
    ("energy", "nvmlDeviceGetTotalEnergyConsumption * garbage", {"energy_mj": None}),
    ("rows", "nvmlDeviceGetRemappedRows * 3", {"remapped_correctable": None, "remapped_uncorrectable": None}),
    ("clocks", "nvmlDeviceGetCurrentClocksEventReasons * missing", {}),
    ("clocks", "nvmlDeviceGetCurrentClocks* * 4", {"throttle": None}),
    ("memory", "nvmlDeviceGetMemoryInfo* * 3", {"memory_total_mib": None, "memory_used_mib": None}),
    ("memory", "nvmlDeviceGetMemoryInfo* * garbage", {"memory_total_mib": None, "memory_used_mib": None}),
    ("mig", "nvmlDeviceGetMigMode * 3", {}),
    ("fields", "nvmlDeviceGetFieldValues * garbage", {"recovery_action": None}),
    ("utilisation", "nvmlDeviceGetUtilizationRates * garbage", {"utilisation_percent": None}),
    ("identity", "nvmlDeviceGetName * 999", {}),
]


@pytest.mark.parametrize(("case", "line", "unknown"), ONE_CALL, ids=[f"{case}: {line}" for case, line, _ in ONE_CALL])
def test_a_call_that_fails_makes_its_own_metric_unknown_and_heals(stand_in, caplog, case, line, unknown):
    stand_in.add("gpu 0 process 4242 512", "gpu 1 process 4242 512")
    nvml = stand_in.open()
    before = nvml.read()
    stand_in.add(f"function {line}")
    call, target, _ = line.split()

    def right(readings: tuple[GpuReading, ...]) -> list[GpuReading]:
        return [
            was.model_copy(update={"energy_mj": now.energy_mj} | unknown)
            for was, now in zip(before, readings, strict=True)
        ]

    after = stand_in.read_until(nvml, lambda readings: list(readings) == right(readings))
    assert list(after) == right(after)
    assert states(after) == [WELL, WELL]
    stand_in.add(f"function {call} {target} ok")

    def as_before(reading: GpuReading) -> GpuReading:
        return before[0].model_copy(update={"energy_mj": reading.energy_mj})

    healed = stand_in.read_until(nvml, lambda found: found[0].energy_mj and found[0] == as_before(found[0]))
    assert healed[0].energy_mj is not None and healed[0] == as_before(healed[0])


def test_a_failing_call_is_said_once_with_its_name_and_code_counted_and_said_again_when_it_heals(stand_in, caplog):
    caplog.set_level(logging.INFO, "hourbook.agent")
    nvml = stand_in.open()
    stand_in.add("function nvmlDeviceGetTemperature 1 999")
    for _ in range(3):
        nvml.read()
    stand_in.add("function nvmlDeviceGetTemperature 1 ok")
    stand_in.read_until(nvml, lambda readings: readings[1].temperature_c is not None)
    lines = [record.getMessage() for record in caplog.records if "Temperature" in record.getMessage()]
    assert lines == [
        f"{SECOND}: nvmlDeviceGetTemperature answers 999 (Unknown); its values count as unknown",
        f"{SECOND}: nvmlDeviceGetTemperature answers again",
    ]
    assert nvml.failed_calls["nvmlDeviceGetTemperature", 999] == 3


def test_a_gpu_whose_memory_nobody_can_tell_is_left_out_in_one_line(stand_in, caplog):  # A01
    stand_in.add("function nvmlDeviceGetMemoryInfo* 0 3")
    nvml = stand_in.open()
    assert [gpu.uuid for gpu in nvml.inventory()] == [SECOND]
    (line,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert line == f"GPU 0 ({FIRST}) is left out: nvmlDeviceGetMemoryInfo_v2 answers 3 (NotSupported)"


def test_where_no_gpu_can_be_sold_the_agent_says_so(stand_in):  # A01
    stand_in.add("function nvmlDeviceGetMemoryInfo* * 3")
    with pytest.raises(NoGpus, match="NVML lists no GPU that says what it is"):
        stand_in.open()


def test_mig_is_seen_though_its_gpu_tells_no_utilisation(stand_in):  # A05
    stand_in.add("gpu 1 mig 1", "function nvmlDeviceGetUtilizationRates 1 3")
    readings = stand_in.open().read()
    assert states(readings) == [WELL, ("present", "mig_enabled")]
    assert readings[1].utilisation_percent is None and readings[1].mig_enabled and not readings[1].healthy


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("A08", "function nvmlEventSetCreate * 3"),
        ("A10", "function nvmlEventSetWait_v2 * 15"),
        ("A10", "function nvmlEventSetWait_v2 * 999"),
        ("A10", "function nvmlDeviceRegisterEvents * 4"),
    ],
)
def test_without_xids_it_goes_on_says_so_and_hears_them_again(stand_in, caplog, monkeypatch, case, line):
    caplog.set_level(logging.INFO, "hourbook.agent")
    stand_in.add(line)
    nvml = stand_in.open()
    _, call, target, _ = line.split()
    stand_in.read_until(nvml, lambda _: call in caplog.text)
    assert states(nvml.read()) == [WELL, WELL]
    assert call in caplog.text
    stand_in.add(f"function {call} {target} ok")
    stand_in.read_until(nvml, lambda _: f"{call} answers again" in caplog.text)
    for _ in range(5):  # a driver tells nobody of an XID that came before he listened
        stand_in.add("gpu 0 xid 31")
        seen = stand_in.read_until(nvml, lambda readings: 31 in readings[0].xid, timeout_s=4)
        if seen[0].xid:
            break
    assert 31 in seen[0].xid


@pytest.mark.parametrize("call", ["nvmlEventSetCreate", "nvmlEventSetWait_v2", "nvmlSystemGetDriverVersion"])
def test_a_call_of_no_gpus_own_that_hangs_blinds_none_and_is_said_until_it_returns(stand_in, caplog, call):
    caplog.set_level(logging.INFO, "hourbook.agent")
    stand_in.add(f"function {call} * hang")
    nvml = stand_in.open()
    assert states(nvml.read()) == [WELL, WELL]
    stand_in.read_until(nvml, lambda _: f"NVML: {call} does not return" in caplog.text)
    assert states(nvml.read()) == [WELL, WELL]
    stand_in.add(f"function {call} * ok")
    stand_in.read_until(nvml, lambda _: f"NVML: {call} answers again" in caplog.text)
    lines = [record.getMessage() for record in caplog.records if call in record.getMessage()]
    assert lines == [
        f"NVML: {call} does not return; its values count as unknown",
        f"NVML: {call} answers again",
    ]


@pytest.mark.parametrize("call", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceRegisterEvents"])
def test_a_gpu_that_hangs_when_it_is_opened_leaves_the_others_be(stand_in, call):
    stand_in.add(f"function {call} 1 hang")
    nvml = stand_in.open(known=(FIRST, SECOND))
    assert states(nvml.read()) == [WELL, BLIND]
    stand_in.add("gpu 0 xid 31")
    assert 31 in stand_in.read_until(nvml, lambda readings: 31 in readings[0].xid)[0].xid
    stand_in.add(f"function {call} 1 ok")
    assert states(stand_in.read_until(nvml, lambda readings: readings[1].present)) == [WELL, WELL]


@pytest.mark.parametrize("call", ["nvmlInitWithFlags *", "nvmlDeviceGetHandleByIndex_v2 1"])
def test_a_driver_that_takes_seconds_to_wake_its_gpus_is_waited_for(stand_in, call):
    stand_in.add(f"function {call} hang 4")
    assert [gpu.uuid for gpu in stand_in.open().inventory()] == [FIRST, SECOND]


def test_a_node_that_knows_its_gpus_is_blind_while_its_driver_wakes_and_sees_by_the_same_process(stand_in):
    stand_in.add("function nvmlInitWithFlags * hang 8")  # longer than a busy machine takes to start the child
    nvml = stand_in.open(known=(FIRST, SECOND))
    assert states(nvml.read()) == [BLIND, BLIND]
    began = nvml.child_pid
    assert states(stand_in.read_until(nvml, all_present)) == [WELL, WELL]
    assert nvml.child_pid == began


CHATTY = """
import os, pynvml
init = pynvml.nvmlInit
pynvml.nvmlInit = lambda: (os.write(1, b"NVRM: hello\\n{}\\n"), init())
from agents.node.nvml_child import main
main()
"""


def test_what_the_library_prints_is_no_answer(stand_in, capfd):
    nvml = stand_in.open(command=(sys.executable, "-P", "-c", CHATTY))
    assert states(nvml.read()) == [WELL, WELL]
    assert "NVRM: hello" in capfd.readouterr().err


def test_a_child_that_answers_rubbish_is_replaced(stand_in, monkeypatch, tmp_path):
    monkeypatch.setattr(nvml_process, "RETRY_S_MIN", 0.1)
    (tmp_path / "once").touch()
    rubbish = f"import os, runpy; os.path.exists({str(tmp_path / 'once')!r}) and print('rubbish', flush=True)"
    nvml = stand_in.open(
        known=(FIRST, SECOND),
        command=(
            sys.executable,
            "-P",
            "-c",
            rubbish + "; runpy.run_module('agents.node.nvml_child', run_name='__main__')",
        ),
    )
    (tmp_path / "once").unlink()
    assert states(stand_in.read_until(nvml, all_present)) == [WELL, WELL]


def test_a_lost_gpu_is_absent_and_the_others_go_on_though_events_fail_for_it(stand_in):  # A10
    nvml = stand_in.open()
    stand_in.add("function nvmlEventSetWait_v2 * 15", "gpu 0 lost 1")
    assert states(stand_in.read_until(nvml, lambda readings: not readings[0].present)) == [ABSENT, WELL]


def test_an_agent_that_knows_its_gpus_starts_with_one_lost(stand_in, caplog):  # A11
    stand_in.add("gpu 1 xid 79", "gpu 1 lost 1")
    nvml = stand_in.open(known=(FIRST, SECOND))
    assert states(nvml.read()) == [WELL, ABSENT]


@pytest.mark.parametrize("line", ["gpu 1 hidden 1", "gpu 1 lost 1"])
def test_only_a_gpu_that_is_lost_or_not_there_any_more_is_absent(stand_in, line):
    stand_in.add(line)
    assert states(stand_in.open(known=(FIRST, SECOND)).read()) == [WELL, ABSENT]


@pytest.mark.parametrize("does", ["999", "4", "crash", "hang"])
def test_a_gpu_that_answers_nothing_is_blind_and_not_gone(stand_in, does):
    if does == "crash":
        stand_in.add("function nvmlDeviceGetHandleByIndex_v2 1 27")
    else:
        stand_in.add(f"function nvmlDevice* 1 {does}")
    nvml = stand_in.open(known=(FIRST, SECOND))
    assert states(nvml.read()) == [WELL, BLIND]
    began = time.monotonic()
    assert states(nvml.read()) == [WELL, BLIND]
    assert time.monotonic() - began < 1.5, "a GPU that hangs is not waited for again"


@pytest.mark.parametrize(
    "call", ["nvmlDeviceGetTemperature", "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetUUID"]
)
def test_a_call_that_hangs_blinds_its_gpu_alone_and_the_gpu_is_well_again_when_it_returns(stand_in, caplog, call):
    nvml = stand_in.open(known=(FIRST, SECOND)) if call != "nvmlDeviceGetUUID" else None
    stand_in.add(f"function {call} 1 hang")
    nvml = nvml or stand_in.open(known=(FIRST, SECOND))
    assert states(stand_in.read_until(nvml, lambda readings: readings[1].blind)) == [WELL, BLIND]
    assert [r.getMessage() for r in caplog.records if f"{call} does not return" in r.getMessage()] != []
    stand_in.add(f"function {call} 1 ok")
    assert states(stand_in.read_until(nvml, lambda readings: readings[1].present)) == [WELL, WELL]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("function nvmlInitWithFlags * 18", r"18 \(LibRmVersionMismatch\): the driver was upgraded under"),
        ("function nvmlInitWithFlags * 9", r"9 \(DriverNotLoaded\): load the driver"),
        ("function nvmlInitWithFlags * 999", r"nvmlInit\S* answers 999"),
        ("function nvmlInitWithFlags * hang", "does not return"),
        ("function nvmlDeviceGetCount_v2 * hang", "does not return"),
        ("function nvmlInitWithFlags * crash", r"ended \(signal 11\)"),
    ],
)
def test_where_nvml_answers_nothing_the_node_is_blind_says_why_once_and_heals(
    stand_in, caplog, monkeypatch, line, words
):
    monkeypatch.setattr(nvml_process, "RETRY_S_MIN", 0.2)
    monkeypatch.setattr(nvml_process, "START_S", 3.0)
    stand_in.add(line)
    nvml = stand_in.open(known=(FIRST, SECOND))
    assert states(nvml.read()) == states(nvml.read()) == [BLIND, BLIND]
    lines = [record.getMessage() for record in caplog.records if "the meter is blind" in record.getMessage()]
    assert len(lines) == 1
    assert re.search(words, lines[0]), lines
    _, call, target, *_ = line.split()
    stand_in.add(f"function {call} {target} ok")
    assert states(stand_in.read_until(nvml, all_present)) == [WELL, WELL]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_that_dies_or_stands_still_is_replaced(stand_in, monkeypatch, number):
    monkeypatch.setattr(nvml_process, "ANSWER_S", 1.0)
    monkeypatch.setattr(nvml_process, "RETRY_S_MIN", 0.2)
    nvml = stand_in.open()
    first = nvml.child_pid
    os.kill(first, number)
    assert states(nvml.read()) == [BLIND, BLIND]
    assert states(stand_in.read_until(nvml, all_present)) == [WELL, WELL]
    assert nvml.child_pid != first


def test_a_gpu_that_comes_back_after_it_was_lost_is_found_by_a_fresh_child(stand_in, monkeypatch):
    monkeypatch.setattr(nvml_process, "SPARE_S_MIN", 0.2)
    stand_in.add("gpu 1 hidden 1")
    nvml = stand_in.open(known=(FIRST, SECOND))
    assert states(nvml.read()) == [WELL, ABSENT]
    stand_in.add("gpu 1 hidden 0")
    assert states(stand_in.read_until(nvml, lambda readings: readings[1].present)) == [WELL, WELL]


def test_without_a_library_an_agent_that_knows_nothing_says_what_is_missing(stand_in, monkeypatch, tmp_path):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(NoGpus, match=r"12 \(LibraryNotFound\): NVIDIA's driver is not installed"):
        stand_in.open()


def test_the_order_of_the_devices_may_change(stand_in):
    nvml = stand_in.open()
    stand_in.add("order 1 0", "gpu 1 utilisation 77")
    again = stand_in.open(known=(FIRST, SECOND))
    for each in (nvml, again):
        stand_in.read_until(each, lambda readings: readings[1].utilisation_percent == 77)
        assert {r.uuid: r.utilisation_percent for r in each.read()} == {FIRST: 0, SECOND: 77}


def test_a_process_that_ran_between_two_readings_is_told(stand_in):
    nvml = stand_in.open()
    nvml.read()
    stand_in.add("gpu 0 process 4242 512")
    time.sleep(1.5)
    stand_in.add("gpu 0 no_process 1")
    time.sleep(1.5)
    assert [process.pid for process in nvml.read()[0].processes] == [4242]
    assert nvml.read()[0].processes == ()


def test_graphics_and_mps_processes_are_told_with_their_kind(stand_in):
    stand_in.add("gpu 0 process 11 -1 compute", "gpu 0 process 12 4 graphics", "gpu 0 process 13 8 mps")
    seen = {(process.pid, process.memory_mib, process.kind) for process in stand_in.open().read()[0].processes}
    assert seen == {(11, 0, "compute"), (12, 4, "graphics"), (13, 8, "mps")}


def test_memory_in_use_leaves_out_what_the_driver_keeps_for_itself(stand_in):
    stand_in.add("gpu 0 reserved_mib 600", "gpu 1 reserved_mib 600", "gpu 1 used_mib 3")
    assert [reading.memory_used_mib for reading in stand_in.open().read()] == [0, 3]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["gpu 0 xid 79"], "xid_79"),
        (["gpu 0 xid 119"], "xid_119"),
        (["gpu 0 xid 13"], ""),
        (["gpu 0 xid 94", "gpu 0 ecc_uncorrected 1"], ""),
        (["gpu 0 ecc_uncorrected 3"], "ecc_uncorrected"),
        (["gpu 0 recovery_action 2"], "recovery_action"),
        (["gpu 0 remap_failed 1"], "row_remap_failed"),
    ],
)
def test_the_agents_verdict_names_its_reason_and_lasts_as_the_fault_does(stand_in, lines, fault):
    nvml = stand_in.open()
    stand_in.read_until(nvml, lambda _: True)
    time.sleep(0.3)
    stand_in.add(*lines)
    seen = stand_in.read_until(nvml, lambda readings: readings[0].fault == fault and (fault or readings[0].xid))
    assert state(seen[0]) == ("present", fault)
    assert seen[0].healthy == (not fault)
    assert state(nvml.read()[0]) == ("present", fault)


def test_a_fault_outlives_a_restart_of_the_agent_in_the_same_boot(stand_in, tmp_path):  # M21
    state_folder = StateFolder(tmp_path / "state")
    nvml = stand_in.open(state=state_folder)
    nvml.read()
    stand_in.add("gpu 0 ecc_uncorrected 3")
    assert states(stand_in.read_until(nvml, lambda readings: readings[0].fault)) == [
        ("present", "ecc_uncorrected"),
        WELL,
    ]
    again = stand_in.open(state=state_folder, known=(FIRST, SECOND))
    assert states(again.read()) == [("present", "ecc_uncorrected"), WELL]
    (tmp_path / "state" / "health.json").write_text('{"GPU-1": {"fault": 7}}')
    anew = stand_in.open(state=state_folder, known=(FIRST, SECOND))
    assert states(anew.read()) == [WELL, WELL]


def test_a_restarted_agent_takes_no_old_xid_for_a_new_one(stand_in):
    stand_in.write(scenario_text("site-a", H100_SXM, 1), "gpu 0 xid 79")
    nvml = stand_in.open()
    time.sleep(1.2)
    assert [(reading.xid, reading.fault) for reading in nvml.read()] == [((), "")]


def test_reports_name_the_library_that_is_loaded_also_after_an_upgrade_replaced_its_file(
    stand_in, monkeypatch, tmp_path, library_folder
):
    monkeypatch.setattr(nvml_process, "RETRY_S_MIN", 0.1)
    library = tmp_path / "libnvidia-ml.so.1"
    old = (library_folder / library.name).read_bytes()
    library.write_bytes(old)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    nvml = stand_in.open()
    assert nvml.driver.library_sha256 == sha256(old).hexdigest()
    (tmp_path / "new").write_bytes(old + b"upgraded")
    (tmp_path / "new").replace(library)
    assert states(nvml.read()) == [WELL, WELL]
    assert nvml.driver.library_sha256 == sha256(old).hexdigest()
    os.kill(nvml.child_pid, signal.SIGKILL)
    assert states(stand_in.read_until(nvml, all_present)) == [WELL, WELL]
    assert nvml.driver.library_sha256 == sha256(old + b"upgraded").hexdigest()


def test_each_reason_for_a_blind_meter_is_said_once_while_it_lasts(stand_in, caplog, monkeypatch, tmp_path):
    monkeypatch.setattr(nvml_process, "RETRY_S_MIN", 0.1)
    nvml = stand_in.open()
    nvml.read()
    folder = os.environ["LD_LIBRARY_PATH"]
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    os.kill(nvml.child_pid, signal.SIGKILL)
    stand_in.read_until(nvml, lambda _: "LibraryNotFound" in caplog.text)
    monkeypatch.setenv("LD_LIBRARY_PATH", folder)
    assert states(stand_in.read_until(nvml, all_present)) == [WELL, WELL]
    lines = [record.getMessage() for record in caplog.records if "the meter is blind" in record.getMessage()]
    assert [line.partition("be read: ")[2].partition(":")[0] for line in lines] == [
        "the process that asks NVML ended (signal 9)",
        "nvmlInitWithFlags answers 12 (LibraryNotFound)",
    ]


def test_a_call_that_fails_in_another_way_is_said_again_and_one_that_comes_and_goes_is_not(stand_in, caplog):
    caplog.set_level(logging.INFO, "hourbook.agent")
    nvml = stand_in.open()
    for code in ("999", "ok", "999", "ok", "4", "ok"):
        stand_in.add(f"function nvmlDeviceGetTemperature 1 {code}")
        stand_in.read_until(nvml, lambda readings, code=code: (readings[1].temperature_c is None) == (code != "ok"))
    lines = [record.getMessage().partition(": ")[2] for record in caplog.records if "Temp" in record.getMessage()]
    assert lines == [
        "nvmlDeviceGetTemperature answers 999 (Unknown); its values count as unknown",
        "nvmlDeviceGetTemperature answers again",
        "nvmlDeviceGetTemperature answers 4 (NoPermission); its values count as unknown",
        "nvmlDeviceGetTemperature answers again",
    ]


def test_a_storm_of_xids_is_told_with_each_number_once(stand_in, monkeypatch):
    monkeypatch.setattr("agents.node.inventory.XIDS_MAX", 4)
    nvml = stand_in.open()
    nvml.read()
    stand_in.add(*(f"gpu 0 xid {number}" for number in (31, 31, 13, 31, 31, 13)))
    time.sleep(1.2)
    assert stand_in.read_until(nvml, lambda readings: readings[0].xid)[0].xid == (31, 13)
