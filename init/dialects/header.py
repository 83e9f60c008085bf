"""Which dialect a document is written in: its first line decides, as in cloud-init (`cloudinit/handlers`)."""

from __future__ import annotations

import re

from init.dialects.diagnostic import Diagnostic, Place, Severity, Unreadable, nearest

DIALECTS = (
    "berth",
    "cloud-init",
    "rancheros",
    "k3os",
    "coreos-cloudinit",
    "compose",
    "network-config-v1",
    "network-config-v2",
)
BUILT = ("berth", "cloud-init", "network-config-v1", "network-config-v2")
_HEADERS = {"#berth": "berth", "#cloud-config": "cloud-init"}
_BEGIN = "begin with `#cloud-config` or `#berth`; `berth check --dialect NAME` reads other forms"
_NETWORK = frozenset(
    ("version", "config", "renderer", "ethernets", "bonds", "bridges", "vlans", "wifis", "tunnels", "vrfs")
)
_COMPOSE = frozenset(("version", "name", "services", "networks", "volumes", "configs", "secrets", "include"))
_VERSION = re.compile(r"""^\s*version:\s*["']?([12])["']?\s*(?:#.*)?$""", re.MULTILINE)
_TOP_KEY = re.compile(r"^([A-Za-z][A-Za-z0-9_-]*):(?=\s|$)", re.MULTILINE)
_KNOWN_OTHERS = {
    "#!": "a script: put its lines under `runcmd`",
    "#cloud-boothook": "a program: put its lines under `bootcmd`",
    "#include": "a list of addresses: give the document itself",
    "#cloud-config-archive": "several documents in one: give one `#cloud-config`",
    "#cloud-config-jsonp": "a JSON patch: give the whole document",
    "#part-handler": "Python code for cloud-init",
    "## template:": "a template: give the document as it is when rendered",
    "Content-Type:": "several documents in one (MIME): give one `#cloud-config`",
    "MIME-Version:": "several documents in one (MIME): give one `#cloud-config`",
}


def dialect_of(text: str, *, file: str) -> str:
    """Return the dialect that a document's first line names; raise Unreadable with what is wrong with the line."""
    first = text.split("\n", 1)[0]
    word = first.rstrip()
    if word in _HEADERS:
        if first != word:
            raise _wrong(
                file, 1, f"blanks behind `{word}`: cloud-init would ignore the whole document", hint="take them away"
            )
        return _HEADERS[word]
    for start, what in _KNOWN_OTHERS.items():
        if first.startswith(start) and not (start == "#include" and first.startswith("#includ ")):
            raise _wrong(file, 1, f"this is {what}", hint=None)
    squeezed = "".join(first.lower().replace("_", "-").split())
    for header in _HEADERS:
        if squeezed == header:
            raise _wrong(
                file,
                1,
                "the first line is misspelt, so the document would be ignored",
                hint=f"write exactly `{header}`",
            )
    for number, line in enumerate(text.split("\n")[1:20], 2):
        if line.rstrip() in _HEADERS:
            raise _wrong(
                file, number, f"`{line.rstrip()}` has to be the very first line", hint="take away what stands before it"
            )
    close = nearest(squeezed, _HEADERS)
    hint = f"did you mean `{close}`?" if close else _BEGIN
    raise _wrong(file, 1, "the first line says no form that is known", hint=hint)


def shape_of(text: str) -> str | None:
    """Return the dialect of a document whose first line names none, by its keys at the top; None where they say none.

    For whoever checks a file of unknown kind. A machine knows each document's kind by where it found it, and takes no
    user-data without a header.
    """
    if text.split("\n", 1)[0].rstrip() in _HEADERS:
        return None
    keys = set(_TOP_KEY.findall(text))
    version = _VERSION.search(text)
    if version is not None and (keys == {"network"} or ("version" in keys and keys <= _NETWORK)):
        return f"network-config-v{version[1]}"
    return "compose" if "services" in keys and keys <= _COMPOSE else None


def without_header(file: str) -> Diagnostic:
    """Return what is wrong with a file that says nothing, where its owner asks whether it is right.

    On a machine an empty user-data is allowed: a data source may have nothing to say but a name and a network.
    """
    return _wrong(file, 1, "the file is empty: the header is missing", hint=_BEGIN).diagnostic


def _wrong(file: str, line: int, message: str, hint: str | None) -> Unreadable:
    return Unreadable(
        Diagnostic(
            severity=Severity.ERROR, place=Place(file, line, 1), path="", message=message, hint=hint, code="header"
        )
    )
