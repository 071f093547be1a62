"""However processes fork, lose their parents, clear or copy an environment: whose work it is does not change.

Tier: default, about 3 s. A machine is a tree of processes; a lease's hook left a keeper and below it the buyer's first
process. A process whose parent ends goes to the nearest keeper above it, else to the machine's first process.
"""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.node.processes import Evidence, LiveLease, Owners, ProcessTable, Stat
from schemas.nodes import GpuProcess

FIRST, SHELL = 1, 2  # the machine's first process, and the owner's own
KEEPERS, TENANTS = (10, 20), (11, 21)
LEASES = tuple(
    LiveLease(f"lease-{n}", Evidence(ancestors=((tenant, tenant),), keeper=(keeper, keeper)))
    for n, (keeper, tenant) in enumerate(zip(KEEPERS, TENANTS, strict=True))
)
steps = st.lists(
    st.tuples(
        st.sampled_from(("fork", "fork", "fork", "end")),
        st.integers(0, 60),
        st.sampled_from(("", "lease-0", "lease-1", "lease-9")),
    ),
    max_size=40,
)


@dataclass
class Machine(ProcessTable):
    """Processes by number: parent, whose they truly are, and what their environment claims."""

    parents: dict[int, int] = field(default_factory=dict)
    truth: dict[int, str] = field(default_factory=dict)
    claims: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parents = {FIRST: 0, SHELL: FIRST}
        self.truth = {SHELL: "foreign"}
        for lease, keeper, tenant in zip(LEASES, KEEPERS, TENANTS, strict=True):
            self.parents |= {keeper: FIRST, tenant: keeper}
            self.truth[tenant] = lease.lease_id

    def fork(self, parent: int, claim: str) -> None:
        """Starts a process with any environment; it is whose its parent is."""
        pid = max(self.parents) + 100
        self.parents[pid], self.truth[pid], self.claims[pid] = parent, self.truth[parent], claim

    def end(self, pid: int) -> None:
        """Ends a process; its children go to the nearest keeper above, as the kernel sees to."""
        above = self.parents[pid]
        while above not in (*KEEPERS, FIRST):
            above = self.parents[above]
        self.parents = {
            each: above if parent == pid else parent for each, parent in self.parents.items() if each != pid
        }
        del self.truth[pid]

    def stat(self, pid: int) -> Stat | None:
        """Every process started at the tick that is its number."""
        return Stat(pid, self.parents[pid], pid, pid, pid) if pid in self.parents else None

    def variable(self, pid: int, name: str) -> str | None:
        """What it says of itself."""
        return self.claims.get(pid, "")

    def program(self, pid: int) -> str:
        """No monitor among them."""
        return "job"


@given(steps)
@settings(deadline=None, max_examples=300)
def test_a_process_is_whose_it_descends_from_whatever_it_does_and_says(moves):
    machine = Machine()
    for what, choice, claim in moves:
        pids = sorted(machine.truth)
        pid = pids[choice % len(pids)]
        if what == "fork":
            machine.fork(pid, claim)
        elif pid != SHELL:
            machine.end(pid)
    owners = Owners(machine)
    for pid, whose in machine.truth.items():
        labelled = owners.label(GpuProcess(pid=pid, memory_mib=900), LEASES)
        assert (labelled.lease_id or labelled.owner) == whose, (pid, machine.parents)
    assert {owners.label(GpuProcess(pid=keeper, memory_mib=1), LEASES).owner for keeper in KEEPERS} == {"foreign"}
