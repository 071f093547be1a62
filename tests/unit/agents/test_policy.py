"""The operator's policy: what the file may say, and which GPUs it lets be sold."""

import logging

import pytest

from agents.node.errors import BadConfiguration
from agents.node.policy import IdleRule, IdleWatch, Policy, PolicyFile, is_fit
from schemas.nodes import GpuProcess, GpuReading

MINIMAL = 'label = "a"\nhub = "CNE"\nprice.floor = "12.84"\nhooks.start = ["up"]\nhooks.stop = ["down"]\n'
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
    "changes, leased, fit",
    [
        ({}, False, True),
        ({"present": False}, False, False),
        ({"healthy": False}, False, False),
        ({"utilisation_percent": 4}, False, True),
        ({"utilisation_percent": 5}, False, False),
        ({"utilisation_percent": 100}, True, True),
        ({"processes": (STRANGER,)}, False, False),
        ({"processes": (STRANGER,)}, True, False),
        ({"processes": (BUYER,)}, True, True),
        ({"healthy": False}, True, False),
        ({"processes": (BUYER,)}, False, False),
        ({"processes": (ENDED,)}, False, False),  # A36
        ({"processes": (HIDDEN,)}, False, False),  # A26
        ({"processes": (HIDDEN,)}, True, True),  # A26
        ({"processes": (MONITOR,)}, False, True),
    ],
)
def test_a_gpu_is_fit_when_it_is_there_healthy_and_nobody_elses(changes, leased, fit):
    assert is_fit(IDLE.model_copy(update=changes), leased, RULE) is fit


def watch_of(*observations: tuple[int, tuple[GpuReading, ...]]) -> IdleWatch:
    watch = IdleWatch()
    for mono_ms, readings in observations:
        watch.observe(readings, frozenset(), RULE, mono_ms)
    return watch


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
    assert both.sellable(policy(whole_node=True, reserve_gpus=1), 2, 1000) == 0


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
        (MINIMAL.replace('["up"]', "[]"), "hooks.start"),
        ("label =", "Invalid value"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused_with_the_place(tmp_path, text, words):
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(BadConfiguration, match=words):
        PolicyFile(file)


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
