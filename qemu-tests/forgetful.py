"""A guest's disk whose power goes at a chosen request, and which then forgets what was not flushed.

A killed QEMU keeps all that this computer took from it; a drive without power does not. So the disk here is the very
one of the proofs without a guest (`fakes.blockdevice`): unflushed writes are lost, torn by sector and reordered, by a
seed. QEMU reaches it by the NBD protocol on loopback. At the chosen instant the request is not answered any more, nor
is any other; the guest stands still before its disk until the test kills it.

Source of the protocol: NetworkBlockDevice/nbd, doc/proto.md (fixed newstyle, simple replies).
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from fakes.blockdevice import LossyDisk
from fakes.disk import SparseDisk

from builder.emulate.command import Guest

_OPTION_MAGIC = b"IHAVEOPT"
_REPLY_MAGIC = 0x3E889045565A9
_REQUEST_MAGIC = 0x25609513
_SIMPLE_REPLY_MAGIC = 0x67446698
_OPT_ABORT, _OPT_GO = 2, 7
_REP_ACK, _REP_INFO, _REP_UNSUPPORTED = 1, 3, (1 << 31) + 1
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_HAS_FLAGS, _SEND_FLUSH = 1, 4
_READ, _WRITE, _DISCONNECT, _FLUSH = range(4)
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """A write of `length` bytes at `offset`, or a flush (both zero)."""

    flush: bool = False
    offset: int = 0
    length: int = 0


class Instant(Protocol):
    """When the power goes."""

    def strikes(self, request: Request) -> bool:
        """Be told of each request before it is done, in order; tell whether the power goes before it."""


@dataclass(kw_only=True)
class Written:
    """The instant when `count` bytes were written to some places, each from an offset to another (bytes)."""

    places: tuple[tuple[int, int], ...]
    count: int
    written: int = field(default=0, init=False)

    def strikes(self, request: Request) -> bool:
        if request.flush or not any(first <= request.offset < end for first, end in self.places):
            return False
        if self.written >= self.count:
            return True
        self.written += request.length
        return False


@dataclass(kw_only=True)
class Around:
    """An instant beside the `number`-th write to some places: before it, with it `unsynced`, or once it is `synced`."""

    places: tuple[tuple[int, int], ...]
    number: int
    moment: str
    seen: int = field(default=0, init=False)
    synced: bool = field(default=False, init=False)

    def strikes(self, request: Request) -> bool:
        if self.synced:
            return True
        if request.flush:
            past = self.seen >= self.number
            self.synced = past
            return past and self.moment == "unsynced"
        if any(first <= request.offset < end for first, end in self.places):
            self.seen += 1
            return self.seen == self.number and self.moment == "before"
        return False


class ForgetfulDrive:
    """The disk and its cable. Use it as a context; `plugged` puts it into a guest, before or after others."""

    def __init__(self, content: SparseDisk, *, serial: str, seed: int = 0) -> None:
        self.disk = LossyDisk(content.size, name="the forgetful drive", seed=seed, content=content)
        self.serial = serial
        self._instant: Instant | None = None
        self._dark = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ForgetfulDrive:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Where QEMU's programs find it."""
        return f"nbd://127.0.0.1:{self._listener.getsockname()[1]}"

    def plugged(self, guest: Guest) -> Guest:
        """Return the guest with this drive; firmware starts from it where nothing stands before it."""
        words = (
            "-drive", f"if=none,id=forgetful,format=raw,file={self.address}",
            "-device", f"virtio-blk-pci,drive=forgetful,serial={self.serial},bootindex=1",
        )  # fmt: skip
        return replace(guest, extra=(*guest.extra, *words))

    def instead(self, guest: Guest) -> Guest:
        """Return the guest with this drive in the place of its first."""
        return self.plugged(replace(guest, drives=guest.drives[1:]))

    def cut_at(self, instant: Instant) -> None:
        """From now on wait for the instant."""
        self._instant = instant

    @property
    def is_dark(self) -> bool:
        """Whether the instant has come."""
        return self._dark.is_set()

    def wait_until_dark(self) -> None:
        """Wait for the instant."""
        assert self._dark.wait(30), "the instant does not come"

    def restore(self) -> None:
        """Give the power back, once QEMU is gone: from now on the disk holds what its medium does."""
        assert self._idle.wait(30), "QEMU still holds the disk"
        self.disk.restart()
        self._instant = None
        self._dark.clear()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._idle.clear()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    if _agreed(connection, self.disk.size):
                        self._answer(connection)
                except (EOFError, ConnectionError):
                    pass
            self._idle.set()

    def _answer(self, connection: socket.socket) -> None:
        while True:
            magic, _, kind, cookie, offset, length = struct.unpack(">IHHQQI", _exactly(connection, 28))
            assert magic == _REQUEST_MAGIC
            data = _exactly(connection, length) if kind == _WRITE else b""
            if kind == _DISCONNECT:
                return
            if self._goes_dark(kind, offset, length):
                continue
            answer = b""
            if kind == _READ:
                answer = self.disk.read(offset, length)
            elif kind == _WRITE:
                self.disk.write(offset, data)
            else:
                assert kind == _FLUSH
                self.disk.sync()
            connection.sendall(struct.pack(">IIQ", _SIMPLE_REPLY_MAGIC, 0, cookie) + answer)

    def _goes_dark(self, kind: int, offset: int, length: int) -> bool:
        if not self._dark.is_set() and self._instant is not None and kind != _READ:
            request = Request(flush=True) if kind == _FLUSH else Request(offset=offset, length=length)
            if self._instant.strikes(request):
                self._dark.set()
        return self._dark.is_set()


def _agreed(connection: socket.socket, size: int) -> bool:
    """Agree on the one export that there is; tell whether the client wants it."""
    connection.sendall(b"NBDMAGIC" + _OPTION_MAGIC + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
    _exactly(connection, 4)
    while True:
        magic, option, length = struct.unpack(">8sII", _exactly(connection, 16))
        assert magic == _OPTION_MAGIC
        _exactly(connection, length)
        if option == _OPT_GO:
            export = struct.pack(">HQH", 0, size, _HAS_FLAGS | _SEND_FLUSH)
            connection.sendall(_reply(option, _REP_INFO, export) + _reply(option, _REP_ACK))
            return True
        connection.sendall(_reply(option, _REP_ACK if option == _OPT_ABORT else _REP_UNSUPPORTED))
        if option == _OPT_ABORT:
            return False


def _reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">QIII", _REPLY_MAGIC, option, kind, len(data)) + data


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def content_of(image: Path, size: int) -> SparseDisk:
    """Return a disk of `size` bytes that begins as a raw image; its holes cost nothing."""
    disk = SparseDisk(size)
    with image.open("rb") as file:
        for first, end in _extents(file.fileno(), image.stat().st_size):
            for at in range(first, end, _CHUNK):
                disk.write(at, os.pread(file.fileno(), min(_CHUNK, end - at), at))
    return disk


def _extents(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Return where a file has data."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            first = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(descriptor, first, os.SEEK_HOLE)
        found.append((first, at))
    return found
