"""Where the server may connect to on a client's word."""

from __future__ import annotations

import socket

import pytest

from nightrate import webhook_limits
from nightrate.errors import BadRequest
from nightrate.tools.addresses import Addresses, NotAllowed

LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"]
PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd12::1"),
    "::ffff:10.0.0.1",
]
NEVER = [
    *("0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "100.100.100.200"),  # noqa: S104
    *("168.63.129.16", "192.0.0.8", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1"),
    *("203.0.113.1", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::7f00:1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::7f00:1"),
    *("64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "100::1"),
    *("fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "5f00::1"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00::1"]


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("private", [True, False])
def test_some_addresses_are_never_dialled(address: str, *, private: bool) -> None:
    assert not Addresses(private=private).allowed(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_networks_are_a_setting(address: str) -> None:
    assert not Addresses().allowed(address)
    assert Addresses(private=True).allowed(address)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_for_servers_on_loopback(address: str) -> None:
    assert Addresses().allowed(address)
    assert not Addresses(private=True, loopback=False).allowed(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert Addresses(loopback=False).allowed(address)


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/hook",
        "HTTPS://example.com:8443/a?b=c#d",
        "http://localhost:9/x",
        "http://127.0.0.1:9/x",
        "http://[::1]:9/x",
        "https://8.8.8.8/",
    ],
)
def test_sound_targets_are_taken(uri: str) -> None:
    Addresses().check_uri(uri, "uri")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@example.com",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com",
        "https://example.com\r\nx: y",
        "https://exämple.com",
        "https://[::1",
        "http://example.com/",
        "http://8.8.8.8/",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
        "https://example.com/" + "x" * webhook_limits.WEBHOOK_URI_CHARACTERS_MAX,
    ],
)
def test_unsound_targets_are_refused_with_their_field(uri: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Addresses().check_uri(uri, "uri")
    assert refused.value.field == "uri"


def test_plain_http_comes_with_private_networks() -> None:
    Addresses(private=True).check_uri("http://hook.internal/x", "uri")
    Addresses(private=True).check_uri("http://10.0.0.1/x", "uri")


# other spellings of 127.0.0.1 and of an address that is never dialled
SPELLINGS = ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost"]


@pytest.mark.parametrize("host", SPELLINGS)
def test_the_address_that_is_dialled_is_what_counts(host: str) -> None:
    found = socket.getaddrinfo(host, 80, socket.AF_INET, socket.SOCK_STREAM)
    for info in found:
        Addresses().open_socket(info).close()
        with pytest.raises(NotAllowed, match=r"127\.0\.0\.1"):
            Addresses(loopback=False).open_socket(info)
