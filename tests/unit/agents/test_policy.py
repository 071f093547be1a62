"""The operator's policy: what the file may say, and which GPUs it lets be sold."""

import logging
import os

import pytest

from agents.node.errors import BadConfiguration
from agents.node.fitness import hindrance_of
from agents.node.policy import IdleRule, IdleWatch, Policy, PolicyFile, never_sells
from agents.node.proof.own_load import OwnLoad
from schemas.nodes import GpuProcess, GpuReading

MINIMAL = 'label = "a"\nhub = "CNE"\nprice.floor = "12.84"\nhooks.start = ["true"]\nhooks.stop = ["true"]\n'
RULE = IdleRule(utilisation_below_percent=5, for_ms=1000)
IDLE = GpuReading(
    uuid="GPU-00000001",
    present=True,
    healthy=True,
    memory_total_mib=81559,
    memory_used_mib=0,
    utilisation_percent=0,
    power_mw=1,
    energy_mj=1,
    temperature_c=30,
    sm_clock_mhz=1,
    memory_clock_mhz=1,
    throttle=0,
    ecc_corrected=0,
    ecc_uncorrected=0,
    remapped_correctable=0,
    remapped_uncorrectable=0,
    remap_failed=False,
    mig_enabled=False,
)
STRANGER = GpuProcess(pid=1, memory_mib=1)
ENDED = GpuProcess(pid=3, memory_mib=60_000, owner="foreign")
HIDDEN = GpuProcess(pid=4, memory_mib=1, owner="unknown")
MONITOR = GpuProcess(pid=5, memory_mib=1, owner="other")
BUYER = GpuProcess(pid=2, memory_mib=1, lease_id="lease-1")


def policy(**changes) -> Policy:
    fields = {"label": "a", "hub": "CNE", "price": {"floor": "1"}, "hooks": {"start": ["a"], "stop": ["b"]}}
    return Policy.model_validate(fields | {"idle": {"for_ms": 1000}} | changes)


@pytest.mark.parametrize(
    "changes, leased, hindrance",
    [
        ({}, False, ""),
        ({"present": False}, False, "gpu_lost"),
        ({"healthy": False}, False, "unhealthy"),
        ({"utilisation_percent": 4}, False, ""),
        ({"utilisation_percent": 5}, False, "busy_without_process"),
        ({"utilisation_percent": 100}, True, ""),
        ({"processes": (STRANGER,)}, False, "not_idle_with_process"),
        ({"processes": (STRANGER,)}, True, "not_idle_with_process"),
        ({"processes": (BUYER,)}, True, ""),
        ({"healthy": False}, True, "unhealthy"),
        ({"processes": (BUYER,)}, False, "not_idle_with_process"),
        ({"processes": (ENDED,)}, False, "not_idle_with_process"),  # A36
        ({"processes": (HIDDEN,)}, False, "not_idle_with_process"),  # A26
        ({"processes": (HIDDEN,)}, True, ""),  # A26
        ({"utilisation_percent": 100}, False, "busy_without_process"),  # A17
        ({"utilisation_percent": 50, "processes": (MONITOR,)}, False, "busy"),
        ({"utilisation_percent": None, "memory_used_mib": None}, False, ""),
        ({"memory_used_mib": 1023}, False, ""),
        ({"memory_used_mib": 1024}, False, "memory_without_process"),
        ({"memory_used_mib": 60_000}, True, ""),
        ({"processes_unknown": True}, False, "processes_unknown"),  # A07
        ({"mig_enabled": True, "utilisation_percent": None}, False, "mig_enabled"),  # A05
        ({"present": False, "healthy": False, "blind": True}, True, "meter_blind"),
        ({"remap_pending": True}, True, "row_remap_pending"),
        ({"recovery_action": 1}, False, "recovery_action"),
        ({"xid": (63,)}, False, "xid_63"),
        ({"xid": (13, 31, 43, 45)}, False, ""),
        ({"fabric_state": 2}, False, "fabric_not_ready"),  # A35
        ({"nvlinks_down": 1}, False, "nvlink_down"),  # A35
        ({"processes": (MONITOR,)}, False, ""),
    ],
)
def test_a_gpu_is_offered_when_it_is_there_healthy_and_nobody_elses_and_else_the_reason_is_said(
    changes, leased, hindrance
):
    assert hindrance_of(IDLE.model_copy(update=changes), leased, RULE, whole_node=True) == hindrance


