"""What `berthctl` shows: a screen of 24 lines of 80 columns whatever there is, no terminal commands from logs."""

from __future__ import annotations

import os
import pty
import sys
import termios
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from init.berthctl import events as events_verb
from init.berthctl import main, show, status, talk, timeline
from init.formats import screen

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


def test_the_slot_that_boots_next_is_marked_where_another_runs():
    def marked(order, tries_b):
        slots = {**FULL["slots"], "b": {"version": "2", "tries": tries_b, "good": False, "booted": False}}
        lines = status.screen({**FULL, "order": order, "slots": slots})
        return [line.split()[1] for line in lines if line.endswith("boots next")]

    assert marked("ba", 3) == ["b"]  # an update that waits for its reboot
    assert marked("ab", 3) == []
    assert marked("ba", 0) == []  # one that came back


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def on_a_terminal(text):
    """How many columns a terminal takes for a text, by Unicode's own table."""
    assert text.isprintable(), repr(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide


def fits(lines, width=80):
    assert 1 <= len(lines) <= 24
    assert [line for line in lines if on_a_terminal(line) > width] == []


@given(st.dictionaries(st.sampled_from(sorted(FULL)), json_values), st.integers(40, 200))
def test_any_answer_makes_a_screen(answer, width):
    fits(status.screen(answer, width), width)


words = st.text(max_size=200) | st.sampled_from(["", "ok", "x" * 300, "表" * 90, "a b " * 60, "\x1b[2J\n\t"])
some = st.lists(words, max_size=9)


def of(*names, **others):
    return st.fixed_dictionaries({**dict.fromkeys(names, words), **others})


slots = of("version", tries=st.integers(0, 3), good=st.booleans(), booted=st.booleans())
states = of(
    "version", "class", "hostname", "machine_id", "media",
    uptime=st.floats(0, 1e9),
    state=st.fixed_dictionaries({"kind": st.just("ext4"), "free": st.integers(0, 1 << 60), "kept": some}),
    slots=st.dictionaries(st.sampled_from("ab"), slots),
    health=st.fixed_dictionaries({"state": st.sampled_from(["healthy", "degraded", "pending"]), "reasons": some}),
    last_return=st.none() | of("from", "reason", "detail", "at"),
    config=of("source", "sha256", refused=st.none() | words),
    containers=st.lists(of("name", "state", "health", "restarts", "image"), max_size=40),
    addresses=st.dictionaries(words, some, max_size=9),
    watchdog=st.none() | of("identity", seconds=st.integers(), software=st.booleans()),
    update=of("repository", "channel", "policy"),
)  # fmt: skip


@given(states, st.integers(40, 200))
@settings(max_examples=50)
def test_any_state_fits_on_the_screen(answer, width):
    lines = status.screen(answer, width)
    fits(lines, width)
    assert any(line.split() == ["health", answer["health"]["state"]] for line in lines)


def test_what_matters_is_the_last_to_be_cut():
    many = [f"container c{number} is unhealthy: {'why ' * 40}" for number in range(9)]
    sick = {"name": "n" * 200, "state": "running", "health": "unhealthy", "restarts": 7, "image": "r/" * 90}
    long = {
        **FULL,
        "version": "9" * 63,
        "hostname": "h" * 64,
        "slots": {name: {**slot, "version": "9" * 63} for name, slot in FULL["slots"].items()},
        "health": {"state": "degraded", "reasons": many},
        "last_return": {**FULL["last_return"], "from": "8" * 40, "detail": "root " * 30},
        "config": {"source": "http://" + "s" * 200, "sha256": "ab" * 32, "refused": "user-data: " + "wrong " * 40},
        "addresses": {f"eth{number}": ["2001:db8:0:1:2:3:4:5/64"] * 4 for number in range(4)},
        "containers": [*FULL["containers"], sick],
    }
    lines = status.screen(long)
    fits(lines)
    said = "\n".join(lines)
    for part in (
        "h" * 64, "podman-amd64, booted from disk", "1 d 2 h", "confirmed, 3 tries left, running", "watchdog (root",
        "not confirmed, 0 tries left", "degraded", "container c3 is unhealthy", "5 more: berthctl status --json",
        " abababababab\n", "refused: user-data", "http://x/", "nnn", "unhealthy", "49 more: berthctl ps",
    ):  # fmt: skip
        assert part in said, (part, said)
    few = {**long, "health": {"state": "degraded", "reasons": [f"{'why ' * 40}end"]}, "containers": []}
    fits(status.screen(few))
    assert "end\n" in "\n".join(status.screen(few)), "where there is room, what matters is told to its end"
    # A wide terminal is used.
    assert max(map(len, status.screen(long, 160))) > 100


def test_the_terminal_says_how_wide_it_is(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        found = []
        for columns in (100, 0, 7):
            termios.tcsetwinsize(theirs, (24, columns))
            found.append(show.width())
    assert found == [100, 80, 40]
    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        assert show.width() == 80


def test_letters_are_never_wider_than_is_said():
    letters = [chr(number) for number in range(sys.maxunicode + 1) if chr(number).isprintable()]
    assert [letter for letter in letters if screen.columns(letter) < on_a_terminal(letter)] == []
    assert [screen.columns(letter) for letter in "aé→…–�"] == [1] * 6


@given(st.text(), st.integers(2, 30), st.integers(1, 5))
def test_folding_keeps_every_letter_that_has_room(text, width, most):
    text = screen.safe(text)
    lines = screen.fold(text, width, most)
    assert len(lines) <= most
    assert all(on_a_terminal(line) <= width for line in lines)
    if not lines[-1].endswith("…"):
        assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("one two three four", ["one two", "three f…"]),
        ("onetwothree", ["onetwoth", "ree"]),
        ("", [""]),
    ],
)
def test_lines_are_folded_at_blanks(text, lines):
    assert screen.fold(text, 8, 2) == lines


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
