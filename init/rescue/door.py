"""SSH of a machine in rescue: one sshd for those whose keys the last good configuration names."""

from __future__ import annotations

from collections.abc import Callable

from init.formats import wayin
from init.formats.machine import Machine
from init.pid1 import etc, sshd
from init.pid1.loop import Loop
from init.pid1.system import Spawn, System

AGAIN = 5.0  # seconds until sshd is started again
OTHER_KEY = "/run/berth/rescue_host_key"
_ENVIRONMENT = (("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8"))


class Door:
    """sshd, kept alive. `sentence` says how things stand."""

    def __init__(self, system: System, loop: Loop, machine: Machine, say: Callable[[str], None]) -> None:
        self._system = system
        self._loop = loop
        self._machine = machine
        self._say = say
        self._argv: tuple[str, ...] = ()
        self._pid: int | None = None
        self.sentence = "not begun"

    def open(self) -> None:
        """Begin, if anybody could log in. Raise OSError."""
        if not wayin.by_ssh(self._machine):
            self._tell("ssh: nobody's keys are known, so nothing listens")
            return
        self._system.make_folder(sshd.PRIVILEGE_SEPARATION, 0o755)
        self._argv = (sshd.PROGRAM, "-D", "-e")
        known = self._system.exists(sshd.KEY) or etc.host_keys(self._machine) != (etc.HOST_KEY,)
        if not known:
            self._make_key()
        self._start()
        which = "the machine's own host key" if known else "a host key made just now, which clients will not know"
        public = OTHER_KEY if not known else etc.host_keys(self._machine)[0]
        self._tell(f"ssh: port {sshd.PORT}, with {which}{self._fingerprint(public)}")

    def ended(self, pid: int, status: int) -> None:
        """A child ended; sshd comes again."""
        if pid == self._pid:
            self._pid = None
            self._tell(f"ssh: sshd ended with {status}")
            self._loop.after("sshd", AGAIN, self._start)

    def _start(self) -> None:
        self._pid = self._system.spawn(Spawn(argv=self._argv, environment=_ENVIRONMENT, stderr=2))

    def _make_key(self) -> None:
        """State can't be read: a key for this rescue alone, in memory."""
        words = (sshd.KEYGEN, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", OTHER_KEY)
        done = self._system.run(words, seconds=60.0)
        if done.status != 0:
            raise OSError(5, f"ssh-keygen ended with {done.status}")
        self._argv = (*self._argv, "-h", OTHER_KEY)

    def _fingerprint(self, private: str) -> str:
        try:
            text = self._system.read(f"{private}.pub", 8192).decode("ascii", "replace")
            return f", {sshd.fingerprint(text)}"
        except (OSError, ValueError):
            return ""

    def _tell(self, sentence: str) -> None:
        self.sentence = sentence
        self._say(sentence)
