"""What the program that starts one container has to know: a file of PID 1's, readable by root alone.

An argument list can be read by every user of the machine, and a container's environment may hold secrets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from init.containers import places
from init.formats import codec
from init.formats.machine import Container, Registry

PATH = places.PATH


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One container, its number (see `addresses`), and the numbers of all containers by their names.

    `registries` and `environment` (proxies) matter only where its image has to be fetched.
    """

    container: Container
    number: int
    engine: str = "crun"
    numbers: tuple[tuple[str, int], ...] = ()
    images: tuple[str, ...] = ()  # of all declared containers: what nobody names any more is taken away
    registries: tuple[Registry, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    ca_certificates: tuple[str, ...] = ()


def path_of(name: str) -> str:
    """Return where the order of a container lies."""
    return f"{PATH}/{name}.json"


def encode(order: Order) -> bytes:
    """Return the file's content."""
    return json.dumps(codec.encode(order)).encode()


def decode(text: bytes) -> Order:
    """Read the file's content; raise ValueError where it is not an order."""
    return codec.decode(Order, json.loads(text))
