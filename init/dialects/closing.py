"""What happens at the end of a boot (cloud-init's modules phone_home, final_message, power_state_change)."""

from __future__ import annotations

import re
from typing import Any

from init.dialects.diagnostic import Report
from init.dialects.position import Node, Scalar, Sequence
from init.dialects.record import Fields, Key, Record
from init.dialects.shape import INVALID, Choice, Custom, Integer, Listing, Text, wrong
from init.formats.machine import Command, PhoneHome, PowerState

POSTED = ("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn")


def _post(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Scalar) and node.text == "all":
        return POSTED
    return Listing(Choice(POSTED)).read(node, path, report)


PHONE_HOME = Record(
    keys={
        "url": Key(shape=Text(pattern=r"https?://\S+", what="a URL"), required=True, doc="what is told"),
        "post": Key(
            shape=Custom(_post, {"anyOf": [{"const": "all"}, {"type": "array", "items": {"enum": [*POSTED]}}]}),
            doc="what it is told; `all` by default",
        ),
        "tries": Key(shape=Integer(least=1, most=1000), doc="10 by default"),
    }
)


def _phone_home(node: Node, path: str, report: Report) -> Any:
    fields = PHONE_HOME.read(node, path, report)
    if fields is INVALID or "url" not in fields:
        return INVALID
    return PhoneHome(url=fields.get("url"), post=fields.get("post", POSTED), tries=fields.get("tries", 10))


def _delay(node: Node, path: str, report: Report) -> Any:
    """`now`, or minutes as a number or `+N`; returns seconds."""
    if isinstance(node, Scalar):
        if node.text == "now":
            return 0.0
        if re.fullmatch(r"\+?[0-9]{1,6}", node.text):
            return int(node.text) * 60.0
    return wrong("expected `now`, or minutes such as 5 or +5", node, path, report)


def _condition(node: Node, path: str, report: Report) -> Any:
    """`true`, `false`, or a command that says so by its status: a line for the shell, or a list of words."""
    if isinstance(node, Sequence):
        words = Listing(Text()).read(node, path, report)
        if words is INVALID or words:
            return INVALID if words is INVALID else Command(argv=tuple(words))
    elif isinstance(node, Scalar):
        value = node.value()
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            return Command(argv=(value,), shell=True)  # noqa: S604 - a value, nothing is run
    return wrong("expected true, false, a line for the shell, or a list of words", node, path, report)


POWER_STATE = Record(
    keys={
        "mode": Key(shape=Choice(("poweroff", "reboot", "halt")), required=True),
        "delay": Key(shape=Custom(_delay, {"type": ["string", "integer"]}), doc="`now`, or minutes"),
        "message": Key(shape=Text(), doc="what is said before"),
        "timeout": Key(ignored="the shutdown comes when the configuration is done"),
        "condition": Key(
            shape=Custom(_condition, {"type": ["boolean", "string", "array"]}), doc="true, false, or a command"
        ),
    }
)


def _power_state(node: Node, path: str, report: Report) -> Any:
    fields = POWER_STATE.read(node, path, report)
    condition = None if fields is INVALID else fields.get("condition")
    if fields is INVALID or "mode" not in fields or condition is False:
        return INVALID
    return PowerState(
        mode=fields.get("mode"),
        delay=fields.get("delay", 0.0),
        message=fields.get("message", ""),
        condition=condition if isinstance(condition, Command) else None,
    )


CLOSING: dict[str, Key] = {
    "phone_home": Key(shape=Custom(_phone_home, PHONE_HOME.schema()), doc="a URL that is told that the machine is up"),
    "final_message": Key(shape=Text(), doc="a line on the console at the end"),
    "power_state": Key(shape=Custom(_power_state, POWER_STATE.schema()), doc="power off or reboot after the rest"),
}


def make_closing(fields: Fields) -> dict[str, Any]:
    """Return the fields of `Machine` that these keys give."""
    return {name: fields.get(name) for name in CLOSING if fields.get(name)}
