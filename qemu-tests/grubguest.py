"""A QEMU that starts from one disk again and again, for tests of GRUB: no kernel of ours has to come up to be heard.

Between two starts the guest stands still while its disk is written from outside; QEMU keeps nothing of a raw image.
"""

from __future__ import annotations

import calendar
import json
import os
import re
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from builder.emulate.accelerator import TCG_CPU
from builder.tools.call import Tools
from init.formats import disk
from init.formats.bootrecord import COPY_BYTES

DEADLINE = 90.0  # seconds for one answer; it takes one to five


class Guest:
    """One QEMU. It waits until `start` or `start_with` is called for the first time."""

    def __init__(
        self,
        tools: Tools,
        firmware: str,
        image: Path,
        folder: Path,
        *,
        refused: tuple[int, ...] = (),
        counted: bool = False,
    ) -> None:
        """Make it; `refused` are sectors that the drive does not write.

        `counted`: the guest's clock goes on by 1,024 ns with each instruction, whatever the computer's clock says, so
        that minutes in which GRUB only waits pass in seconds.
        """
        # A rule without an event holds from the start; `iotype` alone limits it to writes.
        rules = "".join(
            f",inject-error.{index}.event=none,inject-error.{index}.iotype=write,inject-error.{index}.sector={sector}"
            for index, sector in enumerate(refused)
        )
        self.image = image
        self._said = b""
        self._told: list[dict[str, Any]] = []
        self.began = 0.0  # by the guest's clock
        control = folder / "qmp"
        arguments = [
            "-L", str(tools.path("usr/share/qemu")), "-L", str(tools.path("usr/share/seabios")),
            "-M", "q35", "-accel", f"tcg,thread={'single' if counted else 'multi'}", "-cpu", TCG_CPU, "-smp", "1",
            "-m", "256",
            "-nodefaults", "-display", "none", "-serial", "stdio", "-S", "-qmp", f"unix:{control},server=on,wait=off",
            "-blockdev", f"driver=blkdebug,node-name=d,image.driver=file,image.filename={image}{rules}",
            "-device", "virtio-blk-pci,drive=d,write-cache=off,werror=report",
        ]  # fmt: skip
        if counted:
            arguments += ["-icount", "shift=10,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]
        if firmware == "uefi":
            variables = folder / "vars.fd"
            shutil.copyfile(tools.path("usr/share/OVMF/OVMF_VARS_4M.fd"), variables)
            code = tools.path("usr/share/OVMF/OVMF_CODE_4M.fd")
            arguments += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
            arguments += ["-drive", f"if=pflash,format=raw,file={variables}"]
        self.process = subprocess.Popen(
            tools.argv("qemu-system-x86_64", *arguments),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=tools.environment(),
        )  # fmt: skip
        self.control = self._connect(control)
        self._ask("qmp_capabilities")

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + DEADLINE
        while True:
            control = socket.socket(socket.AF_UNIX)
            try:
                control.connect(str(path))
            except OSError:
                control.close()
                assert self.process.poll() is None, self.process.stdout.read() if self.process.stdout else ""
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                self.answers = control.makefile("r")
                self.answers.readline()
                return control

    def _ask(self, command: str, **arguments: str) -> Any:
        """Return the answer; what QEMU tells of itself on the way is kept."""
        request = {"execute": command, "arguments": arguments}
        self.control.sendall(json.dumps(request).encode() + b"\n")
        while True:
            told = json.loads(self.answers.readline() or '{"return": null}')
            if "return" in told:
                return told["return"]
            assert "error" not in told, told
            self._told.append(told)

    def clock(self) -> float:
        """Return the time of the guest's own clock, in seconds since the epoch."""
        now = self._ask("qom-get", path="/machine", property="rtc-time")
        names = ("tm_mday", "tm_hour", "tm_min", "tm_sec")
        return float(calendar.timegm((1900 + now["tm_year"], 1 + now["tm_mon"], *(now[name] for name in names))))

    def wait_for_reset(self) -> str:
        """Return why the guest is reset: next, or since it was last started from outside."""
        self.control.settimeout(DEADLINE)
        while not (reasons := [one["data"]["reason"] for one in self._told if one.get("event") == "RESET"]):
            self._told.append(json.loads(self.answers.readline()))
        self._told.clear()
        return str(reasons[0])

    def start_with(self, copies: tuple[bytes, bytes], layout: disk.Layout) -> None:
        """Write the copies and reset."""
        self._ask("stop")
        with self.image.open("r+b") as file:
            for number, copy in zip(disk.RECORDS, copies, strict=True):
                file.seek(layout.number(number).offset_bytes)
                file.write(copy)
        self.start()

    def start(self) -> None:
        """Start from the beginning with what is on the disk."""
        self._ask("stop")
        while self._read(0):
            pass
        self._said = b""
        self._ask("system_reset")
        self.began = self.clock()
        self._told.clear()  # this reset is none of the guest's
        self._ask("cont")

    def wait_for(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        """Return the next match on the serial console; what stands before it is not looked at again."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            if found := pattern.search(self._said):
                self._said = self._said[found.end() :]
                return found
            self._said += self._read(0.5)
        raise AssertionError(f"no {pattern.pattern!r} in {self._said!r}")

    def copies(self, layout: disk.Layout) -> tuple[bytes, bytes]:
        """Read the record partitions back."""
        with self.image.open("rb") as file:
            read = []
            for number in disk.RECORDS:
                file.seek(layout.number(number).offset_bytes)
                read.append(file.read(COPY_BYTES))
        return read[0], read[1]

    def _read(self, seconds: float) -> bytes:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return os.read(self.process.stdout.fileno(), 65536) if ready else b""

    def close(self) -> None:
        """End the guest."""
        self.process.kill()
        self.process.wait()
        self.control.close()
        self.answers.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
