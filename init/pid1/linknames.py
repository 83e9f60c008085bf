"""Names that an interface has besides the kernel's: by its place on PCI, by its slot, by its MAC.

There is no udev here, so a card is `eth0`; but configurations say `enp1s0` or `ens3`. Both are accepted, and the
others become alternative names in the kernel, so that every tool takes them (systemd.net-naming-scheme(7)).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from init.pid1.links import LinkState
    from init.pid1.system import Early

_NET = "/sys/class/net"
_SLOTS = "/sys/bus/pci/slots"
_HEADER_TYPE = 0x0E  # in PCI's configuration space; bit 7: the device has several functions


def by_place(address: str, *, several: bool) -> str | None:
    """Return `enp0s3` from a PCI address, `0000:00:03.0`; None when it isn't one. Hex becomes decimal."""
    try:
        domain, bus, rest = address.split(":")
        slot, function = rest.split(".")
        numbers = [int(part, 16) for part in (domain, bus, slot, function)]
    except ValueError:
        return None
    prefix = f"P{numbers[0]}" if numbers[0] else ""
    suffix = f"f{numbers[3]}" if numbers[3] or several else ""
    return f"en{prefix}p{numbers[1]}s{numbers[2]}{suffix}"


def by_slot(address: str, slots: Iterable[tuple[str, str]], *, several: bool) -> str | None:
    """Return `ens3` when the firmware numbers the card's slot; `slots` are numbers with their addresses."""
    device, _, function = address.rpartition(".")
    for number, place in slots:
        if number.isdecimal() and place == device:
            suffix = f"f{int(function, 16)}" if int(function, 16) or several else ""
            return f"ens{number}{suffix}"
    return None


def by_mac(mac: str) -> str | None:
    """Return `enx525400123456`."""
    digits = mac.replace(":", "").lower()
    return f"enx{digits}" if len(digits) == 12 else None


def pci_address(path: str) -> str | None:
    """Return the last PCI address in a path below /sys/devices; None for a card on no PCI bus."""
    for part in reversed(path.split("/")):
        pieces = part.split(":")
        if len(pieces) == 3 and len(pieces[0]) == 4 and "." in pieces[2]:
            return part
    return None


def read(system: Early, links: Iterable[LinkState]) -> dict[str, tuple[str, ...]]:
    """Return the other names of every hardware interface, by the kernel's name; raise OSError on nothing."""
    slots = _slots(system)
    names = {}
    for link in links:
        if link.kind or link.loopback or not link.ethernet:
            continue
        address = _address(system, link.name)
        several = address is not None and _has_several(system, address)
        found = [by_mac(link.permanent or link.mac)]
        if address is not None:
            found += [by_place(address, several=several), by_slot(address, slots, several=several)]
        names[link.name] = tuple(name for name in found if name)
    return names


def _address(system: Early, name: str) -> str | None:
    try:
        return pci_address(system.read_link(f"{_NET}/{name}"))
    except OSError:
        return None


def _has_several(system: Early, address: str) -> bool:
    try:
        space = system.read(f"/sys/bus/pci/devices/{address}/config", 64)
    except OSError:
        return False
    return len(space) > _HEADER_TYPE and bool(space[_HEADER_TYPE] & 0x80)


def _slots(system: Early) -> list[tuple[str, str]]:
    found = []
    try:
        for number in system.names(_SLOTS):
            address = system.read(f"{_SLOTS}/{number}/address", 64).decode("ascii", "replace").strip()
            found.append((number, address))
    except OSError:
        return found  # firmware that numbers no slots
    return found
