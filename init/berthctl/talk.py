"""Talking to PID 1: one request, then lines of JSON. Failures are `Failure`, which `main` alone shows."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATH = "/run/berth/control"
FIRST_ANSWER = 15.0  # seconds: PID 1 answers at once, unless it is in trouble
PATIENT = 300.0  # seconds, of who said that there is time: a machine that boots under load has much to do
PAUSE = 1.0  # seconds between two looks of who waits


class Failure(Exception):
    """Something that a person is told: what, and what to do. `usage`: the command line was wrong (status 2)."""

    def __init__(self, code: str, message: str, hint: str = "", *, usage: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.usage = usage

    def as_json(self) -> dict[str, object]:
        """Return `berth.error/1`."""
        return {"format": "berth.error/1", "code": self.code, "message": self.message, "hint": self.hint}


def ask(
    request: dict[str, object], path: str = PATH, patience: float = FIRST_ANSWER, reader: int | None = None
) -> Iterator[dict[str, object]]:
    """Send a request; yield the objects of the answer as they come, the first within `patience` s. Raise Failure.

    `reader` is the descriptor of who reads what is made of them: when it has gone, BrokenPipeError is raised. Without
    it whoever follows a log in which nothing is said would stay for ever, on a connection that PID 1 has few of.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        _connect(connection, path)
        try:
            with contextlib.suppress(BrokenPipeError):  # it may have answered and closed already
                connection.sendall(json.dumps(request).encode() + b"\n")
            for line in _lines(connection, patience, reader):
                yield _checked(line)
        except TimeoutError:
            raise Failure("lost", f"PID 1 gave no answer within {patience:.0f} s", "the console may say why") from None
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Failure("lost", f"the connection to PID 1 was lost: {error}", "try again") from None


def followed(request: dict[str, object], path: str = PATH) -> Iterator[dict[str, object]]:
    """Ask for what goes on until somebody stops it; raise Failure where the machine does, BrokenPipeError at the end
    of who reads.
    """
    try:
        reader = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # there is none, or it is not the system's
        reader = None
    yield from ask(request, path, reader=reader)
    raise Failure("lost", "PID 1 ended the connection: the machine goes down", "ask again after the boot")


def _lines(connection: socket.socket, patience: float, reader: int | None) -> Iterator[bytes]:
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    if reader is not None:
        poller.register(reader, 0)  # its end alone: that is always told
    rest = b""
    bound: float | None = patience * 1000
    while True:
        ready = dict(poller.poll(bound))
        if not ready:
            raise TimeoutError
        if reader in ready:
            raise BrokenPipeError
        data = connection.recv(1 << 16)
        if not data:
            break
        bound = None
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _connect(connection: socket.socket, path: str) -> None:
    connection.settimeout(FIRST_ANSWER)
    try:
        connection.connect(path)
    except FileNotFoundError:
        raise Failure("no-init", "PID 1 can't be reached", "run berthctl on a Berth machine") from None
    except OSError as error:
        raise Failure("no-init", f"PID 1 can't be reached: {error.strerror or error}", "is the machine up?") from None


def _checked(line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line)
    except ValueError:
        raise Failure("answer", "PID 1's answer is no JSON", "berthctl and PID 1 are of different releases") from None
    if isinstance(value, dict) and value.get("format") == "berth.error/1":
        code, message, hint = (str(value.get(key, "")) for key in ("code", "message", "hint"))
        raise Failure(code, message, hint)
    return value if isinstance(value, dict) else {}


def one(request: dict[str, object], path: str = PATH, patience: float = FIRST_ANSWER) -> dict[str, object]:
    """Return the first object of the answer; raise Failure."""
    for value in ask(request, path, patience):
        return value
    raise Failure("answer", "PID 1 closed without an answer", "see the console for what happened")


def settled(
    request: dict[str, object],
    path: str,
    pending: Callable[[dict[str, object]], bool],
    tell: Callable[[dict[str, object]], str] | None = None,
) -> dict[str, object]:
    """Ask until the answer is no longer `pending`, and return it; raise Failure where there is none to begin with.

    People are told what is waited for, as `tell` has it, whenever that changes. A machine that goes down takes this
    program with it: whoever asked from afar asks again after the boot.
    """
    answer, said = one(request, path, PATIENT), ""
    while pending(answer):
        text = "" if tell is None else tell(answer)
        if text != said:
            print(text, file=sys.stderr, flush=True)
            said = text
        time.sleep(PAUSE)
        with contextlib.suppress(Failure):
            answer = one(request, path, PATIENT)
    return answer
