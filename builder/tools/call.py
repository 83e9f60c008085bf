"""Starts the programs of the tools tree, each through that tree's own dynamic loader.

So no program of the host is needed, and none can change a bit of the result: the loader, the libraries and the
data files all come from packages that the tools lock names (ld.so(8), `--library-path`, `--argv0`).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from builder.errors import ToolError
from builder.tools.fulldisk import attend, full

if TYPE_CHECKING:
    from builder.lock.model import LockedPackage

_TAIL = 2000  # characters of a failed program's last words that are shown
_NOT_LOADED = 127  # status of ld.so(8) for what it cannot load
MEND = "run `berth tools`: it unpacks the tree anew where a file is damaged or gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """An unpacked tools tree. `key` names its exact contents; `packages` are what it was unpacked from."""

    root: Path
    key: str
    packages: tuple[LockedPackage, ...] = ()

    def path(self, relative: str) -> Path:
        """Return a data file or folder of the tree; raise ToolError where it is absent."""
        path = self.root / relative
        if not path.exists():
            raise ToolError(
                f"the tools tree has no {relative}",
                hint=f"{MEND}, or `berth lock tools --update` where a package moved it",
            )
        return path

    def program(self, tool: str) -> Path:
        """Find a program by name."""
        for folder in ("usr/bin", "usr/sbin"):
            path = self.root / folder / tool
            if path.is_file():
                return path
        raise ToolError(
            f"the tools tree has no program `{tool}`",
            hint=f"{MEND}, or add its package to recipes/tools.yaml where that lacks it",
        )

    def library_path(self) -> str:
        """Return the folders that the loader searches, joined by colons."""
        library = self.root / "usr/lib/x86_64-linux-gnu"
        folders = [library, library / "pulseaudio", library / "ceph", self.root / "usr/lib"]
        return ":".join(str(folder) for folder in folders if folder.is_dir())

    def argv(self, tool: str, *arguments: str) -> list[str]:
        """Return the argument list that starts `tool` from anywhere."""
        loader = self.root / "usr/lib64/ld-linux-x86-64.so.2"
        program = self.program(tool)
        return [
            str(loader), "--library-path", self.library_path(), "--argv0", tool, str(program), *arguments,
        ]  # fmt: skip

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what a tool may know of the host: nothing that changes its output."""
        environment = {
            "PATH": "",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "HOME": "/nonexistent",
            "PYTHONHOME": str(self.root / "usr"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the tools' own default
        }
        environment.update(extra or {})
        return environment

    def run(
        self,
        tool: str,
        *arguments: str,
        input: bytes | IO[bytes] | None = None,  # noqa: A002 - subprocess' own word for it
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
    ) -> bytes:
        """Run `tool` to its end and return its standard output; raise ToolError with its last words.

        `output` is the file that it writes, where it may not notice a full disk: then that is the OSError raised.
        """
        data, source = (input, subprocess.PIPE) if isinstance(input, bytes) else (None, input or subprocess.DEVNULL)
        try:
            process = subprocess.Popen(
                self.argv(tool, *arguments), stdin=source,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, env=self.environment(env), umask=0o022,
            )  # fmt: skip
        except OSError as error:
            raise ToolError(
                f"`{tool}` of the tools tree cannot be started: {error.strerror}",
                hint=f"{MEND}; its programs are for x86-64 Linux: build on such a machine",
            ) from error
        with process:
            try:
                out, err = attend(process, data, output) if output else process.communicate(data)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            if output and (full_disk := full(output)):
                raise full_disk
            # The loader's own status, or killed: a damaged program may be why.
            hint = MEND if process.returncode == _NOT_LOADED or process.returncode < 0 else None
            raise ToolError(failure(tool, arguments, process.returncode, err or out), hint=hint)
        return out

    def versions(self) -> tuple[tuple[str, str], ...]:
        """Return (package, version) of everything in the tree, sorted by name."""
        return tuple((package.name, package.version) for package in self.packages)


def failure(tool: str, arguments: Sequence[str], status: int, output: bytes) -> str:
    """Say how a program failed, with the end of what it printed."""
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    tail = output.decode("utf-8", "replace").strip()[-_TAIL:]
    shown = " ".join([tool, *arguments])
    if len(shown) > 200:
        shown = shown[:200] + "…"
    return f"`{shown}` {how}" + (f":\n{tail}" if tail else "")
