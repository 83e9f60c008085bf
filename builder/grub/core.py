"""GRUB's images, made by grub-mkimage: what firmware loads, with the script inside.

The script stands in a memdisk, a tar archive in the image, since the configuration that `-c` embeds is read by a
parser that knows neither `if` nor functions. Nothing is read from the ESP. `-m` sets the prefix to the memdisk,
so `-p` has to come after it; `(,gptN)` is then completed by GRUB with the disk that it was started from.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from builder.grub import script as scripts
from builder.tools.call import Tools
from init.formats import disk

_BASE = (
    "boot", "echo", "linux", "loadenv", "memdisk", "normal", "part_gpt", "regexp", "reboot", "serial", "sleep",
    "tar", "terminal", "test", "true",
)  # fmt: skip
_DISK = (*_BASE, "gcry_crc", "hashsum", "probe")
_ISO = (*_BASE, "iso9660", "loopback")
_FOLDER = "b"  # of the memdisk
_EARLY = "set rec=$root\nset prefix=(memdisk)/" + _FOLDER + "\n"
BIOS_FOLDER = "usr/lib/grub/i386-pc"
EFI_FOLDER = "usr/lib/grub/x86_64-efi"
# Whose files lie in the two folders, and so in every image that is made here.
PACKAGES = ("grub-efi-amd64-bin", "grub-pc-bin")
COPYRIGHT = f"usr/share/doc/{PACKAGES[0]}/copyright"  # both are built from one source, with one text


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskLoader:
    """What an installed disk boots by: 512-byte boot sector (not yet patched), BIOS core, UEFI program."""

    boot_sector: bytes
    core: bytes
    efi: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class IsoLoader:
    """What an ISO boots by: hybrid boot sector (not yet patched), El Torito core, UEFI program."""

    boot_sector: bytes
    eltorito: bytes
    efi: bytes


def disk_loader(tools: Tools, script: str | None = None) -> DiskLoader:
    """Make the loader of an installed disk; another `script` than Berth's own is for tests."""
    script = scripts.disk_script() if script is None else script
    scripts.check_script(script, tools)
    prefix = f"(,gpt{disk.RECORDS[0]})/{_FOLDER}"
    return DiskLoader(
        boot_sector=tools.path(f"{BIOS_FOLDER}/boot.img").read_bytes(),
        core=make_image(tools, "i386-pc", script, prefix=prefix, modules=("biosdisk", *_DISK)),
        efi=make_image(tools, "x86_64-efi", script, prefix=prefix, modules=_DISK),
    )


def iso_loader(tools: Tools, *, root_hash: str, title: str) -> IsoLoader:
    """Make the loader of one ISO."""
    script = scripts.iso_script(root_hash=root_hash, title=title)
    scripts.check_script(script, tools)
    prefix = f"(,x)/{_FOLDER}"
    return IsoLoader(
        boot_sector=tools.path(f"{BIOS_FOLDER}/boot_hybrid.img").read_bytes(),
        eltorito=make_image(tools, "i386-pc-eltorito", script, prefix=prefix, modules=("biosdisk", *_ISO)),
        efi=make_image(tools, "x86_64-efi", script, prefix=prefix, modules=_ISO),
    )


def make_image(tools: Tools, target: str, script: str, *, prefix: str, modules: tuple[str, ...]) -> bytes:
    """Run grub-mkimage for `target` (`i386-pc`, `i386-pc-eltorito`, `x86_64-efi`) and return the image."""
    folder = tools.path(BIOS_FOLDER if target.startswith("i386-pc") else EFI_FOLDER)
    with tempfile.TemporaryDirectory(prefix="berth-grub-") as name:
        work = Path(name)
        (work / "early.cfg").write_text(_EARLY, encoding="ascii")
        (work / "memdisk.tar").write_bytes(_memdisk(script))
        tools.run(
            "grub-mkimage",
            "-O", target, "-d", str(folder), "-o", str(work / "image"), "-c", str(work / "early.cfg"),
            "-m", str(work / "memdisk.tar"), "-p", prefix, *modules,
        )  # fmt: skip
        return (work / "image").read_bytes()


def _memdisk(script: str) -> bytes:
    data = script.encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(f"{_FOLDER}/grub.cfg")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
