"""Disks, time and certificates (cloud-init's modules mounts, growpart, resizefs, ntp, timezone, ca_certs)."""

from __future__ import annotations

import base64
import posixpath
import re
from dataclasses import dataclass
from typing import Any

from init.dialects.diagnostic import Report, Unreadable
from init.dialects.files import ON_STATE, WRITABLE, is_below
from init.dialects.position import Node, Scalar, Sequence, is_null
from init.dialects.record import Fields, Key, Record
from init.dialects.shape import INVALID, Boolean, Choice, Custom, Listing, Size, Text, expected, wrong
from init.dialects.text import gunzip
from init.dialects.zones import timezone
from init.formats.machine import Command, Mount, Swap

_MOUNTABLE = (*WRITABLE, "/dev", "/proc", "/sys")  # the kernel's own have folders to mount at: /dev/shm
_LIVED_IN = (  # what the machine itself lives in; a mount there, or above, takes it away while it runs
    "/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64",
    "/etc", "/run/berth", "/var/lib/berth", "/dev", "/proc", "/sys",
)  # fmt: skip
_KERNELS = "/dev/urandom"
_KERNELS_OWN = (_KERNELS, "/dev/random")
_STATE = "`/` is read-only; what grows is the state partition"


def _mounts(node: Node, path: str, report: Report) -> Any:
    if not isinstance(node, Sequence):
        return expected("a list of lists: device, directory, type, options", node, path, report)
    found = [_mount(item, f"{path}[{index}]", report) for index, item in enumerate(node.items)]
    return tuple(each for each in found if each is not INVALID)


def _mount(node: Node, path: str, report: Report) -> Any:
    if not isinstance(node, Sequence) or not node.items or len(node.items) > 6:
        return expected("a list: device, directory, type, options", node, path, report)
    if len(node.items) > 1 and is_null(node.items[1]):
        return INVALID  # cloud-init's way to take a line away
    words: list[Any] = [
        "" if is_null(item) else Text(pattern=r"[^\n]*").read(item, f"{path}[{index}]", report)
        for index, item in enumerate(node.items)
    ]
    if INVALID in words:
        return INVALID
    if len(words) < 2:
        report.warn(node.place, path, "no directory is named, so nothing is mounted", hint="[DEVICE, DIRECTORY]")
        return INVALID  # so does cloud-init
    device, target = words[0], words[1]
    if target in ("none", "swap") or words[2:3] == ["swap"]:
        report.warn(node.place, path, "a swap partition is not used", hint="write `swap` with `filename` and `size`")
        return INVALID
    if not target.startswith("/") or ".." in target.split("/"):
        return wrong("the directory has to be an absolute path without `..`", node, path, report)
    if _hides_the_machine(target):
        message = "the machine lives in what would be hidden there"
        hint = "mount it below, such as at `/var/lib/containers`, or at `/mnt/data`"
        return wrong(message, node.items[1], f"{path}[1]", report, hint=hint)
    if not is_below(target.rstrip("/") + "/", _MOUNTABLE):
        message = (
            "`/` is read-only: no folder can be made there, and one that the image has is hidden by what is mounted"
        )
        report.warn(node.items[1].place, f"{path}[1]", message, hint="mount it below `/mnt`, such as at `/mnt/data`")
    if re.fullmatch(r"(ephemeral|swap)[0-9]*", device):
        report.warn(node.place, path, "no disk has this name here", hint="write /dev/…, LABEL=… or UUID=…")
        return INVALID
    if not device.startswith(("/", "LABEL=", "UUID=", "PARTUUID=", "PARTLABEL=")) and ":" not in device:
        device = device if device in ("tmpfs", "overlay") else f"/dev/{device}"
    options = tuple(option for option in (words[3] if len(words) > 3 else "").split(",") if option) or (
        "defaults",
        "nofail",
    )
    return Mount(
        device=device, target=target, filesystem=(words[2] if len(words) > 2 else "") or "auto", options=options
    )


def _hides_the_machine(target: str) -> bool:
    """Tell whether a file system at this place would cover one of the machine's own folders."""
    place = posixpath.normpath("/" + target.lstrip("/")).rstrip("/") + "/"
    return any(f"{folder}/".startswith(place) for folder in _LIVED_IN)


def _swap_size(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Scalar) and node.text == "auto":
        message = "no size is chosen for you, and no swap file made"
        report.warn(node.place, path, message, hint="write a size such as `512M`")
        return None
    return Size().read(node, path, report)


SWAP = Record(
    keys={
        "filename": Key(shape=Text(pattern=r"/[^\n]+", what="an absolute path"), doc="where it lies, on state"),
        "size": Key(shape=Custom(_swap_size, {"anyOf": [Size().schema(), {"const": "auto"}]}), doc="such as `512M`"),
        "maxsize": Key(ignored="`size` is what is made"),
    }
)


