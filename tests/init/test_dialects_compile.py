"""Documents to machines: merging, headers, the lifeline, containers, and messages that quote no value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.dialects.compile import Compiled, Document, compile_document, compile_documents
from init.dialects.diagnostic import Severity
from init.formats.machine import HealthCheck, Machine, Port, User, Volume

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Ht8Z3j6yDWPBHQtOp/R9rjWvfMYo3MSA/K6q8D86r me@desk"
DEFAULT = b"""#berth
containers:
  web: {image: demo, ports: ["8080:80"], required: true}
sysctls: {a.b: 1}
"""


def cloud(text: str, default: bytes | None = None) -> Compiled:
    return compile_document(f"#cloud-config\n{text}".encode(), file="user-data", default=default)


def berth(text: str, default: bytes | None = None) -> Compiled:
    return compile_document(f"#berth\n{text}".encode(), file="box.yaml", default=default)


def machine(compiled: Compiled) -> Machine:
    assert compiled.machine is not None, [str(each) for each in compiled.diagnostics]
    return compiled.machine


def errors(compiled: Compiled) -> list[str]:
    assert compiled.machine is None
    return [each.path for each in compiled.diagnostics if each.severity is Severity.ERROR]


def test_the_contract_s_own_example_compiles() -> None:
    text = f"""hostname: box1
ssh_authorized_keys: [{KEY}]
berth:
  containers:
    web:
      image: registry.example:5000/web:1.4
      ports: ["8080:80"]
      volumes: ["data:/srv"]
      restart: always
      required: true
      healthcheck: {{http: "http://127.0.0.1:80/", interval: 5s, timeout: 2s, retries: 3}}
  registries: {{"registry.example:5000": {{username: u, password: p, ca: "-----BEGIN C-----\\nx\\n-----END C-----"}}}}
  install: {{disk: only-empty, then: poweroff}}
  update: {{repository: "http://10.0.2.2:8000/", channel: stable, policy: now, window: "Sun 03:00-05:00", root: "{{}}"}}
  health: {{within: 5m, settle: 30s}}
