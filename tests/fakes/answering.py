"""A control socket in PID 1's place: one answer to each question."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

Answer = dict[str, object] | None
FORMAT = {"format": "berth.any/1"}


class Answering:
    """Gives one answer to each connection; None closes without one, as PID 1 going down does.

    `holds`: each connection stays open until its client goes, as that of one who follows something. `reads`: False
    answers and closes before the question is read, as PID 1 with too many clients does. `more` follows each answer.
    """

    def __init__(
        self,
        path: Path,
        answers: Sequence[Answer],
        *,
        holds: bool = False,
        reads: bool = True,
        more: Sequence[dict[str, object]] = (),
    ) -> None:
        self.path = str(path)
        self.asked: list[dict[str, object]] = []
        self._holds, self._reads, self._more = holds, reads, more
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, args=(answers,))
        self._thread.start()

    def __enter__(self) -> Answering:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rwb") as stream:
                if self._reads:
                    self.asked.append(json.loads(stream.readline()))
                if answer is not None:
                    head = {} if "progress" in answer else FORMAT
                    stream.write(json.dumps({**head, **answer}).encode() + b"\n")
                    stream.writelines(json.dumps(each).encode() + b"\n" for each in self._more)
                    stream.flush()
                if self._holds:
                    stream.read()

    def close(self) -> None:
        """Wait until all have been answered."""
        self._thread.join(30)
        self._socket.close()
