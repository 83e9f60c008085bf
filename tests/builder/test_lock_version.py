"""Versions, relations and waivers, as Debian's policy has them: all pure."""

import pytest
from fakes.locks import waiver
from hypothesis import given
from hypothesis import strategies as st

from builder.lock.depends import is_waived, parse_group, split_groups
from builder.lock.version import order, satisfies

# Versions: every line ascends, as `dpkg --compare-versions` says.

ASCENDING = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0a",
    "0+",
    "0.1~rc1",
    "0.1",
    "0.1-0+deb1",
    "0.1-1~bpo1",
    "0.1-1",
    "0.1-1+b1",
    "0.1-1+b10",
    "0.1a",
    "0.1.1",
    "0.9",
    "0.10",
    "6.12.118-1",
    "6.12.119-1",
    "20240101",
    "1:0",
    "1:0-0~",
    "2:0",
]


def test_versions_stand_in_order() -> None:
    ascending = [version for version in ASCENDING if version != "1:0-0~"]
    assert sorted(ascending, key=order) == ascending
    assert order("1:0-0~") < order("1:0")


@pytest.mark.parametrize(("one", "other"), [("1.0", "1.0-0"), ("0:1.0", "1.0"), ("1.00", "1.0"), ("1.a", "1.a0")])
def test_versions_that_are_equal(one: str, other: str) -> None:
    assert order(one) == order(other)


VERSIONS = st.from_regex(r"\A([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,4})?\Z")


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(one: str, other: str, third: str) -> None:
    assert (order(one) < order(other)) + (order(other) < order(one)) + (order(one) == order(other)) == 1
    if order(one) <= order(other) <= order(third):
        assert order(one) <= order(third)
    assert satisfies(one, "<=", other) is (satisfies(one, "<<", other) or satisfies(one, "=", other))
    assert satisfies(one, ">=", other) is not satisfies(one, "<<", other)
    assert satisfies(one, ">>", other) is not satisfies(one, "<=", other)


@given(VERSIONS)
def test_a_tilde_sorts_before_the_end(version: str) -> None:
    assert order(version + "~") < order(version) < order(version + "+")


# Relations


def test_relations_are_read() -> None:
    (one, other) = parse_group("libc6:any (>= 2.39) | libc0.1 (<< 3)")
    assert (one.name, one.qualifier, one.operator, one.version) == ("libc6", "any", ">=", "2.39")
    assert str(other) == "libc0.1 (<< 3)"
    assert parse_group("a (< 1)")[0].operator == "<="
    assert split_groups(" a ,\n b  (= 1) | c,, ") == ("a", "b (= 1) | c")
    with pytest.raises(ValueError, match="not a relation"):
        parse_group("a b")


def test_waivers_are_by_name_and_pattern() -> None:
    waive = [waiver("linux-image-*", "initramfs-tools"), waiver("a", "b")]
    assert is_waived("linux-image-6.12.1-amd64", "initramfs-tools (>= 1) | linux-initramfs-tool", waive)
    assert is_waived("a", "c | b", waive)
    assert not is_waived("ab", "b", waive)
