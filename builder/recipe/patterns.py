"""Braces in the patterns of a recipe: `/a/{b,c}.py` stands for `/a/b.py` and `/a/c.py`."""

from __future__ import annotations

from itertools import pairwise

_MOST = 1000


def expand(pattern: str) -> tuple[str, ...]:
    """Return the patterns without braces, in the order in which they are written.

    Raise ValueError for braces that do not pair, and for a pattern that stands for more than 1000.
    """
    start = pattern.find("{")
    if start < 0:
        if "}" in pattern:
            raise ValueError("a `}` without its `{`")
        return (pattern,)
    end, commas = _closing(pattern, start)
    bounds = [start, *commas, end]
    tails = expand(pattern[end + 1 :])
    result: list[str] = []
    for left, right in pairwise(bounds):
        for middle in expand(pattern[left + 1 : right]):
            result.extend(pattern[:start] + middle + tail for tail in tails)
            if len(result) > _MOST:
                raise ValueError(f"braces that stand for more than {_MOST} patterns")
    return tuple(result)


def _closing(pattern: str, start: int) -> tuple[int, list[int]]:
    depth = 0
    commas: list[int] = []
    for index in range(start, len(pattern)):
        match pattern[index]:
            case "{":
                depth += 1
            case "}":
                depth -= 1
                if depth == 0:
                    return index, commas
            case "," if depth == 1:
                commas.append(index)
    raise ValueError("a `{` without its `}`")
