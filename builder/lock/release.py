"""Verifies an `InRelease` file and reads it: who signed, what it covers, how long it may be believed.

Rules, in this order; each has its own message:

1. The text is a cleartext signature, and one of the signatures is good by a key of the project's (`builder/keys`)
   that is neither expired nor revoked. Only the bytes that the signature covers are read.
2. It is the file of the suite that was asked for: another suite's file is as well signed.
3. `Valid-Until`, where there is one, is not past. Where there is none (trixie's main), and also where there is one,
   `Date` is not older than that of the file that the lock was made from: a mirror may stand still, not go back.
4. `Date` is not in the future, or this computer's clock is wrong and rule 3 says nothing.

OpenPGP cleartext signatures: RFC 9580, 7. The file: Debian wiki, DebianRepository/Format, "Release files".
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING

import pysequoia

from builder.errors import BerthError, DateError, VerificationError
from builder.lock.index import fields_of
from builder.lock.model import LockedRelease

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OTHER_MIRROR = "ask another mirror: --mirror or BERTH_MIRROR name one"
_CLOCK_SLACK = 86400  # seconds by which a mirror's clock may be ahead of this one


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFile:
    """A file that a Release names: `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A verified Release file: what the lock keeps of it, and the index files by path."""

    locked: LockedRelease
    files: Mapping[str, IndexFile]
    by_hash: bool


def load_keys(folder: Path, *, now: float | None = None) -> tuple[pysequoia.Cert, ...]:
    """Read all keys (`*.asc`) of `folder` that may be used today. Raises BerthError where there is none."""
    moment = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    keys = []
    for path in sorted(folder.glob("*.asc")):
        try:
            found = pysequoia.Cert.split_file(str(path))
        except Exception as error:
            raise BerthError(f"{path}: this is no OpenPGP key ({_first_line(error)})") from None
        keys += [key for key in found if not key.is_revoked and (key.expiration is None or key.expiration > moment)]
    if not keys:
        raise BerthError(f"{folder}: no key that may be used today", hint="is this computer's clock right?")
    return tuple(keys)


def verify_release(
    data: bytes,
    *,
    suite: str,
    archive: str,
    keys: Sequence[pysequoia.Cert],
    previous: Sequence[LockedRelease] = (),
    now: float | None = None,
) -> Release:
    """Verify a whole InRelease file by the rules above. `now` is seconds since 1970. Raises VerificationError."""
    text, signers = _verified_text(data, keys, suite)
    fields = fields_of(text)
    names = {fields.get("Codename", ""), fields.get("Suite", "")}
    if suite not in names:
        raise VerificationError(
            f"the mirror gives the Release file of {fields.get('Codename', 'no suite')} for {suite}",
            hint=OTHER_MIRROR,
        )
    locked = LockedRelease(
        suite=suite,
        archive=archive,
        date=_moment(fields, "Date", suite),
        valid_until=_moment(fields, "Valid-Until", suite) if "Valid-Until" in fields else None,
        sha256=hashlib.sha256(data).hexdigest(),
        signers=signers,
    )
    _check_age(locked, previous, time.time() if now is None else now)
    return Release(locked=locked, files=_index_files(fields, suite), by_hash=fields.get("Acquire-By-Hash") == "yes")


def _verified_text(data: bytes, keys: Sequence[pysequoia.Cert], suite: str) -> tuple[bytes, tuple[str, ...]]:
    if not data.startswith(b"-----BEGIN PGP SIGNED MESSAGE-----"):
        what = "a web page" if data.lstrip()[:1] == b"<" else "no signed text"
        raise VerificationError(
            f"the Release file of {suite} is not signed: the mirror answers with {what}",
            hint="is the address that of a Debian mirror? Is there a log-in portal on this network?",
        )
    try:
        result = pysequoia.verify(bytes=data, store=lambda _: list(keys))
    except Exception as error:
        raise VerificationError(
            f"the signature of the Release file of {suite} is not good: {_first_line(error)}",
            hint="the file was altered, or is signed by a key that builder/keys does not have: try another mirror",
        ) from None
    trusted = {str(key.fingerprint).upper() for key in keys}
    signers = sorted({str(one.certificate).upper() for one in result.valid_sigs} & trusted)
    if not signers or result.bytes is None:
        raise VerificationError(
            f"the Release file of {suite} is signed by none of the keys in builder/keys", hint=OTHER_MIRROR
        )
    return bytes(result.bytes), tuple(signers)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()  # what follows the first line is a stack trace
    return lines[0].strip().rstrip(":") if lines else type(error).__name__


def _moment(fields: Mapping[str, str], name: str, suite: str) -> int:
    parsed = parsedate_tz(fields.get(name, ""))
    if parsed is None:
        raise VerificationError(f"the Release file of {suite} has no readable {name}")
    return mktime_tz(parsed)


def _check_age(release: LockedRelease, previous: Sequence[LockedRelease], now: float) -> None:
    hint = f"this computer's clock says {day(now)}: if that is right, the mirror stands still; choose another"
    if release.valid_until is not None and release.valid_until < now:
        expired = f"the Release file of {release.suite} expired on {day(release.valid_until)}"
        raise _of(release, DateError(expired, hint=hint))
    if release.date > now + _CLOCK_SLACK:
        raise _of(
            release,
            DateError(
                f"the Release file of {release.suite} is of {day(release.date)}, which is in the future",
                hint=f"this computer's clock says {day(now)}: set it",
            ),
        )
    for known in previous:
        if known.suite == release.suite and release.date < known.date:
            raise VerificationError(
                f"the Release file of {release.suite} is of {day(release.date)}, "
                f"older than the lock's of {day(known.date)}",
                hint="the mirror went back or hides updates; choose another",
            )


def _of(release: LockedRelease, error: DateError) -> DateError:
    error.signed = release.date
    return error


def day(moment: float) -> str:
    """Return a moment (seconds since 1970) as people write it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))


def _index_files(fields: Mapping[str, str], suite: str) -> dict[str, IndexFile]:
    files = {}
    for line in fields.get("SHA256", "").splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or len(words[0]) != 64 or not words[1].isdigit():
            raise VerificationError(f"the Release file of {suite} has a line that names no file: {line.strip()!r}")
        files[words[2]] = IndexFile(path=words[2], size=int(words[1]), sha256=words[0].lower())
    return files
