"""Berth's own small programs in a fork of PID 1, on the real kernel: what such a program has, and what it has not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import init.__main__ as programs
from init.formats.release import APP_PATH, PROGRAM
from init.pid1.linux import own

ROOT = Path(__file__).parents[2]
PARENT = """
import json, os, signal, sys
from init.pid1.linux import own
from init.pid1.linux.kernel import Kernel
from init.pid1.system import Spawn

def main(words):
    {body}

own.LIGHT["probe"] = main
kernel = Kernel()
signals = kernel.open_signals((signal.SIGTERM,))
secret = os.open("/dev/null", os.O_RDONLY)
reading, writing = os.pipe()
argv = ({prefix}, "probe", "a", "b")
pid = kernel.spawn(Spawn(argv=argv, environment=(("ONLY", "this"),), stdout=writing, stderr=writing))
os.close(writing)
said = open(reading, "rb").read().decode()
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said, pid]))
"""


def spawned(body: str) -> list[Any]:
    """Let a parent spawn a program with this body; return its status, what it said and its pid."""
    text = PARENT.format(body=body, prefix=", ".join(map(repr, PROGRAM)))
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said: list[Any] = json.loads(done.stdout)
    return said


def test_it_has_its_words_its_environment_its_streams_and_nothing_else():
    status, said, pid = spawned(
        "print(json.dumps([words, dict(os.environ), sorted(map(int, os.listdir('/proc/self/fd')))[:-1],"
        " len(signal.pthread_sigmask(signal.SIG_BLOCK, ())), os.getsid(0) == os.getpid(),"
        " open('/proc/self/comm').read().strip(), os.getpid()])); return 7"
    )
    assert status == 7
    words, environment, descriptors, blocked, session, name, own_pid = json.loads(said)
    assert words == ["a", "b"]
    assert environment == {"ONLY": "this"}
    assert descriptors == [0, 1, 2], "the control socket, the watchdog and the signals are PID 1's alone"
    assert (blocked, session, name, own_pid) == (0, True, "probe", pid)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('no')", 1, ""),
        ("raise KeyError('boom')", 125, "berth: probe failed: KeyError: 'boom'\n"),
        ("sys.stdout.write('last words')", 0, "last words"),
        ("os.execv('/bin/sh', ('/bin/sh', '-c', 'echo $ONLY; exit 4'))", 4, "this\n"),
    ],
)
def test_however_it_ends_no_second_pid_1_comes_of_it(body: str, status: int, text: str):
    assert spawned(body)[:2] == [status, text]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((*PROGRAM, "probe", "tcp"), ("probe", "tcp")),
        ((*PROGRAM, "container", "run", "web"), ("container", "run", "web")),
        ((*PROGRAM, "config"), ()),
        (PROGRAM, ()),
        (("/usr/bin/python3", "-ISB", "/other", "probe"), ()),
        (("/usr/sbin/sshd", "-D"), ()),
    ],
)
def test_only_berths_light_programs_are_run_so(argv: tuple[str, ...], words: tuple[str, ...]):
    assert own.words_of(argv) == words


def test_they_are_the_programs_that_make_their_values_the_light_way():
    assert tuple(own.LIGHT) == programs.LIGHT


def test_the_interpreter_of_the_machine_is_not_needed_for_it():
    assert not os.path.lexists(APP_PATH), "so what was seen above ran in the fork"
