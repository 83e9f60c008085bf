"""A program that behaves as QEMU does towards us: sockets by descriptor, QMP.

It plays the guest by the lines of a script: an event and its name; `say TEXT` on the console, `ask TEXT` without the
line's end; `wait` for the power button; `monitor FILE` answers whatever QEMU's control asks, a dump of the memory with
that file, until it hangs up; `complain TEXT` on stderr; `status N` and `hang` end it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

PLAYER = """
import json, os, re, shutil, socket, sys, time
def channel(name):
    words = " ".join(sys.argv)
    return socket.socket(fileno=int(re.search(rf"id={name},fd=(\\d+)", words)[1]))
events, console, control = channel("events"), channel("console"), channel("control")
control.sendall(b'{"QMP": {}}\\n')
def power_button():
    asked = b""
    while b"system_powerdown" not in asked:
        data = control.recv(4096)
        asked += data
        control.sendall(b'{"event": "X"}\\n{"return": {}}\\n' * data.count(b"\\n"))
def monitor(memory):
    lines = control.makefile("r")
    for request in map(json.loads, lines):
        if request["execute"] == "pmemsave": shutil.copy(memory, request["arguments"]["filename"])
        said = "CPU#0\\nRIP=00ff RFL=0 CPL=0 HLT=1\\n" if request["execute"] == "human-monitor-command" else {}
        control.sendall(json.dumps({"return": said}).encode() + b"\\n")
for line in os.environ["SCRIPT"].splitlines():
    word, _, rest = line.partition(" ")
    if word == "say": console.sendall(rest.encode() + b"\\r\\n")
    elif word == "ask": console.sendall(rest.encode())
    elif word == "monitor": monitor(rest)
    elif word == "wait": power_button()
    elif word == "status": sys.exit(int(rest))
    elif word == "hang": time.sleep(60)
    elif word == "complain": print(rest, file=sys.stderr)
    else: events.sendall(json.dumps({"event": word, "name": rest, "t": 1.5}).encode() + b"\\n")
"""


class Player:
    """A tools tree whose QEMU is the program above."""

    def __init__(self, folder: Path, script: str) -> None:
        self.program = folder / "player.py"
        self.program.write_text(PLAYER)
        self.script = script
        self.folder = folder

    def argv(self, tool: str, *arguments: str) -> list[str]:
        # The accelerator's tiny guest has no sockets, and gets no answer here.
        if not any(word.startswith("socket,") for word in arguments):
            return [sys.executable, "-c", ""]
        return [sys.executable, "-ISB", str(self.program), *arguments]

    def environment(self) -> Mapping[str, str]:
        return {"SCRIPT": self.script}

    def path(self, relative: str) -> Path:
        return self.folder / relative
