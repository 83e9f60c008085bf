"""What a plain scalar means: by YAML 1.2's core schema (10.3.2), and by YAML 1.1 as PyYAML and cloud-init read it.

`no`, `22:22`, `0644` and `1_000` are the words on which the two differ.
"""

from __future__ import annotations

import math
import re

Value = None | bool | int | float | str

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE12 = {"true", "True", "TRUE"}
_FALSE12 = {"false", "False", "FALSE"}
_TRUE11 = _TRUE12 | {"yes", "Yes", "YES", "on", "On", "ON"}
_FALSE11 = _FALSE12 | {"no", "No", "NO", "off", "Off", "OFF"}
_INT12 = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT12 = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INT11 = re.compile(
    r"[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+"
)
_FLOAT11 = re.compile(
    r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
)
_SPECIAL = {".inf": math.inf, "-.inf": -math.inf, "+.inf": math.inf, ".nan": math.nan}
_LONGEST_NUMBER = 64  # letters; Python takes quadratic time over longer ones


def resolve12(text: str) -> Value:
    """Return what a plain scalar is by YAML 1.2."""
    if text in _NULL:
        return None
    if text in _TRUE12:
        return True
    if text in _FALSE12:
        return False
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INT12.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)
    if _FLOAT12.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)


def resolve11(text: str) -> Value:
    """Return what a plain scalar is by YAML 1.1; a date stays text."""
    if text in _NULL:
        return None
    if text in _TRUE11:
        return True
    if text in _FALSE11:
        return False
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INT11.fullmatch(text):
        return _integer11(text.replace("_", ""))
    if _FLOAT11.fullmatch(text):
        return _float11(text.replace("_", ""))
    return _SPECIAL.get(text.lower(), text)


def differs(text: str) -> bool:
    """Tell whether the two versions read a plain scalar differently."""
    one, two = resolve11(text), resolve12(text)
    return type(one) is not type(two) or (one != two and one == one)  # noqa: PLR0124 - NaN is not itself


def _integer11(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    if digits.startswith("0b"):
        return sign * int(digits[2:] or "0", 2)
    if digits.startswith("0x"):
        return sign * int(digits[2:] or "0", 16)
    if digits.startswith("0"):
        return sign * int(digits, 8)
    return sign * int(_sexagesimal(digits))


def _float11(text: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    return sign * _sexagesimal(text.lstrip("+-"))


def _sexagesimal(digits: str) -> float:
    if ":" not in digits:
        return int(digits) if digits.isdecimal() else float(digits)
    total: float = 0
    for part in digits.split(":"):
        total = total * 60 + (float(part) if "." in part else int(part))
    return total
