"""The state folder under mishaps: whatever is damaged, missing or full is one clear line, and the node goes on.

Tier: default, about 10 s. Case O07 of the field, and others of its kind.
"""

import errno
import json
import logging
import os

import pytest

from agents.node import state as state_module
from agents.node.errors import BadState
from agents.node.identity import Identity
from agents.node.kept import KeptReports
from agents.node.leases import LeaseBook
from agents.node.reports import ReportChain
from agents.node.state import StateFolder
from schemas.nodes import ChainReply, message_hash
from tests.fakes.venue import until
from tests.unit.agents.test_node import PlayedSite
from tests.unit.agents.test_reports import FACTS, NONCES, append


@pytest.fixture
def site(tmp_path) -> PlayedSite:
    return PlayedSite(tmp_path)


def only_lines(caplog) -> list[str]:
    assert not [record for record in caplog.records if record.exc_info]
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


REPORT_OF_ANOTHER_SHAPE = b'report {"agent": "node-1"}\n'
JOURNALS = {
    "ends in zeros": lambda raw: raw + b"\0" * 4096,
    "ends in a half line and zeros": lambda raw: raw[:-30] + b"\0" * 100,
    "truncated": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",
    "zeros alone": lambda raw: b"\0" * len(raw),
    "unknown line": lambda raw: raw + b"colour blue\n",
    "invalid JSON in the middle": lambda raw: b"taken {{{\n" + raw,
    "a report that does not validate": lambda raw: raw + REPORT_OF_ANOTHER_SHAPE,
    "a report that does not validate first": lambda raw: REPORT_OF_ANOTHER_SHAPE + raw,
    "a line without content": lambda raw: raw + b"end\ntaken\n",
    "wrong types": lambda raw: raw + b'end {"seq": [], "hash": 1, "nonce": 2, "nonce_used": 3}\n',
    "not text": lambda raw: b"\xff\xfe\xfd\n" + raw,
    "deep": lambda raw: raw + b"taken " + b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("case", JOURNALS)
async def test_o07_a_damaged_journal_is_one_line_and_the_node_goes_on_with_its_chain(site, case, caplog):
    async with site.running():
        await until(lambda: len(site.venue.reports) >= 3)
    journal = site.folder / "state" / "chain.journal"
    journal.write_bytes(JOURNALS[case](journal.read_bytes()))
    seen = len(site.venue.reports)
    async with site.running(token=None):
        await until(lambda: len(site.venue.reports) > seen + 2 and site.gpus_offered() == [4, 4, 4])
    assert [report.seq for report in site.venue.reports] == list(range(1, len(site.venue.reports) + 1))
    assert (len(site.venue.enrolments), site.node.faults) == (1, {})
    assert len(only_lines(caplog)) <= 2


async def test_o07_a_journal_from_a_backup_makes_no_fork(site):
    async with site.running():
        await until(lambda: len(site.venue.reports) >= 3)
    journal = site.folder / "state" / "chain.journal"
    backup = journal.read_bytes()
    async with site.running():
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 5)
    journal.write_bytes(backup)
    async with site.running():
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 2)
    assert [report.seq for report in site.venue.reports] == list(range(1, len(site.venue.reports) + 1))


def enrolment(**changes: object) -> bytes:
    known = {"node_id": "node-1", "account": "a", "grade": "H100SXM80", "gpu_uuids": ["GPU-12345678"]}
    return json.dumps(known | {"report_interval_ms": 100} | changes).encode()


ENROLMENTS = [
    *(b"", b"{", b"[]", b'{"node_id": "node-1"}', b"\xff", b"\0" * 64),
    *(enrolment(gpu_uuids=["x"]), enrolment(gpu_uuids=[]), enrolment(node_id="no id")),
    *(enrolment(report_interval_ms=0), enrolment(report_interval_ms=10**15), enrolment(node_id="node-of-another-key")),
]


@pytest.mark.parametrize("content", ENROLMENTS)
async def test_o07_a_damaged_enrolment_is_asked_from_the_venue_without_a_token(site, content, caplog):
    async with site.running():
        await until(lambda: len(site.venue.reports) >= 2)
    known = json.loads((site.folder / "state" / "node.json").read_text())
    site.venue.remembers = {"node": known["node_id"], "gpus": known["gpu_uuids"]} | {
        name: known[name] for name in ("account", "grade", "hub")
    }
    (site.folder / "state" / "node.json").write_bytes(content)
    seen = len(site.venue.reports)
    async with site.running(token=None):
        await until(lambda: len(site.venue.reports) > seen + 2)
    assert len(site.venue.enrolments) == 1
    assert [words for words in only_lines(caplog) if "node.json is damaged: kept as node.json.damaged" in words]


