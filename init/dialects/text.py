"""From a document's bytes to its text: bounds, gzip, byte order marks, bad UTF-8, each named with its place."""

from __future__ import annotations

import zlib

from init.dialects.diagnostic import Diagnostic, Place, Severity, Unreadable
from init.dialects.position import LARGEST

_GZIP = b"\x1f\x8b"


def decode(data: bytes, *, file: str) -> str:
    """Return the text of a document; raise Unreadable.

    A gzip document is unpacked, at most to the bound. CR LF becomes LF, and a byte order mark of UTF-8 goes.
    """
    if data.startswith(_GZIP):
        data = gunzip(data, file=file)
    if len(data) > LARGEST:
        raise _unreadable(Place(file), f"larger than {LARGEST // 1024 // 1024} MiB", "limit")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _unreadable(Place(file, 1, 1), "written in UTF-16", "encoding", hint="save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place(data, error.start, file)
        raise _unreadable(place, "a byte that is not UTF-8", "encoding", hint="save it as UTF-8") from error
    nul = text.find("\0")
    if nul >= 0:
        before = text[:nul]
        place = Place(file, before.count("\n") + 1, nul - (before.rfind("\n") + 1) + 1)
        raise _unreadable(place, "a NUL character", "encoding", hint="is this a text file?")
    return text.replace("\r\n", "\n")


def gunzip(data: bytes, *, file: str) -> bytes:
    """Unpack gzip up to the bound; raise Unreadable where it is damaged or larger."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(data, LARGEST + 1)
    except zlib.error as error:
        raise _unreadable(Place(file), "damaged gzip", "encoding") from error
    if len(unpacked) > LARGEST:
        raise _unreadable(Place(file), f"unpacks to more than {LARGEST // 1024 // 1024} MiB", "limit")
    if not unpacker.eof:
        raise _unreadable(Place(file), "gzip that ends too early", "encoding")
    return unpacked


def _place(data: bytes, offset: int, file: str) -> Place:
    start = data.rfind(b"\n", 0, offset) + 1
    column = len(data[start:offset].decode("utf-8", "replace")) + 1
    return Place(file, data.count(b"\n", 0, offset) + 1, column)


def _unreadable(place: Place, message: str, code: str, hint: str | None = None) -> Unreadable:
    return Unreadable(Diagnostic(severity=Severity.ERROR, place=place, path="", message=message, hint=hint, code=code))
