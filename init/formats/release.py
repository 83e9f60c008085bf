"""`/usr/lib/berth/release.json`: which release a slot is. Written by the builder, read by PID 1 and the updater."""

from __future__ import annotations

from dataclasses import asdict, dataclass

FORMAT = "berth.release/1"
PATH = "/usr/lib/berth/release.json"
DEFAULT_MACHINE_PATH = "/usr/lib/berth/machine.json"  # the recipe's machine half, compiled: `Machine` as JSON
DEFAULT_DOCUMENT_PATH = "/usr/lib/berth/machine.yaml"  # the same as a `#berth` document, to merge a config over
UPDATE_ROOT_PATH = "/usr/lib/berth/update-root.json"  # the root of trust in updates, where the recipe gives one
APP_PATH = "/usr/lib/berth/app"  # holds the package `init`; on sys.path of every program of ours
PROGRAM = ("/usr/bin/python3", "-ISB", APP_PATH)  # starts one of them, by the word that follows (`init.__main__`)
IMAGES_PATH = "/usr/lib/berth/images"  # the baked images, in the layout of containers-storage
MODULES_PATH = "/usr/lib/modules"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One release. `epoch` is SOURCE_DATE_EPOCH (seconds, UTC): the clock is never believed below it."""

    name: str  # the recipe's name
    version: str
    machine_class: str
    engine: str  # `none`, `crun`, `podman`, `docker`
    kernel: str  # `uname -r`
    epoch: int
    loader: int = 1  # the loader format that the slot needs

    @property
    def vm_image(self) -> bool:
        """Tell whether the kernel is Debian's for virtual machines, which has no drivers for metal."""
        return "-cloud-" in self.kernel

    def to_json(self) -> str:
        """Return the file's text."""
        import json  # noqa: PLC0415 - see `from_json`

        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> Release:
        """Read the file's text; raise ValueError where it is not one."""
        import json  # noqa: PLC0415 - a child of PID 1 that loads drivers needs this module's paths, and works sooner

        try:
            value = json.loads(text)
            if value.pop("format") != FORMAT:
                raise ValueError("not a release file of this format")
            return Release(**value)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a release file: {error}") from error
