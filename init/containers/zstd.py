"""Reads zstd through libzstd, which the image has anyway (kmod needs it); Python 3.13 has no module for it."""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_PIECE = 1 << 17


class _Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t))


class ZstdStream:
    """A stream of decompressed bytes. `read` raises ValueError for damaged input, EOFError for one that is cut off."""

    def __init__(self, source: BinaryIO) -> None:
        self._library = ctypes.CDLL("libzstd.so.1")
        self._library.ZSTD_createDStream.restype = ctypes.c_void_p
        self._library.ZSTD_decompressStream.restype = ctypes.c_size_t
        self._library.ZSTD_getErrorName.restype = ctypes.c_char_p
        self._stream = ctypes.c_void_p(self._library.ZSTD_createDStream())
        self._source = source
        self._input = _Buffer(None, 0, 0)
        self._held = b""
        self._space = ctypes.create_string_buffer(_PIECE)
        self._rest = b""
        self._within = False

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, b"" at the end."""
        while not self._rest:
            if self._input.position == self._input.size:
                self._held = self._source.read(_PIECE)
                if not self._held:
                    if self._within:
                        raise EOFError("it is cut off in the middle of a compressed frame")
                    return b""
                address = ctypes.cast(ctypes.c_char_p(self._held), ctypes.c_void_p)
                self._input = _Buffer(address, len(self._held), 0)
            self._rest = self._step()
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def _step(self) -> bytes:
        output = _Buffer(ctypes.cast(self._space, ctypes.c_void_p), _PIECE, 0)
        left = self._library.ZSTD_decompressStream(self._stream, ctypes.byref(output), ctypes.byref(self._input))
        if self._library.ZSTD_isError(ctypes.c_size_t(left)):
            name = self._library.ZSTD_getErrorName(ctypes.c_size_t(left)).decode()
            raise ValueError(f"its compression is damaged: {name}")
        self._within = left != 0
        return self._space.raw[: output.position]
