"""`_socket` in place of `socket`, which makes hundreds of names for numbers that PID 1 would keep for life."""

from __future__ import annotations

import _socket


class Closing:
    """What `socket` adds and `_socket` lacks: the with statement."""

    def __init__(self, talk: _socket.socket) -> None:
        self._talk = talk

    def __enter__(self) -> _socket.socket:
        return self._talk

    def __exit__(self, *_: object) -> None:
        self._talk.close()
