"""The venue at the door of a lease: who is tried, what counts as shut, and for how long the buyer does not pay."""

import asyncio

import asyncssh
import pytest

from schemas.delivery import ShutDoor, Witness
from services.delivery.door import NotTried, Probe, allowed, door_witnesses, try_door, unreachable_spans
from services.delivery.meter import measure
from services.delivery.settings import Settings
from tests.fixtures.delivery import TestNode
from tests.unit.services.delivery.test_meter import END_MS, G1, START_MS, every_step, honest_records, inputs_for


@pytest.mark.parametrize(
    "address, public_venue, sandbox",
    [
        ("8.8.8.8", True, True),
        ("2001:4860:4860::8888", True, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.1.1", False, True),
        ("fd00::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("fe80::1%eth0", False, False),
        ("224.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("255.255.255.255", False, False),
        ("100.64.0.1", False, False),
    ],
)
def test_only_addresses_that_the_settings_allow_are_tried(address, public_venue, sandbox):
    assert (allowed(address, False), allowed(address, True)) == (public_venue, sandbox)


async def test_a_door_is_open_where_the_named_server_answers_and_shut_for_every_other_reason():
    key, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    lines = [" ".join(each.export_public_key().decode().split()[:2]) for each in (key, other)]
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key])

    async def silence(reader, writer) -> None:
        await asyncio.sleep(30)

    dumb = await asyncio.start_server(silence, "127.0.0.1", 0)
    port, dumb_port = server.get_port(), dumb.sockets[0].getsockname()[1]
    try:
        reasons = [
            await try_door(endpoint, line, True, 1)
            for endpoint, line in (
                (f"ssh://lease-1@127.0.0.1:{port}", lines[0]),
                (f"ssh://lease-1@localhost:{port}", lines[0]),
                (f"ssh://lease-1@127.0.0.1:{port}", lines[1]),
                (f"ssh://lease-1@127.0.0.1:{port}", "ssh-rsa AAAA"),
                (f"ssh://lease-1@127.0.0.1:{dumb_port}", lines[0]),
                ("ssh://lease-1@127.0.0.1:1", lines[0]),
                ("ssh://lease-1@no-such-host.invalid:22", lines[0]),
            )
        ]
        assert reasons[:3] == ["", "", "another host key answers"]
        assert await try_door(f"ssh://lease-1@127.0.0.1:{port}", "", True, 1) == "", (
            "no key named: any SSH server will do"
        )
        assert [words in reason for words, reason in zip(REASONS, reasons[3:], strict=True)] == [True] * 4, reasons
        for endpoint in (f"ssh://a@127.0.0.1:{port}", "https://a", "ssh://a@10.0.0.1:22"):
            with pytest.raises(NotTried):
                await try_door(endpoint, lines[0], False, 1)
    finally:
        server.close()
        dumb.close()


REASONS = ("no SSH server with a ssh-rsa key", "no answer within 1 s", "Connect", "cannot be resolved")


@pytest.mark.parametrize(
    "tries, spans",
    [
        ([], []),
        ([(0, True), (60, True)], []),
        ([(0, True), (60, False), (120, True)], []),
        ([(0, False), (60, False), (120, False), (180, True)], []),
        ([(0, True), (60, False), (120, False), (190, False), (240, True)], [(60, 240)]),
        ([(10, False), (70, False), (140, False)], [(10, 300)]),
        ([(240, True), (190, False), (120, False), (60, False)], [(60, 240)]),
    ],
)
def test_a_door_was_shut_from_the_first_failure_to_the_next_success_if_that_lasted(tries, spans):
    assert unreachable_spans([Probe(*each) for each in tries], end_ms=300, grace_ms=120) == spans


def test_while_the_door_was_shut_nothing_was_delivered_whatever_the_reports_say():
    records = honest_records(TestNode(gpus=(G1,)), every_step())
    shut = (ShutDoor(start_ms=START_MS + 20_000, end_ms=START_MS + 70_000),)
    inputs = inputs_for(records, qty=1, gpus=(G1,), unreachable=shut)
    outcome = measure(inputs, records)
    assert outcome.delivered_gpu_s == (END_MS - START_MS) // 1000 - 50
    assert {each.reason for each in outcome.intervals if not each.conforming} == {"unreachable"}


@pytest.mark.parametrize(
    "period_s, pause_ms, grace_ms",
    [(3_600, 60_000, 120_000), (60, 1_000, 3_000), (20, 1_000, 3_000), (86_400, 60_000, 120_000)],
)
def test_how_often_a_door_is_tried_and_how_long_it_may_be_shut_scale_with_the_period(period_s, pause_ms, grace_ms):
    settings = Settings()
    assert (settings.door_pause_ms(period_s * 1000), settings.shut_door_ms(period_s * 1000)) == (pause_ms, grace_ms)


def test_a_door_that_was_open_at_both_ends_of_a_time_bears_witness_of_it():
    tries = [Probe(0, True), Probe(60, True), Probe(100, True), Probe(150, False), Probe(200, True), Probe(301, True)]
    assert door_witnesses(tries, 100) == (Witness(start_ms=0, end_ms=100, kind="door"),)
    assert door_witnesses(tries[4:], 101) == (Witness(start_ms=200, end_ms=301, kind="door"),)
    assert door_witnesses(tries[:1], 100) == door_witnesses([], 100) == ()
