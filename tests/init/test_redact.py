"""What is shown of a configuration: no secret, wherever one is planted; and all that is none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from init import phonehome
from init.dialects.compile import compile_document
from init.formats import codec, machine, redact
from init.formats.machine import Command, Container, HealthCheck, Machine, Mount, PhoneHome, Registry, User
from init.formats.redact import HIDDEN, redacted

CLASSES = {name: each for name, each in vars(machine).items() if is_dataclass(each)}
RULES = set(redact._RULES)
# Forms that tell a secret wherever they stand.
FORMS = (
    "https://u:{}@host/path",
    "https://{}@host",
    "//u:{}@host/share",
    "see http://host/p?token={} there",
    "http://host/p?{}",
    "http://host/p?a=1&token={}&b=2#x",
    "http://host/p#{}",
    "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\n{}",
    "$6$salt${}",
    "$y$j9T${}",
)
# Where a whole value, or a word of a command, is a secret.
PLACES = {
    "User.password_hash": User(name="a", password_hash="{}"),
    "User.ssh_authorized_keys": User(name="a", ssh_authorized_keys=('command="x -p {}" ssh-ed25519 AAAA a',)),
    "WrittenFile.content": machine.WrittenFile(path="/a", content="{}"),
    "Registry.password": Registry(host="h", password="{}"),
    "Machine.random_seed": Machine(random_seed="{}"),
    "Machine.environment": Machine(environment=(("A", "{}"),)),
    "Machine.ssh_host_keys": Machine(ssh_host_keys=(("rsa_private", "{}"),)),
    "Machine.root_keys": Machine(root_keys=('environment="TOKEN={}" ssh-ed25519 AAAA a',)),
    "Container.environment": Container(name="c", image="i", environment=(("A", "{}"),)),
    "Container.labels": Container(name="c", image="i", labels=(("A", "{}"),)),
    "Container.command": Container(name="c", image="i", command=("{}", "--password", "{}", "--token={}", "-p{}")),
    "Container.entrypoint": Container(name="c", image="i", entrypoint=("A={}", "-p", "{}", "a\n{}")),
    "HealthCheck.test": HealthCheck(test=("/bin/sh", "-c", "curl -H 'Token: {}' x || exit 1")),
    "Command.argv": Command(argv=("TOKEN={} run", "{}")),
    "Mount.options": Mount(device="/d", target="/t", options=("ro", "password={}", "username=me", "unheard={}")),
    "PhoneHome.url": PhoneHome(url="https://hooks.example/services/{}"),
}
secrets = st.from_regex(r"[A-Z][A-Za-z0-9]{11,30}", fullmatch=True)


hints_of = cache(get_type_hints)


def made(kind: Any, text: str) -> Any:
    """Return a value of an annotated type, every text in it this one."""
    if kind is str:
        return text
    if kind in (int, float, bool):
        return kind(1)
    if is_dataclass(kind):
        hints = hints_of(kind)
        return kind(**{each.name: made(hints[each.name], text) for each in fields(kind)})  # type: ignore[operator]
    inner = [each for each in get_args(kind) if each is not type(None)]
    return (
        made(inner[0], text)
        if type(None) in get_args(kind)
        else tuple(made(each, text) for each in inner if each is not ...)
    )


def texts() -> Iterator[str]:
    """Yield every field of a configuration that holds text."""
    for name, cls in CLASSES.items():
        for each in fields(cls):
            if re.search(r"\bstr\b", str(each.type)):
                yield f"{name}.{each.name}"


def filled(value: Any, secret: str) -> Any:
    """Return a value with the secret in place of its `{}`."""
    if isinstance(value, str):
        return value.replace("{}", secret)
    if isinstance(value, tuple):
        return tuple(filled(each, secret) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: filled(getattr(value, each.name), secret) for each in fields(value)})
    return value


def test_every_text_of_a_configuration_has_its_rule() -> None:
    readable = {f"{cls}.{name}" for cls, names in redact.READABLE.items() for name in names.split()}
    whole = {"User.password_hash", "WrittenFile.content", "Registry.password", "Machine.random_seed"}
    assert not readable & RULES
    assert readable | RULES | whole == set(texts())
    assert RULES | whole == set(PLACES)


@pytest.mark.parametrize("form", FORMS)
@given(secret=secrets)
@settings(max_examples=10)
def test_what_is_a_secret_by_its_form_is_shown_nowhere(form: str, secret: str) -> None:
    value = made(Machine, form.format(secret))
    assert json.dumps(codec.encode(value)).count(secret) > 100
    assert secret not in json.dumps(redacted(value))


@pytest.mark.parametrize("place", sorted(PLACES))
@given(secret=secrets)
@settings(max_examples=10)
def test_what_is_a_secret_by_its_place_is_never_shown(place: str, secret: str) -> None:
    shown = json.dumps(redacted(filled(PLACES[place], secret)))
    assert secret not in shown
    assert HIDDEN in shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Later:
    """What a later release may add."""

    number: int = 0
    words: tuple[str, ...] = ()


def test_a_field_that_nobody_has_thought_about_is_hidden() -> None:
    assert redacted(Later(number=3, words=("", "a"))) == {"number": 3, "words": ["", HIDDEN]}


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="?#@$-/"), min_size=1))
@settings(max_examples=30)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    for name, cls in CLASSES.items():
        value = made(cls, text)
        shown, plain = redacted(value), codec.encode(value)
        assert list(shown) == list(plain)
        for each in redact.READABLE.get(name, "").split():
            assert shown.get(each) == plain.get(each), each


def test_the_configs_to_copy_are_shown_but_for_their_secrets() -> None:
    """Of what people write, only this is hidden."""
    hidden = set()
    for path in sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")):
        compiled = compile_document(path.read_bytes(), file=path.name)
        if compiled.machine is not None:
            hidden |= set(differing(redacted(compiled.machine), codec.encode(compiled.machine), ""))
    assert {place.partition("[].")[2] or place for place in hidden} == {
        "environment[][]", "content", "password", "health.test[]",
    }  # fmt: skip


def differing(shown: Any, plain: Any, path: str) -> Iterator[str]:
    """Yield where two JSON values differ."""
    if isinstance(plain, dict):
        assert list(shown) == list(plain)
        for key, each in plain.items():
            yield from differing(shown[key], each, f"{path}.{key}".lstrip("."))
    elif isinstance(plain, list):
        for one, other in zip(shown, plain, strict=True):
            yield from differing(one, other, f"{path}[]")
    elif shown != plain:
        yield path


def test_what_can_be_read_of_commands_and_addresses() -> None:
    container = Container(
        name="web",
        image="nginx",
        command=("nginx", "-g", "daemon off;", "--conf=/x"),
        health=HealthCheck(http="http://127.0.0.1:80/health?key=1"),
    )
    assert redacted(container) == {
        "name": "web",
        "image": "nginx",
        "command": [HIDDEN, "-g", HIDDEN, f"--conf={HIDDEN}"],
        "health": {"http": f"http://127.0.0.1:80/health?key={HIDDEN}"},
    }
    lines = ("systemctl restart x", "true", "#!/bin/sh\ntrue", "A=1 b")
    assert [redacted(Command(argv=(line,), shell=True))["argv"] for line in lines] == [
        [f"systemctl {HIDDEN}"], ["true"], [HIDDEN], [HIDDEN],
    ]  # fmt: skip
    mount = Mount(device="//nas/share", target="/mnt", filesystem="cifs", options=("vers=3.0", "password=p", "nofail"))
    assert redacted(mount)["options"] == ["vers=3.0", f"password={HIDDEN}", "nofail"]
    assert redacted(PhoneHome(url="https://u:p@h:8/a/b"))["url"] == f"https://{HIDDEN}@h:8/{HIDDEN}"
    assert redacted(Machine(ssh_host_keys=(("rsa_public", "ssh-rsa A"),)))["ssh_host_keys"] == [
        ["rsa_public", "ssh-rsa A"]
    ]
    assert redact.address("file:///mnt/usb") == "file:///mnt/usb"


def test_a_call_home_that_fails_tells_the_log_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert phonehome.main(["http://u:hunter@127.0.0.1:1/hook/hunter?t=hunter", str(tmp_path / "marker")]) == 1
    said = capsys.readouterr().err
    assert "127.0.0.1:1" in said
    assert "hunter" not in said
