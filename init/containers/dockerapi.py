"""HTTP to dockerd over its Unix socket: one connection for each request, no more of HTTP than dockerd uses."""

from __future__ import annotations

import json
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, BinaryIO

SOCKET = "/run/docker.sock"
_VERSION = "/v1.43"
_CALLED_FOR_BODY = 64 << 20  # bytes of an answer that is kept


class ApiError(Exception):
    """dockerd refuses, or can't be spoken to; the text is for people."""


class Attached:
    """The output of a container: frames of u8 stream, 3 zero bytes, u32 length (big-endian), then the bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def copy(self, stdout: int, stderr: int) -> None:
        """Write the output to two descriptors until the container ends."""
        while True:
            header = self._stream.read(8)
            if len(header) < 8:
                return
            left = int.from_bytes(header[4:], "big")
            target = stderr if header[0] == 2 else stdout
            while left:
                data = self._stream.read1(min(left, 65536))  # type: ignore[attr-defined]
                if not data:
                    return
                left -= len(data)
                while data:
                    data = data[os.write(target, data) :]


class Api:
    """Requests to dockerd. Methods raise ApiError with dockerd's own message."""

    def __init__(self, path: str = SOCKET, timeout: float | None = None) -> None:
        self._path = path
        self._timeout = timeout

    def get(self, path: str) -> Any:
        """Return the JSON of a GET."""
        return self._json("GET", path)

    def post(self, path: str, body: object = None) -> Any:
        """Return the JSON of a POST, {} where there is none."""
        return self._json("POST", path, body)

    def delete(self, path: str, *, missing_ok: bool = False) -> None:
        """Delete; with `missing_ok` it is no error that there is nothing."""
        status, stream, headers = self._request("DELETE", path)
        _check(status, _body(stream, headers), {404} if missing_ok else set())

    def exists(self, path: str) -> bool:
        """Tell whether a GET finds something."""
        status, stream, headers = self._request("GET", path)
        _check(status, _body(stream, headers), {404})
        return status != 404

    def attach(self, path: str, body: object = None) -> Attached:
        """Return the stream that a POST turns its connection into."""
        status, stream, headers = self._request("POST", path, body)
        if status >= 300:
            _check(status, _body(stream, headers), set())
        return Attached(stream)

    def follow(self, path: str, headers: Mapping[str, str]) -> list[Any]:
        """Do a POST that reports its progress as JSON lines; raise ApiError where one of them is an error."""
        status, stream, answer = self._request("POST", path, headers=headers)
        return _lines(status, _body(stream, answer))

    def upload(self, path: str, source: BinaryIO) -> list[Any]:
        """Send a file; return the JSON lines of the answer."""
        size = os.fstat(source.fileno()).st_size
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        status, stream, answer = self._request("POST", path, headers=headers, source=source)
        return _lines(status, _body(stream, answer))

    def _json(self, method: str, path: str, body: object = None) -> Any:
        status, stream, headers = self._request(method, path, body)
        data = _body(stream, headers)
        _check(status, data, {304})  # 304: it is so already
        return json.loads(data) if data.strip() else {}

    def _request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        source: BinaryIO | None = None,
    ) -> tuple[int, BinaryIO, dict[str, str]]:
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {_VERSION}{path} HTTP/1.1", "Host: docker", "Connection: close"]
        given = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        lines += [f"{name}: {value}" for name, value in given.items()]
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(self._path)
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + data)
            if source is not None:
                connection.sendfile(source)
            stream = connection.makefile("rb")
            words = stream.readline(4096).split()
            if len(words) < 2:
                raise ApiError("dockerd closed the connection")
            return int(words[1]), stream, _headers(stream)
        except OSError as error:
            raise ApiError(f"dockerd can't be asked: {error.strerror or error}") from error
        finally:
            connection.close()  # the stream holds it open


def _headers(stream: BinaryIO) -> dict[str, str]:
    headers = {}
    while (line := stream.readline(65536).strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return headers


def _body(stream: BinaryIO, headers: Mapping[str, str]) -> bytes:
    with stream:
        if headers.get("transfer-encoding") != "chunked":
            return stream.read(int(headers["content-length"]) if "content-length" in headers else _CALLED_FOR_BODY)
        pieces = []
        while size := int(stream.readline(64).split(b";")[0] or b"0", 16):
            pieces.append(stream.read(size))
            stream.readline(64)
        return b"".join(pieces)


def _check(status: int, data: bytes, fine: set[int]) -> None:
    if status < 300 or status in fine:
        return
    try:
        message = json.loads(data)["message"]
    except (ValueError, KeyError, TypeError):
        message = f"HTTP status {status}"
    raise ApiError(f"dockerd: {message}")


def _lines(status: int, data: bytes) -> list[Any]:
    _check(status, data, set())
    lines = [json.loads(line) for line in data.splitlines() if line.strip()]
    for line in lines:
        if "error" in line:
            raise ApiError(f"dockerd: {line['error']}")
    return lines