def _swap(node: Node, path: str, report: Report) -> Any:
    fields = SWAP.read(node, path, report)
    if fields is INVALID:
        return INVALID
    lacking = [name for name in ("filename", "size") if name not in fields and not _stands(fields, name)]
    if lacking:
        hint = "write `filename` and `size`"
        report.warn(node.place, path, f"no swap file is made: `{lacking[0]}` is missing", hint=hint)
    if not fields.get("size") or "filename" not in fields:
        return INVALID
    if not is_below(fields.get("filename"), ON_STATE):
        message = "no swap file is made: this place is read-only, or in memory itself"
        hint = "put it on state, such as at `/var/swap.img`"
        report.warn(fields.place("filename"), fields.below("filename"), message, hint=hint)
        return INVALID
    return Swap(filename=fields.get("filename"), size=fields.get("size"))


def _stands(fields: Fields, name: str) -> bool:
    """Tell whether a key is there, whatever its value: what is wrong with that has been said."""
    node = fields.node.get(name)
    return node is not None and not is_null(node)


_SERVERS = Listing(Text(pattern=r"[A-Za-z0-9.:_-]+", what="a host name or an address"), single=True)
NTP = Record(
    keys={
        "enabled": Key(shape=Boolean(), doc="false: the clock is not set by the network"),
        "servers": Key(shape=_SERVERS, doc="time servers"),
        "pools": Key(shape=_SERVERS, doc="names that stand for many servers"),
        "peers": Key(ignored="a machine for containers is nobody's peer"),
        "allow": Key(ignored="a machine for containers serves no time"),
        "ntp_client": Key(
            shape=Choice(("auto", "chrony", "ntp", "ntpdate", "openntpd", "systemd-timesyncd")),
            doc="chrony, whatever is asked for",
        ),
        "config": Key(ignored="chrony's configuration is made by Berth"),
    }
)
_CERTIFICATE = Text(
    what="a certificate in PEM",
    check=lambda text: (
        None
        if text.strip().startswith("-----BEGIN CERTIFICATE-----") and "-----END CERTIFICATE-----" in text
        else "expected a certificate in PEM"
    ),
)
CA_CERTS = Record(
    hyphens=True,
    keys={
        "trusted": Key(shape=Listing(_CERTIFICATE, single=True), doc="certificates to trust more"),
        "remove_defaults": Key(shape=Boolean(), doc="trust no others"),
    },
)


def _growpart(node: Node, path: str, report: Report) -> Any:
    fields = GROWPART.read(node, path, report)
    if fields is INVALID:
        return INVALID
    if "/" in fields.get("devices", ("/",)) and fields.get("mode", True):
        report.note(node.place, path, _STATE)
    return fields.get("mode", True)


def _grow_mode(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Scalar) and node.value() is False:
        report.note(node.place, path, "write `off` in quotes", code="old-form")
        return False
    word = _GROW_MODES.read(node, path, report)
    return INVALID if word is INVALID else word != "off"


_GROW_MODES = Choice(("auto", "growpart", "gpart", "off"))
GROWPART = Record(
    keys={
        "mode": Key(
            shape=Custom(_grow_mode, {"anyOf": [_GROW_MODES.schema(), {"const": False}]}), doc="`off`: it does not grow"
        ),
        "devices": Key(shape=Listing(Text()), doc="`/` is what counts"),
        "ignore_growroot_disabled": Key(shape=Boolean()),
    }
)


def _resize_rootfs(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Scalar) and node.text == "noblock":
        return True
    value = Boolean(words=True).read(node, path, report)
    if value is True:
        report.note(node.place, path, _STATE)
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seed:
    """What `random_seed` asks for: bytes for the kernel in base64, and what is run before `bootcmd`."""

    data: str | None
    commands: tuple[Command, ...]


RANDOM_SEED = Record(
    keys={
        "data": Key(shape=Text(), doc="bytes for the kernel"),
        "encoding": Key(shape=Choice(("raw", "base64", "b64", "gzip", "gz")), doc="how `data` is written"),
        "file": Key(shape=Text(pattern=r"/[^\n]+", what="an absolute path"), doc="`/dev/urandom`"),
        "command": Key(shape=Listing(Text()), doc="run before `bootcmd`"),
        "command_required": Key(ignored="what a command ends with holds up no boot; `berthctl logs bootcmd` has it"),
    }
)


def _random_seed(node: Node, path: str, report: Report) -> Any:
    fields = RANDOM_SEED.read(node, path, report)
    if fields is INVALID:
        return INVALID
    file = fields.get("file", _KERNELS)
    if file not in _KERNELS_OWN:
        report.warn(fields.place("file"), fields.below("file"), "the seed goes to the kernel, and no file is written")
    command = fields.get("command", ())
    asked = (Command(argv=("env", f"RANDOM_SEED_FILE={_KERNELS}", *command)),) if command else ()
    return _Seed(data=_seed_data(fields, path, report), commands=asked)