LEASES = [
    b'{"lease-1": {}, "no id!": {"state": "live"}}',
    b"",
    b"{",
    b"[]",
    b'{"lease-1": {}}',
    b'{"lease-1": {"state": "live", "start": 7}}',
]


@pytest.mark.parametrize("content", LEASES)
async def test_o07_damaged_leases_are_asked_from_the_venue_and_opened_again(site, content, caplog):
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        site.venue.starts = [site.lease()]
        await until(lambda: site.venue.lease_results)
    (site.folder / "state" / "leases.json").write_bytes(content)
    site.venue.live_leases = (site.lease(),)
    seen = len(site.venue.reports)
    async with site.running(token=None):
        await until(lambda: len(site.venue.reports) > seen and site.venue.reports[-1].lease_ids == ("lease-1",))
    is_set_aside = not content.startswith(b'{"lease-1"')
    assert (site.folder / "state" / "leases.json.damaged").exists() is is_set_aside
    assert bool([words for words in only_lines(caplog) if "leases.json is damaged" in words]) is is_set_aside


@pytest.mark.parametrize("name", ["node.json", "leases.json", "health.json", "status.json", "chain.journal"])
async def test_a_folder_in_place_of_a_file_is_set_aside_and_the_node_goes_on(site, caplog, name):
    async with site.running():
        await until(lambda: len(site.venue.reports) >= 2 and (site.folder / "state" / "status.json").exists())
    known = json.loads((site.folder / "state" / "node.json").read_text())
    site.venue.remembers = {"node": known["node_id"], "gpus": known["gpu_uuids"]} | {
        each: known[each] for each in ("account", "grade", "hub")
    }
    file = site.folder / "state" / name
    file.unlink(missing_ok=True)
    file.mkdir()
    seen = len(site.venue.reports)
    async with site.running(token=None):
        await until(lambda: len(site.venue.reports) > seen + 2)
    assert site.node.faults == {}
    is_only_written = name in ("health.json", "status.json")
    words = f"{name}: Is a directory" if name == "status.json" else f"{name}.damaged"
    assert is_only_written or [line for line in only_lines(caplog) if words in line]


def test_a_lease_that_is_whole_survives_one_that_is_not(tmp_path):
    site = PlayedSite(tmp_path)
    state = StateFolder(tmp_path / "state")
    book = LeaseBook(state)
    book.begin(site.lease("lease-1"))
    file = tmp_path / "state" / "leases.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"lease-2": {"state": "live"}}))
    assert LeaseBook(StateFolder(tmp_path / "state")).leased_gpus() == {site.uuids[0]}


@pytest.mark.parametrize("content", [b"", b"rubbish", b"ab" * 31, b"\0" * 64, b"\xff" * 64])
def test_o07_a_rubbish_key_is_named_with_the_way_back(tmp_path, content):
    state = StateFolder(tmp_path)
    Identity.load_or_make(state)
    (tmp_path / "node.key").write_bytes(content)
    with pytest.raises(BadState, match=r"node\.key is damaged, it should be 64 hex digits: put .* back from a backup"):
        Identity.load_or_make(state)


def test_a_key_that_is_gone_is_not_made_anew_while_the_chain_is_there(tmp_path):
    state = StateFolder(tmp_path)
    ReportChain(Identity.load_or_make(state), state)
    (tmp_path / "node.key").unlink()
    with pytest.raises(BadState, match=r"node\.key is gone, but chain\.journal tells of an enrolled node"):
        Identity.load_or_make(state)


def test_a_key_that_others_could_read_is_made_private_and_said(tmp_path, caplog):
    state = StateFolder(tmp_path)
    Identity.load_or_make(state)
    (tmp_path / "node.key").chmod(0o644)
    Identity.load_or_make(state)
    assert (tmp_path / "node.key").stat().st_mode & 0o777 == 0o600
    assert "could be read by others (mode 644)" in only_lines(caplog)[0]


def test_a_folder_of_a_newer_agent_is_refused(tmp_path):
    state = StateFolder(tmp_path)
    state.write("format", {"format": 99})
    with pytest.raises(BadState, match=r"written by a newer agent in format 99, .*: upgrade the agent"), state.locked():
        pass


def test_a_folder_that_is_a_file_or_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(BadState, match="choose one that the agent may write"):
            StateFolder(path)


