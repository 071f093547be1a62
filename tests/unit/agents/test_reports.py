"""The chain of reports: numbered, linked, signed, on disk before it is sent."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.node import reports
from agents.node.identity import Identity
from agents.node.reports import ReportChain
from agents.node.state import StateFolder
from schemas.nodes import GENESIS_HASH, Report, message_hash, signing_bytes

FACTS = {
    "agent": "node-1",
    "boot_id": "boot-1",
    "wall_ms": 0,
    "lease_ids": (),
    "agent_version": "a",
    "driver_version": "d",
    "library_sha256": "0" * 64,
    "nvml_simulated": True,
    "gpus": (),
}
NONCES = [f"{number:064x}" for number in range(10)]


@pytest.fixture
def state(tmp_path) -> StateFolder:
    return StateFolder(tmp_path / "state")


@pytest.fixture
def chain(state) -> ReportChain:
    chain = ReportChain(Identity.load_or_make(state), state)
    chain.renew_nonce(NONCES[0])
    return chain


def append(chain: ReportChain) -> Report:
    return chain.append(mono_start_ms=chain.seq, mono_end_ms=chain.seq + 1, **FACTS)


def reopened(state: StateFolder) -> ReportChain:
    return ReportChain(Identity.load_or_make(state), state)


def assert_linked(reports: list[Report], before: str) -> None:
    for report in reports:
        assert report.prev_hash == before
        before = message_hash(report)


def test_reports_are_numbered_from_one_linked_and_carry_each_nonce_once(chain):
    first = append(chain)
    chain.acknowledge(first, NONCES[1])
    second = append(chain)
    assert (first.seq, first.server_nonce, first.queued) == (1, NONCES[0], False)
    assert (second.seq, second.server_nonce, second.queued) == (2, NONCES[1], False)
    assert_linked([first, second], GENESIS_HASH)


def test_without_an_answer_reports_repeat_the_last_nonce_and_say_that_they_queued(chain):
    reports = [append(chain) for _ in range(3)]
    assert [(r.server_nonce, r.queued) for r in reports] == [(NONCES[0], False), (NONCES[0], True), (NONCES[0], True)]
    assert_linked(reports, GENESIS_HASH)


def test_every_report_is_signed_by_the_nodes_key_over_its_canonical_bytes(chain, state):
    report = append(chain)
    public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(Identity.load_or_make(state).public_key))
    public_key.verify(bytes.fromhex(report.signature), signing_bytes(report))


def test_a_restart_finds_what_was_not_acknowledged_and_goes_on_with_the_chain(chain, state):
    first, second = append(chain), append(chain)
    chain.acknowledge(first, NONCES[1])
    again = reopened(state)
    assert again.waiting == [second]
    third = append(again)
    assert (third.seq, third.queued) == (3, True)
    assert_linked([first, second, third], GENESIS_HASH)


def test_a_line_that_a_crash_cut_off_was_never_acted_on(chain, state):
    first = append(chain)
    journal = state.path / "chain.journal"
    whole = journal.read_bytes()
    append(chain)
    journal.write_bytes(whole + b"report " + first.canonical()[:100])
    again = reopened(state)
    assert (again.seq, again.waiting) == (1, [first])
    assert [append(again).seq, reopened(state).seq] == [2, 2]


def test_the_journal_is_summed_up_before_it_grows_large_and_loses_nothing(chain, state, monkeypatch):
    monkeypatch.setattr(reports, "JOURNAL_BYTES_MAX", 2_000)
    for number in range(20):
        chain.acknowledge(append(chain), NONCES[number % 10])
    last = append(chain)
    assert (state.path / "chain.journal").stat().st_size < 4_000
    again = reopened(state)
    assert (again.seq, again.hash, again.waiting, again.nonce) == (21, message_hash(last), [last], NONCES[9])


def test_a_refusal_as_stale_signs_the_waiting_reports_anew_as_queued_in_the_same_places(chain):
    acknowledged = append(chain)
    chain.acknowledge(acknowledged, NONCES[1])
    refused = [append(chain), append(chain)]
    chain.queue_refused(NONCES[2])
    resigned = list(chain.waiting)
    assert [(r.seq, r.server_nonce, r.queued) for r in resigned] == [(2, NONCES[1], True), (3, NONCES[1], True)]
    assert [r.mono_end_ms for r in resigned] == [r.mono_end_ms for r in refused]
    for report in resigned:
        chain.acknowledge(report, NONCES[3])
    live = append(chain)
    assert (live.server_nonce, live.queued) == (NONCES[3], False)
    assert_linked([acknowledged, *resigned, live], GENESIS_HASH)


def test_queued_reports_whose_nonce_the_venue_has_forgotten_take_the_new_one(chain):
    append(chain), append(chain)
    chain.queue_refused(NONCES[1])
    chain.queue_refused(NONCES[2])
    assert [(r.server_nonce, r.queued) for r in chain.waiting] == [(NONCES[2], True), (NONCES[2], True)]
    assert_linked(chain.waiting, GENESIS_HASH)


def test_reports_signed_anew_survive_a_restart(chain, state):
    for _ in range(3):
        append(chain)
    chain.queue_refused(NONCES[1])
    again = reopened(state)
    assert again.waiting == chain.waiting
    assert (again.seq, again.hash, again.nonce, again.nonce_used) == (3, chain.hash, NONCES[1], False)


def test_the_key_is_made_once_and_only_its_owner_may_read_it(state):
    first = Identity.load_or_make(state)
    assert Identity.load_or_make(state).public_key == first.public_key
    assert (state.path / "node.key").stat().st_mode & 0o777 == 0o600
