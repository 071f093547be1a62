"""The doctor: every call and every part is tried, and what is wrong is one line that says what to do.

Tier: default, about 20 s: each examination starts the process that asks NVML.
"""

import json
import sys
import time

import pytest

from agents.node.doctor.calls import ADVICE, CALLS
from agents.node.doctor.driver import examine_driver, pci_gpus
from agents.node.doctor.examination import examine_hardware
from agents.node.doctor.findings import Finding
from agents.node.ending import ExitStatus
from infra.fake_nvml.scenario import H100_SXM, scenario_text
from tests.unit.agents.machine import Machine

SIMULATED = "only a sandbox takes them"
MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build"


def hardware() -> list[Finding]:
    return list(examine_hardware(None, ()))


def bad(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [
        (finding.verdict, finding.subject[:5], finding.words)
        for finding in findings
        if finding.verdict != "ok" and finding.advice != SIMULATED
    ]


def doctor(machine: Machine, *options: str) -> tuple[int, str, str]:
    config = str(machine.folder / "agent.toml")
    program = machine.run(sys.executable, "-m", "agents.node", "doctor", *options or (config,))
    output, words = program.communicate(timeout=60)
    assert "Traceback" not in words
    return program.returncode, output, words


def test_a_healthy_machine_is_all_in_order_and_each_call_has_its_answer(stand_in):
    findings = hardware()
    assert bad(findings) == []
    told = [finding.words for finding in findings if finding.subject.startswith("GPU 0")]
    for call in CALLS:
        assert any(words.startswith(f"{call.name}: ") for words in told), call.name
    assert "nvmlDeviceGetPowerUsage: 70 W" in told
    assert "nvmlDeviceGetMemoryInfo_v2: 0 / 81559 MiB" in told
    assert "is sold as H100SXM80: NVIDIA H100 80GB HBM3, 81559 MiB" in told


def test_each_call_that_fails_is_named_on_its_own_gpu_and_only_what_selling_needs_is_to_be_mended(stand_in):
    symbols = {"nvmlDeviceGetPciInfo": "nvmlDeviceGetPciInfo_v3"}
    stand_in.add(*(f"function {symbols.get(call.name, call.name)} 1 999" for call in CALLS))
    findings = hardware()
    assert [finding for finding in bad(findings) if finding[1] == "GPU 0"] == []
    named = {finding.words.split()[0]: finding for finding in findings if "answers 999" in finding.words}
    assert set(named) == {call.name for call in CALLS}
    assert {name for name, finding in named.items() if finding.verdict == "mend"} == {
        call.name for call in CALLS if call.is_needed
    }
    assert {finding.advice for finding in named.values()} == {ADVICE[999]}


@pytest.mark.parametrize(
    ("lines", "verdict", "words"),
    [
        (["gpu 1 mig 1"], "mend", "MIG is on"),
        (["gpu 1 remap_pending 1"], "mend", "a row remap is pending"),
        (["gpu 1 remap_failed 1"], "mend", "a row remap has failed"),
        (["gpu 1 recovery_action 2"], "mend", "the driver asks for a recovery (2)"),
        (["gpu 1 ecc_uncorrected 3"], "warning", "ECC counts 3 uncorrectable errors"),
        (["gpu 1 throttle 64"], "warning", "the hardware slows it down: too hot"),
        (["gpu 1 fabric_state 2"], "warning", "the NVLink fabric is not ready"),
        (["gpu 1 nvlinks 18", "gpu 1 nvlinks_down 4"], "warning", "4 NVLinks are down"),
        (["gpu 1 lost 1"], "mend", "is lost: it no longer answers"),
        (["gpu 1 utilisation 100"], "warning", "is not offered now: it is busy though no process shows"),
        (["gpu 1 process 4193999 512 compute"], "mend", "process 4193999 is not seen from here"),
        (["function nvmlDeviceGetTotalEccErrors 1 3"], "warning", "ECC is off, or the board has none"),
        (['gpu 1 name "Voodoo 2"', "gpu 1 pci_device 0x0"], "mend", "no grade is known for a GPU named 'Voodoo 2'"),
        (["function nvmlDeviceGetTemperature 1 hang"], "mend", "nvmlDeviceGetTemperature does not return"),
        (["function nvmlDeviceGetClockInfo 1 4"], "warning", "nvmlDeviceGetClockInfo answers 4 (NoPermission)"),
    ],
)
def test_what_is_wrong_with_a_gpu_is_said_of_it_alone(stand_in, monkeypatch, lines, verdict, words):
    monkeypatch.setattr("agents.node.doctor.driver.WAIT_S", 3.0)
    stand_in.add(*lines)
    found = bad(hardware())
    assert {subject for _, subject, _ in found} == {"GPU 1"}
    assert [each for each, _, said in found if said.startswith(words)] == [verdict], found


def test_a_process_of_nobody_the_agent_knows_is_named_with_its_user(stand_in):
    stand_in.add("gpu 0 process 1 512 compute")
    ((verdict, subject, words),) = bad(hardware())
    assert (verdict, subject) == ("warning", "GPU 0")
    assert words.startswith("process 1 (") and "user 0, 512 MiB) is no buyer's" in words


def test_links_between_gpus_are_to_be_mended_where_eight_go_as_one(stand_in):
    stand_in.write(scenario_text("site-a", H100_SXM, 8), "gpu 5 nvlinks 18", "gpu 5 nvlinks_down 2")
    assert bad(hardware()) == [("mend", "GPU 5", "2 NVLinks are down")]


@pytest.mark.parametrize(("code", "advice"), [(9, "load the driver"), (18, "reboot"), (4, "")])
def test_a_library_that_does_not_open_is_one_line(stand_in, code, advice):
    stand_in.add(f"function nvmlInitWithFlags * {code}")
    (finding,) = hardware()
    assert (finding.verdict, finding.subject) == ("mend", "driver")
    assert f"answers {code}" in finding.words and advice in finding.words + finding.advice


def system(**changes: object) -> dict:
    known = {"version": "570.124.06", "library_path": "/usr/lib/libnvidia-ml.so.570.124.06", "library_sha256": "a" * 64}
    return {"system": known | {"simulated": False, "failed": {}} | changes, "gpus": [{}, {}]}


def test_library_module_and_bus_must_say_the_same_as_the_driver():
    assert bad(examine_driver(system(), MODULE, 2)) == []
    upgraded = MODULE.replace("570.124.06", "575.51.03")
    assert bad(examine_driver(system(), upgraded, 2)) == [
        ("mend", "drive", "NVML says version 570.124.06, the loaded kernel module 575.51.03")
    ]
    replaced = system(library_path="/usr/lib/libnvidia-ml.so.575.51.03")
    assert bad(examine_driver(replaced, MODULE, 2)) == [
        ("mend", "drive", "the library on disk is of version 575.51.03, the driver of 570.124.06")
    ]
    assert bad(examine_driver(system(library_sha256=None), "", 3)) == [
        ("warning", "drive", "the kernel module's version cannot be read"),
        ("warning", "drive", "the library's file was replaced since it was loaded, or may not be read"),
        ("warning", "drive", "NVML lists 2 GPUs, the PCI bus has 3"),
    ]


def test_gpus_on_the_bus_are_counted_by_vendor_and_class(tmp_path):
    for name, vendor, kind in (("a", "0x10de", "0x030200"), ("b", "0x10de", "0x068000"), ("c", "0x8086", "0x030000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    assert pci_gpus(tmp_path) == 1
    assert pci_gpus(tmp_path / "none") is None


def test_a_machine_that_may_sell_has_nothing_to_mend_and_strict_wants_no_warning_either(machine):
    status, output, _ = doctor(machine)
    lines = output.splitlines()
    assert (status, [line for line in lines if line.startswith("mend")]) == (ExitStatus.OK, [])
    for part in (
        "api key: the gateway accepts it",
        "clock: agrees with",
        "delivery: http",
        "hooks: ",
        "state folder: ",
    ):
        assert any(line.startswith("ok") and part in line for line in lines), part
    assert not (machine.folder / "state").exists()
    config = str(machine.folder / "agent.toml")
    assert doctor(machine, config, "--strict")[0] == ExitStatus.MEND  # NVML is simulated
    assert sum("nvmlDeviceGetPowerUsage: 70 W" in line for line in doctor(machine, "--all")[1].splitlines()) == 8


def test_files_clock_and_addresses_that_are_wrong_are_each_a_line_and_the_json_says_the_same(machine):
    machine.venue.ahead_s = 90
    config, key = machine.folder / "agent.toml", machine.folder / "operator-api.ed25519"
    expired = json.dumps({"account": "a", "token_id": "t", "expires_ms": int(time.time() * 1000) - 1, "signature": ""})
    lines = config.read_text().replace('token = "token"', f"token = {json.dumps(expired)}").splitlines()
    lines[-1] = 'market_data_url = "http://127.0.0.1:1"'
    config.write_text("\n".join(lines))
    key.chmod(0o644)
    status, output, _ = doctor(machine, str(config), "--json")
    document = json.loads(output)
    rows = [(row["verdict"], row["subject"]) for row in document["findings"] if row["verdict"] != "ok"]
    assert (status, rows) == (
        ExitStatus.MEND,
        [
            ("warning", "api key"),
            ("mend", "enrolment"),
            ("warning", "driver"),
            ("mend", "market data"),
            ("mend", "clock"),
        ],
    )
    counts = [document["counts"][verdict] for verdict in ("warning", "mend")]
    assert counts == [2, 3]


def test_a_broken_configuration_still_shows_the_hardware(machine):
    (machine.folder / "agent.toml").write_text("state_dir = 1\n")
    status, output, _ = doctor(machine)
    assert status == ExitStatus.MEND
    assert "mend     configuration: " in output and "GPU 7 (" in output