def _seed_data(fields: Fields, path: str, report: Report) -> str | None:
    """Return what is fed to the kernel, in base64."""
    if not fields.get("data"):
        return None
    value = fields.node.get("data")
    data, encoding = fields.get("data").encode(), fields.get("encoding")
    try:
        if encoding in ("base64", "b64") or (isinstance(value, Scalar) and value.tag == "!!binary"):
            data = base64.b64decode("".join(fields.get("data").split()), validate=True)
        if encoding in ("gzip", "gz"):
            data = gunzip(data, file=fields.node.place.file)
    except (ValueError, Unreadable):
        wrong("the data is not what `encoding` says", fields.node, path, report)
        return None
    return base64.b64encode(data).decode("ascii")


def _ntp(node: Node, path: str, report: Report) -> Any:
    return None if is_null(node) else NTP.read(node, path, report)


_RESOLV = Record(
    keys={
        "nameservers": Key(shape=_SERVERS),
        "searchdomains": Key(shape=Listing(Text(pattern=r"[A-Za-z0-9._-]+", what="a domain"), single=True)),
        "domain": Key(shape=Text(pattern=r"[A-Za-z0-9._-]+", what="a domain")),
        "sortlist": Key(ignored="the resolver's own order"),
        "options": Key(ignored="the resolver's own options"),
    }
)

SYSTEM: dict[str, Key] = {
    "mounts": Key(
        shape=Custom(_mounts, {"type": "array", "items": {"type": "array", "maxItems": 6}}),
        doc="file systems to mount, as in fstab",
    ),
    "swap": Key(shape=Custom(_swap, SWAP.schema()), doc="a swap file"),
    "growpart": Key(
        shape=Custom(_growpart, GROWPART.schema()), doc="whether the state partition grows to the disk's end"
    ),
    "resize_rootfs": Key(shape=Custom(_resize_rootfs), doc="whether the state file system grows with it"),
    "ntp": Key(shape=Custom(_ntp, NTP.schema()), doc="time servers; null turns it on with defaults", null=False),
    "timezone": Key(
        shape=timezone(),
        doc="the time zone; UTC",
    ),
    "ca_certs": Key(shape=CA_CERTS, doc="certificates of further authorities"),
    "random_seed": Key(shape=Custom(_random_seed, RANDOM_SEED.schema()), doc="a seed for the kernel's random numbers"),
    "manage_resolv_conf": Key(shape=Boolean(words=True), doc="whether `resolv_conf` is acted on"),
    "resolv_conf": Key(shape=_RESOLV, doc="name servers and search domains"),
}


def make_system(fields: Fields, report: Report) -> dict[str, Any]:
    """Return the fields of `Machine` that these keys give (the resolver's belong to `network`)."""
    result: dict[str, Any] = {}
    for name in ("mounts", "swap", "timezone"):
        if fields.get(name):
            result[name] = fields.get(name)
    seed = fields.get("random_seed")
    if seed is not None and seed.data:
        result["random_seed"] = seed.data
    if fields.get("growpart") is False or fields.get("resize_rootfs") is False:
        result["grow_state"] = False
    ntp = fields.get("ntp")
    if ntp is not None:
        result["ntp_enabled"] = ntp.get("enabled", True)
        result["ntp_servers"] = ntp.get("servers", ())
        result["ntp_pools"] = ntp.get("pools", ())
        if ntp.get("ntp_client", "auto") not in ("auto", "chrony"):
            report.warn(ntp.place("ntp_client"), ntp.below("ntp_client"), "chrony sets the clock")
    certificates = fields.get("ca_certs")
    if certificates is not None:
        result["ca_certificates"] = certificates.get("trusted", ())
        result["ca_remove_defaults"] = certificates.get("remove_defaults", False)
    if "resolv_conf" in fields and not fields.get("manage_resolv_conf"):
        hint = "write `manage_resolv_conf: true` beside it"
        report.warn(
            fields.place("resolv_conf"), fields.below("resolv_conf"), "`resolv_conf` is not acted on", hint=hint
        )
    return result


def seed_commands(fields: Fields) -> tuple[Command, ...]:
    """Return the commands of `random_seed`, which cloud-init runs before those of `bootcmd`."""
    seed = fields.get("random_seed")
    return () if seed is None else seed.commands


def resolver(fields: Fields) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return name servers and search domains of `resolv_conf`."""
    found = fields.get("resolv_conf")
    if found is None or not fields.get("manage_resolv_conf"):
        return (), ()
    domain = found.get("domain")
    search = found.get("searchdomains", ())
    return found.get("nameservers", ()), search or ((domain,) if domain else ())
