"""The keys of a repository: ed25519, one file each, in a folder of the user's.

    root-1.pem …      private keys of the root: sign only which keys count. Kept away from the network, or encrypted
    targets.pem       signs what is released
    snapshot.pem      signs which set of releases belongs together
    timestamp.pem     signs, often, that this is still the newest set
    roots/N.root.json every version of the signed root, public; the newest is what machines are given to trust
    retired/          private keys that were replaced

Private keys are PKCS#8 in PEM, readable by their owner only.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from builder.errors import InputError, Place, RepositoryError

ONLINE = ("targets", "snapshot", "timestamp")
ROOTS = "roots"
RETIRED = "retired"
_LARGEST = 64 << 10  # bytes of a key's file

Passphrase = Callable[[str], bytes]  # asked for by the key's name


def new_key() -> Ed25519PrivateKey:
    """Return a new private key."""
    return Ed25519PrivateKey.generate()


def public(key: Ed25519PrivateKey) -> SSlibKey:
    """Return a private key's public half, as TUF's metadata has it."""
    return SSlibKey.from_crypto(key.public_key())


def signer(key: Ed25519PrivateKey) -> CryptoSigner:
    """Return what signs with a key."""
    return CryptoSigner(key, public(key))


def store_key(path: Path, key: Ed25519PrivateKey, passphrase: bytes = b"") -> None:
    """Write a private key into a new file; raise RepositoryError where there is one already, or it can't be written."""
    how: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)  # a root that names a lost key could never be replaced
        sync_folder(path.parent.parent)
    except FileExistsError as error:
        raise RepositoryError(
            f"{path} exists already; a key is never written over", hint="give another folder, or `berth keys rotate`"
        ) from error
    except OSError as error:
        raise RepositoryError(f"{path} cannot be written: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Make sure that a folder's names outlive a power cut; raise OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_key(path: Path, passphrase: Passphrase) -> Ed25519PrivateKey:
    """Read a private key; raise InputError where it is none, is open to others, or the passphrase is wrong."""
    place = Place(file=str(path))
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LARGEST)
    except OSError as error:
        raise InputError(
            f"the private key cannot be read: {error.strerror}", place=place, hint="name the folder of keys with --keys"
        ) from error
    if mode & 0o077:
        raise InputError("others may read this private key", place=place, hint=f"chmod 600 {path}")
    try:
        key = load_pem_private_key(data, passphrase(path.name) if b"ENCRYPTED" in data else None)
    except (ValueError, TypeError) as error:
        what = "the passphrase is wrong" if b"ENCRYPTED" in data else "not a private key in PEM"
        raise InputError(what, place=place) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("not an ed25519 key: machines verify no other", place=place)
    return key


def root_key_paths(folder: Path, others: Iterable[Path] = ()) -> list[Path]:
    """Return the files of private root keys that are at hand: in the folder, and those named besides."""
    return [*sorted(folder.glob("root-*.pem"), key=_number), *others]


def asked_once() -> Passphrase:
    """Return what gives the passphrase: `BERTH_KEY_PASSPHRASE`, else the terminal, asked once.

    It raises InputError where there is neither.
    """
    known: list[bytes] = []

    def ask(name: str) -> bytes:
        if not known:
            given = os.environ.get("BERTH_KEY_PASSPHRASE")
            if given is None and not os.isatty(0):
                raise InputError(
                    f"{name} is encrypted and there is no terminal to ask at", hint="set BERTH_KEY_PASSPHRASE"
                )
            known.append((getpass.getpass(f"passphrase of {name}: ") if given is None else given).encode())
        return known[0]

    return ask


def _number(path: Path) -> tuple[int, str]:
    digits = path.stem.removeprefix("root-")
    return (int(digits) if digits.isdecimal() else 0, path.name)
