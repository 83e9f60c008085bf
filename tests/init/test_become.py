"""A program that becomes another, on the real kernel: what goes along, and what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from init.pid1.linux.kernel import Kernel

ROOT = Path(__file__).parents[2]
SECOND = """
import os, sys
from init.pid1.linux.kernel import Kernel
kernel, kept, left = Kernel(), int(sys.argv[1]), int(sys.argv[2])
kernel.adopt(kept)
print(os.getpid(), kernel.read_uevents(kept), os.get_inheritable(kept), os.path.exists(f"/proc/self/fd/{left}"))
"""
FIRST = f"""
import os, socket, sys
from init.pid1.linux.kernel import Kernel
news = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
news.bind((0, 1))
left = os.open("/dev/null", os.O_RDONLY)
Kernel().become((sys.executable, "-c", {SECOND!r}, str(news.fileno()), str(left)), [news.fileno()])
"""


def test_the_process_stays_and_the_descriptors_that_are_named_go_along():
    with subprocess.Popen(
        [sys.executable, "-c", FIRST], cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        said, _ = process.communicate()
    pid, rest = said.decode().split(maxsplit=1)
    assert int(pid) == process.pid
    assert rest.split()[-2:] == ["False", "False"], "children don't get it, and what was not named is closed"


def test_a_program_that_is_not_there_leaves_everything_as_it_was():
    kernel = Kernel()
    reading, writing = os.pipe()
    with pytest.raises(FileNotFoundError):
        kernel.become(("/nowhere/program",), [reading])
    assert not os.get_inheritable(reading)
    os.close(reading)
    os.close(writing)