"""
    got = machine(cloud(text))
    assert got.hostname == "box1"
    assert got.users == (
        User(name="berth", uid=1000, gecos="Berth", primary_group="berth", ssh_authorized_keys=(KEY,)),
    )
    (web,) = got.containers
    assert web.ports == (Port(host=8080, container=80),)
    assert web.volumes == (Volume(source="data", target="/srv"),)
    assert web.health == HealthCheck(http="http://127.0.0.1:80/", interval=5, timeout=2, retries=3)
    assert got.health.within == 300
    assert got.install is not None
    assert got.install.disk == "only-empty"
    assert got.update.policy == "now"
    assert got.registries[0].host == "registry.example:5000"


def test_the_same_in_both_dialects() -> None:
    inner = "containers: {a1: {image: x}}\nsysctls: {net.x: 1}\n"
    one = berth(inner + "hostname: h\n")
    two = cloud("hostname: h\nberth:\n" + "".join(f"  {line}\n" for line in inner.splitlines()))
    assert machine(one) == machine(two)


def test_maps_merge_by_key_lists_are_replaced_null_removes() -> None:
    got = machine(cloud("berth: {containers: {app: {image: x}, web: {ports: ['81:80']}}}", DEFAULT))
    assert [each.name for each in got.containers] == ["web", "app"]
    assert got.containers[0].ports == (Port(host=81, container=80),)
    assert got.containers[0].image == "demo"
    assert got.sysctls == (("a.b", "1"),)
    assert machine(cloud("berth: {containers: {web: null}}", DEFAULT)).containers == ()
    assert machine(cloud("berth: {containers: null}", DEFAULT)).containers == ()
    assert machine(cloud("berth: {sysctls: null}", DEFAULT)).sysctls == ()


def test_without_a_document_the_default_counts() -> None:
    assert machine(compile_documents(None, default=DEFAULT)).containers[0].name == "web"
    assert machine(compile_documents(None)) == Machine()


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("#cloud-config \na: 1\n", 1, "blanks"),
        ("# cloud-config\n", 1, "misspelt"),
        ("#cloud_config\n", 1, "misspelt"),
        ("#Cloud-Config\n", 1, "misspelt"),
        ("\n#cloud-config\n", 2, "very first line"),
        ("hostname: x\n", 1, "no form"),
        ("#!/bin/sh\n", 1, "script"),
        ("## template: jinja\n#cloud-config\n", 1, "template"),
        ("Content-Type: multipart/mixed\n", 1, "MIME"),
    ],
)
def test_a_wrong_header_is_told(text: str, line: int, word: str) -> None:
    compiled = compile_document(text.encode(), file="f")
    (found,) = compiled.diagnostics
    assert compiled.machine is None
    assert found.place.line == line
    assert word in found.message
    assert compiled.lifeline is None


@pytest.mark.parametrize(
    ("first", "meant"),
    [
        ("#cloud-confg", "#cloud-config"),
        ("#cloudconfig", "#cloud-config"),
        ("#clod-config", "#cloud-config"),
        ("#cloud config", "#cloud-config"),
        ("cloud-config", "#cloud-config"),
        ("#berht", "#berth"),
    ],
)
def test_a_misspelt_header_names_the_nearest(first: str, meant: str) -> None:
    (found,) = compile_document(f"{first}\nhostname: x\n".encode(), file="f").diagnostics
    assert (found.place.line, found.place.column) == (1, 1)
    assert found.hint == f"did you mean `{meant}`?"


def test_a_first_line_that_is_near_to_none_gets_both_headers() -> None:
    (found,) = compile_document(b"# the machines of the lab\n", file="f").diagnostics
    assert "`#cloud-config` or `#berth`" in str(found.hint)


def test_keys_at_the_wrong_level_get_a_hint() -> None:
    found = cloud("containers: {}\n").diagnostics[0]
    assert found.hint == "this key stands at `berth.containers`"
    found = cloud("hostnam: x\n").diagnostics[0]
    assert found.hint == "did you mean `hostname`?"
    for text, hint in {
        "berht: {}\n": "did you mean `berth`?",
        "bert: {}\n": "did you mean `berth`?",
        "contaners: {}\n": "did you mean `containers`, at `berth.containers`?",
        "berth: {hostname: x}\n": "this key stands at the top of the document, beside `berth`",
        "berth: {ntp: {}}\n": "this key stands at the top of the document, beside `berth`",
        "berth: {contaners: {}}\n": "did you mean `containers`?",
        "berth: {containers: {web: {image: demo, memory: 64m}}}\n": "this key stands at `mem_limit`",
    }.items():
        [told] = cloud(text).diagnostics
        assert (told.code, told.hint) == ("unknown-key", hint)
    assert "stand at the top" in (berth("berth: {}\n").diagnostics[0].hint or "")


ONE_LINK = "berth: {network: {version: 2, ethernets: {eth0: {addresses: [192.0.2.1/24]}}}, containers: {x: 3}}\n"


def test_a_refused_document_leaves_its_lifeline() -> None:
    compiled = cloud(f"hostname: box\nssh_authorized_keys: [{KEY}]\n{ONE_LINK}", DEFAULT)
    assert compiled.machine is None
    saved = compiled.lifeline
    assert saved is not None
    assert saved.hostname == "box"
    assert saved.users[0].ssh_authorized_keys == (KEY,)
    assert saved.network.links[0].addresses == ("192.0.2.1/24",)
    assert [each.name for each in saved.containers] == ["web"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("hostname: 'a b'\n", {"users", "network"}),
        ("ssh_authorized_keys: [nonsense]\n", {"hostname", "network"}),
        ("berth: {network: {version: 3}}\n", {"hostname", "users"}),
        ("users: [{uid: 3}]\n", {"hostname", "network"}),
    ],
)
def test_a_section_with_an_error_is_not_part_of_the_lifeline(text: str, kept: set[str]) -> None:
    whole = {
        "hostname": "hostname: h\n",
        "users": f"ssh_authorized_keys: [{KEY}]\n",
        "network": "berth: {network: {version: 2, ethernets: {eth0: {dhcp4: true}}}}\n",
    }
    name = text.split(":", maxsplit=1)[0]
    section = {"ssh_authorized_keys": "users", "berth": "network"}.get(name, name)
    document = "".join(each for part, each in whole.items() if part != section) + text
    saved = cloud(document).lifeline
    assert saved is not None
    got = {
        *({"hostname"} if saved.hostname == "h" else ()),
        *({"users"} if saved.users else ()),
        *({"network"} if saved.network.links else ()),
    }
    assert got == kept


def test_the_lifeline_gives_no_password() -> None:
    text = "users: [{name: a, hashed_passwd: '$6$aaaaaaaa$bbbbbbbbbbbb', lock_passwd: false}]\nwrong_key: 1\n"
    saved = cloud(text).lifeline
    assert saved is not None
    assert saved.users[0].password_hash is None


META = f"instance-id: i-7\nlocal-hostname: m.example\npublic-keys: [{KEY}]\n"


def test_meta_data_names_what_the_document_does_not() -> None:
    meta = Document(data=META.encode(), file="meta-data")
    got = machine(compile_documents(None, meta_data=meta))
    assert (got.instance_id, got.hostname, got.fqdn) == ("i-7", "m", "m.example")
    assert got.users[0].ssh_authorized_keys == (KEY,)
    user = Document(data=b"#cloud-config\nhostname: mine\n", file="user-data")
    assert machine(compile_documents(user, meta_data=meta)).hostname == "mine"


def test_the_network_document_beats_the_key() -> None:
    user = Document(data=b"#berth\nnetwork: {version: 2, ethernets: {a: {dhcp4: true}}}\n", file="user-data")
    network = Document(data=b"version: 2\nethernets: {b: {dhcp4: true}}\n", file="network-config")
    got = machine(compile_documents(user, network_config=network))
    assert [link.name for link in got.network.links] == ["b"]


SECRET = "Tr0ub4dor"
DOCUMENTS = [
    f"password: {SECRET}\n",
    f"users: [{{name: a, passwd: {SECRET}}}]\n",
    f"users: [{{name: a, plain_text_passwd: {SECRET}, lock_passwd: {SECRET}}}]\n",
    f"chpasswd: {{users: [{{name: a, password: {SECRET}, type: text}}]}}\n",
    f"berth: {{registries: {{'h': {{password: [{SECRET}]}}}}}}\n",
    f"berth: {{containers: {{a1: {{image: '{SECRET} {SECRET}', restart: {SECRET}, ports: [{SECRET}]}}}}}}\n",
    f"hostname: {SECRET}!\n",
    f"ssh_keys: {{rsa_private: {{{SECRET}: 1}}}}\n",
    f"timezone: {SECRET} {SECRET}\n",
    f"berth: {{network: {{version: {SECRET}}}}}\n",
    f"write_files: [{{path: {SECRET}, content: 'x'}}]\n",
    f"a: [{SECRET}\n",
    f"a: *{SECRET}\n",
    f"a: !{SECRET} b\n",
    f"power_state: {{mode: {SECRET}}}\n",
]


@pytest.mark.parametrize("text", DOCUMENTS)
def test_messages_quote_no_value(text: str) -> None:
    compiled = cloud(text)
    assert compiled.diagnostics
    for each in compiled.diagnostics:
        assert SECRET not in each.message + (each.hint or "")


CONTAINER_ERRORS = [
    ("{}", ["image"]),
    ("{image: ''}", ["image"]),
    ("{image: archive:rel}", ["image"]),
    ("{image: UPPER/x}", ["image"]),
    ("{image: upper/x:y:z}", ["image"]),
    ("{image: 'x@sha256:0'}", ["image"]),
    ("{image: 'example.org:5000/x:'}", ["image"]),
    ("{image: x, ports: ['80']}", ["ports[0]"]),
    ("{image: x, ports: ['80:80', '81:81', '80:82']}", ["ports[2]"]),
    ("{image: x, ports: ['[::ffff:127.0.0.1]:80:80']}", ["ports[0]"]),
    ("{image: x, ports: ['80:80', '127.0.0.1:80:80']}", ["ports[1]"]),
    ("{image: x, ports: ['80-82:80-82', {target: 1, published: 81}]}", ["ports[1]"]),
    ("{image: x, ports: ['0:80']}", ["ports[0]"]),
    ("{image: x, ports: ['1-3:1-2']}", ["ports[0]"]),
    ("{image: x, ports: ['a:1:2']}", ["ports[0]"]),
    ("{image: x, volumes: ['/srv']}", ["volumes[0]"]),
    ("{image: x, volumes: ['./a:/srv']}", ["volumes[0]"]),
    ("{image: x, volumes: ['a:srv']}", ["volumes[0]"]),
    ("{image: x, volumes: ['a:/srv:rx']}", ["volumes[0]"]),
    ("{image: x, volumes: ['a:/../srv']}", ["volumes[0]"]),
    ("{image: x, restart: sometimes}", ["restart"]),
    ("{image: x, healthcheck: {}}", ["healthcheck"]),
    ("{image: x, healthcheck: {http: 'http://a/', tcp: 'a:1'}}", ["healthcheck"]),
    ("{image: x, healthcheck: {test: [RUN, a]}}", ["healthcheck.test"]),
    ("{image: x, healthcheck: {http: 'http://a/', interval: often}}", ["healthcheck.interval"]),
    ("{image: x, mem_limit: 1k}", ["mem_limit"]),
    ("{image: x, mem_limit: 64m, deploy: {resources: {limits: {memory: 65m}}}}", ["mem_limit"]),
    ("{image: x, depends_on: [nobody]}", ["depends_on"]),
    ("{image: x, depends_on: [a1]}", ["depends_on"]),
    ("{image: x, command: 'a \"b'}", ["command"]),
    ("{image: x, requird: true}", ["requird"]),
    ("{image: x, cpus: many}", ["cpus"]),
    ("[]", [""]),
]


@pytest.mark.parametrize(("text", "paths"), CONTAINER_ERRORS)
def test_wrong_containers_are_told_by_path(text: str, paths: list[str]) -> None:
    found = errors(berth(f"containers: {{a1: {text}}}"))
    assert found == [f"containers.a1.{path}".rstrip(".") for path in paths]


def test_a_container_has_all_that_compose_gives_it() -> None:
    text = """containers:
  a1:
    image: docker.io/library/x@sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
    entrypoint: /bin/run --fast
    command: [serve, "now"]
    environment: [A=1, "B=x=y"]
    ports: ["127.0.0.1:53:53/udp", "[::1]:1000-1001:2000-2001", {target: 9, published: 10, protocol: udp}]
    volumes: ["/srv/a:/a:ro", {type: tmpfs, target: /t}, {type: volume, source: v, target: /v, read_only: true}]
    restart: on-failure:3
    network_mode: bridge
    cap_add: [CAP_NET_ADMIN, sys_time]
    deploy: {resources: {limits: {cpus: "0.5", memory: 64M, pids: 10}}}
    ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}
    extra_hosts: ["h=10.0.0.1", "g:10.0.0.2"]
    stop_grace_period: 1m30s
    healthcheck: {test: ["CMD", "true"]}
    init: false
    depends_on: {b1: {condition: service_started}}
  b1: {image: y, healthcheck: {test: exit 0, disable: false}, restart: no}
