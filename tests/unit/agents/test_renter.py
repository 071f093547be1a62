"""The renter's meter: one chain under the lease's key, which goes on over a stale nonce, an outage and a restart."""

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.identity import Identity
from agents.node.inventory import Driver
from agents.node.renter import RenterMeter, run
from schemas.nodes import GENESIS_HASH, Report, message_hash
from schemas.renter import RenterPlace, renter_agent
from tests.fixtures.delivery import gpu_uuid, reading

LEASE = "lease-7"


class Telemetry:
    driver = Driver("570.86.15", "", "a" * 64, simulated=True)

    def read(self):
        return (reading(gpu_uuid(1)),)


class Venue:
    """Takes reports as the venue's edge does: the next of the chain, with the nonce given out last."""

    def __init__(self):
        self.reports: list[Report] = []
        self.nonces = iter(f"{n:064x}" for n in range(1, 100))
        self.nonce = next(self.nonces)
        self.answers: list[int] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        status = self.answers.pop(0) if self.answers else 200
        if status != 200:
            return httpx.Response(status, text="no")
        if request.url.path.endswith("/reports"):
            report = Report.model_validate_json(request.content)
            assert (report.agent, report.server_nonce) == (renter_agent(LEASE), self.nonce)
            assert (report.seq, report.prev_hash) == (len(self.reports) + 1, self.head)
            self.reports.append(report)
        self.nonce = next(self.nonces)
        return httpx.Response(200, content=self.place().canonical())

    @property
    def head(self) -> str:
        return message_hash(self.reports[-1]) if self.reports else GENESIS_HASH

    def place(self) -> RenterPlace:
        times = {"server_time_ms": 1_000, "report_interval_ms": 1, "ends_ms": 2_000}
        name = {"lease_id": LEASE, "agent": renter_agent(LEASE)}
        return RenterPlace(**name, seq=len(self.reports), hash=self.head, next_nonce=self.nonce, **times)


@pytest.fixture
def venue() -> Venue:
    return Venue()


def meter_at(venue: Venue) -> RenterMeter:
    client = httpx.Client(base_url="http://venue", transport=httpx.MockTransport(venue.handle))
    return RenterMeter(LEASE, Identity(Ed25519PrivateKey.generate()), Telemetry(), client)


def test_reports_follow_each_other_and_their_windows_meet(venue):
    meter = meter_at(venue)
    for _ in range(3):
        meter.step()
    windows = [(report.mono_start_ms, report.mono_end_ms) for report in venue.reports]
    assert [start for start, _ in windows[1:]] == [end for _, end in windows[:-1]]
    assert [report.seq for report in venue.reports] == [1, 2, 3]


def test_a_stale_nonce_costs_no_time(venue):
    meter = meter_at(venue)
    meter.step()
    venue.answers = [409]
    meter.step()
    meter.step()
    first, second = venue.reports
    assert second.mono_start_ms == first.mono_end_ms


def test_a_report_that_could_not_be_sent_is_sent_again_as_it_was(venue):
    meter = meter_at(venue)
    meter.step()
    venue.answers = [503]
    with pytest.raises(httpx.HTTPStatusError):
        meter.step()
    meter.step()
    assert [report.seq for report in venue.reports] == [1, 2]


def test_a_meter_that_was_started_again_goes_on_in_its_chain(venue):
    meter_at(venue).step()
    meter_at(venue).step()
    assert [report.seq for report in venue.reports] == [1, 2]


def test_a_file_that_is_no_key_is_one_line(tmp_path, caplog):
    file = tmp_path / "key"
    file.write_text("nothing")
    assert run(LEASE, file, "http://venue", steps=1) == 1
    assert f"{file} is not the private half of a meter key" in caplog.text
