import socket
from pathlib import Path

import pytest

from fastilp.ports import free_port, free_ports, quiet_ports


def test_they_are_free_and_different() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_none_is_of_those_for_outgoing_connections() -> None:
    first, last = map(
        int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()
    )
    assert free_port() in quiet_ports()
    if first >= 20_000:
        assert not set(quiet_ports()) & set(range(first, last + 1))


def test_one_in_use_is_passed_over_on_whatever_address_it_is() -> None:
    one, other = free_ports(2)
    for address in ("127.0.0.1", ""):
        with socket.create_server((address, one)):
            assert free_ports(1, [one, other]) == [other]


def test_too_many_is_an_error_not_a_hang() -> None:
    with pytest.raises(ValueError, match="no 3 free ports"):
        free_ports(3, [free_port()])
