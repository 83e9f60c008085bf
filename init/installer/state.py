"""State's file system on a disk that has no partitions yet, with the configuration in it: mke2fs does both.

`-E offset` writes into the whole disk's device, since the kernel knows no partition there before the table is written,
and `-d` copies a folder into the new file system, so nothing has to be mounted. The settings are those of PID 1's own
(`init.pid1.state`).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from init.installer.write import WriteError

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = ("/usr/sbin/mkfs.ext4",)
_SETTINGS = ("-q", "-F", "-m", "1", "-L", "berth-state")
_SECONDS = 3600.0  # a large, slow disk


class StateMaker:
    """Makes state on `path`, holding `files` by their paths below its root; the folder of each is root's alone."""

    def __init__(self, path: str, files: Mapping[str, bytes], program: Sequence[str] = PROGRAM) -> None:
        self._path = path
        self._files = files
        self._program = tuple(program)

    def __call__(self, *, offset: int, size: int) -> None:
        """Make it; `offset` and `size` in bytes. Raise WriteError where mke2fs can't."""
        folder = Path(tempfile.mkdtemp(prefix="berth-install-"))
        try:
            _lay_out(folder, self._files)
            argv = (
                *self._program, *_SETTINGS, "-d", str(folder), "-E", f"offset={offset},nodiscard",
                self._path, f"{size // 1024}k",
            )  # fmt: skip
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WriteError(f"state can't be made: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if done.returncode != 0:
            said = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise WriteError(f"state can't be made: mkfs.ext4 ended with {done.returncode}: {said}")


def _lay_out(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.chmod(0o755)
    for name, data in files.items():
        path = folder / name
        for parent in reversed(path.relative_to(folder).parents[:-1]):
            there = folder / parent
            if not there.exists():
                there.mkdir()
                there.chmod(0o755)
        path.parent.chmod(0o700)
        path.write_bytes(data)
        path.chmod(0o600)