def test_a_gpu_that_its_hardware_slows_down_is_withheld_until_that_has_been_over_for_a_while():  # A29
    watch = IdleWatch()
    slow = IDLE.model_copy(update={"throttle": 0x40})
    readings = [slow, slow, IDLE, slow, slow, slow, IDLE, IDLE, IDLE]
    seen = [watch.observe((each,), frozenset(), RULE, index)[0].withheld for index, each in enumerate(readings)]
    assert seen == ["", "", "", "", "", "throttled", "throttled", "throttled", ""]
    assert watch.sellable(policy(), 1, 8 + 1000) == 1


def test_each_change_of_what_is_offered_is_one_line_with_its_reason(caplog):  # A17
    caplog.set_level(logging.INFO, "hourbook.agent")
    busy = IDLE.model_copy(update={"utilisation_percent": 100})
    watch_of(*((index, (each,)) for index, each in enumerate((IDLE, busy, busy, IDLE, IDLE))))
    assert [record.getMessage() for record in caplog.records] == [
        "GPU-00000001 is not offered: it is busy though no process shows (busy_without_process)",
        "GPU-00000001 may be offered again",
    ]


def watch_of(*observations: tuple[int, tuple[GpuReading, ...]]) -> IdleWatch:
    watch = IdleWatch()
    for mono_ms, readings in observations:
        watch.observe(readings, frozenset(), RULE, mono_ms)
    return watch


def test_the_agent_s_own_proof_takes_no_gpu_off_the_market():
    proving = IDLE.model_copy(update={"utilisation_percent": 100, "memory_used_mib": 77_000})
    load, watch = OwnLoad(), watch_of((0, (IDLE,)))
    with load.of((IDLE.uuid,)):
        (judged,) = watch.observe((proving,), frozenset(), RULE, 500, own_load=load.take())
    assert (judged.withheld, watch.sellable(policy(), 1, 1000)) == ("", 1)
    (judged,) = watch.observe((proving,), frozenset(), RULE, 1000, own_load=load.take())
    assert judged.withheld == ""  # the first reading after it: NVML's load lags behind
    (judged,) = watch.observe((proving,), frozenset(), RULE, 1500, own_load=load.take())
    assert (judged.withheld, watch.sellable(policy(), 1, 1500)) == ("busy_without_process", 0)


def test_a_stranger_s_process_and_a_fault_are_seen_during_a_proof_too():
    strange = IDLE.model_copy(update={"processes": (GpuProcess(pid=7, memory_mib=9, kind="compute", owner="foreign"),)})
    lost = GpuReading(uuid=IDLE.uuid, present=False, healthy=False)
    seen = [hindrance_of(each, False, RULE, own_load=True) for each in (IDLE, strange, lost)]
    assert seen == ["", "not_idle_with_process", "gpu_lost"]


def other(reading: GpuReading, **changes) -> GpuReading:
    return reading.model_copy(update={"uuid": "GPU-00000002"} | changes)


def test_a_gpu_is_sellable_once_it_was_idle_long_enough_and_busy_starts_the_count_anew():
    watch = watch_of((0, (IDLE,)), (500, (IDLE,)))
    assert [watch.sellable(policy(), 1, at_ms) for at_ms in (999, 1000)] == [0, 1]
    watch.observe((IDLE.model_copy(update={"utilisation_percent": 50}),), frozenset(), RULE, 1100)
    watch.observe((IDLE,), frozenset(), RULE, 1200)
    assert [watch.sellable(policy(), 1, at_ms) for at_ms in (2199, 2200)] == [0, 1]


