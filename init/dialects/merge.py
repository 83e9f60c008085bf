"""One tree over another: maps by key, lists replaced, `null` removes."""

from __future__ import annotations

from init.dialects.position import Mapping, Node, Scalar, Sequence, is_null

REPLACE = "!replace"


def merge(base: Node | None, over: Node, *, concatenate: bool = False) -> Node:
    """Return `over` laid over `base`.

    With `concatenate` (a recipe's `build` half) the items of a list come after those of the base's, unless the list is
    tagged `!replace`. A key whose value is null removes the base's; it stays where the base has none, for some keys
    mean something by null.
    """
    if isinstance(base, Mapping) and isinstance(over, Mapping) and over.tag != REPLACE:
        return _merge_maps(base, over, concatenate=concatenate)
    if concatenate and isinstance(base, Sequence) and isinstance(over, Sequence) and over.tag != REPLACE:
        return Sequence(base.items + over.items, over.place)
    return over


def _merge_maps(base: Mapping, over: Mapping, *, concatenate: bool) -> Mapping:
    entries: dict[str, tuple[Scalar, Node]] = {key.text: (key, value) for key, value in base.entries}
    for key, value in over.entries:
        if key.text not in entries:
            entries[key.text] = (key, value)
        elif is_null(value):
            del entries[key.text]
        else:
            entries[key.text] = (key, merge(entries[key.text][1], value, concatenate=concatenate))
    return Mapping(tuple(entries.values()), over.place)
