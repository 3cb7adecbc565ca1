"""Addresses that may be connected to. What each is, IANA's registries say (RFC 6890)."""

import ipaddress
import socket

import pytest

from manylabel.preprocessing.pictures.addresses import AddressRefusedError, Gate, is_allowed

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]

PRIVATE = [
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.168.0.1", "198.18.0.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::"),
    *("2001:db8::1", "2001::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1"),
    *("ff02::1", "100::1", "5f00::1", "4000::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address):
    assert is_allowed(address, ())


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address):
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_network_that_is_allowed(address):
    assert is_allowed(address, (ipaddress.ip_network("10.1.0.0/16"),))
    assert not is_allowed(address, (ipaddress.ip_network("10.2.0.0/16"),))
    assert not is_allowed(address, (ipaddress.ip_network("::1/128"),))


def test_a_socket_is_made_for_what_is_allowed():
    gate = Gate([ipaddress.ip_network("127.0.0.0/8")])

    def info(host):
        return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 80))

    gate.socket_for(info("127.0.0.1")).close()
    with pytest.raises(AddressRefusedError, match=r"10\.0\.0\.1 is no public address"):
        gate.socket_for(info("10.0.0.1"))
