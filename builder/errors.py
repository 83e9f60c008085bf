"""Everything that can go wrong in the builder, as one family of errors.

    BerthError                    exit status 1: the work failed
    ├── InputError                exit status 2: what the user gave is wrong (file, line, column)
    │   ├── UsageError            the command line
    │   └── RecipeError           a recipe or a machine config
    ├── LockError                 solving or reading a lock
    │   └── LockStale             the mirror no longer has what the lock names
    ├── VerificationError         a signature, checksum or size is not what it has to be
    ├── FetchError                a mirror could not give what was asked
    │   └── OfflineError          not in the store, and the network may not be asked
    ├── BuildError                a package or a stage cannot become part of the image
    ├── RepositoryError           an update repository, or its keys, are not what they have to be
    ├── ToolError                 a program of the tools tree failed
    ├── ConnectError              ssh could not log in to a machine
    └── GuestFailed               an emulated machine did not do what was waited for

`builder.cli` alone prints them. A class is a code: `berth explain CODE` tells more.
"""

from __future__ import annotations

from dataclasses import dataclass

READABLE = "check that it is there and that you may read it"  # the cure of many


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where in a file something stands. Lines and columns count from 1; 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        parts = [self.file]
        if self.line:
            parts.append(str(self.line))
            if self.column:
                parts.append(str(self.column))
        return ":".join(parts)


class BerthError(Exception):
    """A failure told to a person: what happened, where, and what to do now."""

    code = "failed"
    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None, place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place


class InputError(BerthError):
    """Something that the user wrote is wrong."""

    code = "input"
    exit_status = 2


class UsageError(InputError):
    """The command line is wrong."""

    code = "usage"


class RecipeError(InputError):
    """A recipe or a machine config is wrong."""

    code = "recipe"


class LockError(BerthError):
    """Packages cannot be chosen, or a lock file cannot be read."""

    code = "lock"


class LockStale(LockError):
    """The mirror no longer has files that the lock names."""

    code = "lock-stale"


class VerificationError(BerthError):
    """A signature, checksum or size is not what it has to be."""

    code = "verification"


class DateError(VerificationError):
    """What is signed well has a date that this computer's clock does not agree with; `signed` is seconds since 1970."""

    signed: float = 0.0


class FetchError(BerthError):
    """A mirror could not give what was asked."""

    code = "fetch"


class OfflineError(FetchError):
    """Needed, not in the store, and the network may not be asked."""

    code = "offline"


class BuildError(BerthError):
    """A package or a stage cannot become part of the image."""

    code = "build"


class ConnectError(BerthError):
    """A machine could not be reached or logged in to."""

    code = "connect"


class RepositoryError(BerthError):
    """An update repository, or its keys, are not what they have to be."""

    code = "repository"


class ToolError(BerthError):
    """A program of the tools tree failed."""

    code = "tool"


class GuestFailed(BerthError):
    """An emulated machine did not do what was waited for."""

    code = "guest"
