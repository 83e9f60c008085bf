"""The program `probe`: asks one container whether it is healthy, as a child of PID 1.

Exit status 0 is yes, 1 no, 2 a wrong call, and `NOT_YET` (75) that the container does not run yet.

    probe http NAME SECONDS URL         a GET that is answered with 2xx or 3xx
    probe tcp NAME SECONDS HOST:PORT    a connection that is taken
    probe exec NAME SECONDS ENGINE ARGV…  a command in the container that ends with 0
    probe wait PATIENCE http|tcp …      the same question again and again, for so many seconds, until the first yes

The first two are asked inside the container's own network, which needs no port to be published. A URL with https is
asked whether it answers, not who answers: the certificate is for a name that is not the container's loopback.
"""

# These programs start often, and pathlib costs time at each start.
# ruff: noqa: PTH110, PTH123

from __future__ import annotations

import _socket as socket  # asked every few seconds: `socket` itself takes as long to import as all the rest
import os
import sys
import time

from init.containers.places import PATH
from init.formats.exitstatus import NOT_YET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CLONE_NEWNET = 0x40000000
_PAUSE_FIRST, _PAUSE_MOST = 0.05, 0.5
_GIVES_WAY = 10  # nice(2): while it waits for a container to begin, it must not take the processor from that
_RUNTIME = ("/usr/bin/crun", "--root=/run/crun", "exec")


def main(argv: list[str]) -> int:
    """Run one probe; return the exit status."""
    match argv:
        case ["wait", patience, ("http" | "tcp") as kind, name, seconds, what]:
            os.nice(_GIVES_WAY)
            return _until_asked(float(patience), lambda: _ask(kind, name, float(seconds), what))
        case [("http" | "tcp") as kind, name, seconds, what]:
            return _until_asked(0.0, lambda: _ask(kind, name, float(seconds), what))
        case ["exec", name, seconds, engine, *command] if command:
            return _exec(name, float(seconds), engine, command)
        case _:
            sys.stderr.write(__doc__ or "")
            return 2


def _until_asked(patience: float, ask: Callable[[], None]) -> int:
    """Ask until the answer is yes or `patience` (seconds) is over; once at least. Return the exit status."""
    end = time.monotonic() + patience
    pause = _PAUSE_FIRST
    while True:
        try:
            ask()
        except (OSError, ValueError) as error:
            if time.monotonic() + pause >= end:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                sys.stderr.write(f"unhealthy: {reason}\n")
                return NOT_YET if isinstance(error, NotYetError) else 1
        else:
            return 0
        time.sleep(pause)
        pause = min(pause * 1.5, _PAUSE_MOST)


def _ask(kind: str, name: str, seconds: float, what: str) -> None:
    """Ask once, in the network that the container has now; raise OSError, ValueError for a no."""
    _enter_network(name)
    if kind == "http":
        _http(what, seconds)
    else:
        _tcp(what, seconds)


class NotYetError(ValueError):
    """There is nothing to ask yet."""


def _enter_network(name: str) -> None:
    try:
        with open(f"{PATH}/{name}/pid") as stream:
            pid = int(stream.read())
    except (FileNotFoundError, ValueError):  # or it is being written just now
        raise NotYetError("the container does not run yet") from None
    setns = getattr(os, "setns", None)
    if setns is None:  # Python before 3.12
        from init.containers.namespaces import join_network  # noqa: PLC0415 - ctypes, which most do without

        join_network(pid)
        return
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(namespace, _CLONE_NEWNET)
    finally:
        os.close(namespace)


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    """Connect to the first of a host's addresses that takes the connection; raise the last one's OSError."""
    # `localhost` is looked up nowhere: the machine's /etc/hosts is not the container's
    addresses = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    failure: OSError = OSError("it has no address")
    for address in addresses:
        for family, kind, protocol, _, place in socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM):
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(timeout)
            try:
                connection.connect(place)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
    raise failure


def _tcp(place: str, timeout: float) -> None:
    host, _, port = place.rpartition(":")
    _connect(host.strip("[]") or "127.0.0.1", int(port), timeout).close()


def _http(url: str, timeout: float) -> None:
    end = time.monotonic() + timeout
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, port = _split(authority, 443 if scheme == "https" else 80)
    connection = _connect(host, port, timeout)
    try:
        stream = _encrypted(connection, host, timeout) if scheme == "https" else connection
        request = f"GET {slash}{path} HTTP/1.1" if slash else "GET / HTTP/1.1"
        stream.sendall(f"{request}\r\nHost: {authority}\r\nUser-Agent: berth\r\nConnection: close\r\n\r\n".encode())
        line = b""
        while b"\n" not in line and len(line) < 4096:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            stream.settimeout(left)
            data = stream.recv(4096)
            if not data:
                break
            line += data
    finally:
        connection.close()
    words = line.partition(b"\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ValueError("what answered does not speak HTTP")
    status = int(words[1])
    if not 200 <= status < 400:
        raise ValueError(f"HTTP status {status}")


def _split(authority: str, default: int) -> tuple[str, int]:
    authority = authority.rpartition("@")[2]
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, int(rest.lstrip(":") or default)
    host, _, port = authority.partition(":")
    return host, int(port or default)


def _encrypted(connection: socket.socket, host: str, timeout: float) -> Any:
    import socket as whole  # noqa: PLC0415 - what `ssl` takes
    import ssl  # noqa: PLC0415 - 6 MB that most probes do without

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = whole.socket(fileno=connection.detach())
    plain.settimeout(timeout)
    return context.wrap_socket(plain, server_hostname=host)


def _exec(name: str, seconds: float, engine: str, command: list[str]) -> int:
    """Become the engine's own way to run a command in a container. PID 1 ends it when its time is over."""
    if not os.path.exists(f"{PATH}/{name}/pid"):
        sys.stderr.write("unhealthy: the container does not run yet\n")
        return NOT_YET
    if engine == "docker":
        from init.containers import docker  # noqa: PLC0415 - the other engines do without

        return docker.execute(name, command, seconds)
    container = name
    if engine == "podman":
        try:
            with open(f"{PATH}/{name}/cid") as stream:
                container = stream.read().strip()
        except FileNotFoundError:
            sys.stderr.write("unhealthy: podman has not started it yet\n")
            return NOT_YET
    return os.execv(_RUNTIME[0], (*_RUNTIME, container, *command))  # noqa: S606 - no shell is wanted
