"""The real installer in a namespace, with folders that tell it of a machine; all else is as on one.

Started by the stand-in for Berth's programs in `test_conductor_namespaced.py`. argv: the folder with `sys`, `dev`,
then the installer's own words. The medium's images are small and not what its manifest says, so that an installation
which is begun ends with them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from init.formats import loader
from init.installer import disks, main

ROOT_HASH = "ab" * 32


def lay_out(box: Path) -> main.Places:
    """Write what the live ISO has: its command line, its medium, and the loader that its root brings."""
    (box / "mounts").write_text("")
    (box / "cmdline").write_text(f"berth.media=iso berth.root={ROOT_HASH},4096\n")
    medium, brought = box / "medium/berth", box / "loader"
    medium.mkdir(parents=True)
    brought.mkdir()
    parts = [{"name": name, "size": 3, "sha256": hashlib.sha256(b"one").hexdigest()} for name in ("boot", "root")]
    manifest = {"root_hash": ROOT_HASH, "parts": parts, "release": {"version": "1.0"}}
    (medium / "manifest.json").write_text(json.dumps(manifest))
    for name in ("boot.img", "root.img"):
        (medium / name).write_bytes(b"two")
    (brought / loader.FACTS).write_text(loader.Facts(loader=1, root_mib=1).to_json())
    for name in (loader.BOOT, loader.CORE, loader.ESP):
        (brought / name).write_bytes(b"x" * 440)
    return main.Places(
        disks=disks.Places(sys=box / "sys", dev=box / "dev", mounts=box / "mounts"),
        mount=box / "medium",
        command_line=box / "cmdline",
        loader=brought,
        pause=lambda seconds: None,
    )


box, words = Path(sys.argv[1]), sys.argv[2:]
parser = argparse.ArgumentParser()
parser.add_argument("--disk")
wanted = parser.parse_args(words).disk
places = lay_out(box)
sys.exit(main.run(wanted, None, dry_run=False, places=places, say=lambda value: print(json.dumps(value), flush=True)))
