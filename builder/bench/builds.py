"""How long a build takes, and how much memory: with nothing at all, with packages cached, after a change, unchanged.

What is downloaded comes from a web server of this process on loopback, so that the figure is the builder's own: asking,
checking, storing. The change is one small package more, whose .deb lies in the store already and is read for the first
time; initramfs, root image and artifacts are made anew, as by a package with another version.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

from builder.bench.measured import Measured, measure
from builder.lock.file import read_lock, write_lock
from builder.lock.select import ROOT
from builder.recipe import find
from builder.steps import SOURCE_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from builder.fetch.store import Store
    from builder.lock.model import Lock

MORE = "cpio"  # of the tools; it needs nothing but the C library


@dataclass(frozen=True, kw_only=True, slots=True)
class Builds:
    """One recipe's builds."""

    fetched: Measured  # all packages, the tools' too, come from a mirror on this computer
    cold: Measured  # nothing is downloaded from here on; the tools tree, too, is unpacked
    changed: Measured
    unchanged: Measured


def build_times(recipe: str, kernel: str, *, locks: Sequence[Lock], store: Store, work: Path) -> Builds:
    """Build four times in the empty folder `work`; raise BuildError where a build fails."""
    argv = [*BERTH, "build", recipe, "--quiet", "--set", f"build.kernel={kernel}"]

    def once(folder: str, *more: str) -> Measured:
        environment = {**os.environ, "BERTH_CACHE": str(work / folder / "cache"), "PYTHONPATH": str(SOURCE_ROOT)}
        return measure([*argv, *more], cwd=work / folder, environment=environment)

    shutil.rmtree(work, ignore_errors=True)
    for folder in ("empty", "filled"):
        (work / folder).mkdir(parents=True)
    try:
        with mirror(locks, store) as base:
            fetched = once("empty", "--mirror", base, "--mirror", base)
        copy_packages(locks, store, work / "filled" / "cache")
        cold = once("filled", "--offline")
        unchanged = once("filled", "--offline")
        add_package(recipe, work / "filled" / "recipes")
        changed = once("filled", "--offline")
        return Builds(fetched=fetched, cold=cold, unchanged=unchanged, changed=changed)
    finally:
        shutil.rmtree(work, ignore_errors=True)


BERTH = (sys.executable, "-c", "import sys; from builder.cli.main import main; sys.exit(main(sys.argv[1:]))")


def copy_packages(locks: Iterable[Lock], store: Store, cache: Path) -> None:
    """Put the .debs of these locks, and nothing else, into a new cache."""
    for sha256 in sorted({package.sha256 for lock in locks for package in lock.packages}):
        source = store.path(sha256)
        target = cache / "blobs" / sha256[:2] / sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o444)


@contextlib.contextmanager
def mirror(locks: Iterable[Lock], store: Store) -> Iterator[str]:
    """Serve the .debs of these locks on loopback, each at its place in the archive; give the base address."""
    paths = {f"/{package.filename}": store.path(package.sha256) for lock in locks for package in lock.packages}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = paths.get(unquote(self.path))
            self.send_response(200 if path else 404)
            self.send_header("Content-Length", str(path.stat().st_size if path else 0))
            self.end_headers()
            if path:
                with path.open("rb") as file:
                    shutil.copyfileobj(file, self.wfile)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def add_package(recipe: str, recipes: Path) -> None:
    """Write a recipe of the same name with `MORE` in it, and its lock, where they are found before the shipped ones."""
    shipped = find(recipe)
    lock = read_lock(shipped.with_suffix(".lock"))
    more = next(one for one in read_lock(find("tools").with_suffix(".lock")).packages if one.name == MORE)
    recipes.mkdir()
    (recipes / shipped.name).write_text(
        f"extends: {json.dumps(str(shipped.resolve()))}\nbuild:\n  packages: [{MORE}]\n"
    )
    parts = tuple(replace(part, requests=(*part.requests, *(MORE,) * (part.name == ROOT))) for part in lock.parts)
    packages = sorted((*lock.packages, replace(more, parts=(ROOT,))), key=lambda package: package.name)
    write_lock(replace(lock, parts=parts, packages=tuple(packages)), recipes / f"{recipe}.lock")
