"""What an update costs a machine: bytes fetched, time and memory, of real versions that Debian replaced.

A recipe's lock has packages of the security suite; what they replaced is still in the main suite, as of the last point
release. So one slot is built of the lock, others of the same lock with older packages: one small source's, the
kernel's, and all that were replaced. Each is published, then the newest; a guest that runs the older one takes it, and
tells what its own updater counted.

What the security suite holds changes with each day, and a point release empties it. Of the small ones that were
replaced the bench takes krb5, else the smallest; where there is none, both slots get a file of the bench's own in place
of a package. A kernel that was not replaced has no figure.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import random
import shutil
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.artifact.unbundle import read_bundle
from builder.bench.boots import CPUS, MEMORY
from builder.bench.goals import verdict
from builder.bench.guest import console_of, look_for_fault, once_more
from builder.bench.report import MB, MIB, table
from builder.cli.inputs import Network, open_source, ready_lock
from builder.emulate.options import Options
from builder.emulate.run import prepare
from builder.emulate.session import Session
from builder.errors import GuestFailed, Place
from builder.fetch.packages import fetch_lock
from builder.lock.apt import AptSolver
from builder.lock.archive import open_archive
from builder.lock.file import render_lock
from builder.lock.recipe import lock_from
from builder.lock.select import for_build
from builder.lock.universe import Suites
from builder.pipeline import Order, build
from builder.recipe import load
from builder.recipe.model import ExtraFile
from builder.repository import rotation
from builder.repository.folder import Folder
from builder.repository.publish import Publisher
from builder.repository.server import Server
from builder.repository.signing import KeyFolder
from builder.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.cli.context import Context
    from builder.lock.model import Lock
    from builder.recipe.model import Recipe
    from builder.tools.call import Tools

SHARE_GOAL = 10.0  # percent of the slot image, for one small package
MEMORY_GOAL = 64.0  # MiB
SMALL = "krb5"  # a source package; in every recipe, for OpenSSH needs its libraries
SMALL_MOST = 2 << 20  # bytes of the .debs of one that is called small
KERNEL = "linux"
ONE_SMALL = "one small package"
FILE_PATH = "/usr/lib/berth/bench"
FILE_SIZES = (300_000, 309_000)  # bytes that can't be compressed, as of a program of 0.8 MB; the newer one is longer
PATIENCE = 600.0  # seconds: an emulated guest on a shared machine
MARK = "bench-update "
_CONFIG = """#cloud-config
berth:
  health: {{within: 60s, settle: 3s}}
  update: {{repository: "http://10.0.2.2:{port}/", policy: manual, root: {root}}}
runcmd:
  - |
    until berthctl update check >/dev/null 2>&1; do sleep 1; done
    until berthctl status --json | grep -q '"good": true'; do sleep 1; done
    echo "{mark}$(berthctl update apply --json)" > /dev/console
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """One update as its machine told it: bytes, seconds, and bytes of the updater's peak memory."""

    name: str
    size: int  # of the slot image
    new: int  # of the blocks that the older release had not
    fetched: int
    seconds: float
    memory: int


def updates(recipe_name: str, kernel: str, tools: Tools, context: Context) -> Iterator[Update]:
    """Build, publish and take; yield each as soon as it is known. Raises BerthError."""
    recipe = load(recipe_name, [f"build.kernel={kernel}"])
    lock = for_build(ready_lock(recipe, tools, context, Network(heal=True)), kernel)
    older = _older(recipe, tools, context)
    folder = context.build_root / "bench" / f"updates-{recipe_name}-{kernel}"
    newest = _built(recipe, lock, folder / "newest", tools, context)
    cases = _cases(lock, older)
    if not any(name.startswith(ONE_SMALL) for name in cases):
        changed = [_with_file(recipe, folder, size) for size in FILE_SIZES]
        old, new = (_built(one, lock, folder / f"file-{number}", tools, context) for number, one in enumerate(changed))
        yield _taken(f"{ONE_SMALL} (a file of {FILE_SIZES[1] / MB:.1f} MB)", old, new, tools)
    for number, (name, sources) in enumerate(cases.items()):
        old = _built(recipe, _mixed(lock, older, sources), folder / f"older-{number}", tools, context)
        yield _taken(name, old, newest, tools)


def _older(recipe: Recipe, tools: Tools, context: Context) -> Lock:
    """Return the same recipe's lock without updates, its packages fetched."""
    build_of = recipe.build
    source = open_source(context, Network(heal=True))
    archive = open_archive(source, build_of.suite, build_of.architecture, previous=())
    index = next(index for index in archive.indexes if index.suite == build_of.suite)
    main = replace(
        archive,
        releases=tuple(release for release in archive.releases if release.suite == build_of.suite),
        indexes=(index,),
        universe=Suites((index,), build_of.architecture),
    )
    solver = AptSolver(tools, context.store, build_of.architecture)
    found = for_build(lock_from(recipe, main, solver, context.progress), build_of.kernel)
    fetch_lock(found, context.store, source.mirrors, context.progress)
    return found


