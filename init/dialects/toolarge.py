"""What the machine can't take for its size, though each document could be read.

`berth check` and the config child both compile, so both say it; PID 1 takes more than what is let through here.
"""

from __future__ import annotations

import json
from typing import Any

from init.dialects.diagnostic import Place
from init.dialects.position import Mapping
from init.formats.machine import DOCUMENT_MOST, ENCODED_MOST, Machine, encode

_CLOUD_NAMES = {"files": "write_files", "ssh_host_keys": "ssh_keys", "ca_certificates": "ca_certs"}


def documents_too_large(sizes: dict[str, int]) -> tuple[Place, str, str] | None:
    """Return the arguments of an error where a source's documents (bytes by file name) are too large together."""
    if sum(sizes.values()) <= DOCUMENT_MOST:
        return None
    largest = max(sizes, key=lambda name: sizes[name])
    return Place(largest), "", f"together with its other documents larger than {DOCUMENT_MOST >> 20} MiB"


def machine_too_large(
    machine: Machine, cloud: Mapping | None, berth: Mapping | None, prefix: str
) -> tuple[Place, str, str] | None:
    """Return the arguments of an error where a machine has too much in it: at the key that brings the most."""
    encoded = encode(machine)
    if len(json.dumps(encoded)) <= ENCODED_MOST:
        return None
    lengths = {name: len(json.dumps(value)) for name, value in encoded.items()}
    heaviest = max(lengths, key=lambda name: lengths[name])
    place, path = _key(heaviest, cloud, berth, prefix)
    message = f"the machine that this makes is larger than {ENCODED_MOST >> 20} MiB"
    return place, path, f"{message}; most of it, {lengths[heaviest] / 2**20:.1f} MiB, comes from here"


def _key(field: str, cloud: Mapping | None, berth: Mapping | None, prefix: str) -> tuple[Place, str]:
    name: Any = _CLOUD_NAMES.get(field, field)
    for mapping, start in ((berth, f"{prefix}." if prefix else ""), (cloud, "")):
        for key, _ in mapping.entries if mapping is not None else ():
            if key.text == name:
                return key.place, f"{start}{name}"
    known = next((each for each in (cloud, berth) if each is not None), None)
    return (known.place if known is not None else Place("")), field
