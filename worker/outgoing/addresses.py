"""Which addresses may be called: those of the public internet, and what ENDPOINTS_ALLOW names.

Whoever may name an address could have our machines call their neighbours. So an address that is
written is checked by its spelling, and what its name resolves to is checked, all of it, before a
connection is made to exactly what was checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from worker.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_URL = 2000
MOST_HOST = 253
PORTS = {"https": 443, "http": 80}
# Below this a port belongs to another protocol, of which a request might be a command.
FIRST_FREE_PORT = 1024
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# A last label that a resolver may take for a number, decimal, octal or hexadecimal.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)

# IANA's special-purpose registries, and what lies beside them. Named here rather than asked of
# `ipaddress`, whose opinion has changed between releases and counts multicast as global.
_REFUSED_V4 = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # the platform of a cloud, at an address that looks public
        "169.254.0.0/16",  # link-local, where clouds keep credentials
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# Everything else of IPv6 is no public unicast: loopback, mapped and translated IPv4, unique local,
# link-local, site-local, multicast.
_PUBLIC_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocols, with Teredo and what is not for hosts
        "2001:db8::/32",
        "2002::/16",  # 6to4, which holds an IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
# The last 64 bits of ISATAP hold an IPv4 address after these 32, whatever is before them.
_ISATAP = (0x00005EFE, 0x02005EFE)


class Refused(Exception):
    """An address that is not called; the message says why, for whoever gave it."""


@dataclass(frozen=True)
class Target:
    """An address that was checked by its spelling."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """Return what the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> Address | None:
        """Return the address that is written where a name could be."""
        return _literal(self.host)


@dataclass(frozen=True)
class Rules:
    """What an installation lets its endpoints be.

    Attributes:
        is_http_allowed: http beside https.
        allowed: networks that may be called though they are not public.
    """

    is_http_allowed: bool = False
    allowed: tuple[Network, ...] = ()

    def target(self, url: str) -> Target:
        """Read an address.

        Raises:
            Refused: it is none that would be called, whatever its name resolves to.
        """
        schemes = ("https", "http") if self.is_http_allowed else ("https",)
        found = _read(url, schemes)
        if (address := found.address) is not None:
            self.check(address)
        return found

    def check(self, address: Address) -> None:
        """Check one address to which a connection would be made.

        Raises:
            Refused: it is not of the public internet.
        """
        named = [each for each in self.allowed if each.version == address.version]
        if not any(address in cast("IPv4Network", each) for each in named) and not is_public(
            address
        ):
            raise Refused(f"{address} is not an address of the public internet")


def rules_of(settings: Settings) -> Rules:
    """Return the rules of an installation."""
    return Rules(
        is_http_allowed=settings.endpoints_http, allowed=networks(settings.endpoints_allow)
    )


def networks(text: str) -> tuple[Network, ...]:
    """Read networks that are separated by commas or spaces; a ValueError says which is none."""
    return tuple(ip_network(each) for each in text.replace(",", " ").split())


def is_public(address: Address) -> bool:
    """Whether an address is public unicast, of which no part holds another address."""
    if isinstance(address, IPv4Address):
        return not any(address in each for each in _REFUSED_V4)
    if address.scope_id is not None or address not in _PUBLIC_V6:
        return False
    holds_ipv4 = (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
    return not holds_ipv4 and not any(address in each for each in _REFUSED_V6)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _read(url: str, schemes: Sequence[str]) -> Target:
    if len(url) > MOST_URL:
        raise Refused(f"must have at most {MOST_URL} characters")
    if not url.isascii() or not url.isprintable() or set(url) & set(' "<>\\^`'):
        raise Refused("must be ASCII, as a browser would send it, without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("is no address") from None
    if parts.scheme not in schemes:
        raise Refused(f"must start with {' or '.join(f'{each}://' for each in schemes)}")
    if "@" in parts.netloc:
        raise Refused("must not hold a name and a password")
    if "#" in url:
        raise Refused("must not have a fragment")
    host = _host(parts.hostname or "")
    port = PORTS[parts.scheme] if port is None else port
    if port not in PORTS.values() and port < FIRST_FREE_PORT:
        raise Refused(f"must be at port 80, 443, or {FIRST_FREE_PORT} and above")
    path = parts.path or "/"
    return Target(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path)


def _host(host: str) -> str:
    if not 0 < len(host) <= MOST_HOST:
        raise Refused("must have a host")
    address = _literal(host)
    if address is not None:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise Refused("must not name an interface")
        return str(address)
    labels = host.removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("must have a host's name in ASCII, or an address")
    if _NUMBER.fullmatch(labels[-1]):
        raise Refused("must have an IPv4 address in its usual spelling, as in 192.0.2.1")
    return host.removesuffix(".")
