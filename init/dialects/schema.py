"""JSON schemas of the documents, from the same tables that read them. `berth schema NAME` prints one."""

from __future__ import annotations

from typing import Any

from init.dialects.berth import BERTH
from init.dialects.cloudconfig import CLOUD_CONFIG
from init.dialects.network1 import schema_v1
from init.dialects.network2 import NETWORK2

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NAMES = ("berth", "cloud-init", "network-config-v1", "network-config-v2")

_SWITCHED_OFF = {"type": "object", "properties": {"config": {"const": "disabled"}}, "required": ["config"]}


def schema(name: str) -> dict[str, Any]:
    """Return the schema of a dialect; raise KeyError for one that has none.

    A schema says less than the compiler checks: nothing of keys that depend on each other, of key formats, or of
    durations' bounds.
    """
    berth, cloud = BERTH.schema(), CLOUD_CONFIG.schema()
    networks = {"network-config-v1": schema_v1(), "network-config-v2": NETWORK2.schema()}
    berth["properties"]["network"] |= {"anyOf": [*networks.values(), _SWITCHED_OFF, {"type": "null"}]}
    bodies = {
        "berth": {**berth, "properties": {**cloud["properties"], **berth["properties"]}},
        "cloud-init": {**cloud, "properties": {**cloud["properties"], "berth": berth}},
        **networks,
    }
    return {"$schema": DRAFT, "title": f"Berth: {name}", **bodies[name]}
