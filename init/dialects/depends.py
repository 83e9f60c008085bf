"""`depends_on` of a container: names, or Compose's map from name to condition.

Source: compose-spec, "depends_on". The short form and `service_started` wait until the other container runs.
"""

from __future__ import annotations

from typing import Any

from init.dialects.diagnostic import Report
from init.dialects.position import Mapping, Node, is_null
from init.dialects.record import Key, Record, below
from init.dialects.shape import INVALID, Boolean, Choice, Custom, Listing, Text

HEALTHY = "service_healthy"
ENDED = "service_completed_successfully"
CONDITION = Record(
    what="a map with a `condition`",
    extensions=True,
    keys={
        "condition": Key(
            shape=Choice(("service_started", HEALTHY, ENDED)), doc="what is waited for; `service_started` by default"
        ),
        "required": Key(shape=Boolean(), doc="true: without it this container does not start"),
        "restart": Key(ignored="when the other container is started again, this one goes on"),
    },
)


def depends(name: Text) -> Custom:
    """Return the shape, whose value is pairs of a container's name and whether its health is waited for."""

    def read(node: Node, path: str, report: Report) -> Any:
        if not isinstance(node, Mapping):
            names = Listing(name).read(node, path, report)
            return names if names is INVALID else tuple((each, False) for each in names)
        return tuple((key.text, _healthy(value, below(path, key.text), report)) for key, value in node.entries)

    described = {"type": "object", "additionalProperties": {"anyOf": [CONDITION.schema(), {"type": "null"}]}}
    return Custom(read, {"anyOf": [Listing(name).schema(), described]})


def _healthy(node: Node, path: str, report: Report) -> bool:
    """Read the condition of one dependency; tell whether its health is waited for."""
    if is_null(node):
        return False
    fields = CONDITION.read(node, path, report)
    if fields is INVALID:
        return False
    if fields.get("required") is False:
        message = "it is waited for all the same, and has to be declared"
        report.warn(fields.place("required"), fields.below("required"), message)
    if fields.get("condition") == ENDED:
        message = "a container's end is not waited for: this one starts when that one runs"
        hint = "do the work in `runcmd`, or at the start of the container that needs it"
        report.warn(fields.place("condition"), fields.below("condition"), message, hint=hint)
    return bool(fields.get("condition") == HEALTHY)
