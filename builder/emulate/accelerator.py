"""Which accelerator a guest can use: KVM only where it is seen to work, else emulation.

`/dev/kvm` can be opened on machines where no guest ever answers (nested virtualisation switched off, containers), so
neither its presence nor its opening says anything: a guest of 512 bytes is asked.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER = 0x21  # what the tiny guest writes; QEMU ends with 2 × it + 1
_PATIENCE = 10.0  # seconds: SeaBIOS needs well under one with KVM
# out 0xf4, al ends QEMU by its debug-exit device: mov al, ANSWER · out 0xf4, al · hlt · jmp back
_CODE = bytes((0xB0, ANSWER, 0xE6, 0xF4, 0xF4, 0xEB, 0xFD))
BOOT_SECTOR = _CODE + bytes(510 - len(_CODE)) + b"\x55\xaa"


class Tools(Protocol):
    """What of the tools tree is needed here."""

    def argv(self, tool: str, *arguments: str) -> list[str]:
        """Return the argument list that starts a tool."""

    def environment(self) -> Mapping[str, str]:
        """Return the environment that a tool starts in."""

    def path(self, relative: str) -> Path:
        """Return a data file or folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """What to use: QEMU's arguments, and why in words."""

    name: str
    arguments: tuple[str, ...]
    reason: str


KVM_ARGUMENTS = ("-accel", "kvm", "-cpu", "host")
# A processor that has them copies and clears fastest by one instruction for any number of bytes. Emulated, that takes a
# byte at a time; without them kernel and libc take eight or more.
_SLOW_STRINGS = ("erms", "fsrm", "fzrm", "fsrs")
TCG_CPU = ",-".join(("max", *_SLOW_STRINGS))
TCG_ARGUMENTS = ("-accel", "tcg,thread=multi", "-cpu", TCG_CPU)


def choose(tools: Tools, *, cpuinfo: Path = Path("/proc/cpuinfo"), device: Path = Path("/dev/kvm")) -> Accelerator:
    """Return the accelerator to use. Never fails: emulation always works."""
    why_not = _obstacle(tools, cpuinfo, device)
    if why_not:
        return Accelerator(name="tcg", arguments=TCG_ARGUMENTS, reason=why_not)
    return Accelerator(name="kvm", arguments=KVM_ARGUMENTS, reason="a tiny guest answered under KVM")


def _obstacle(tools: Tools, cpuinfo: Path, device: Path) -> str:
    try:
        flags = cpuinfo.read_text().split()
    except OSError as error:
        return f"{cpuinfo} cannot be read: {error.strerror}"
    if "vmx" not in flags and "svm" not in flags:
        return "the processor shows neither vmx nor svm"
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{device} cannot be opened: {error.strerror}"
    if not answers(tools, KVM_ARGUMENTS):
        return f"{device} is there, but a tiny guest did not answer"
    return ""


def answers(tools: Tools, arguments: tuple[str, ...], *, patience: float = _PATIENCE) -> bool:
    """Return whether a tiny guest comes up under these arguments within `patience` seconds."""
    with tempfile.NamedTemporaryFile(prefix="berth-", suffix=".img") as disk:
        disk.write(BOOT_SECTOR)
        disk.flush()
        argv = tools.argv(
            "qemu-system-x86_64", "-nodefaults", "-machine", "pc", *arguments, "-m", "16", "-display", "none",
            "-L", str(tools.path("usr/share/qemu")), "-L", str(tools.path("usr/share/seabios")),
            "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
            "-drive", f"if=ide,format=raw,file={disk.name.replace(',', ',,')}", "-snapshot",
        )  # fmt: skip
        try:
            done = subprocess.run(
                argv, env=dict(tools.environment()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=patience, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == 2 * ANSWER + 1
