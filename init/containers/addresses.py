"""Where each declared container is on the machine's own network, in every recipe: fixed by its number.

    10.89.0.0/16, fd62:6572:7468::/64     the bridge `berth0` has host number 1, container n (from 0) number n + 2

At a boot the numbers are the places in the list, so nothing has to be asked, `/etc/hosts` can name all of them before
any runs, and a container keeps its address over restarts. Another configuration on the running machine takes no
number away from a name, and gives none of them to another: what runs on, and what it knows of the others, stays true.
"""

from __future__ import annotations

from dataclasses import dataclass

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BRIDGE = "berth0"
NETWORK = "berth"  # its name in podman and docker
SUBNET4, PREFIX4 = "10.89.0.0", 16
SUBNET6, PREFIX6 = "fd62:6572:7468::", 64
_MOST = 65_000
NONE_YET: Mapping[str, int] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """One host on the bridge, as text."""

    ipv4: str
    ipv6: str

    @property
    def mac(self) -> str:
        """A locally administered MAC that follows from the IPv4 address, so that neighbours' caches stay right."""
        return "02:42:" + ":".join(f"{int(part):02x}" for part in self.ipv4.split("."))


def host(number: int) -> Address:
    """Return the address with a host number (1 is the bridge itself). Raise ValueError beyond the subnet."""
    if not 1 <= number <= _MOST:
        raise ValueError(f"the containers' network has no host number {number}")
    return Address(ipv4=f"10.89.{number >> 8}.{number & 255}", ipv6=f"{SUBNET6}{number:x}")


GATEWAY = host(1)


def of_container(number: int) -> Address:
    """Return the address of the container with that number (from 0)."""
    return host(number + 2)


def numbers(names: Iterable[str], given: Mapping[str, int] = NONE_YET) -> dict[str, int]:
    """Return every name's number: `given` stays as it is, and a new name gets one that none has had."""
    found = dict(given)
    following = max(found.values(), default=-1) + 1
    for name in names:
        if name not in found:
            found[name] = following
            following += 1
    return found
