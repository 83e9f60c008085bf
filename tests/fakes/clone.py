"""Clones of this repository in folders of their own, with a store of their own, and `berth` run in them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.fetch.store import default_root
from builder.lock.file import read_lock
from builder.lock.select import for_build

ROOT = Path(__file__).resolve().parents[2]
CODE = ("builder", "init", "recipes", "configs", "pyproject.toml")
NOBODY = 65533 if os.geteuid() == 65534 else 65534  # another user than who runs the tests
KINDS = ("iso", "raw", "qcow2", "bundle", "spdx.json", "manifest.json")

# `minimal` with the small kernel, not compressed at all, and without most modules: for tests that build many times.
_FEW = "{sound,net,fs/{btrfs,xfs,nfs,smb},drivers/{net,gpu,scsi,ata,usb,nvme,hid,input}}/**"
_KEPT = "drivers/net/{virtio_net,net_failover}.ko*"
TINY = (
    "minimal", "--set", "build.kernel=cloud", "--set", "build.root_mib=128", "--set", "build.budget=null",
    "--set", "build.compression={algorithm: none}",
    "--set", f'build.modules=[{{pattern: "{_FEW}", reason: test, keep: ["{_KEPT}"]}}]',
)  # fmt: skip


# Ctrl-C may come between a file's opening and its `with`: nobody is shown that warning outside of tests either.
WARNINGS = ("-W", "error", "-W", "ignore::ResourceWarning")


@dataclass(frozen=True, kw_only=True)
class Clone:
    """One clone. `cache` is its store, `program` how the interpreter is told to be `berth`."""

    root: Path
    cache: Path
    program: tuple[str, ...] = ("-m", "builder")

    @property
    def out(self) -> Path:
        """Where builds of `minimal` put their artifacts."""
        return self.root / "build" / "out" / "minimal"

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Return the whole environment: only what is named here."""
        names = ("BERTH_MIRROR", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.root), "BERTH_CACHE": str(self.cache),
            "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", "BERTH_DEBUG": "1", **kept, **(extra or {}),
        }  # fmt: skip

    def argv(self, words: Sequence[str], conditions: dict[str, Any] | None = None) -> list[str]:
        """Return the command."""
        if conditions is None:
            return [sys.executable, *WARNINGS, *self.program, *words]
        program = str(ROOT / "tests" / "fakes" / "conditions.py")
        return [sys.executable, *WARNINGS, program, json.dumps(conditions), *words]

    def start(
        self, *words: str, conditions: dict[str, Any] | None = None, extra: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start `berth` as the leader of a process group of its own, as a shell does."""
        return subprocess.Popen(
            self.argv(words, conditions), cwd=self.root, env=self.environment(extra), text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def berth(
        self, *words: str, conditions: dict[str, Any] | None = None, extra: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `berth` to its end. No failure may be told as a traceback."""
        with self.start(*words, conditions=conditions, extra=extra) as process:
            out, err = process.communicate()
        assert "Traceback" not in err, err
        assert "mistake in Berth" not in out + err, out + err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def build(self, *words: str, **how: Any) -> dict[str, Any]:
        """Build offline, and return what `berth build --json` says."""
        done = self.berth("build", *words, "--offline", "--heal", "--json", **how)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def forget(self) -> None:
        """Delete what builds made here; downloads and tools stay."""
        for name in ("out", "steps"):
            shutil.rmtree(self.root / "build" / name, ignore_errors=True)


def kill(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def kill_at(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a process group after a time; False where it was at its end before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(process, signal.SIGKILL)
        process.wait()
        return True
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return False


def artifacts(folder: Path) -> dict[str, Path]:
    """Return every artifact of `minimal` in a folder, by what its name ends in."""
    return {kind: folder / f"minimal.{kind}" for kind in KINDS}


def assert_equal(one: Path, other: Path, *, only: Collection[str] | None = None) -> None:
    """Assert that two folders hold the same bytes in every artifact, or in those that are named."""
    theirs = artifacts(other)
    for kind, path in artifacts(one).items():
        if only is not None and path.name not in only:
            continue
        same = subprocess.run(["cmp", str(path), str(theirs[kind])], capture_output=True, text=True, check=False)
        assert same.returncode == 0, same.stdout + same.stderr


def link(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


@dataclass(frozen=True, kw_only=True)
class Nursery:
    """Makes clones. `base` is where all their packages were fetched; `snapshot` the code that all have."""

    folder: Path
    snapshot: Path

    @property
    def base(self) -> Clone:
        """The clone that fetched everything and unpacked the tools. Never written to by a test."""
        return Clone(root=self.folder / "first", cache=default_root())

    def clone(
        self,
        path: Path,
        *,
        tools: bool = True,
        owner: int | None = None,
        recipe: str = "minimal",
        kernel: str = "cloud",
        healed: Path | None = None,
    ) -> Clone:
        """Make a clone whose store has the packages of a build and nothing else; with `tools` they are unpacked.

        `healed`: the folder of healed locks that the build to compare with had, where that is not the base's.
        """
        root, cache = path / "clone", path / "störe"
        for name in CODE:
            source = self.snapshot / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            root.mkdir(parents=True, exist_ok=True)
            copy(source, root / name)
        locks = healed or self.base.root / "build" / "locks"
        if locks.is_dir():
            shutil.copytree(locks, root / "build" / "locks")
        if tools:
            shutil.copytree(
                self.base.root / "build" / "tools", root / "build" / "tools", symlinks=True, copy_function=link
            )
        self._fill(cache, locks, {recipe: kernel, "tools": "none"})
        if owner is not None and os.geteuid() == 0:
            for folder, _, names in os.walk(path):
                for name in (".", *names):
                    if not Path(folder, name).is_relative_to(cache / "blobs") or name == ".":
                        os.chown(Path(folder, name), owner, owner, follow_symlinks=False)
        return Clone(root=root, cache=cache)

    def _fill(self, cache: Path, locks: Path, builds: dict[str, str]) -> None:
        for name, kernel in builds.items():
            healed = locks / f"{name}.lock"
            lock = read_lock(healed if healed.is_file() else self.snapshot / "recipes" / f"{name}.lock")
            for package in for_build(lock, kernel).packages:
                blob = Path("blobs") / package.sha256[:2] / package.sha256
                (cache / blob).parent.mkdir(parents=True, exist_ok=True)
                if not (cache / blob).exists():
                    link(str(default_root() / blob), str(cache / blob))


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Keep the workers of one test run from doing the same twice."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def make_nursery(shared: Path) -> Nursery:
    """Return the nursery of this test run, made by the first who asks; `shared` is a folder of all its workers."""
    with one_at_a_time(shared / "nursery.lock"):
        nursery = Nursery(folder=shared / "nursery", snapshot=shared / "nursery" / "snapshot")
        if not (shared / "nursery.done").exists():
            for root in (nursery.snapshot, nursery.base.root):
                root.mkdir(parents=True)
                for name in CODE:
                    source = (ROOT if root == nursery.snapshot else nursery.snapshot) / name
                    if source.is_dir():
                        shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
                    else:
                        shutil.copyfile(source, root / name)
            fetch = ("fetch", "minimal", "--heal")
            for words in (fetch, (*fetch, "--set", "build.kernel=cloud"), ("tools",)):
                done = nursery.base.berth(*words)
                assert done.returncode == 0, done.stderr
            (shared / "nursery.done").touch()
        return nursery


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Nursery:
    """Clones for tests of whole builds, made from one snapshot of the code."""
    base = tmp_path_factory.getbasetemp()
    return make_nursery(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Give a folder whose parents everybody may enter, with blanks and accents in its name."""
    folder = Path(tempfile.mkdtemp(prefix="berth "))
    folder.chmod(0o755)
    try:
        yield folder / "Fünf Schüsseln & «naïve» Käse"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
