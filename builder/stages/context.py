"""What every stage is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.lock.model import Lock
from builder.progress import Progress, SilentProgress
from builder.recipe.model import Recipe, ScriptExcuse
from builder.rootfs.entry import Entry
from builder.rootfs.exclude import Saved
from init.formats.release import Release

if TYPE_CHECKING:
    from builder.fetch.store import Store
    from builder.tools.call import Tools


@dataclass(frozen=True, kw_only=True, slots=True)
class StageContext:
    """Everything that stages may know.

    `machine_json` is the recipe's machine half compiled to `Machine` as JSON, `machine_document` the same half as a
    `#berth` document; the caller has both made by `init.dialects`, which stages do not import. `images` are the
    entries of the baked images, their paths already below `usr/lib/berth/images`. `loader` are the files that an
    installation copies to a disk so that it boots, by name.
    """

    recipe: Recipe
    lock: Lock
    store: Store
    tools: Tools
    release: Release
    kernel_version: str
    machine_json: str = ""
    machine_document: str = ""
    images: tuple[Entry, ...] = ()
    loader: Mapping[str, bytes] = field(default_factory=dict)
    progress: Progress = field(default_factory=SilentProgress)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageResult:
    """What one stage did: how many paths it added, changed and removed, and a few words."""

    stage: str
    added: int
    changed: int
    removed: int
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptAnswer:
    """Who answers for one maintainer script or trigger: a stage, a reason, or the recipe's excuse."""

    package: str
    script: str  # `postinst`, `preinst`, `trigger NAME`
    answer: str
    image: str = ""  # the baked image that the package is for, "" for the root
    excuse: ScriptExcuse | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StageReport:
    """What all stages did, in their order, who answered for each maintainer script, and what stages left out."""

    stages: tuple[StageResult, ...]
    scripts: tuple[ScriptAnswer, ...]
    saved: tuple[Saved, ...] = ()
