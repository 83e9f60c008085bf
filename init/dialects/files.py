"""`write_files`, `bootcmd` and `runcmd` of a `#cloud-config` (cloud-init's modules write_files, bootcmd, runcmd)."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

from init.dialects.diagnostic import Report
from init.dialects.position import LARGEST, Node, Scalar, Sequence, is_null
from init.dialects.record import Fields, Key, Record
from init.dialects.shape import INVALID, Boolean, Choice, Custom, Text, expected, wrong
from init.formats.machine import Command, WrittenFile

ON_STATE = ("/var", "/home", "/root", "/srv", "/opt", "/usr/local", "/mnt")
WRITABLE = ("/etc", "/run", "/tmp", *ON_STATE)  # noqa: S108 - the place is named, not used
_BASE64 = ("b64", "base64")
_GZIP = ("gz", "gzip")
ENCODINGS = (*_GZIP, *_BASE64, *(f"{gz}+{b64}" for gz in _GZIP for b64 in _BASE64), "text/plain")


def is_below(path: str, folders: tuple[str, ...]) -> bool:
    """Tell whether a path lies below one of these folders; a folder is not below itself."""
    return any(path.startswith(folder + "/") for folder in folders)


def _path(text: str) -> str | None:
    if not text.startswith("/") or text.endswith("/"):
        return "expected the absolute path of a file"
    return "a path without `.` and `..` parts" if {".", ".."} & set(text.split("/")) else None


def _permissions(node: Node, path: str, report: Report) -> Any:
    """Octal digits as text; a bare number is read by its digits, with a warning where YAML reads another number."""
    text = Text(what="an octal mode in quotes, such as '0644'", pattern=r"(0o?)?[0-7]{3,4}").read(node, path, report)
    return INVALID if text is INVALID else int(text.replace("o", ""), 8)


def _owner(node: Node, path: str, report: Report) -> Any:
    name = r"[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}"
    text = Text(what="`USER:GROUP`", pattern=rf"({name})(:({name}))?").read(node, path, report)
    if text is INVALID:
        return INVALID
    user, _, group = text.partition(":")
    return (user, group or "root")


WRITE_FILE = Record(
    what="a map with `path` and `content`",
    keys={
        "path": Key(shape=Text(what="a path", check=_path), required=True, doc="absolute; folders are made"),
        "content": Key(shape=Text(), doc="the file's content"),
        "encoding": Key(shape=Choice(ENCODINGS), doc="how the content is written; text/plain"),
        "owner": Key(shape=Custom(_owner, {"type": "string"}), doc="USER:GROUP; `root` is the one that is left out"),
        "permissions": Key(shape=Custom(_permissions, {"type": "string"}), doc="octal, in quotes; '0644'"),
        "append": Key(shape=Boolean(), doc="added at the end"),
        "defer": Key(shape=Boolean(), doc="written after users exist"),
        "source": Key(ignored="nothing is fetched; write `content`"),
    },
)


def _write_files(node: Node, path: str, report: Report) -> Any:
    if not isinstance(node, Sequence):
        return expected("a list of files", node, path, report, hint="write `- path: …`")
    room = _Room()
    files = [_file(item, f"{path}[{index}]", report, room) for index, item in enumerate(node.items)]
    return tuple(each for each in files if each is not INVALID)


class _Room:
    """What the contents of one document's files may still come to: bytes, and work for those that can't be read."""

    def __init__(self) -> None:
        self.left = LARGEST
        self.failures = 16  # each may have cost as much as all that can be read

    @property
    def is_full(self) -> bool:
        """Tell whether no further content is looked at; an error was reported then."""
        return self.left < 0 or not self.failures


def _file(node: Node, path: str, report: Report, room: _Room) -> Any:
    fields = WRITE_FILE.read(node, path, report)
    if fields is INVALID or "path" not in fields or room.is_full:
        return INVALID
    target: str = fields.get("path")
    content = _content(fields, report, room)
    if content is INVALID:
        return INVALID
    if not is_below(target, WRITABLE):
        hint = f"put it below one of {', '.join(WRITABLE)}"
        report.warn(
            fields.place("path"), fields.below("path"), "this place is read-only; the file is not written", hint=hint
        )
        return INVALID
    if target.startswith("/home/") and not fields.get("defer") and "owner" in fields:
        report.note(fields.place("path"), fields.below("path"), "written with `defer`: the user has to exist first")
    user, group = fields.get("owner", ("root", "root"))
    return WrittenFile(
        path=target,
        content=base64.b64encode(content).decode("ascii"),
        mode=fields.get("permissions", 0o644),
        owner=user,
        group=group,
        append=fields.get("append", False),
        defer=fields.get("defer", target.startswith("/home/")),
    )


def _content(fields: Fields, report: Report, room: _Room) -> Any:
    text: str = fields.get("content", "")
    node = fields.node.get("content")
    encoding = fields.get("encoding", "text/plain")
    tagged = isinstance(node, Scalar) and node.tag == "!!binary"
    data = text.encode()
    try:
        if tagged or any(each in encoding.split("+") for each in _BASE64):
            data = base64.b64decode("".join(text.split()), validate=True)
        if encoding.split("+")[0] in _GZIP:
            data = _gunzip(data, room.left)
    except (binascii.Error, ValueError, zlib.error):
        room.failures -= 1
        message = "the content is not what `encoding` says"
        report.error(fields.place("content"), fields.below("content"), message, code="value")
        return INVALID
    room.left -= len(data)
    if room.left < 0:
        message = f"up to here the files come to more than {LARGEST // 2**20} MiB, unpacked"
        hint = "put what is large into a container's image or volume"
        report.error(fields.place("content"), fields.below("content"), message, hint=hint, code="limit")
        return INVALID
    return data


def _gunzip(data: bytes, most: int) -> bytes:
    """Unpack at most one byte more than `most`; raise ValueError for what is cut off."""
    unpacker = zlib.decompressobj(wbits=31)
    unpacked = unpacker.decompress(data, most + 1)
    if len(unpacked) <= most and not unpacker.eof:
        raise ValueError("cut off")
    return unpacked


def _commands(node: Node, path: str, report: Report) -> Any:
    """A list of lines for the shell and of argument lists; null entries are left out."""
    if not isinstance(node, Sequence):
        return expected("a list of commands", node, path, report, hint="write each command after `- `")
    result = []
    for index, item in enumerate(node.items):
        here = f"{path}[{index}]"
        if is_null(item):
            continue
        if isinstance(item, Sequence):
            words: list[Any] = [
                Text().read(word, f"{here}[{number}]", report) for number, word in enumerate(item.items)
            ]
            if not words:
                wrong("an empty command", item, here, report)
            elif INVALID not in words:
                result.append(Command(argv=tuple(words)))
            continue
        text = Text(what="a line for the shell, or a list of words").read(item, here, report)
        if text is not INVALID:
            result.append(Command(argv=(text,), shell=True))  # noqa: S604 - a value, nothing is run
    return tuple(result)


_COMMANDS = Custom(_commands, {"type": "array", "items": {"type": ["string", "number", "array", "null"]}})

FILES: dict[str, Key] = {
    "write_files": Key(
        shape=Custom(_write_files, {"type": "array", "items": WRITE_FILE.schema()}),
        doc="files that are written at each boot",
    ),
    "bootcmd": Key(shape=_COMMANDS, doc="commands early in each boot, before the network"),
    "runcmd": Key(shape=_COMMANDS, doc="commands at the end, once per instance"),
}


def make_files(fields: Fields) -> dict[str, Any]:
    """Return the fields of `Machine` that these keys give."""
    names = {"write_files": "files", "bootcmd": "bootcmd", "runcmd": "runcmd"}
    return {field: fields.get(key) for key, field in names.items() if fields.get(key)}
