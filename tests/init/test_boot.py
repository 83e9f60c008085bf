"""The boot's machine: a config is always in force at the end, and every stage comes once, in order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats import events, machine
from init.formats.machine import Command, Machine
from init.pid1 import boot
from init.pid1.boot import Begun, Boot, BootcmdEnded, ConfigLost, ConfigRead, Late, NetworkUp, Report, Stage

DEFAULT = Machine(hostname="recipe")
GIVEN = Machine(hostname="given")
WITH_BOOTCMD = Machine(hostname="given", bootcmd=(Command(argv=("true",)),))
ALL = (
    Begun(sources=True),
    Begun(sources=False),
    ConfigRead(report=Report(machine=GIVEN, source="cidata", document="eA==", sha256="ab")),
    ConfigRead(report=Report(machine=WITH_BOOTCMD, source="last-good", refused="cidata", errors=("line 3",))),
    ConfigRead(report=Report(machine=GIVEN, source="recipe", refused="cidata", lifeline=True)),
    ConfigRead(report=Report(machine=None, source="cidata", errors=("broken",))),
    ConfigLost(reason="it died"),
    BootcmdEnded(),
    Begun(sources=True, network=True),
    NetworkUp(),
    *(Late(stage=stage) for stage in Stage),
)


def run(*happened):
    now, said = Boot(default=DEFAULT), []
    for event in happened:
        now, actions = boot.step(now, event)
        said += actions
    return now, said


def test_every_sequence_performs_each_stage_once_and_in_order():
    order = list(Stage)
    for happened in itertools.product(ALL, repeat=3):
        end, actions = run(*happened)
        stages = [action.stage for action in actions if isinstance(action, boot.Perform)]
        assert stages == sorted(set(stages), key=order.index)
        if end.stage is Stage.SETTLED:
            assert stages[-1] is Stage.SERVICES
            said = [action.event for action in actions if isinstance(action, boot.Emit)]
            assert said, "a config is in force, and it is said"


def test_time_alone_brings_it_up():
    end, actions = run(Begun(), Late(stage=Stage.CONFIG))
    assert end.stage is Stage.SETTLED
    assert end.in_force.machine == DEFAULT
    assert end.in_force.refused is not None
    assert boot.Abandon(stage=Stage.CONFIG) in actions


def test_a_child_that_is_lost_is_followed_by_one_over_the_last_good_alone_and_by_no_third():
    now, actions = run(Begun(network=True, last_good=True), NetworkUp(), Late(stage=Stage.CONFIG))
    assert (now.stage, now.waiting, now.config_bound) == (Stage.CONFIG, True, boot.CONFIG_BOUND)
    assert actions[-2:] == [
        boot.Perform(stage=Stage.CONFIG),
        boot.Bound(stage=Stage.CONFIG, seconds=boot.CONFIG_BOUND),
    ]
    kept, actions = boot.step(now, ConfigRead(report=Report(machine=GIVEN, source="last-good", sha256="ab")))
    assert (kept.in_force.machine, kept.in_force.source, kept.in_force.lost) == (GIVEN, "last-good", False)
    assert kept.in_force.refused == now.lost
    said = [action for action in actions if isinstance(action, boot.Emit)]
    assert [action.event for action in said] == [events.CONFIG_REFUSED, events.CONFIG_APPLIED]
    gone, actions = boot.step(now, ConfigLost(reason="it died again"))
    assert gone.stage is Stage.SETTLED
    assert (gone.in_force.machine, gone.in_force.lost) == (DEFAULT, True)
    assert boot.Perform(stage=Stage.CONFIG) not in actions
    first, _ = run(Begun(), ConfigLost(reason="it died"))
    assert not first.in_force.lost, "there was nothing that another slot had taken"


def test_a_network_seed_waits_for_an_address_and_no_longer_than_its_bound():
    now, actions = run(Begun(network=True))
    assert now.stage is Stage.SEED
    assert boot.Bound(stage=Stage.SEED, seconds=boot.SEED_BOUND) in actions
    asked = boot.Perform(stage=Stage.CONFIG)
    assert asked not in actions
    up, actions = boot.step(now, NetworkUp())
    assert (up.stage, up.config_bound) == (Stage.CONFIG, boot.CONFIG_BOUND + boot.FETCH_BOUND)
    assert asked in actions
    late, actions = boot.step(now, Late(stage=Stage.SEED))
    assert (late.stage, late.config_bound) == (Stage.CONFIG, boot.CONFIG_BOUND)
    assert asked in actions
    assert boot.step(late, NetworkUp()) == (late, [])


def test_without_a_source_no_child_is_started():
    end, actions = run(Begun(sources=False))
    assert boot.Perform(stage=Stage.CONFIG) not in actions
    assert end.in_force.machine == DEFAULT
    applied = next(action for action in actions if isinstance(action, boot.Emit))
    assert (applied.event, applied.fields["source"]) == (events.CONFIG_APPLIED, "recipe")


def test_a_new_config_is_applied_and_kept():
    end, actions = run(Begun(), ALL[2])
    assert end.in_force.machine == GIVEN
    assert boot.KeepLastGood(document="eA==", sha256="ab") in actions


def test_a_refused_one_says_what_is_in_force():
    end, actions = run(Begun(), ALL[3])
    refused = next(action for action in actions if isinstance(action, boot.Emit))
    assert refused.event == events.CONFIG_REFUSED
    assert refused.fields == {"source": "cidata", "errors": ["line 3"], "in_force": "last-good"}
    assert end.in_force.refused == "cidata: line 3"
    assert not any(isinstance(action, boot.KeepLastGood) for action in actions)


def test_the_lifeline_is_never_called_applied():
    _, actions = run(Begun(), ALL[4])
    said = [action for action in actions if isinstance(action, boot.Emit)]
    assert [action.event for action in said] == [events.CONFIG_REFUSED]
    assert said[0].fields["in_force"] == "lifeline"


def test_bootcmd_is_waited_for_before_the_network():
    end, actions = run(Begun(), ALL[3])
    assert end.stage is Stage.BOOTCMD
    assert boot.Perform(stage=Stage.NETWORK) not in actions
    end, actions = boot.step(end, BootcmdEnded())
    assert end.stage is Stage.SETTLED
    assert boot.Perform(stage=Stage.NETWORK) in actions


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("machine", "source", "sha256", "diagnostics", "refused", "lifeline", "document")


@given(json_values | st.dictionaries(st.sampled_from(KEYS), json_values))
def test_a_report_of_any_form_is_read_or_refused_by_value_error(value):
    try:
        report = boot.read_report(value)
    except ValueError:
        return
    assert isinstance(report, Report)


def test_a_report_as_the_child_gives_it():
    value = {
        "machine": machine.encode(GIVEN),
        "source": "cidata:/dev/vdb",
        "sha256": "ab",
        "diagnostics": [
            {
                "severity": "error",
                "file": "user-data",
                "line": 3,
                "column": 1,
                "path": "users",
                "message": "no list",
                "hint": "-",
            },
            {"severity": "warning", "file": "", "line": 0, "message": "odd"},
        ],
        "refused": {"source": "x", "sha256": "cd", "errors": 1},
        "lifeline": True,
        "document": "",
    }
    report = boot.read_report(value)
    assert report.machine == GIVEN
    assert report.errors == ("user-data:3:1: users: no list (-)",)
    assert (report.warnings, report.refused, report.lifeline) == (1, "x", True)


@pytest.mark.parametrize("stage", list(Stage))
def test_the_sequence_names_every_stage(stage):
    assert [step.stage for step in boot.SEQUENCE].count(stage) == 1
