"""Starts the programs of the tools tree, each through that tree's own dynamic loader.

So no program of the host is needed, and none can change a bit of the result: the loader, the libraries and the
data files all come from packages that the tools lock names (ld.so(8), `--library-path`, `--argv0`).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from builder.errors import ToolError

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
    extra_environment: Mapping[str, str] = field(default_factory=dict)

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
        for folder in ("usr/bin", "usr/sbin", "usr/lib/klibc/bin"):
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
        environment.update(self.extra_environment)
        environment.update(extra or {})
        return environment

    def run(
        self,
        tool: str,
        *arguments: str,
        input: bytes | IO[bytes] | None = None,  # noqa: A002 - subprocess' own word for it
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run `tool` to its end and return its standard output; raise ToolError with its last words."""
        stream: dict[str, object] = {"stdin": subprocess.DEVNULL}
        if isinstance(input, bytes):
            stream = {"input": input}
        elif input is not None:
            stream = {"stdin": input}
        try:
            done = subprocess.run(  # type: ignore[call-overload]
                self.argv(tool, *arguments), capture_output=True, check=False, cwd=cwd,
                env=self.environment(env), umask=0o022, **stream,
            )  # fmt: skip
        except OSError as error:
            raise ToolError(
                f"`{tool}` of the tools tree cannot be started: {error.strerror}",
                hint=f"{MEND}; its programs are for x86-64 Linux: build on such a machine",
            ) from error
        if done.returncode:
            # The loader's own status, or killed: a damaged program may be why.
            hint = MEND if done.returncode == _NOT_LOADED or done.returncode < 0 else None
            raise ToolError(failure(tool, arguments, done.returncode, done.stderr or done.stdout), hint=hint)
        output: bytes = done.stdout
        return output

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
