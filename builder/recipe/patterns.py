"""The patterns of a recipe: braces (`/a/{b,c}.py` stands for `/a/b.py` and `/a/c.py`), and globs over whole paths."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

_MOST = 1000
_MEANS_MORE = re.compile(r"[\\\[&|~]")  # within brackets, to `re` alone


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


@lru_cache(maxsize=4096)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob over whole paths: `*` and `?` stop at slashes, `**` crosses them, `[…]` as usual.

    Raise ValueError for brackets that mean nothing, as a range that runs backwards.
    """
    try:
        return re.compile(translate(pattern), re.DOTALL)
    except re.error as error:
        raise ValueError(f"a pattern with {error.msg}") from error


def translate(pattern: str) -> str:
    """Return the regular expression of a glob. (`{a,b}` is the recipe's: `expand` makes two of it.)"""
    output: list[str] = []
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        if pattern.startswith("**", position):
            output.append(".*")
            position += 2
            continue
        position += 1
        if letter == "*":
            output.append("[^/]*")
        elif letter == "?":
            output.append("[^/]")
        elif letter == "[" and "]" in pattern[position + 1 :]:
            end = pattern.index("]", position + 1)
            inside = _MEANS_MORE.sub(r"\\\g<0>", pattern[position:end])
            output.append(f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]")
            position = end + 1
        else:
            output.append(re.escape(letter))
    return "".join(output)