"""
    one, two = machine(berth(text)).containers
    assert one.entrypoint == ("/bin/run", "--fast")
    assert one.command == ("serve", "now")
    assert one.environment == (("A", "1"), ("B", "x=y"))
    assert one.ports[0] == Port(host=53, container=53, protocol="udp", address="127.0.0.1")
    assert [(port.host, port.container, port.address) for port in one.ports[1:3]] == [
        (1000, 2000, "::1"),
        (1001, 2001, "::1"),
    ]
    assert one.ports[3].protocol == "udp"
    assert one.volumes[0].read_only
    assert one.volumes[1].source == ""
    assert one.volumes[2] == Volume(source="v", target="/v", read_only=True)
    assert (one.restart, one.restart_limit) == ("on-failure", 3)
    assert one.cap_add == ("NET_ADMIN", "SYS_TIME")
    assert (one.memory, one.cpus, one.pids) == (64 * 2**20, 0.5, 10)
    assert one.ulimits == (("nofile", 1, 2), ("nproc", 3, 3))
    assert one.extra_hosts == ("h:10.0.0.1", "g:10.0.0.2")
    assert one.stop_timeout == 90
    assert one.health == HealthCheck(test=("true",))
    assert one.depends_on == ("b1",)
    assert two.health == HealthCheck(test=("/bin/sh", "-c", "exit 0"))
    assert two.restart == "no"


@pytest.mark.parametrize(("name", "valid"), [("a", False), ("ab", True), ("a" * 63, True), ("a" * 64, False)])
def test_a_container_s_name_is_as_long_as_each_engine_takes(name: str, valid: bool) -> None:
    compiled = berth(f"containers: {{{name}: {{image: x}}}}\n")
    assert (compiled.errors == 0) is valid
    assert all("2 to 63 characters" in each.message for each in compiled.diagnostics)


def test_restart_no_is_a_word_in_both_versions_of_yaml() -> None:
    got = cloud("berth: {containers: {a1: {image: x, restart: no}}}\n")
    assert machine(got).containers[0].restart == "no"
    assert [each.code for each in got.diagnostics] == ["yaml-versions"]


def test_two_containers_cannot_publish_one_port() -> None:
    assert errors(berth("containers: {a1: {image: x, ports: ['1:1']}, b1: {image: x, ports: ['1:2']}}")) == [
        "containers.b1.ports[0]"
    ]


@given(st.text(max_size=80))
def test_any_text_behind_the_header_gets_an_answer(text: str) -> None:
    for compiled in (cloud(text), berth(text)):
        assert (compiled.machine is None) == (compiled.errors > 0)


WORDS = st.sampled_from(
    ["hostname", "users", "berth", "containers", "network", "ports", "image", "version", "x-a", "ntp"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "default", "80:80", "/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(WORDS, TREES, max_size=5))
def test_any_tree_of_known_words_gets_an_answer(tree: dict[str, object]) -> None:
    for compiled in (cloud(json.dumps(tree)), berth(json.dumps(tree)), cloud(json.dumps(tree), DEFAULT)):
        assert (compiled.machine is None) == (compiled.errors > 0)


@pytest.mark.parametrize("url", ["http://me:secret@host/", "https://me@host:8000/updates"])
def test_who_may_fetch_releases_is_no_secret_of_the_machine(url: str) -> None:
    refused = berth(f"update: {{repository: '{url}'}}")
    assert errors(refused) == ["update.repository"]
    assert not any("secret" in str(each) for each in refused.diagnostics)
    assert machine(berth("update: {repository: 'http://host/a@b/'}")).update.repository == "http://host/a@b/"


@pytest.mark.parametrize(
    "image",
    [
        "demo", "my_image", "team/web", "team/web:1.4", "registry.example:5000/a/b:1", "127.0.0.1:5000/x",
        "docker.io/library/x", "localhost/x", "x:T_1.0", f"a/b:1@sha256:{'0' * 64}", "archive:/UP:x.tar",
        "Host.example/x",
    ],
)  # fmt: skip
def test_images_of_every_form(image: str) -> None:
    assert machine(berth(f"containers: {{a1: {{image: '{image}'}}}}")).containers[0].image == image


@pytest.mark.parametrize(
    "ports", ["['80:80', '80:80/udp']", "['127.0.0.1:80:80', '127.0.0.2:80:80']", "['80:80', '81:80']"]
)
def test_ports_that_are_not_the_same(ports: str) -> None:
    assert berth(f"containers: {{a1: {{image: x, ports: {ports}}}}}").diagnostics == ()


def test_a_port_or_a_name_is_told_where_it_stands() -> None:
    text = """containers:
  data:
    image: x
    ports: ["80:80"]
  b1:
    image: x
    depends_on: [date]
    ports:
      - 8080:80
      - 80:80
