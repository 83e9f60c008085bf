from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats import machine as m

TEXT = st.text(max_size=8)


def _field(text: str) -> st.SearchStrategy[object]:
    if text.endswith(" | None"):
        return st.none() | _field(text.removesuffix(" | None"))
    if text.startswith("tuple["):
        inner = text[len("tuple[") : -1]
        if inner.endswith(", ..."):
            return st.lists(_field(inner.removesuffix(", ...")), max_size=2).map(tuple)
        return st.tuples(*(_field(part.strip()) for part in inner.split(",")))
    if text in ("str", "int", "float", "bool"):
        return {
            "str": TEXT,
            "int": st.integers(),
            "float": st.floats(allow_nan=False, allow_infinity=False),
            "bool": st.booleans(),
        }[text]
    return values(getattr(m, text))


def values(cls: type) -> st.SearchStrategy[object]:
    fields = cls.__dataclass_fields__  # type: ignore[attr-defined]
    return st.fixed_dictionaries(
        {n: _field(f.type) for n, f in fields.items() if f.default is f.default_factory},
        optional={
            n: st.deferred(lambda t=f.type: _field(t)) for n, f in fields.items() if f.default is not f.default_factory
        },
    ).map(lambda arguments: cls(**arguments))


@given(values(m.Machine))
def test_what_is_encoded_decodes_to_the_same_through_json(machine: object) -> None:
    assert isinstance(machine, m.Machine)
    assert m.decode(json.loads(json.dumps(m.encode(machine)))) == machine


def test_the_default_machine_is_an_empty_map() -> None:
    assert m.encode(m.Machine()) == {}
    assert m.decode({}) == m.Machine()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([], "top"),
        ({"hostnam": "x"}, "hostnam"),
        ({"hostname": 3}, "hostname"),
        ({"ssh_password": 1}, "ssh_password"),
        (
            {"containers": [{"name": "a", "image": "b", "ports": [{"host": True, "container": 1}]}]},
            r"containers\[0\].ports\[0\].host",
        ),
        ({"containers": [{"name": "a"}]}, r"containers\[0\].image: missing"),
        ({"sysctls": [["a"]]}, r"sysctls\[0\]"),
        ({"network": {"links": {}}}, "network.links"),
        ({"swap": {"filename": "f", "size": 1.5}}, "swap.size"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(value: object, path: str) -> None:
    with pytest.raises(ValueError, match=path):
        m.decode(value)


def test_an_integer_is_good_for_a_duration() -> None:
    assert m.decode({"health": {"within": 5}}).health.within == 5.0
