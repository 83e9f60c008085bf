"""The configuration that goes along: the one that is in force here, without `install`, if it lets somebody in."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from init.dialects.compile import compile_documents
from init.dialects.sources import last_good
from init.dialects.without import CannotCutError, without_install
from init.formats import release, wayin
from init.formats.machine import Machine, encode

KEPT = Path("/var/lib/berth/config/user-data")  # where PID 1 keeps what is in force, as it is to lie on state


class ConfigError(Exception):
    """The configuration can't go along; the text says why. Nothing has been written."""


def kept_document(path: Path = KEPT) -> bytes:
    """Return the configuration that is in force as PID 1 keeps it; empty where it is the recipe's own."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error


def along(kept: bytes, default: bytes | None) -> bytes:
    """Return the document for the installed machine; empty where that is the recipe's own configuration.

    `default` is the recipe's `#berth` document. Raises ConfigError where the result would be another configuration, or
    one with which nobody could log in.
    """
    before = _machine(kept, default)
    try:
        document = without_install(kept)
    except CannotCutError as error:
        raise ConfigError(f"`install` can't be taken out of the configuration: {error}") from error
    after = _machine(document, default)
    if encode(after) != encode(replace(before, install=None)):
        raise ConfigError("`install` can't be taken out of the configuration: write it on lines of its own")
    if not has_way_in(after):
        raise ConfigError(
            "the configuration gives nobody a way in: no user has a shell and an SSH key or a password for the console"
            " (root's count with `disable_root: false`)"
        )
    return document


def has_way_in(machine: Machine) -> bool:
    """Tell whether somebody could log in to this machine, by SSH or at its console."""
    return wayin.by_ssh(machine) or wayin.at_the_console(machine)


def state_files(document: bytes) -> dict[str, bytes]:
    """Return the files of state, by path below its root: the last good configuration, as PID 1 keeps it."""
    folder = "var/lib/berth/config"
    digest = hashlib.sha256(last_good(document).seed.user_data or b"").hexdigest()  # as the config child tells it
    return {f"{folder}/user-data": document, f"{folder}/sha256": f"{digest}\n".encode()}


def default_document(path: str = release.DEFAULT_DOCUMENT_PATH) -> bytes | None:
    """Return the recipe's own configuration."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def _machine(kept: bytes, default: bytes | None) -> Machine:
    documents = last_good(kept).documents() if kept else (None, None, None)
    compiled = compile_documents(documents[0], meta_data=documents[1], network_config=documents[2], default=default)
    if compiled.machine is None:
        raise ConfigError("the configuration that is in force can't be read again")
    return compiled.machine