"""
    found = {each.path: (each.place.line, each.hint) for each in berth(text).diagnostics}
    assert found == {
        "containers.b1.depends_on": (8, "did you mean `data`?"),
        "containers.b1.ports[1]": (11, None),
    }


@pytest.mark.parametrize(("root", "valid"), [("not json", False), ("[]", False), ('{"signed": {}}', True)])
def test_the_root_of_updates_is_json(root: str, valid: bool) -> None:
    compiled = berth(f"update: {{repository: 'http://host/', root: '{root}'}}")
    assert [each.path for each in compiled.diagnostics] == ([] if valid else ["update.root"])
    assert (compiled.machine is not None) is valid


DEPENDS = {  # what is written, whether `db` has to be healthy, and the severity and path of what is said
    "[db]": (False, []),
    "{db: null}": (False, []),
    "{db: {condition: service_started}}": (False, []),
    "{db: {condition: service_healthy, required: true}}": (True, []),
    "{db: {condition: service_healthy, restart: true}}": (True, ["warning db.restart"]),
    "{db: {condition: service_healthy, required: false}}": (True, ["warning db.required"]),
    "{db: {condition: service_completed_successfully}}": (False, ["warning db.condition"]),
    "{db: {condition: service_helthy}}": (None, ["error db.condition"]),
    "{db: {condition: nonsense, typo: 1}}": (None, ["error db.condition", "error db.typo"]),
    "{db: service_healthy}": (None, ["error db"]),
    "{dp: {condition: service_healthy}}": (None, ["error"]),
}


@pytest.mark.parametrize("text", DEPENDS)
def test_what_a_container_waits_for(text: str) -> None:
    healthy, told = DEPENDS[text]
    compiled = berth(f"containers: {{web: {{image: x, depends_on: {text}}}, db: {{image: y}}}}")
    below = "containers.web.depends_on"
    assert [f"{each.severity.value} {each.path}" for each in compiled.diagnostics] == [
        f"{severity} {below}{path and '.'}{path}" for severity, _, path in (each.partition(" ") for each in told)
    ]
    if healthy is not None:
        web = machine(compiled).containers[0]
        assert (web.depends_on, web.depends_healthy) == (("db",), ("db",) if healthy else ())
    if "helthy" in text:
        assert compiled.diagnostics[0].hint == "did you mean `service_healthy`?"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{repository: 'http://h/', window: 'Sun 03:00-05:00'}", "update.window"),
        ("{repository: 'http://h/', policy: manual, window: 'Sun 03:00-05:00'}", "update.window"),
        ("{policy: now}", "update.policy"),
        ("{policy: window, window: 'Sun 03:00-05:00'}", "update.policy"),
        ("{repository: 'http://h/', policy: window, window: 'Sun 03:00-05:00'}", None),
        ("{repository: 'http://h/', policy: now}", None),
        ("{repository: 'http://h/'}", None),
    ],
)
def test_updates_that_would_never_come_are_told(text: str, path: str | None) -> None:
    compiled = berth(f"update: {text}")
    assert [(each.severity.value, each.path) for each in compiled.diagnostics] == ([("warning", path)] if path else [])
    assert compiled.machine is not None


def test_the_repository_may_be_the_recipe_s() -> None:
    assert berth("update: {policy: now}", b"#berth\nupdate: {repository: 'http://h/'}\n").diagnostics == ()


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]", "[0::0]", "[0:0:0:0:0:0:0:0]"])
def test_all_addresses_are_all_addresses_however_they_are_written(address: str) -> None:
    text = f"berth: {{containers: {{web: {{image: x, ports: ['{address}:80:80', '[2001:DB8::0:1]:81:81']}}}}}}"
    (got,) = [each for each in machine(cloud(text, DEFAULT)).containers if each.name == "web"]
    assert [port.address for port in got.ports] == ["", "2001:db8::1"]
