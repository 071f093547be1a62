"""What the agent and its NVML child take of the machine: at most 90 MB together, and a small part of a core.

Tier: default; about 25 s, most of it waiting.
"""

import os
import time
from pathlib import Path

from tests.unit.agents.machine import wait

MEMORY_MIB_MAX = 90
CPU_PERCENT_MAX = 2.0  # twice the aim of 1 %: a short look counts in ticks of 10 ms
LOOK_S = 12


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_agent_that_has_proven_itself_and_its_child_stay_small(machine):
    machine.venue.interval_ms = 10_000
    agent = machine.start()
    try:
        wait(lambda: machine.venue.verdicts and machine.venue.reports, agent)
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        pids = [agent.pid, *map(int, children)]
        time.sleep(1)
        before_s = sum(map(cpu_s, pids))
        time.sleep(LOOK_S)
        percent = (sum(map(cpu_s, pids)) - before_s) / LOOK_S * 100
        assert len(pids) == 2
        assert sum(map(memory_mib, pids)) <= MEMORY_MIB_MAX
        assert percent <= CPU_PERCENT_MAX
    finally:
        agent.terminate()
        agent.communicate(timeout=30)
