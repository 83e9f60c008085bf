"""A build from beginning to end: the order of the steps, and what each is told. Offline, without privilege.

    recipe, lock, store, tools ─▶ Tree ─▶ SlotImage ─▶ artifacts

Every step sees only its arguments. When nothing that a build reads has changed since the last one and its artifacts are
still in place, they are the answer.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import BuildError
from builder.recipe.model import Recipe
from builder.steps import Steps, code_digest, digest
from init.formats.release import Release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.fetch.store import Store
    from builder.lock.model import Lock
    from builder.progress import Progress
    from builder.tools.call import Tools

# What decides over the bits of an image, as paths below the repository.
TREE_CODE = (
    "init",
    "builder/recipe",
    "builder/rootfs",
    "builder/stages",
    "builder/images",
    "builder/steps.py",
    "builder/pipeline.py",
)
SLOT_CODE = ("builder/image",)
ARTIFACT_CODE = ("builder/artifact", "builder/grub", "init/formats")


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One file that a build gives. `size` in bytes; `path` is absolute."""

    kind: str  # `iso`, `raw`, `qcow2`, `bundle`, `manifest`, `sbom`
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """What came of a build. `reused` says that nothing had changed."""

    recipe: str
    release: Release
    lock_sha256: str
    artifacts: tuple[Artifact, ...]
    reused: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """All that a build is told. `config` is a machine config to bake into the ISO, or None."""

    recipe: Recipe
    lock: Lock
    lock_sha256: str
    store: Store
    tools: Tools
    steps: Steps
    out: Path
    config: bytes | None
    progress: Progress


def inputs_digest(order: Order) -> str:
    """Return the hash of everything that a build reads."""
    build = order.recipe.build
    sources = [entry.source for entry in build.files] + [file.source for image in build.images for file in image.files]
    contents = [source.read_bytes() for source in sources if source is not None]
    layouts = [image.digest or "" for image in build.images]
    return digest(
        order.recipe.name, build, dict(order.recipe.machine), order.lock_sha256, order.tools.key, contents, layouts,
        code_digest(*TREE_CODE, *SLOT_CODE, *ARTIFACT_CODE),
    )  # fmt: skip


def release_of(recipe: Recipe, lock: Lock, inputs: str, kernel: str) -> Release:
    """Name the release: the recipe's own version, else the lock's time and eight digits of the inputs."""
    build = recipe.build
    when = datetime.datetime.fromtimestamp(lock.epoch, datetime.UTC)
    return Release(
        name=recipe.name,
        version=build.version or f"{when:%Y%m%d.%H%M}-{inputs[:8]}",
        machine_class=build.machine_class or f"{recipe.name}-{build.architecture}",
        engine=build.engine,
        kernel=kernel,
        epoch=lock.epoch,
    )


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
