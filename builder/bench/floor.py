"""The floor that a boot is compared with: the same kernel, and a PID 1 that says one line and switches off.

Its /init is 200 bytes of machine code, so that nothing but the kernel is measured.
"""

from __future__ import annotations

import stat
import struct

from builder.image import cpio

LINE = "berth-floor: init is here"
_BASE = 0x400000
_HEADERS = 64 + 56  # of the file and of its one segment: elf(5)
_WRITE, _REBOOT = 1, 169  # system calls of x86-64
_MAGIC, _MAGIC2, _POWER_OFF = 0xFEE1DEAD, 0x28121969, 0x4321FEDC  # reboot(2)


def program() -> bytes:
    """Return a static ELF program: write(1, LINE), reboot(power off), and wait."""
    text = f"{LINE}\n".encode()
    tail = b"".join(
        (
            b"\xba" + struct.pack("<I", len(text)) + b"\x0f\x05",  # mov edx, length · syscall
            b"\xb8" + struct.pack("<I", _REBOOT) + b"\xbf" + struct.pack("<I", _MAGIC),  # mov eax · mov edi
            b"\xbe" + struct.pack("<I", _MAGIC2) + b"\xba" + struct.pack("<I", _POWER_OFF),  # mov esi · mov edx
            b"\x0f\x05\xeb\xfe",  # syscall · jump to here
        )
    )
    head = b"\xb8" + struct.pack("<I", _WRITE) + b"\xbf" + struct.pack("<I", 1)  # mov eax · mov edi
    code = head + b"\x48\x8d\x35" + struct.pack("<i", len(tail)) + tail + text  # lea rsi, [rip + tail]
    size = _HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + code


def initramfs() -> bytes:
    """Return the archive: /init, and the console that the kernel opens for it."""
    console = cpio.Node(path="dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1))
    return cpio.archive(cpio.with_parents([console, cpio.file("init", program(), 0o755)]))
