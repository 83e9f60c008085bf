"""The control socket: `/run/berth/control`, for `berthctl`.

A client sends one line of JSON, `{"verb": …}`, and gets lines of JSON until PID 1 closes, or, when it follows
something, until it goes away itself. All is bounded: the number of clients (some more may be root's), the length and
the time of a request, what waits for a client that doesn't read (lines that don't fit are counted and said). Who asks
is told by the kernel (SO_PEERCRED): root, and whoever is in one of `GROUPS`, may use every verb, others those in
`READING`.
"""

from __future__ import annotations

import json

from init.formats.bare import deque
from init.pid1.listener import Listener

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init.pid1.loop import Loop
    from init.pid1.system import Peer, System

PATH = "/run/berth/control"
READING = frozenset(("status", "update-show", "rescue-show", "ps", "logs", "events", "timeline"))
GROUPS = frozenset(("berth", "sudo", "wheel"))
CLIENTS_MOST = 32
CLIENTS_OF_ROOT = 8  # more, so that nobody who may only read can lock root out
REQUEST_MOST = 65536  # bytes
REQUEST_BOUND = 10.0  # seconds
WAITING_MOST = 1 << 20  # bytes that wait for a client


class Client:
    """One connection. Its answer is sent line by line; `finish` closes it when all went."""

    def __init__(self, control: Control, descriptor: int, peer: Peer) -> None:
        self._control = control
        self._descriptor = descriptor
        self._request = b""
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._finished = False
        self._skipped = 0
        self._forget: Callable[[], None] | None = None
        self.peer = peer
        self.asked = False
        self.closed = False

    def send(self, value: Mapping[str, object]) -> None:
        """Send one object."""
        self.send_line(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")

    def send_line(self, line: bytes) -> None:
        """Send one line that is JSON already."""
        if self.closed or self._finished:
            return
        if self._bytes + len(line) > WAITING_MOST:
            self._skipped += 1
            return
        self._waiting.append(line)
        self._bytes += len(line)
        self._write()

    def fail(self, code: str, message: str, hint: str) -> None:
        """Send an error as every program gets it, and end."""
        self.send({"format": "berth.error/1", "code": code, "message": message, "hint": hint})
        self.finish()

    def finish(self) -> None:
        """Close when everything went."""
        self._finished = True
        self._write()

    def follow(self, forget: Callable[[], None]) -> None:
        """Leave it open; `forget` is called once when it is closed."""
        self._forget = forget

    def on_news(self) -> None:
        """Something can be read or written."""
        if not self.asked:
            self._read()
        elif self._gone():
            self.close()
            return
        if not self.closed and (self._waiting or self._finished):
            self._write()

    def _read(self) -> None:
        try:
            data = self._control.system.read_from(self._descriptor, REQUEST_MOST + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._request += data
        if b"\n" in self._request:
            self.asked = True
            self._control.ask(self, self._request.split(b"\n")[0])
        elif len(self._request) > REQUEST_MOST:
            self.asked = True
            self.fail("request", "the request is too long", f"at most {REQUEST_MOST} bytes on one line")

    def _gone(self) -> bool:
        try:
            return not self._control.system.read_from(self._descriptor, 4096)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _write(self) -> None:
        while self._waiting:
            line = self._waiting[0]
            try:
                count = self._control.system.write_to(self._descriptor, line)
            except BlockingIOError:
                count = 0
            except OSError:  # it went away
                self.close()
                return
            self._bytes -= count
            if count < len(line):
                self._waiting[0] = line[count:]
                self._control.watch(self, writable=True)
                return
            self._waiting.popleft()
            if self._skipped and not self._waiting:
                skipped, self._skipped = self._skipped, 0
                self.send({"skipped": skipped})
        if self._finished:
            self.close()
        else:
            self._control.watch(self, writable=False)

    def close(self) -> None:
        """Close at once."""
        if self.closed:
            return
        self.closed = True
        if self._forget is not None:
            self._forget()
        self._control.release(self, self._descriptor)

    @property
    def descriptor(self) -> int:
        """The connection's number."""
        return self._descriptor


class Control:
    """Listens, and hands each request that may be made to `answer(client, request)`."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        answer: Callable[[Client, Mapping[str, object]], None],
        say: Callable[[str], None],
        path: str = PATH,
    ) -> None:
        self.system = system
        self._loop = loop
        self._answer = answer
        self._say = say
        self._path = path
        self._clients: dict[int, Client] = {}
        self._writable: dict[int, bool] = {}
        self._listening: int | None = None

    def open(self) -> None:
        """Listen; raise OSError."""
        self.system.make_folder(self._path.rpartition("/")[0])
        if self._listening is None:
            self._listening = self.system.listen_local(self._path, 0o666)  # who may do what is asked of the kernel
        Listener(self.system, self._loop, "control socket", self._listening, take=self._take, say=self._say).begin()

    def _take(self, descriptor: int, _: str) -> None:
        try:
            client = Client(self, descriptor, self.system.peer(descriptor))
            self._clients[descriptor] = client
            if len(self._clients) > CLIENTS_MOST + (CLIENTS_OF_ROOT if client.peer.uid == 0 else 0):
                client.asked = True
                hint = "end some that follow logs or events, or ask as root"
                client.fail("busy", f"{CLIENTS_MOST} others are connected to PID 1", hint)
                return
            self.watch(client, writable=False)
        except OSError:
            self._clients.pop(descriptor, None)
            self.system.close(descriptor)
            raise
        self._loop.after(f"control {descriptor}", REQUEST_BOUND, lambda: self._late(client))

    def _late(self, client: Client) -> None:
        if not client.asked:
            client.close()

    def watch(self, client: Client, *, writable: bool) -> None:
        """Wait for a client's news; room to write only while something waits."""
        if self._writable.get(client.descriptor) is not writable and not client.closed:
            self._loop.watch(client.descriptor, "control client", client.on_news, writable=writable)
            self._writable[client.descriptor] = writable

    def release(self, client: Client, descriptor: int) -> None:
        """Forget a client that is closed."""
        if self._clients.get(descriptor) is client:
            del self._clients[descriptor]
            self._writable.pop(descriptor, None)
            self._loop.cancel(f"control {descriptor}")
            try:
                self._loop.unwatch(descriptor)
            finally:
                self.system.close(descriptor)

    def ask(self, client: Client, line: bytes) -> None:
        """Check a request and hand it on. What is wrong with it is the client's to hear."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            client.fail("request", "the request is no JSON", "send one object on one line")
            return
        if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
            client.fail("request", "the request has no verb", 'send {"verb": "status"}')
            return
        verb = request["verb"]
        if verb not in READING and not self._may_all(client.peer):
            hint = f"become root, or a member of {', '.join(sorted(GROUPS))}"
            client.fail("permission", f"you may not use {verb}", hint)
            return
        try:
            self._answer(client, request)
        except Exception:
            client.fail("internal", f"PID 1 could not answer {verb}", "see berthctl logs init")
            raise

    def _may_all(self, peer: Peer) -> bool:
        if peer.uid == 0:
            return True
        try:
            text = self.system.read("/etc/group", 1 << 20).decode("utf-8", "replace")
        except OSError:
            return False
        return bool(privileged(text) & set(peer.groups))


def privileged(group_file: str) -> set[int]:
    """Return the ids of the groups that may use every verb, from the text of /etc/group."""
    found = set()
    for line in group_file.splitlines():
        parts = line.split(":")
        if len(parts) >= 3 and parts[0] in GROUPS and parts[2].isdecimal():
            found.add(int(parts[2]))
    return found