def test_reserved_gpus_are_never_sold():
    watch = watch_of((0, (IDLE, other(IDLE))))
    assert [watch.sellable(policy(reserve_gpus=reserve), 2, 1000) for reserve in (0, 1, 2, 3)] == [2, 1, 0, 0]


def test_a_whole_node_is_sold_whole_or_not_at_all():
    both, one = watch_of((0, (IDLE, other(IDLE)))), watch_of((0, (IDLE, other(IDLE, healthy=False))))
    whole = policy(whole_node=True)
    assert (both.sellable(whole, 2, 1000), one.sellable(whole, 2, 1000)) == (2, 0)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "label"),
        (MINIMAL + "colour = 3\n", "colour"),
        (MINIMAL.replace('price.floor = "12.84"\n', ""), "price"),
        (MINIMAL + 'price.floor_curve = ["1"]\n', "floor_curve"),
        (MINIMAL.replace('"12.84"', "12.84"), "price.floor"),
        (MINIMAL.replace('"12.84"', '"-1"'), "price.floor"),
        (MINIMAL.replace('"CNE"', '"nowhere"'), "hub"),
        (MINIMAL.replace('start = ["true"]', "start = []"), "hooks.start"),
        ("label =", "Invalid value"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused_with_the_place(tmp_path, text, words):
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(BadConfiguration, match=words):
        PolicyFile(file)


# Cases P01 to P09 of the field, and others of their kind: what the venue would refuse or what can never sell.
REFUSED = {
    "P03 empty label": ('label = "a"', 'label = ""', "label: .*at least 1 character"),
    "P03 long label": ('label = "a"', f'label = "{500 * "a"}"', "label: .*at most 128 characters"),
    "E23 NUL in label": ('label = "a"', 'label = "a\\u0000"', "label: should have no control characters"),
    "line feed in label": ('label = "a"', 'label = "a\\n"', "label: should have no control characters"),
    "number as label": ('label = "a"', "label = 7", "label: .*valid string"),
    "P04 reserve of a whole node": ("", "whole_node = true\nreserve_gpus = 1\n", "reserve_gpus must be 0"),
    "negative reserve": ("", "reserve_gpus = -1\n", "reserve_gpus: .*greater than or equal to 0"),
    "reserve as text": ("", 'reserve_gpus = "1"\n', "reserve_gpus: .*valid integer"),
    "reserve as fraction": ("", "reserve_gpus = 1.0\n", "reserve_gpus: .*valid integer"),
    "yes as truth": ("", 'whole_node = "yes"\n', "whole_node: .*valid boolean"),
    "P05 no such hook": ('start = ["true"]', 'start = ["/no/such/hook"]', "hooks.start: /no/such/hook: there is no"),
    "P05 hook not on PATH": ('stop = ["true"]', 'stop = ["no-such-hook"]', "hooks.stop: no-such-hook is not on PATH"),
    "P05 hook not executable": ('start = ["true"]', 'start = ["/etc/passwd"]', "hooks.start: /etc/passwd is not exec"),
    "P05 hook is a folder": ('start = ["true"]', 'start = ["/tmp"]', "hooks.start: /tmp is a folder"),
    "hook with an empty name": ('start = ["true"]', 'start = [""]', "hooks.start: names no program"),
    "NUL in a hook": ('start = ["true"]', 'start = ["true", "\\u0000"]', "hooks.start.1: should have no NUL"),
    "hook as text": ('start = ["true"]', 'start = "true"', "hooks.start: .*valid tuple"),
    "long time-out of a hook": ("", "hooks.timeout_s = 3601\n", "hooks.timeout_s: .*less than or equal to 3600"),
    "no time for a hook": ("", "hooks.timeout_s = 0\n", "hooks.timeout_s: .*greater than or equal to 1"),
    "P08 floor 0": ('"12.84"', '"0"', "price.floor: should be more than 0 and at most 1000000.00"),
    "P08 floor 0.000000": ('"12.84"', '"0.000000"', "price.floor: should be more than 0"),
    "floor above the highest price": ('"12.84"', '"1000000.01"', "price.floor: should be more than 0 and at most"),
    "floor with too many digits": ('"12.84"', '"1.0000001"', "price.floor: should be a decimal number"),
    "floor with too many whole digits": ('"12.84"', f'"{"9" * 40}"', "price.floor: should be a decimal number"),
    "floor in other digits": ('"12.84"', '"١٢"', "price.floor: should be a decimal number"),
    "negative floor": ('"12.84"', '"-1"', "price.floor: should be a decimal number"),
    "floor as a number": ('"12.84"', "12", "price.floor: .*valid string"),
    "0 in a curve": ('floor = "12.84"', f"floor_curve = {['1'] * 23 + ['0']}", "price.floor_curve.23: should be more"),
    "short curve": ('floor = "12.84"', f"floor_curve = {['1'] * 23}", "price.floor_curve: .*at least 24 items"),
    "long curve": ('floor = "12.84"', f"floor_curve = {['1'] * 25}", "price.floor_curve: .*at most 24 items"),
    "unknown key": ("", "colour = 3\n", "colour: there is no such key"),
    "unknown key in a table": ("", "idle.colour = 3\n", "idle.colour: there is no such key"),
    "missing hooks": ('hooks.start = ["true"]\n', "", "hooks.start: is missing"),
    "wrong hub": ('"CNE"', '"cne"', "hub: should be a hub like CNE"),
    "wrong tier": ("", 'tier = "S"\n', "tier: .*'F', 'I' or 'M'"),
    "wrong grade": ("", 'grade = "h100"\n', "grade: should be a grade like H100SXM80"),
    "no period ahead": ("", "periods_ahead = 0\n", "periods_ahead: .*greater than or equal to 1"),
    "extends more than it may": ("", "periods_ahead = 2\nextend_by = 3\n", "extend_by must be at most periods_ahead"),
    "idle for ever": ("", f"idle.for_ms = {10**18}\n", "idle.for_ms: .*less than or equal to"),
    "idle below 0": ("", "idle.utilisation_below_percent = 0\n", "idle.utilisation_below_percent: .*greater"),
    "TOML error": ("", "a = = 3\n", "at line 6, column"),
    "number of thousands of digits": ("", f"reserve_gpus = {5000 * '9'}\n", "Exceeds the limit"),
    "key twice": ("", 'hub = "CNE"\n', "at line 6"),
    "table as a value": ("", "tier = { a = 1 }\n", "tier: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_venue_would_refuse_or_what_never_sells_is_refused_in_one_line_with_its_key(tmp_path, case):
    old, new, words = REFUSED[case]
    file = tmp_path / "policy.toml"
    file.write_text(MINIMAL.replace(old, new) if old else MINIMAL + new)
    with pytest.raises(BadConfiguration, match=words) as refused:
        PolicyFile(file)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"policy {file}: ")


def test_a_file_with_a_byte_order_mark_or_windows_line_ends_is_read(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert PolicyFile(file).current.label == "a"


@pytest.mark.parametrize(
    "content, words",
    [
        ("label".encode("utf-16"), r"is not UTF-8 text \(byte 0\)"),
        (b'label = "\xff"', r"is not UTF-8 text \(byte 9\)"),
        (b"#" * 1_000_001, "has more than 1000000 bytes"),
        (b"a = " + b"[" * 100_000, "policy"),
        (b"\0" * 100, "policy"),
    ],
)
def test_a_file_that_is_no_text_is_named_in_one_line(tmp_path, content, words):
    file = tmp_path / "policy.toml"
    file.write_bytes(content)
    with pytest.raises(BadConfiguration, match=words) as refused:
        PolicyFile(file)
    assert "\n" not in str(refused.value)


def test_a_pipe_in_place_of_the_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "policy.toml")
    with pytest.raises(BadConfiguration, match=r"policy .*policy\.toml: is a pipe or a socket, not a file"):
        PolicyFile(tmp_path / "policy.toml")


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(BadConfiguration, match="is a folder, not a file"):
        PolicyFile(tmp_path)


def test_a_policy_that_vanishes_leaves_the_last_good_one_says_so_once_and_is_followed_when_it_is_back(tmp_path, caplog):
    file = tmp_path / "policy.toml"
    file.write_text(MINIMAL)
    policy_file = PolicyFile(file)
    file.unlink()
    assert [policy_file.refresh().price.floor for _ in range(3)] == ["12.84"] * 3
    assert [record.getMessage() for record in caplog.records] == [
        f"the last good policy stays: policy {file}: No such file or directory"
    ]
    file.write_text(MINIMAL.replace("12.84", "13.00"))
    assert policy_file.refresh().price.floor == "13.00"


def test_a_hook_that_is_made_executable_later_is_taken_without_an_edit(tmp_path):
    file, hook = tmp_path / "policy.toml", tmp_path / "hook"
    file.write_text(MINIMAL)
    policy_file = PolicyFile(file)
    hook.write_text("#!/bin/sh\n")
    file.write_text(MINIMAL.replace('start = ["true"]', f'start = ["{hook}"]'))
    assert policy_file.refresh().hooks.start == ("true",)
    hook.chmod(0o755)
    assert policy_file.refresh().hooks.start == (str(hook),)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"reserve_gpus": 5}, "reserve_gpus = 5 of 2 GPUs: this node can never sell"),  # P04
        ({"reserve_gpus": 2}, "reserve_gpus = 2 of 2 GPUs: this node can never sell"),
        ({"reserve_gpus": 1}, ""),
        ({"whole_node": True}, "whole_node = true, but the node is enrolled as H100SXM80: it must enroll again"),
        ({"hub": "CNS"}, "hub = CNS, but the node is enrolled at CNE: it must enroll again"),
    ],
)
def test_a_policy_under_which_this_node_can_never_sell_is_said(changes, words):
    assert never_sells(policy(**changes), "H100SXM80", "CNE", 2) == words