class FullDisk:
    """Lets no byte more onto the disk while it is full."""

    def __init__(self, monkeypatch) -> None:
        self.full, self._sync = False, os.fsync
        monkeypatch.setattr(state_module.os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sync(descriptor)


async def test_a_full_disk_costs_one_line_reports_go_on_and_it_heals(site, monkeypatch, caplog):
    disk = FullDisk(monkeypatch)
    async with site.running():
        await until(lambda: site.gpus_offered() == [4, 4, 4])
        disk.full = True
        seen = len(site.venue.reports)
        site.venue.starts = [site.lease()]
        await until(lambda: len(site.venue.reports) > seen + 5 and site.venue.reports[-1].lease_ids == ("lease-1",))
        assert len([words for words in only_lines(caplog) if "No space left on device" in words]) == 1
        disk.full = False
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 3)
    assert site.node.faults == {}
    assert json.loads((site.folder / "state" / "leases.json").read_text())["lease-1"]["state"] == "live"
    async with site.running(token=None):
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 2)
    assert [report.seq for report in site.venue.reports] == list(range(1, len(site.venue.reports) + 1))


async def test_reports_sent_from_memory_while_the_disk_was_full_make_no_fork_after_a_kill(site, monkeypatch):
    async with site.running():
        await until(lambda: len(site.venue.reports) >= 2)
    journal = site.folder / "state" / "chain.journal"
    on_disk = journal.read_bytes()
    async with site.running():
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 3)
    journal.write_bytes(on_disk)  # what the full disk had when the machine lost its power
    async with site.running(token=None):
        seen = len(site.venue.reports)
        await until(lambda: len(site.venue.reports) > seen + 2)
    assert [report.seq for report in site.venue.reports] == list(range(1, len(site.venue.reports) + 1))


# -- acknowledged reports ----------------------------------------------------------------------------------------------


def kept_chain(folder, **limits) -> ReportChain:
    state = StateFolder(folder, durable=False)
    chain = ReportChain(Identity.load_or_make(state), state, KeptReports(state, **limits))
    chain.renew_nonce(NONCES[0])
    return chain


def test_a7_acknowledged_reports_are_kept_and_sent_again_byte_for_byte(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.node.kept.SEGMENT_BYTES", 3_000)
    chain = kept_chain(tmp_path)
    made = [append(chain) for _ in range(1)]
    chain.acknowledge(made[0], NONCES[1])
    for number in range(1, 30):
        made.append(append(chain))
        chain.acknowledge(made[-1], NONCES[number % 10])
    again = kept_chain(tmp_path)
    lost = made[12]
    reply = ChainReply(seq=lost.seq, hash=message_hash(lost), server_nonce=NONCES[3], server_time_ms=0)
    assert again.resume(reply)
    assert again.waiting == made[13:]
    assert len(list((tmp_path / "reports").glob("*.gz"))) > 3


def test_kept_reports_stay_within_their_bytes_and_what_is_left_has_no_holes(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.node.kept.SEGMENT_BYTES", 3_000)
    chain = kept_chain(tmp_path, bytes_max=6_000)
    for number in range(100):
        chain.acknowledge(append(chain), NONCES[number % 10])
    kept = KeptReports(StateFolder(tmp_path, durable=False)).after(0, 1000)
    assert [report.seq for report in kept] == list(range(kept[0].seq, 101))
    assert sum(file.stat().st_size for file in (tmp_path / "reports").iterdir()) < 6_000 + 4_000


KEPT_DAMAGES = {
    "zeros": lambda raw: b"\0" * 100,
    "a bit is another": lambda raw: raw[:100] + bytes([raw[100] ^ 255]) + raw[101:],
    "cut off": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",
}


@pytest.mark.parametrize("case", KEPT_DAMAGES)
def test_a_damaged_file_of_kept_reports_costs_those_before_it(tmp_path, monkeypatch, case):
    monkeypatch.setattr("agents.node.kept.SEGMENT_BYTES", 3_000)
    chain = kept_chain(tmp_path)
    for number in range(30):
        chain.acknowledge(append(chain), NONCES[number % 10])
    files = sorted((tmp_path / "reports").iterdir())
    files[2].write_bytes(KEPT_DAMAGES[case](files[2].read_bytes()))
    (tmp_path / "reports" / "².gz").write_bytes(b"no report")
    kept = KeptReports(StateFolder(tmp_path, durable=False)).after(0, 1000)
    assert [report.seq for report in kept] == list(range(int(files[3].stem), 31))


def test_text_that_the_venue_takes_in_no_message_is_replaced_before_it_is_signed(tmp_path):
    chain = kept_chain(tmp_path)
    report = chain.append(mono_start_ms=0, mono_end_ms=1, **FACTS | {"driver_version": "5\x1b[0m\x00"})
    assert report.driver_version == "5�[0m�"
