"""The numbers that users and groups once had, kept on state: a text file, `user NAME UID` or `group NAME GID`.

It is read with distrust, for whoever mounts the disk elsewhere may write it: what isn't such a line counts for nothing,
and the rest still does. The last line of a name is its number.
"""

from __future__ import annotations

from dataclasses import dataclass

PATH = "/var/lib/berth/accounts"
MOST = 256 << 10  # bytes that are read
_LINES_MOST = 4096
_NAME_MOST = 64
_IDS = range(900, 65534)  # lower ones are the image's


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Names with their numbers, in the order in which they came. No number stands there twice."""

    users: tuple[tuple[str, int], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()


NOTHING = Memory()


def read(data: bytes) -> Memory:
    """Read the file; never fails."""
    found: dict[str, dict[int, str]] = {"user": {}, "group": {}}
    for line in data.decode("ascii", "replace").splitlines()[-_LINES_MOST:]:
        words = line.split(" ")
        if len(words) != 3 or words[0] not in found or not _is_name(words[1]) or not _is_number(words[2]):
            continue
        number = int(words[2])
        found[words[0]].pop(number, None)  # the later one counts, and stands where it came
        found[words[0]][number] = words[1]
    users, groups = (tuple((name, number) for number, name in found[kind].items()) for kind in ("user", "group"))
    return Memory(users=users, groups=groups)


def render(memory: Memory) -> bytes:
    """Return the file's bytes; where it has grown too long, the oldest lines go."""
    lines = [f"user {name} {number}\n" for name, number in memory.users[-_LINES_MOST // 2 :]]
    lines += [f"group {name} {number}\n" for name, number in memory.groups[-_LINES_MOST // 2 :]]
    return "".join(lines).encode("ascii", "replace")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _NAME_MOST and all(letter.isalnum() or letter in "-_.$" for letter in text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) in _IDS
