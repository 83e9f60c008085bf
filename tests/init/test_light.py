"""PID 1's light values behave as the real ones do, as far as PID 1 goes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from init import light

TESTS = Path(__file__).parents[1]


def make(decorator, field):
    @decorator(frozen=True, kw_only=True)
    class Base:
        name: str
        tags: tuple[str, ...] = ()

    @decorator(frozen=True, kw_only=True)
    class Value(Base):
        number: int = 3
        more: dict[str, int] = field(default_factory=dict)

        def twice(self) -> int:
            return self.number * 2

    return Value


REAL = make(dataclasses.dataclass, dataclasses.field)
LIGHT = make(light.dataclass, light.field)
BOTH = pytest.mark.parametrize("kind", [REAL, LIGHT], ids=["real", "light"])


@BOTH
def test_made_compared_and_shown(kind):
    one, two = kind(name="a", tags=("x",)), kind(name="a", tags=("x",))
    assert one == two
    assert one != kind(name="b")
    assert one.number == 3
    assert one.more == {}
    assert one.more is not two.more
    assert one.twice() == 6
    assert repr(one).endswith("Value(name='a', tags=('x',), number=3, more={})")


@BOTH
def test_wrong_fields_are_refused(kind):
    with pytest.raises(TypeError):
        kind(name="a", nonsense=1)
    with pytest.raises(TypeError):
        kind()


def test_replace_fields_and_asdict():
    value = LIGHT(name="a", more={"k": 1})
    changed = light.replace(value, number=9)
    assert (changed.number, changed.name, value.number) == (9, "a", 3)
    assert light.asdict(changed) == {"name": "a", "tags": (), "number": 9, "more": {"k": 1}}
    assert [field.name for field in light.fields(LIGHT)] == [field.name for field in dataclasses.fields(REAL)]
    with pytest.raises(TypeError):
        light.replace(value, nonsense=1)


def test_values_are_hashed_by_content():
    kind = make(light.dataclass, light.field)
    assert len({kind(name="a", more=()), kind(name="a", more=()), kind(name="b", more=())}) == 2


LIFE = """
import sys
sys.path[:0] = {path!r}
if {light}:
    import init.pid1.main, init.pid1.halves, init.pid1.running
    from fakes import machine, running
    from init.containers import baked, engine_files, plan
    from init.pid1 import accounts, etc, linknames, network
    assert sys.modules.pop("dataclasses").__name__ == "init.light"  # pytest needs the real ones
    assert sys.modules.pop("json").__name__ == "init.lightjson"
import json
from fakes.life import Life
life = Life()
print(json.dumps([life.names(), life.answers, [str(call) for call in life.system.calls]]))
"""


@pytest.mark.long
def test_a_whole_life_is_the_same_with_either():
    def live(*, with_light: bool):
        path = [str(TESTS.parent), str(TESTS), str(TESTS / "init")]
        script = LIFE.format(path=path, light=with_light)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    assert live(with_light=True) == live(with_light=False)
