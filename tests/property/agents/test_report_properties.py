"""Whatever is lost, refused or restarted, the venue ends with one unbroken chain."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.node.identity import Identity
from agents.node.reports import ReportChain
from agents.node.state import StateFolder
from schemas.nodes import GENESIS_HASH, Report, message_hash

STEPS = ("report", "send", "lose_answer", "refuse_stale", "restart")


class Server:
    """Takes reports as delivery does, as far as the chain goes."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.nonces = 0

    def nonce(self) -> str:
        self.nonces += 1
        return f"{self.nonces:064x}"

    def take(self, report: Report) -> None:
        if self.reports and report.seq == self.reports[-1].seq:
            assert message_hash(report) == message_hash(self.reports[-1]), "forked"
            return
        assert report.seq == len(self.reports) + 1
        assert report.prev_hash == (message_hash(self.reports[-1]) if self.reports else GENESIS_HASH)
        self.reports.append(report)


@given(st.lists(st.sampled_from(STEPS), max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_chain_never_forks_and_never_has_a_hole(steps):
    with tempfile.TemporaryDirectory() as folder:
        state = StateFolder(Path(folder), durable=False)
        identity, server = Identity.load_or_make(state), Server()
        chain = ReportChain(identity, state)
        chain.renew_nonce(server.nonce())
        made = 0
        for step in steps:
            if step == "report":
                made += 1
                append(chain, made)
            elif step == "restart":
                chain = ReportChain(identity, state)
            elif chain.waiting:
                act(step, chain, server)
        while chain.waiting:
            act("send", chain, server)
        assert [report.mono_end_ms for report in server.reports] == list(range(1, made + 1))


def append(chain: ReportChain, number: int) -> None:
    chain.append(
        agent="node-1",
        boot_id="boot",
        mono_start_ms=number - 1,
        mono_end_ms=number,
        wall_ms=0,
        lease_ids=(),
        agent_version="a",
        driver_version="d",
        library_sha256="0" * 64,
        nvml_simulated=True,
        gpus=(),
    )


def act(step: str, chain: ReportChain, server: Server) -> None:
    report = chain.waiting[0]
    taken = bool(server.reports) and server.reports[-1].seq == report.seq
    if step == "refuse_stale" and not taken:
        chain.queue_refused(server.nonce())
    elif step == "lose_answer":
        server.take(report)
    else:
        server.take(report)
        chain.acknowledge(report, server.nonce())
