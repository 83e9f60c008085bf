"""Sockets of the real kernel: who is at the other end, and that nothing waits."""

from __future__ import annotations

import os
import socket

import pytest

from init.pid1.linux.sockets import SocketCalls


def test_the_peer_is_known_with_all_its_groups(tmp_path):
    calls, path = SocketCalls(), str(tmp_path / "control")
    listening = calls.listen_local(path, 0o666)
    with pytest.raises(BlockingIOError):
        calls.accept(listening)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([27, 100])
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            os.write(writing, b",".join(b"%d" % group for group in os.getgroups()) or b"-")
            os.close(writing)
            client.recv(1)
        finally:
            os._exit(0)
    os.close(writing)
    groups = os.read(reading, 4096)
    connection, where = calls.accept(listening)
    peer = calls.peer(connection)
    assert (peer.pid, peer.uid, where) == (pid, os.getuid(), "")
    assert b",".join(b"%d" % group for group in peer.groups[1:]) == groups.replace(b"-", b"")
    for number in (connection, listening, reading):
        os.close(number)
    os.waitpid(pid, 0)


def test_datagrams_come_whole_or_not_at_all(tmp_path):
    calls, path = SocketCalls(), str(tmp_path / "notify")
    receiving = calls.listen_datagrams(path, 0o666)
    with pytest.raises(BlockingIOError):
        calls.receive(receiving, 100)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", path)
    assert calls.receive(receiving, 100) == b"READY=1"
    os.close(receiving)


def test_a_path_that_is_taken_is_taken_over(tmp_path):
    calls, path = SocketCalls(), str(tmp_path / "control")
    for _ in range(2):
        os.close(calls.listen_local(path, 0o600))
    assert os.stat(path).st_mode & 0o777 == 0o600
