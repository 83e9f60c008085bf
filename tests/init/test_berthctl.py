"""What `berthctl` shows: a screen of 24 lines whatever there is, and no terminal commands from logs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from init.berthctl import events as events_verb
from init.berthctl import main, show, status, talk, timeline

FULL = {
    "format": "berth.status/1",
    "version": "1",
    "class": "podman-amd64",
    "hostname": "box1",
    "machine_id": "0" * 32,
    "media": "disk",
    "uptime": 93784.0,
    "state": {"kind": "ext4", "free": 1 << 33, "kept": ["/var", "/home"]},
    "slots": {
        "a": {"version": "1", "tries": 3, "good": True, "booted": True},
        "b": {"version": None, "tries": 0, "good": False, "booted": False},
    },
    "order": "ab",
    "health": {"state": "degraded", "reasons": [f"reason {number}" for number in range(9)]},
    "last_return": {
        "from": "2",
        "version": "1",
        "reason": "watchdog",
        "detail": "state",
        "at": "2026-01-01T00:00:00.000Z",
    },
    "config": {"source": "cidata", "sha256": "ab" * 32, "refused": "cidata: line 3"},
    "containers": [
        {"name": f"c{number}", "state": "running", "health": "healthy", "restarts": 0, "image": "i"}
        for number in range(50)
    ],
    "addresses": {"eth0": ["10.0.2.15/24"]},
    "memory": {"total": 1 << 30, "available": 1 << 29},
    "watchdog": {"identity": "i6300ESB timer", "seconds": 60, "software": False},
    "update": {"repository": "http://x/", "channel": "stable", "policy": "now"},
}


def test_a_full_screen_is_24_lines():
    lines = status.screen(FULL)
    assert len(lines) == 24
    assert any("more: berthctl ps" in line for line in lines)
    assert "1 d 2 h" in "\n".join(lines)
    assert "kept       /var /home; not /etc /run /tmp" in lines


def test_a_machine_without_a_disk_says_that_nothing_lasts():
    lines = status.screen({**FULL, "state": {"kind": "memory", "free": 1 << 20, "kept": []}})
    assert any(line.startswith("kept       nothing") for line in lines)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(FULL)), json_values))
def test_any_answer_makes_a_screen(answer):
    assert 1 <= len(status.screen(answer)) <= 24


def test_what_a_log_says_is_no_terminal_command():
    line = events_verb.line({"t": 1.0, "event": "x", "reason": "\x1b[2Jgone"})
    assert "\x1b" not in line
    assert show.safe("\x1b]0;title\x07") == "�]0;title�"


def test_sizes_and_durations():
    assert [show.size(value) for value in (0, 1023, 1536, 10 << 20, 3 << 30, None, float("inf"))] == [
        "0 B", "1023 B", "1.5 KiB", "10 MiB", "3.0 GiB", "–", "–",
    ]  # fmt: skip
    assert [show.duration(value) for value in (5, 65, 3700, 90000, None, float("inf"), float("nan"))] == [
        "5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h", "–", "–", "–",
    ]  # fmt: skip


def test_a_timeline_grows():
    marks = [{"t": 1.0, "event": "init.started"}, {"t": 2.0, "event": "container.started", "name": "web"}]
    lines = timeline.chart({"marks": marks})
    assert len(lines) == 2
    assert lines[1].endswith("container.started web")


def test_without_pid_1_it_says_so(capsys, tmp_path):
    assert main.main(["status", "--socket", str(tmp_path / "none")]) == 1
    assert "can't be reached" in capsys.readouterr().err
    assert main.main(["status", "--json", "--socket", str(tmp_path / "none")]) == 1
    assert '"format": "berth.error/1"' in capsys.readouterr().out


def test_every_verb_has_help_with_examples():
    for module in main.VERBS.values():
        assert module.HELP
        assert all(example.startswith("berthctl ") for example in module.EXAMPLES)


def test_failures_are_objects():
    failure = talk.Failure("code", "message", "hint")
    assert failure.as_json() == {"format": "berth.error/1", "code": "code", "message": "message", "hint": "hint"}
