"""`hourbook ssh`: what an operator's endpoint may be, how the client is called, and the status of each way to fail."""

from pathlib import Path

import pytest

from clients.cli.ssh import Closed, Stopped, read_door
from clients.ssh import Door, NoWayIn, openssh_command

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH0000000000000000000000000000000000000000000"
ACCESS = {
    "position_id": 7,
    "state": "started",
    "endpoint": "ssh://lease-7@gpu.example:2222",
    "user": "lease-7",
    "host": "gpu.example",
    "port": 2222,
    "host_key": HOST_KEY,
    "starts_ms": 1_000,
    "ends_ms": 9_000,
}


@pytest.mark.parametrize(
    "changes, now_ms, status, words",
    [
        ({"state": "pending", "endpoint": ""}, 500, Stopped.NOT_YET, "begins at 1970-01-01 00:00:01 UTC"),
        ({"state": "ready", "endpoint": ""}, 500, Stopped.NOT_YET, "begins at"),
        ({}, 9_000, Stopped.OVER, "ended at 1970-01-01 00:00:09 UTC"),
        ({"state": "pending"}, 9_001, Stopped.OVER, "ended at"),
        ({"state": "ended"}, 5_000, Stopped.OVER, "ended at"),
        ({"endpoint": ""}, 5_000, Stopped.OVER, "was closed before"),
        ({"state": "failed"}, 5_000, Stopped.FAILED, "the operator could not open it"),
        ({"user": "", "host": "", "port": 0}, 5_000, Stopped.NO_DOOR, "named no endpoint for SSH"),
        ({"host_key": ""}, 5_000, Stopped.NO_DOOR, "named no host key"),
    ],
)
def test_every_closed_door_says_why_with_a_status_of_its_own(changes, now_ms, status, words):
    with pytest.raises(Closed, match=words) as closed:
        read_door(ACCESS | changes, now_ms)
    assert closed.value.status == status


@pytest.mark.parametrize(
    "user, host, port, host_key",
    [
        ("-oProxyCommand=id", "gpu.example", 22, HOST_KEY),
        ("bob", "-oProxyCommand=id", 22, HOST_KEY),
        ("bob", "gpu.example\n*", 22, HOST_KEY),
        ("bob", "a b", 22, HOST_KEY),
        ("bob;id", "gpu.example", 22, HOST_KEY),
        ("%h", "gpu.example", 22, HOST_KEY),
        ("bob", "gpu.example", 0, HOST_KEY),
        ("bob", "gpu.example", 65_536, HOST_KEY),
        ("bob", "gpu.example", 22, HOST_KEY + "\n* " + HOST_KEY),
        ("bob", "gpu.example", 22, "@cert-authority * ssh-ed25519 AAAA"),
    ],
)
def test_an_endpoint_that_could_be_more_than_an_endpoint_is_refused(user, host, port, host_key):
    with pytest.raises(NoWayIn):
        Door(user, host, port, host_key)


def test_the_client_checks_the_host_key_and_nothing_else_lets_it_in():
    door = read_door(ACCESS, 5_000)
    assert door.known_host == f"[gpu.example]:2222 {HOST_KEY}\n"
    assert Door("bob", "::1", 22, HOST_KEY).known_host == f"::1 {HOST_KEY}\n"
    command = openssh_command(door, ("nvidia-smi", "-L"), Path("/tmp/k"), Path("/tmp/id"))
    assert command[-7:] == ["-l", "lease-7", "-p", "2222", "--", "gpu.example", "nvidia-smi", "-L"][-7:]
    for option in ("StrictHostKeyChecking=yes", "UserKnownHostsFile=/tmp/k", "GlobalKnownHostsFile=/dev/null"):
        assert option in command
    assert {"IdentityFile=/tmp/id", "IdentitiesOnly=yes", "PasswordAuthentication=no"} <= set(command)