def test_a_policy_needs_either_one_floor_or_a_whole_curve(tmp_path):
    file = tmp_path / "policy.toml"
    curve = ", ".join(f'"{hour}"' for hour in range(1, 25))
    file.write_text(MINIMAL.replace('price.floor = "12.84"', f"price.floor_curve = [{curve}]"))
    assert PolicyFile(file).current.price.floor_curve[23] == "24"
    file.write_text(MINIMAL + f"price.floor_curve = [{curve}]\n")
    with pytest.raises(BadConfiguration, match="either floor or floor_curve"):
        PolicyFile(file)


def test_an_edit_is_followed_and_a_broken_one_leaves_the_last_good_policy_and_says_so_once(tmp_path, caplog):
    file = tmp_path / "policy.toml"
    file.write_text(MINIMAL)
    policy_file = PolicyFile(file)
    file.write_text(MINIMAL.replace("12.84", "13.840"))
    assert policy_file.refresh().price.floor == "13.840"
    file.write_text("broken")
    with caplog.at_level(logging.WARNING):
        assert policy_file.refresh().price.floor == policy_file.refresh().price.floor == "13.840"
    assert [record.message for record in caplog.records if "last good policy stays" in record.message] != []
    assert len(caplog.records) == 1


def test_a_policy_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadConfiguration, match="no-such-policy"):
        PolicyFile(tmp_path / "no-such-policy")


def test_a_hook_that_may_not_be_run_is_refused_when_the_policy_is_read(tmp_path):  # P05
    hook, file = tmp_path / "hook", tmp_path / "policy.toml"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o644)
    file.write_text(MINIMAL.replace('["true"]', f'["{hook}", "start"]', 1))
    with pytest.raises(BadConfiguration, match=r"hooks\.start: .*hook is not executable"):
        PolicyFile(file)
    hook.chmod(0o755)
    assert PolicyFile(file).current.hooks.start == (str(hook), "start")
