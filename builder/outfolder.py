"""The folder of a recipe's artifacts: one build at a time, whole results only, and a note of what each build read."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from builder.artifact.output import Artifact
from builder.errors import BuildError
from init.formats.release import Release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """What came of a build. `reused` says that nothing had changed."""

    recipe: str
    release: Release
    lock_sha256: str
    artifacts: tuple[Artifact, ...]
    reused: bool


def record_path(out: Path, name: str) -> Path:
    """Return where a build notes what it read and gave."""
    return out / f".{name}.build.json"


def write_record(out: Path, inputs: str, built: Built) -> None:
    """Note what was read and given, so that the next build can see that nothing changed."""
    files = [
        {**asdict(artifact), "path": artifact.path.name, "mtime": artifact.path.stat().st_mtime_ns}
        for artifact in built.artifacts
    ]
    text = json.dumps(
        {
            "inputs": inputs, "recipe": built.recipe, "release": json.loads(built.release.to_json()),
            "lock_sha256": built.lock_sha256, "artifacts": files,
        },
        indent=1,
    )  # fmt: skip
    temporary = record_path(out, built.recipe).with_suffix(f".{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(record_path(out, built.recipe))


def read_record(out: Path, name: str, inputs: str) -> Built | None:
    """Return the last build's result if it read the same and each file is untouched since, else None."""
    try:
        record = json.loads(record_path(out, name).read_text())
        if record["inputs"] != inputs:
            return None
        artifacts = []
        for fact in record["artifacts"]:
            path = out / fact["path"]
            status = path.stat()
            if (status.st_size, status.st_mtime_ns) != (fact["size"], fact["mtime"]):
                return None
            artifacts.append(Artifact(kind=fact["kind"], path=path, size=fact["size"], sha256=fact["sha256"]))
        return Built(
            recipe=record["recipe"], release=Release.from_json(json.dumps(record["release"])),
            lock_sha256=record["lock_sha256"], artifacts=tuple(artifacts), reused=True,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: the build is done anew and writes it again


@contextmanager
def exclusive(out: Path, name: str) -> Iterator[None]:
    """Let one build at a time write into `out`; a killed build leaves no lock behind (flock(2))."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = (out / f".{name}.lock").open("w")
    except OSError as error:
        raise BuildError(
            f"nothing can be written to {out}: {error.strerror}", hint="choose another folder with --out"
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def staging(out: Path, name: str) -> Iterator[Path]:
    """Give an empty folder beside the artifacts, gone afterwards. A leftover is a killed build's: see `exclusive`."""
    folder = out / f".{name}.new"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
    except OSError as error:
        raise BuildError(
            f"nothing can be written to {out}: {error.strerror or error}",
            hint="choose another folder with --out, or make room",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
