"""GRUB's scripts, rendered from templates with the facts of `init.formats`, so that none stands twice."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import jinja2

from builder.errors import BuildError, ToolError
from builder.tools.call import Tools
from init.formats import bootimage, bootrecord, disk

ISO_FOLDER = "/berth"
ISO_BOOT_IMAGE = f"{ISO_FOLDER}/boot.img"
ISO_RESCUE_KEY = "r"  # pressed while GRUB starts, it asks for rescue instead of the live system
_RESCUE_WAIT = 300  # seconds before a machine on which nothing loads tries again
_LOAD_WAIT = 5  # seconds that the reason why a slot does not load can be read
_ISO_WAIT = 60


def iso_marker(root_hash: str) -> str:
    """Return the path of the empty file that tells this ISO from every other."""
    return f"{ISO_FOLDER}/{root_hash[:16]}"


def disk_script() -> str:
    """Return the script of an installed disk. It is the same for every recipe and release."""
    joined = "1/" + "/".join(f"${name}" for name in bootrecord.VARIABLES[:-1])
    return _render(
        "disk.cfg.j2",
        variables=list(bootrecord.VARIABLES),
        file=bootrecord.FILE_NAME,
        pattern=bootrecord.CHECK_PATTERN,
        grouped=_grouped(bootrecord.CHECK_PATTERN),
        joined=joined,
        records=list(disk.RECORDS),
        boots=disk.BOOTS,
        sums=bootimage.SUMS,
        sums_hash=bootimage.SUMS_HASH,
        rescue_wait=_RESCUE_WAIT,
        load_wait=_LOAD_WAIT,
    )


def iso_script(*, root_hash: str, title: str) -> str:
    """Return the script of one ISO. `title` is the line that it prints before the kernel is loaded."""
    if re.fullmatch(r"[\w .,:()+~/-]*", title, flags=re.ASCII) is None:
        raise BuildError(f"GRUB cannot print {title!r}: letters, digits, blanks and .,:()+~/_- only")
    return _render(
        "iso.cfg.j2",
        marker=iso_marker(root_hash),
        boot_image=ISO_BOOT_IMAGE,
        title=title,
        iso_wait=_ISO_WAIT,
        rescue_key=ISO_RESCUE_KEY,
    )


def check_script(script: str, tools: Tools) -> None:
    """Let GRUB's own parser read a script; raise BuildError where it does not.

    A syntax error would end in GRUB's prompt, which waits for ever.
    """
    with tempfile.TemporaryDirectory(prefix="berth-grub-") as folder:
        path = Path(folder) / "grub.cfg"
        path.write_text(script, encoding="utf-8")
        try:
            tools.run("grub-script-check", str(path))
        except ToolError as error:
            raise BuildError(f"GRUB does not take the script made for it: {error.message}") from error


def _grouped(pattern: str) -> str:
    """Return `pattern` with a group around each field, for `regexp --set`."""
    fields = pattern.removeprefix("^").removesuffix("$").split("/")
    groups = [field if field.startswith("(") else f"({field})" for field in fields[1:]]
    return "^" + "/".join([fields[0], *groups]) + "$"


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the result is a script for GRUB, not a page
    )
    text = environment.get_template(template).render(boot=bootimage, loader=bootrecord.LOADER_FORMAT, **values)
    return text.lstrip("\n")
