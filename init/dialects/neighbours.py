"""What no container shows by itself: for whom it waits, and who takes which port of the machine."""

from __future__ import annotations

from collections.abc import Iterator

from init.dialects.diagnostic import Place, Report, nearest
from init.dialects.position import Sequence, shown
from init.dialects.record import Fields
from init.formats.machine import Container, Port


def check_containers(
    containers: tuple[Container, ...], declared: dict[str, Fields], places: dict[str, Place], report: Report
) -> None:
    """Report names that are missing, circles, and ports of the machine that are taken twice."""
    by_name = {container.name: container for container in containers}
    for container in containers:
        fields = declared[container.name]
        place = fields.place("depends_on")
        for name in container.depends_on:
            if name not in by_name:
                close = nearest(name, by_name)
                hint = f"did you mean {shown(close)}?" if close else None
                message = f"there is no container {shown(name)}"
                report.error(place, fields.below("depends_on"), message, hint=hint, code="value")
        if container.network != "bridge" and container.ports:
            message = f"with `network_mode: {container.network}` no port is published"
            report.warn(fields.place("ports"), fields.below("ports"), message)
    bridged = {each.name: declared[each.name] for each in containers if each.network == "bridge"}
    _check_ports(bridged, places, report)
    for name in by_name:
        if _reaches(by_name, name):
            fields = declared[name]
            message = "the containers wait for each other in a circle"
            report.error(fields.place("depends_on"), fields.below("depends_on"), message, code="value")


def _check_ports(declared: dict[str, Fields], places: dict[str, Place], report: Report) -> None:
    """Report each port of the machine that is published twice; one on all addresses takes it on each of them."""
    taken: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for name, fields in declared.items():
        for port, place, path in _ports(fields):
            others = taken.setdefault((port.protocol, port.host), [])
            other = next((who for who, at in others if "" in (at, port.address) or at == port.address), None)
            others.append((name, port.address))
            if other is None:
                continue
            hint = None
            if other != name and places[other].file != place.file:
                hint = f"it is the recipe's; `{other}: null` takes it away"
            who = "this container" if other == name else f"the container `{other}`"
            report.error(place, path, f"{who} publishes port {port.host} already", hint=hint, code="duplicate")


def _ports(fields: Fields) -> Iterator[tuple[Port, Place, str]]:
    """Return each port with its place, as far as all entries were right."""
    node, path = fields.node.get("ports"), fields.below("ports")
    groups = fields.get("ports", ())
    exact = isinstance(node, Sequence) and len(node.items) == len(groups)
    for index, group in enumerate(groups):
        place = node.items[index].place if exact and isinstance(node, Sequence) else fields.place("ports")
        for port in group:
            yield port, place, f"{path}[{index}]" if exact else path


def _reaches(by_name: dict[str, Container], start: str) -> bool:
    todo, seen = list(by_name[start].depends_on), set[str]()
    while todo:
        name = todo.pop()
        if name == start:
            return True
        if name in by_name and name not in seen:
            seen.add(name)
            todo.extend(by_name[name].depends_on)
    return False
