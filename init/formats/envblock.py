"""GRUB's environment block, read and written exactly as GRUB 2.12 does (`grub-core/lib/envblk.c`).

    # GRUB Environment Block\\n
    name=value\\n             backslash and newline in a value are escaped by a backslash
    ####…                    padding up to the size of the file

What matters beyond the format is how GRUB treats a damaged one. `read` needs nothing but the signature, stops
without an error where a line is broken, and takes the last of two equal names; `write` changes variables in place, and
refuses where the padding does not follow a newline and reach the end. So a block can be readable and not writable, and
`bootrecord.decide` has to know which. Bytes, never text, inside: a damaged block holds anything.
"""

from __future__ import annotations

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


SIGNATURE = b"# GRUB Environment Block\n"
_HASH = ord("#")
_NEWLINE = ord("\n")
_BACKSLASH = ord("\\")


def encode(values: Mapping[str, str], size: int) -> bytes:
    """Return a block of `size` bytes; raise ValueError where the values do not fit."""
    block = bytearray(SIGNATURE)
    for name, value in values.items():
        block += name.encode() + b"=" + _escaped(value.encode()) + b"\n"
    if len(block) > size:
        raise ValueError(f"{len(block)} bytes do not fit into an environment block of {size}")
    return bytes(block.ljust(size, b"#"))


def _escaped(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b"\n", b"\\\n")


def _line_end(block: bytes, position: int) -> int:
    """Return where the value that contains `position` ends: at its newline, or at or past the block's end."""
    while True:
        newline = block.find(b"\n", position)
        end = len(block) if newline < 0 else newline
        backslash = block.find(b"\\", position, end)
        if backslash < 0:
            return max(end, position)
        position = backslash + 2  # whatever it escapes, a newline too


def read(block: bytes, names: Iterable[str]) -> dict[str, bytes] | None:
    """Return what `load_env -f FILE NAMES…` sets; None where it fails (no signature)."""
    if len(block) <= len(SIGNATURE) or not block.startswith(SIGNATURE):
        return None
    wanted = {name.encode(): name for name in names}
    values: dict[str, bytes] = {}
    position = len(SIGNATURE)
    while position < len(block):
        if block[position] != _HASH:
            equals = block.find(b"=", position)
            if equals < 0:
                break
            end = _line_end(block, equals + 1)
            if end >= len(block):
                break
            name = block[position:equals].split(b"\0", 1)[0]
            if name in wanted:
                values[wanted[name]] = _unescaped(block[equals + 1 : end]).split(b"\0", 1)[0]
            position = end
        position = _line_end(block, position) + 1
    return values


def _unescaped(value: bytes) -> bytes:
    if b"\\" not in value:
        return value
    plain = bytearray()
    escaped = False
    for byte in value:
        if byte == _BACKSLASH and not escaped:
            escaped = True
        else:
            plain.append(byte)
            escaped = False
    return bytes(plain)


def write(block: bytes, values: Mapping[str, str]) -> bytes | None:
    """Return the block after `save_env -f FILE NAMES…` with these values; None where GRUB writes nothing."""
    if len(block) <= len(SIGNATURE) or not block.startswith(SIGNATURE):
        return None
    for name, value in values.items():
        changed = _set(block, name.encode(), _escaped(value.encode()))
        if changed is None:
            return None
        block = changed
    return block


def _set(block: bytes, name: bytes, value: bytes) -> bytes | None:
    space = len(block.rstrip(b"#"))
    if block[space - 1] != _NEWLINE:
        return None
    position = len(SIGNATURE)
    while position + len(name) + 1 < space:
        if block.startswith(name + b"=", position):
            start = position + len(name) + 1
            end = _line_end(block, start)
            if end >= len(block) or len(block) - space < len(value) - (end - start):
                return None
            return (block[:start] + value + block[end:]).ljust(len(block), b"#")[: len(block)]
        position = _line_end(block, position) + 1
    line = name + b"=" + value + b"\n"
    if len(block) - space < len(line):
        return None
    return block[:space] + line + block[space + len(line) :]
