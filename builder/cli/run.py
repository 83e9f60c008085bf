"""`berth run`: boot an artifact in QEMU, with the tools tree's QEMU."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from builder.artifact.inspect import inspect
from builder.cli.arguments import number
from builder.cli.configfile import checked, read_config
from builder.cli.context import Context
from builder.cli.inputs import add_network, network_of, working_tools
from builder.emulate.image import Image, Kind, detect
from builder.emulate.options import Options, parse_forward, parse_until
from builder.emulate.ports import of_machine
from builder.emulate.run import has_terminal
from builder.emulate.run import run as run_guest
from builder.errors import InputError, UsageError
from builder.recipe import load
from builder.writable import require_writable
from init.dialects.compile import compile_document
from init.formats.machine import Machine

EXAMPLES = """\
  berth run podman                                  the last build of a recipe, with your terminal as its console
  berth run podman --config box1.yaml --forward 8080:80
  berth run build/out/podman/podman.raw --firmware uefi --memory 512
  berth run podman --until container.healthy --json for programs: events as JSON lines, status 0 when it came
  berth run podman --disk box.qcow2                 a second disk, made where it is missing

With a terminal, Ctrl-A X ends the machine at once and Ctrl-A C is QEMU's monitor.
"""
ANOTHER_DISK = "choose another file with --disk"
SUFFIXES = (".iso", ".raw", ".qcow2", ".bundle")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "image", metavar="IMAGE|RECIPE", help="an ISO, raw, qcow2 or bundle; or a recipe that was built"
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="a machine config, handed over as a NoCloud disk")
    parser.add_argument("--firmware", choices=("bios", "uefi"), default="bios", help="(default: bios)")
    parser.add_argument("--media", choices=("cd", "disk"), default="cd", help="how an ISO is attached (default: cd)")
    parser.add_argument("--disk", metavar="FILE", type=Path, help="attach a disk; made where it is missing")
    parser.add_argument("--memory", metavar="MB", type=number(32, 1 << 20), default=1024, help="(default: 1024)")
    parser.add_argument("--cpus", metavar="N", type=number(1, 64), default=2, help="(default: 2)")
    parser.add_argument(
        "--forward", metavar="H:G", action="append",
        help="lead this computer's port H to the machine's port G (default: what the config publishes)",
    )  # fmt: skip
    parser.add_argument(
        "--until", metavar="EVENT[:NAME]", help="power off once this event came, as container.healthy:web"
    )
    parser.add_argument(
        "--unattended", metavar="EVENT[:NAME]", help="as --until, where there is no terminal for the console, or --json"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=number(1, 86400),
        help="give up after S seconds (with --until or --unattended: 300)",
    )
    parser.add_argument("--print", action="store_true", dest="print_command", help="print QEMU's command, run nothing")
    parser.add_argument("--direct", action="store_true", help="start the kernel without firmware and GRUB")
    parser.add_argument("--append", metavar="WORDS", default="", help="kernel command line to add, with --direct")
    add_network(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Boot, and return 0 when the machine did what was asked."""
    if arguments.append and not arguments.direct:
        raise UsageError("--append needs --direct", hint="GRUB's command line is part of the slot: build.cmdline")
    path = find_image(arguments.image, context.build_root)
    until = awaited(arguments)
    # All that can be wrong is found before anything is fetched.
    image = detect(path, direct=arguments.direct)
    config, machine = configured(arguments.config, own_config(image, direct=arguments.direct))
    options = Options(
        image=image.path,
        config=config,
        firmware=arguments.firmware,
        media=arguments.media,
        disk=arguments.disk,
        memory=arguments.memory,
        cpus=arguments.cpus,
        forwards=None if arguments.forward is None else tuple(parse_forward(text) for text in arguments.forward),
        until=parse_until(until) if until is not None else None,
        timeout=arguments.timeout,
        json=arguments.json,
        print_command=arguments.print_command,
        direct=arguments.direct,
        cmdline=tuple(arguments.append.split()),
    )
    if arguments.disk is not None:
        check_disk(arguments.disk)
    tools = working_tools(context, network_of(arguments))
    publishes = of_machine(machine) if machine is not None else ()
    return run_guest(options, tools=tools, progress=context.progress, out=sys.stdout, publishes=publishes)


def awaited(arguments: argparse.Namespace) -> str | None:
    """Return the event to wait for. Without a terminal nobody could end a machine that waits for nothing."""
    unattended: str | None = arguments.unattended if arguments.json or not has_terminal() else None
    until: str | None = arguments.until
    return until if until is not None else unattended


def check_disk(disk: Path) -> None:
    """Raise BerthError where a disk cannot be written to, or is missing and cannot be made."""
    if disk.exists():
        if not os.access(disk, os.R_OK | os.W_OK):
            raise InputError(f"{disk} is not yours to write to", hint=ANOTHER_DISK)
        return
    if not disk.absolute().parent.is_dir():
        raise InputError(f"the folder of {disk} does not exist", hint="make it, or choose another place with --disk")
    require_writable(disk.absolute().parent, hint=ANOTHER_DISK)


def find_image(text: str, build_root: Path) -> Path:
    """Return what to boot: a path, or the last build of a recipe."""
    path = Path(text)
    if "/" in text or path.exists() or path.suffix in SUFFIXES:
        return path
    recipe = load(text)
    iso = build_root / "out" / recipe.name / f"{recipe.name}.iso"
    if not iso.is_file():
        raise InputError(f"{recipe.name} is not built yet: there is no {iso}", hint=f"berth build {text}")
    return iso


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnConfig:
    """What an image says of its machine: the recipe's half (None: it does not tell), what was baked into the ISO."""

    machine: bytes | None = None
    baked: bytes | None = None


def own_config(image: Image, *, direct: bool = False) -> OwnConfig:
    """Return the config that an image has of its own. A kernel that is started `direct` sees no medium's.

    Raises InputError for a damaged bundle.
    """
    try:
        found = inspect(image.path) if image.kind is not Kind.SLOT else None
    except InputError:
        if image.kind is Kind.BUNDLE:
            raise  # nobody but Berth makes one
        found = None  # bootable, but not Berth's, or a disk that has been running
    if found is None or found.manifest is None or not found.manifest.machine:
        return OwnConfig()
    return OwnConfig(machine=found.manifest.machine.encode(), baked=None if direct else found.user_data)


def configured(path: Path | None, own: OwnConfig) -> tuple[bytes | None, Machine | None]:
    """Return the user's config and the machine as it will be. Raises InputError.

    As on the machine, one config is laid over the recipe's half: the user's, else the baked one.
    """
    if path is None:
        if own.machine is None:
            return None, None
        data = own.machine if own.baked is None else own.baked
        default = None if own.baked is None else own.machine
        return None, compile_document(data, file="the image's own config", default=default).machine
    data = read_config(path)
    try:
        return data, checked(data, path, default=own.machine)
    except InputError:
        if own.machine is not None:
            raise
    print(
        "  tried all the same: the image does not tell its own config, which may complete it",
        file=sys.stderr,
    )
    return data, None
