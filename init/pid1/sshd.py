"""SSH without a resident daemon: PID 1 listens, and starts `sshd -i` for each connection.

Host keys are made by a child the first time that they are needed, and kept on state; until they are there, connections
wait in the listening socket. The number of connections is bounded, and of those that one address holds.
"""

from __future__ import annotations

from init.formats.service import Readiness, Restart, Service
from init.formats.sha256 import sha256
from init.pid1 import cgroups
from init.pid1.lifecycle import State
from init.pid1.listener import Listener
from init.pid1.perform import BASE_ENVIRONMENT
from init.pid1.scripts import KEY_SERVICE
from init.pid1.system import Spawn

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.system import System

PORT = 22
PROGRAM = "/usr/sbin/sshd"
KEYGEN = "/usr/bin/ssh-keygen"
NAME = "sshd"
KEY_FOLDER = "/var/lib/berth/ssh"
KEY = f"{KEY_FOLDER}/ssh_host_ed25519_key"
PRIVILEGE_SEPARATION = "/run/sshd"  # sshd(8): empty, root's own; without it no connection is served
CONNECTIONS_MOST = 32
PER_ADDRESS_MOST = 8
AGAIN = 5.0  # seconds until a host key that could not be read is read again


def key_service() -> Service:
    """Return the one-shot that makes the host key. An unfinished one never takes the place: keygen makes it whole."""
    return Service(
        name=KEY_SERVICE,
        argv=(KEYGEN, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", KEY),
        readiness=Readiness.EXIT,
        restart=Restart.ON_FAILURE,
        restart_limit=5,
    )


class SshDoor:
    """The listening socket and the connections."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        performer: Performer,
        logs: Logs,
        say: Callable[[str], None],
    ) -> None:
        self._system = system
        self._loop = loop
        self._performer = performer
        self._logs = logs
        self._say = say
        self._listening: int | None = None
        self._open: dict[int, str] = {}  # pid → address
        self._told = False

    def open(self, *, given_keys: bool) -> None:
        """Listen. Connections are taken once there is a host key. Raise OSError."""
        if self._listening is None:
            self._listening = self._system.listen_tcp(PORT)
        self._system.make_folder(KEY_FOLDER, 0o700)
        self._system.make_folder(PRIVILEGE_SEPARATION, 0o755)
        if given_keys or self._system.exists(f"{KEY}.pub"):
            self.serve()
        else:
            self._performer.load((key_service(),))

    def serve(self) -> None:
        """There is a host key: take connections."""
        if self._listening is not None:
            Listener(self._system, self._loop, "ssh", self._listening, take=self._take, say=self._say).begin()

    def look(self) -> None:
        """Serve once the host key has been made, and say its fingerprint."""
        key = self._performer.supervisor.services.get(KEY_SERVICE)
        if key is None or self._told or key.state is not State.DONE:
            return
        self._told = True
        self._begin()

    def _begin(self) -> None:
        try:
            self.serve()
            public = self._system.read(f"{KEY}.pub", 1 << 16).decode("utf-8", "replace")
        except OSError as error:
            self._say(f"ssh: {error.strerror or error}; tried again in {AGAIN:g} s")
            self._loop.after("ssh host key", AGAIN, self._begin)
            return
        self._say(f"ssh host key: {fingerprint(public)} (ed25519)")

    def close(self) -> None:
        """Take no more connections."""
        if self._listening is not None:
            listening, self._listening = self._listening, None
            self._loop.unwatch(listening)
            self._system.close(listening)

    def _take(self, connection: int, address: str) -> None:
        try:
            if self._is_full(address):
                self._logs.say(NAME, f"{address}: refused, there are {len(self._open)} connections")
                return
            pid = self._system.spawn(self._spawn(connection))
            self._open[pid] = address
            self._performer.expect(pid, lambda _status: self._ended(pid))
        finally:
            self._system.close(connection)

    def _is_full(self, address: str) -> bool:
        held = sum(other == address for other in self._open.values())
        return len(self._open) >= CONNECTIONS_MOST or held >= PER_ADDRESS_MOST

    def _spawn(self, connection: int) -> Spawn:
        folder: str | None = cgroups.group(NAME, self._performer.settings.top)
        try:
            self._system.make_folder(str(folder))
        except OSError:
            folder = None
        return Spawn(
            argv=(PROGRAM, "-i", "-e"),
            environment=BASE_ENVIRONMENT,
            cgroup=folder,
            stdin=connection,
            stdout=connection,
            stderr=self._logs.pipe(NAME),
        )

    def _ended(self, pid: int) -> None:
        self._open.pop(pid, None)


def fingerprint(public_key: str) -> str:
    """Return `SHA256:…` of a public key line, as ssh-keygen -l shows it; raise ValueError for what is no key."""
    import binascii  # noqa: PLC0415 - the initramfs can do without them

    words = public_key.split()
    if len(words) < 2:
        raise ValueError("no public key")
    digest = sha256(binascii.a2b_base64(words[1])).digest()
    return "SHA256:" + binascii.b2a_base64(digest, newline=False).decode().rstrip("=")