def _cases(lock: Lock, older: Lock) -> dict[str, frozenset[str]]:
    """Return which source packages are older in each case, the small one first; no case where none was replaced."""
    versions = {package.name: package.version for package in older.packages}
    moved = {package.source for package in lock.packages if versions.get(package.name) != package.version}
    kernel = frozenset(source for source in moved if source.startswith(KERNEL))
    sizes = {source: sum(one.size for one in lock.packages if one.source == source) for source in moved - kernel}
    small = sorted(
        (source for source in sizes if sizes[source] <= SMALL_MOST), key=lambda one: (one != SMALL, sizes[one], one)
    )
    cases = {f"{ONE_SMALL} ({source})": frozenset({source}) for source in small[:1]}
    cases |= {"the kernel": kernel, "all since the point release": frozenset(moved)}
    return {name: sources for name, sources in cases.items() if sources}


def _with_file(recipe: Recipe, folder: Path, size: int) -> Recipe:
    """Return the recipe with a file of that many bytes, seeded by their number."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"file-of-{size}"
    source.write_bytes(random.Random(size).randbytes(size))
    place = Place(file=str(recipe.path))
    extra = ExtraFile(path=FILE_PATH, content=None, source=source, mode=0o644, uid=0, gid=0, place=place)
    return replace(recipe, build=replace(recipe.build, files=(*recipe.build.files, extra)))


def _mixed(lock: Lock, older: Lock, sources: frozenset[str]) -> Lock:
    """Return the lock with the older packages of these sources."""
    packages = [package for package in lock.packages if package.source not in sources]
    packages += [package for package in older.packages if package.source in sources]
    ordered = tuple(sorted(packages, key=lambda package: package.name))
    return replace(lock, packages=ordered, epoch=older.epoch)


def _built(recipe: Recipe, lock: Lock, out: Path, tools: Tools, context: Context) -> dict[str, Path]:
    order = Order(
        recipe=recipe, lock=lock, lock_sha256=hashlib.sha256(render_lock(lock).encode()).hexdigest(),
        store=context.store, tools=tools, steps=Steps(context.build_root / "steps"), out=out.absolute(), config=None,
        progress=context.progress,
    )  # fmt: skip
    return {artifact.kind: artifact.path for artifact in build(order).artifacts}


def _taken(name: str, old: dict[str, Path], new: dict[str, Path], tools: Tools) -> Update:
    """Publish both, and let a guest that runs the old one take the new one."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as scratch:
        folder = Path(scratch)
        rotation.initialise(folder / "keys", root_keys=1, threshold=1, days={}, now=now)
        private = KeyFolder.open(folder / "keys", lambda _: b"")
        (folder / "www").mkdir()
        publisher = Publisher(files=Folder(folder / "www"), private=private, now=now)
        for artifacts in (old, new):
            outcome = publisher.publish(read_bundle(artifacts["bundle"]), "stable")
        server = Server(folder / "www", "127.0.0.1", 0, lambda *_: None, lambda: None)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            root = json.dumps((folder / "keys/root.json").read_text())
            config = _CONFIG.format(port=server.port, root=root, mark=MARK)
            answer = _asked(old["raw"], config, tools, folder)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        shutil.rmtree(folder / "www")
    return read(name, answer, new=outcome.stored.new)


@once_more
def _asked(image: Path, config: str, tools: Tools, folder: Path) -> str:
    """Boot a disk with a config that lets it update, and return what its `berthctl` said; raise GuestFailed."""
    options = Options(image=image, memory=MEMORY, cpus=CPUS, config=config.encode(), forwards=())
    guest, _ = prepare(options, tools=tools, folder=folder)
    with Session(guest, tools) as session:
        while session.open and session.elapsed < PATIENCE:
            for report in session.step(1.0):
                if report.line is not None and MARK in report.line:
                    return report.line.partition(MARK)[2]
            look_for_fault(session)
        raise GuestFailed("\n".join(["the update was not told of", *console_of(session)]))


def read(name: str, answer: str, *, new: int) -> Update:
    """Read what a machine said of its update; raise GuestFailed where it was none. Pure."""
    try:
        said: dict[str, Any] = json.loads(answer)
        last = said["last"]
        if said["state"] != "switched":
            raise GuestFailed(f"{name}: the update ended as {said['state']}: {said.get('reason')}")
        return Update(
            name=name, size=int(last["size"]), new=new, fetched=int(last["fetched"]), seconds=float(last["seconds"]),
            memory=int(last["memory"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise GuestFailed(f"{name}: the machine's answer is none: {answer[:200]}") from error


def lines(figures: dict[str, tuple[Update, ...]]) -> list[str]:
    """Return the table; `figures` by recipe and kernel. Pure."""
    rows = []
    for title, found in figures.items():
        for one in found:
            share = 100 * one.fetched / one.size
            goal = SHARE_GOAL if one.name.startswith(ONE_SMALL) else None
            rows.append([
                f"{title}: {one.name}", f"{one.size / MB:.1f}", f"{one.new / MB:.2f}", f"{one.fetched / MB:.2f}",
                verdict(share, goal), f"{one.seconds:.1f}", verdict(one.memory / MIB, MEMORY_GOAL),
            ])  # fmt: skip
    head = ("an update of", "slot image, MB", "new blocks, MB", "fetched, MB", "% of the slot", "s", "peak, MiB")
    return [
        "Updates, taken by a guest from a web server on this computer (MB are 10⁶ bytes); `fetched` is all that came:",
        "indexes and packs; seconds and memory are the updater's own",
        "",
        *table(head, rows),
    ]
