"""Reads a cpio archive of the "newc" form, written apart from the writer that it checks."""

from __future__ import annotations

from builder.image.cpio import Node


def read(data: bytes) -> list[Node]:
    nodes = []
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        field = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, device, name_size, check = field[1], field[6], (field[9], field[10]), field[11], field[12]
        assert check == 0
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        at = -(-(at + 110 + name_size) // 4) * 4
        if name == "TRAILER!!!":
            assert at == len(data)
            return nodes
        nodes.append(Node(path=name, mode=mode, data=data[at : at + size], device=device))
        at = -(-(at + size) // 4) * 4
