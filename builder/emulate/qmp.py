"""QEMU's control protocol over a connected socket: greeting, capabilities, then a command and its answer at a time.

Source: QEMU, docs/interop/qmp-spec.rst. Asynchronous events that stand between are kept for `events`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from builder.errors import ToolError

if TYPE_CHECKING:
    import socket


class Qmp:
    """One conversation. Not for use from two threads."""

    def __init__(self, connection: socket.socket, *, patience: float = 30.0) -> None:
        connection.settimeout(patience)
        self._connection = connection
        self._buffer = b""
        self._ready = False
        self.events: list[dict[str, Any]] = []

    def ask(self, command: str, **values: object) -> Any:
        """Run a command and return its answer. Raises ToolError where QEMU refuses it or is gone."""
        if not self._ready:
            self._receive()  # the greeting
            self._ready = True
            self.ask("qmp_capabilities")
        request = {"execute": command, "arguments": {name.replace("_", "-"): value for name, value in values.items()}}
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise ToolError(f"QEMU no longer listens: {error.strerror}") from error
        while True:
            reply = self._receive()
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise ToolError(f"QEMU refused {command}: {reply['error'].get('desc', 'no reason given')}")
            self.events.append(reply)

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            try:
                data = self._connection.recv(65536)
            except OSError as error:
                raise ToolError(f"QEMU does not answer on its control socket: {error}") from error
            if not data:
                raise ToolError("QEMU closed its control socket")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
