"""However an honest GPU is used, cooled, capped, rebooted or read: nothing of its load is doubted."""

from hypothesis import given
from hypothesis import strategies as st

from services.delivery.load import LoadTally
from tests.fixtures.delivery import gpu_uuid, reading

TDP_W, WINDOW_MS = 700, 10_000

windows = st.lists(
    st.fixed_dictionaries(
        {
            "is_busy": st.booleans(),
            "busy_mw": st.integers(110_000, 750_000),
            "idle_mw": st.integers(45_000, 145_000),
            "bursts_permille": st.integers(600, 1_800),
            "capped_mhz": st.sampled_from([None, 210, 345, 1_200]),
            "untold": st.sets(st.sampled_from(["power_mw", "energy_mj", "sm_clock_mhz", "throttle"]), max_size=2),
            "event": st.sampled_from(["", "", "", "", "reboot", "driver", "silence"]),
        }
    ),
    min_size=1,
    max_size=40,
)


@given(windows)
def test_an_honest_gpu_is_never_doubted(moves: list[dict]):
    tally, boot, end_ms, energy_mj, before_mw = LoadTally(), 0, 0, 123_456_789, 70_000
    for move in moves:
        window_ms = WINDOW_MS * (20 if move["event"] == "silence" else 1)
        power_mw = move["busy_mw"] if move["is_busy"] else move["idle_mw"]
        drawn_mj = (power_mw + before_mw) // 2 * window_ms // 1000 * move["bursts_permille"] // 1000
        if move["event"] == "reboot":
            boot, end_ms, energy_mj = boot + 1, 0, 0
        if move["event"] == "driver":
            energy_mj = 0
        end_ms, energy_mj, before_mw = end_ms + window_ms, energy_mj + drawn_mj, power_mw
        capped_mhz = move["capped_mhz"]
        shown = {
            "utilisation_percent": 100 if move["is_busy"] else 0,
            "power_mw": power_mw,
            "energy_mj": energy_mj,
            "sm_clock_mhz": (capped_mhz or 1_980) if move["is_busy"] else 345,
            "throttle": (0x4 if capped_mhz else 0) if move["is_busy"] else 0x1,
        }
        shown |= dict.fromkeys(move["untold"])
        tally.add(reading(gpu_uuid(1), **shown), f"boot-{boot}", WINDOW_MS, end_ms)
    assert tally.doubt(TDP_W, 60_000) == ""
