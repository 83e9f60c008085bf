"""A stream of bytes as lines of text, however it comes in and however long they are."""

from __future__ import annotations

LINE_MOST = 8192  # bytes


class Splitter:
    """Cuts a stream of bytes into lines: at newlines, and where one is longer than `most` bytes."""

    def __init__(self, most: int = LINE_MOST) -> None:
        self._most = most
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Take more bytes; return the lines that are complete."""
        *whole, rest = (self._rest + data).split(b"\n")
        lines = []
        for line in whole:
            lines += self._cut(line)
        while len(rest) > self._most:
            lines.append(_text(rest[: self._most]))
            rest = rest[self._most :]
        self._rest = rest
        return lines

    def finish(self) -> list[str]:
        """Return what stands there without a newline: the program ended."""
        rest, self._rest = self._rest, b""
        return self._cut(rest) if rest else []

    def _cut(self, line: bytes) -> list[str]:
        return [_text(line[at : at + self._most]) for at in range(0, max(len(line), 1), self._most)]


def _text(data: bytes) -> str:
    return data.rstrip(b"\r").decode("utf-8", "replace")
