"""Where the server may connect to on a client's word.

A name may resolve to anything, and to something else a moment later; a literal address has many
spellings. So what counts is checked on the address that is really dialled, just before it is.
Python's own ``is_global`` is no help: it calls multicast and embedded loopback addresses global.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

from nightrate import webhook_limits
from nightrate.errors import BadRequest

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


_LOOPBACK = _networks("127.0.0.0/8", "::1/128")

_PRIVATE = _networks(
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "100.64.0.0/10",  # shared by the customers of a provider
    "fc00::/7",
)

_FORBIDDEN = _networks(
    # where clouds tell a machine its credentials
    *("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.0/24"),
    *("fd00:ec2::254/128", "fd20:ce::254/128"),
    # this host, this network, nobody, everybody
    *("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"),
    # documentation, benchmarks, relays
    *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "192.88.99.0/24"),
    # other addresses in disguise: translated, tunnelled
    *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/23"),
    *("2001:db8::/32", "3fff::/20"),
)
"""Never, whatever is set."""

_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_SCHEMES = {"http", "https"}


class NotAllowed(OSError):
    """The server does not connect to this address."""


class Addresses:
    """Which addresses are allowed.

    Args:
        private: whether addresses of private networks are, and plain HTTP to any host.
        loopback: whether this machine itself is; right only while the server too can be reached
            from this machine only.
    """

    def __init__(self, *, private: bool = False, loopback: bool = True) -> None:
        self._private = private
        self._loopback = loopback

    def allowed(self, text: str) -> bool:
        """Tell whether a numeric address may be dialled."""
        address = _address(text)
        if any(address in network for network in _LOOPBACK):
            return self._loopback
        if any(address in network for network in _FORBIDDEN):
            return False
        if any(address in network for network in _PRIVATE):
            return self._private
        return address.version == 4 or address in _GLOBAL_IPV6  # noqa: PLR2004 - of the protocol

    def check_uri(self, uri: str, field: str) -> None:
        """Check what can be known about a target before it is dialled.

        Raises:
            BadRequest: it is no web address, names an address that is not allowed, or would send
                what is signed in the clear over a network.
        """
        most = webhook_limits.WEBHOOK_URI_CHARACTERS_MAX
        if len(uri) > most:
            raise BadRequest(f"{field}: it is longer than {most} characters.", field=field)
        host = _host(uri)
        if host is None:
            message = f"{field}: it is no web address such as https://example.com/hook."
            raise BadRequest(message, field=field)
        literal = _literal(host)
        if literal is not None and not self.allowed(literal):
            message = f"{field}: this server does not call addresses such as {host}."
            raise BadRequest(message, field=field)
        if not uri.lower().startswith("https:") and not self._may_be_plain(host, literal):
            raise BadRequest(f"{field}: it must begin with https://.", field=field)

    def _may_be_plain(self, host: str, literal: str | None) -> bool:
        """Tell whether a target may go without encryption: on this machine, or when it is set."""
        if self._private:
            return True
        if literal is not None:
            return any(_address(literal) in network for network in _LOOPBACK)
        return host == "localhost"

    def open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for an address that is about to be dialled.

        Args:
            info: as `socket.getaddrinfo` gives it.

        Raises:
            NotAllowed: the address is not allowed.
        """
        family, kind, protocol, _, address = info
        if not self.allowed(address[0]):
            raise NotAllowed(f"the address {address[0]} is not allowed")
        return socket.socket(family, kind, protocol)


def _address(text: str) -> _Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _host(uri: str) -> str | None:
    """Give the host of a web address; None when it is none, or carries a password."""
    if not uri.isascii() or any(character <= " " or character in '\x7f"<>\\' for character in uri):
        return None
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    sound = parts.scheme in _SCHEMES and port != 0 and "@" not in parts.netloc
    return parts.hostname if sound and parts.hostname else None


def _literal(host: str) -> str | None:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return host
