"""Where a server may send the client on to. Pure but for one name look-up."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


def is_inside(host: str) -> bool:
    """Tell whether `host` (a name or an address) is this computer, or an address that only has meaning on its link."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        addresses = [ipaddress.ip_address(host.partition("%")[0])]
    except ValueError:
        addresses = _look_up(host)
    return any(_is_inside_address(address) for address in addresses)


def allowed_target(origin: str, target: str) -> str | None:
    """Say why a redirect from `origin` to `target` (both absolute) must not be followed, or None if it may.

    A mirror is not trusted: it must not make the builder read a local file, ask a service of this computer, or
    fall back from HTTPS to HTTP.
    """
    old, new = urlsplit(origin), urlsplit(target)
    if new.scheme not in {"http", "https"} or not new.hostname:
        return "only http and https addresses are followed"
    if old.scheme == "https" and new.scheme == "http":
        return "it would leave HTTPS"
    if is_inside(new.hostname) and not is_inside(old.hostname or ""):
        return "a server elsewhere may not send the client to this computer"
    return None


def _is_inside_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_loopback or address.is_unspecified or address.is_link_local


def _look_up(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # behind a proxy names are often resolved by it alone
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
