"""Whatever is lost, refused or restarted, the venue ends with one unbroken chain."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.node.identity import Identity
from agents.node.kept import KeptReports
from agents.node.reports import ReportChain
from agents.node.state import StateFolder
from schemas.nodes import GENESIS_HASH, ChainReply, ChainRequest, Report, message_hash

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


MISHAPS = ("cut", "flip", "backup", "restore")


class Venue(Server):
    """Says where the chain stands, may lose its end, and remembers every report that it ever acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: dict[int, str] = {}
        self.end = (0, GENESIS_HASH)

    def take(self, report: Report) -> None:
        digest = message_hash(report)
        assert self.ever.get(report.seq, digest) == digest, "two histories"
        if report.seq <= self.end[0]:
            return
        assert (report.seq - 1, report.prev_hash) == self.end
        self.ever[report.seq], self.end = digest, (report.seq, digest)
        self.reports.append(report)

    def place(self, request: ChainRequest) -> ChainReply:
        if request.base_seq > self.end[0]:
            self.end = (request.base_seq, request.base_hash)
        return ChainReply(seq=self.end[0], hash=self.end[1], server_nonce=self.nonce(), server_time_ms=0)

    def lose(self, count: int) -> None:
        left = self.reports[: max(len(self.reports) - count, 0)]
        self.reports = left
        self.end = (left[-1].seq, message_hash(left[-1])) if left else (0, GENESIS_HASH)


class Node:
    """A chain on a disk that has mishaps, and the way to the venue as the agent goes it."""

    def __init__(self, folder: Path, venue: Venue, keeps: bool) -> None:
        self.state, self.venue, self.keeps = StateFolder(folder, durable=False), venue, keeps
        self.identity = Identity.load_or_make(self.state)
        self.journal, self.copy, self.made = folder / "chain.journal", b"", 0
        self.start()

    def start(self) -> None:
        self.chain = ReportChain(self.identity, self.state, KeptReports(self.state) if self.keeps else None)
        self.place()

    def place(self) -> None:
        for moves in (False, True):
            if self.chain.resume(self.venue.place(self.chain.request("node-1", "boot", 0, moves)), moves):
                return

    def report(self) -> None:
        self.made += 1
        append(self.chain, self.made)

    def send(self) -> None:
        if self.chain.waiting:
            report = self.chain.waiting[0]
            if report.seq - 1 != self.venue.end[0]:
                self.place()
                report = self.chain.waiting[0] if self.chain.waiting else None
            if report:
                self.venue.take(report)
                self.chain.acknowledge(report, self.venue.nonce())

    def cut(self, place: int) -> None:
        raw = self.journal.read_bytes()
        self.journal.write_bytes(raw[: place % (len(raw) + 1)] + b"\0" * (place % 3))

    def flip(self, place: int) -> None:
        raw = bytearray(self.journal.read_bytes())
        if raw:
            raw[place % len(raw)] ^= 1 << place % 8
        self.journal.write_bytes(raw)

    def backup(self) -> None:
        self.copy = self.journal.read_bytes()

    def restore(self) -> None:
        self.journal.write_bytes(self.copy)


@given(st.lists(st.tuples(st.sampled_from(("report", "send", "send", *MISHAPS)), st.integers(0, 10**6)), max_size=40))
@settings(max_examples=150, deadline=None)
def test_o07_whatever_happens_to_the_journal_no_number_is_ever_signed_for_two_histories(steps):
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), Venue(), keeps=False)
        for step, place in steps:
            if step in ("report", "send"):
                getattr(node, step)()
            else:
                getattr(node, step)(*([place] if step in ("cut", "flip") else []))
                if step != "backup":
                    node.start()
        seen = len(node.venue.reports)
        node.report()
        while node.chain.waiting:
            node.send()
        assert len(node.venue.reports) > seen, "the node reports on, whatever was lost"


@given(st.lists(st.sampled_from(("report", "send", "send", "lose", "restart")), max_size=40), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a7_what_a_venue_loses_is_sent_again_where_it_is_kept_and_the_chain_goes_on_in_any_case(steps, keeps):
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), Venue(), keeps)
        for step in steps:
            if step == "lose":
                node.venue.lose(2)
            elif step == "restart":
                node.start()
            else:
                getattr(node, step)()
        node.report()
        while node.chain.waiting:
            node.send()
        ends = [report.mono_end_ms for report in node.venue.reports]
        assert ends[-1] == node.made
        assert not keeps or ends == list(range(1, node.made + 1))
