"""Berth's own half of the machine: the package `init` as byte code, its programs, what the release is, baked images."""

from __future__ import annotations

from pathlib import Path

import init
from builder.rootfs.entry import Entry, Kind
from builder.rootfs.unpack import Unpacked
from builder.stages.bytecode import compile_sources, must_compile
from builder.stages.context import StageContext
from builder.stages.draft import Draft
from init.formats import loader, release

_APP = release.APP_PATH.lstrip("/")
_BERTHCTL = """\
#!/usr/bin/python3 -ISB
import sys
try:
    sys.path.insert(0, "{app}")
    from init.berthctl.main import main
    sys.exit(main())
except KeyboardInterrupt:  # before it could handle one itself
    sys.exit(130)
"""
_PROGRAMS = """\
\"\"\"Started as `python3 -ISB {app} PROGRAM …`: the first word is a program of `init`.\"\"\"

from init.__main__ import main

raise SystemExit(main())
"""


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Put our own files on the machine."""
    count = _app(draft, context)
    draft.file("usr/bin/berthctl", _BERTHCTL.format(app=release.APP_PATH), mode=0o755)
    draft.file(release.PATH.lstrip("/"), context.release.to_json())
    if context.machine_json:
        draft.file(release.DEFAULT_MACHINE_PATH.lstrip("/"), context.machine_json)
    if context.machine_document:
        draft.file(release.DEFAULT_DOCUMENT_PATH.lstrip("/"), context.machine_document)
    for name, data in context.loader.items():
        draft.file(f"{loader.FOLDER.lstrip('/')}/{name}", data)
    if context.recipe.build.update_root:
        draft.file(release.UPDATE_ROOT_PATH.lstrip("/"), context.recipe.build.update_root)
    draft.remove("etc/os-release")
    draft.file("usr/lib/os-release", os_release(context))
    draft.link("etc/os-release", "../usr/lib/os-release")
    _modprobe(draft)
    for node in context.images:
        draft.put(node)
    return f"{count} modules of our own" + (f", {len(context.images)} paths of images" if context.images else "")


def sources() -> list[tuple[str, Path]]:
    """Return the modules of `init` (name below the application's folder, file here), sorted, without tests."""
    folder = Path(init.__file__ or "").parent
    return sorted(
        (f"init/{path.relative_to(folder).as_posix()}", path)
        for path in folder.rglob("*.py")
        if not {"tests", "__pycache__"} & set(path.relative_to(folder).parts)
    )


def _app(draft: Draft, context: StageContext) -> int:
    texts = {name: path.read_bytes() for name, path in sources()}
    texts["__main__.py"] = _PROGRAMS.format(app=release.APP_PATH).encode()
    given = [(f"{_APP}/{name}", context.store.put(data)) for name, data in sorted(texts.items())]
    for path, (size, sha256) in sorted(must_compile(compile_sources(given, context)).items()):
        draft.put(Entry(path=f"{path}c", kind=Kind.FILE, mode=0o644, origin=draft.origin, size=size, sha256=sha256))
        parent = path.rpartition("/")[0]
        while parent != "usr/lib/berth":
            draft.folder(parent)
            parent = parent.rpartition("/")[0]
    return len(given)


def os_release(context: StageContext) -> str:
    """Return os-release(5): ours by name, Debian's by what it is like, so that scanners know what to look up."""
    is_release = context.release
    codename = context.recipe.build.suite
    rows = {
        "PRETTY_NAME": f"Berth {is_release.name} {is_release.version}",
        "NAME": "Debian GNU/Linux",
        "ID": "debian",  # scanners choose their database by it, and the packages are Debian's own
        "VERSION_CODENAME": codename,
        "VERSION_ID": _DEBIAN.get(codename, ""),
        "VARIANT": "Berth",
        "VARIANT_ID": "berth",
        "IMAGE_ID": is_release.machine_class,
        "IMAGE_VERSION": is_release.version,
    }
    return "".join(f'{key}="{value}"\n' for key, value in rows.items() if value)


_DEBIAN = {"trixie": "13", "bookworm": "12", "forky": "14"}


def _modprobe(draft: Draft) -> None:
    """The kernel starts `/sbin/modprobe` by that name when it wants a module."""
    if "usr/sbin/modprobe" not in draft and "usr/bin/kmod" in draft:
        draft.link("usr/sbin/modprobe", "../bin/kmod")
