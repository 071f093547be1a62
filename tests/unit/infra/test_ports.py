"""Ports: a taken one is named, with the setting that chooses another."""

import os
import socket

import pytest

from infra.ports import PortTaken, accepts, distinct_ports, first_of_clients, free_port, listeners, require_free


def test_a_taken_port_is_named_with_the_setting_that_chooses_another():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken) as refusal:
            require_free("gateway", port, "HOURBOOK_GATEWAY_PORT")
    assert str(refusal.value) == (
        f"port {port} on 127.0.0.1, wanted by gateway, is taken; HOURBOOK_GATEWAY_PORT chooses another"
    )


def test_an_address_accepts_only_while_somebody_listens():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert accepts(address)
        assert accepts(f"postgresql://user:secret@{address}/name")
    assert not accepts(address)


def test_a_free_port_can_be_bound():
    port = free_port()
    require_free("anything", port, "ANY")


def test_ports_that_are_asked_for_together_differ_and_can_be_bound_side_by_side():
    ports = distinct_ports(500)
    assert len(set(ports)) == 500
    for port in ports:
        require_free("anything", port, "ANY")


def test_a_server_is_given_no_port_that_the_system_gives_to_clients():
    assert max(distinct_ports(200)) < first_of_clients()


def test_who_listens_on_a_port_is_known():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert listeners(port) == []
        server.listen()
        assert [each.pid for each in listeners(port)] == [os.getpid()]
