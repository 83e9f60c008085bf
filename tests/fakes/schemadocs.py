"""Documents made from a JSON schema: valid ones by its own words, and ones with a wrong value in one place.

Only what cloud-init's schemas use is understood. Text comes from a list of words that mean something at the key they
stand at, for a schema says little of a text's form.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from typing import Any

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Ht8Z3j6yDWPBHQtOp/R9rjWvfMYo3MSA/K6q8D86r me@desk"
HASH = "$6$saltsalt$" + "a" * 86
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
WORDS: dict[str, tuple[str, ...]] = {
    "ssh_authorized_keys": (KEY,),
    "ssh-authorized-keys": (KEY,),
    "passwd": (HASH,),
    "hashed_passwd": (HASH,),
    "hashed-passwd": (HASH,),
    "password": (HASH,),
    "trusted": (PEM,),
    "path": ("/etc/a", "/srv/a/b"),
    "filename": ("/var/a",),
    "homedir": ("/home/x",),
    "shell": ("/bin/sh",),
    "url": ("https://x.example/",),
    "uri": ("https://x.example/",),
    "size": ("512M", "auto"),
    "maxsize": ("1G",),
    "permissions": ("0644", "0o600"),
    "owner": ("root:root",),
    "content": ("text",),
    "timezone": ("Europe/Berlin",),
    "data": ("seed",),
    "delay": ("now", "+5", "5"),
    "expiredate": ("2030-01-01",),
    "nameservers": ("192.0.2.1", "2001:db8::1"),
    "sortlist": ("192.0.2.0/24",),
    "devices": ("/", "/dev/sdb"),
    "chpasswd": ("a:" + HASH,),
    "address": ("192.0.2.7/24", "2001:db8::7/64"),
    "addresses": ("192.0.2.7/24", "2001:db8::7/64"),
    "gateway": ("192.0.2.1",),
    "gateway4": ("192.0.2.1",),
    "gateway6": ("2001:db8::1",),
    "via": ("192.0.2.1",),
    "to": ("default", "198.51.100.0/24"),
    "network": ("198.51.100.0",),
    "destination": ("198.51.100.0/24",),
    "netmask": ("255.255.255.0",),
    "mac_address": ("52:54:00:00:00:01",),
    "macaddress": ("52:54:00:00:00:01",),
    "dns_nameservers": ("192.0.2.53",),
    "broadcast": ("192.0.2.255",),
    "mode": ("active-backup",),
    "mounts": ("/dev/vdb", "/mnt/a", "ext4"),
    "uid": ("1001",),
}
PLAIN = ("word", "other", "x.example")
WRONG: tuple[Any, ...] = (True, 7, 7.5, "word", "", [], ["word"], {}, {"unheard": 1}, [[1]], None)
MOST = 60  # values of one document


class Maker:
    """Makes values of a schema's parts, from one source of chance."""

    def __init__(self, schema: dict[str, Any], seed: int) -> None:
        self.schema = schema
        self.chance = random.Random(seed)
        self._left = MOST

    def resolved(self, part: Any) -> Any:
        """Follow references."""
        while isinstance(part, dict) and "$ref" in part:
            found: Any = self.schema
            for word in part["$ref"].removeprefix("#/").split("/"):
                found = found[word.replace("~1", "/")]
            part = {**found, **{key: value for key, value in part.items() if key != "$ref"}}
        return part

    def value(self, part: Any, key: str = "", depth: int = 0) -> Any:
        """Return a value that the part allows, or nearly: a schema that contradicts itself has none."""
        self._left -= 1
        part = self.resolved(part)
        if not isinstance(part, dict) or not part:
            return self.chance.choice(PLAIN)
        if "enum" in part:
            return self.chance.choice(part["enum"])
        if "const" in part:
            return part["const"]
        for word in ("oneOf", "anyOf"):
            if word in part and "properties" not in part:
                rest = {name: each for name, each in part.items() if name != word}
                chosen = self.resolved(self.chance.choice(part[word]))
                return self.value({**rest, **chosen}, key, depth)
        kind = part.get("type", "object" if "properties" in part or "patternProperties" in part else "string")
        if isinstance(kind, list):
            kind = self.chance.choice(kind)
        return getattr(self, f"_{kind}")(part, key, depth)

    def _object(self, part: dict[str, Any], key: str, depth: int) -> dict[str, Any]:
        for word in ("allOf",):
            for each in part.get(word, ()):
                part = {**self.resolved(each), **part}
        known = part.get("properties", {})
        needed = list(part.get("required", ()))
        for word in ("oneOf", "anyOf"):
            if word in part:
                needed += self.resolved(self.chance.choice(part[word])).get("required", ())
        found = {}
        for name, inner in known.items():
            share = 0.35 if depth < 3 and self._left > 0 else 0.0
            if name in needed or self.chance.random() < share:
                found[name] = self.value(inner, name, depth + 1)
        for pattern, inner in part.get("patternProperties", {}).items():
            name = next((word for word in ("eth0", "word", "rsa_private") if re.search(pattern, word)), None)
            if name is not None:
                found[name] = self.value(inner, name, depth + 1)
        more = part.get("additionalProperties")
        if isinstance(more, dict) and not found:
            found["word"] = self.value(more, "word", depth + 1)
        return found

    def _array(self, part: dict[str, Any], key: str, depth: int) -> list[Any]:
        count = max(part.get("minItems", 0), self.chance.randint(0 if self._left < 0 else 1, 2))
        count = min(count, part.get("maxItems", count))
        inner = part.get("items", {})
        if isinstance(inner, list):
            return [self.value(each, key, depth + 1) for each in inner[: max(count, len(inner))]]
        return [self.value(inner, key, depth + 1) for _ in range(count)]

    def _string(self, part: dict[str, Any], key: str, depth: int) -> str:
        words = WORDS.get(key, PLAIN)
        fitting = [
            word for word in (*words, *PLAIN, *sum(WORDS.values(), ())) if re.search(part.get("pattern", ""), word)
        ]
        return self.chance.choice(fitting[: len(words)] if fitting else list(words))

    def _integer(self, part: dict[str, Any], key: str, depth: int) -> int:
        least = part.get("minimum", 0)
        return self.chance.randint(least, min(part.get("maximum", least + 2000), least + 2000))

    _number = _integer

    def _boolean(self, part: dict[str, Any], key: str, depth: int) -> bool:
        return self.chance.random() < 0.5

    def _null(self, part: dict[str, Any], key: str, depth: int) -> None:
        return None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a document but the document's own."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def spoilt(document: Any, chance: random.Random) -> tuple[Any, tuple[Any, ...]]:
    """Return the document with another value, or another key, in one place; and the place."""
    made = copy.deepcopy(document)
    everywhere = list(places(made))
    path = chance.choice(everywhere)
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    if isinstance(parent, dict) and chance.random() < 0.2:
        parent["unheard"] = 1
        return made, (*path[:-1], "unheard")
    parent[path[-1]] = copy.deepcopy(chance.choice(WRONG))
    return made, path
