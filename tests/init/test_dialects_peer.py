"""The compiler beside cloud-init's own schemas, from Debian's package: on made documents both say the same.

All that either finds is compared, place by place, also where both refuse a document. Where one finds something and the
other does not, a line below says why, by the place and the words of that finding. What cloud-init takes and Berth
refuses is what would fail later on the machine, and is told before; what Berth takes and the schema refuses does no
harm, and is read as people mean it.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from fakes.schemadocs import Maker, spoilt

from builder.cli.context import Context
from builder.cli.inputs import Network, ready_lock, ready_tools
from builder.recipe import load
from builder.tools.tree import tools_tree
from init.dialects.cloudconfig import CLOUD_CONFIG
from init.dialects.compile import Document, compile_document, compile_documents
from init.dialects.diagnostic import Severity

pytestmark = pytest.mark.packages

ROOT = Path(__file__).parents[2]
SCHEMAS = "usr/lib/python3/dist-packages/cloudinit/config/schemas"
ROUNDS = 120  # documents for each key; every second one has a wrong value in it


@dataclass(frozen=True, slots=True)
class Why:
    """A difference that is meant: where (a pattern of the whole path), what is said there (of the whole message)."""

    where: str
    said: str
    because: str

    def explains(self, finding: Finding) -> bool:
        """Tell whether a finding is this difference."""
        path, message = finding
        return bool(re.fullmatch(self.where, path) and re.fullmatch(self.said, message, re.DOTALL))


Finding = tuple[str, str]  # path without indexes, hyphens as underscores; message
NAME = r"(\w+)"
USER = r"users?(\[\])?"
NETWORK = r"(network\.)?"
NO_NAMES = "what useradd refuses, or skips"
NO_COMMAND = "nothing to run"
STRICTER = (  # cloud-init's schema takes it, Berth refuses it
    Why(
        rf"({USER}|ca_certs)\.{NAME}",
        r"the key `\w+` stands here in two spellings",
        "which of the two counts is a guess",
    ),
    Why(r"hostname|fqdn", r"not a host name \(.*\)", "the kernel takes the name, DNS does not"),
    Why(rf"{USER}(\.name)?|chpasswd\.users\[\]\.name", r"not a user's name", NO_NAMES),
    Why(r"groups(\[\])?\.\w+(\[\])?", r"not a user's name|expected a user's name, found (a list|a map)", NO_NAMES),
    Why(r"groups(\[\])?|users|user\.groups", r"not a list of group names", NO_NAMES),
    Why(r"groups", r"expected group names, found true or false", NO_NAMES),
    Why(r"groups\[\]", r"expected a group's name, or a map from name to members, found a list", NO_NAMES),
    Why(rf"{USER}\.(groups\[\]|primary_group)", r"not a group's name", NO_NAMES),
    Why(r"users\[\]", r"expected `default`, a name, or a map that describes a user, found a list", NO_NAMES),
    Why(r"users\.unheard", r"expected a map that describes a user, or true, found a number", NO_NAMES),
    Why(r"users\[\]\.name", r"the key `name` is missing", NO_NAMES),
    Why(r"users\[\]", r"a user of this name stands above already", "which of the two counts is a guess"),
    Why(r"user\.sudo\[\]", r"expected text, found nothing", "a rule that sudo refuses"),
    Why(r"chpasswd\.users\[\]\.unheard", r"unknown key `unheard`", "the schema leaves this one map open"),
    Why(r"chpasswd", r"a password for a user who is not in `users`", "chpasswd(8) would fail on the machine"),
    Why(r"ssh_pwauth", r"expected true or false, found text", "any other word means nothing to sshd"),
    Why(r"(user\.)?ssh_authorized_keys\[\]", r"no type of key that sshd takes \(.*\)", "the log-in would fail later"),
    Why(r"ssh_authorized_keys\[\]", r"expected a public key, found nothing", "the log-in would fail later"),
    Why(r"ssh_keys\.rsa_private", r"expected a key, found nothing", "an empty host key keeps sshd from starting"),
    Why(r"ca_certs\.trusted\[\]", r"expected a certificate in PEM", "no certificate"),
    Why(
        r"mounts\[\]", r"the directory has to be an absolute path without `\.\.`", "mount(8) would fail on the machine"
    ),
    Why(r"(run|boot)cmd\[\]", r"an empty command", NO_COMMAND),
    Why(r"write_files\[\]\.content", r"the content is not what `encoding` says.*", "the file could not be written"),
    Why(r"write_files\[\]\.path", r"expected the absolute path of a file", "the file could not be written"),
    Why(r"random_seed", r"the data is not what `encoding` says", "the seed could not be written"),
    Why(r"random_seed\.file", r"not an absolute path", "it would lie in whatever folder cloud-init stands in"),
    Why(r"ntp\.ntp_client", r"expected one of `auto`, `chrony`, .*", "no program of this name is known to cloud-init"),
    Why(r"ntp\.servers\[\]", r"not a host name or an address", "no server can have this name"),
    Why(r"power_state\.condition\[\]", r"expected text, found .*", "no word of a command"),
    Why(r"phone_home\.tries", r"expected a whole number from 1 to 1000", "no try at all, or days of them"),
    Why(r"phone_home\.url", r"not a URL", "nobody can be called there"),
    Why(r"timezone", r"not a zone such as Europe/Berlin", "no file of this name is in the zones' folder"),
    Why(
        r"resolv_conf\.nameservers\[\]",
        r"not a host name or an address|expected a host name or an address, found (a list|a map)",
        "the schema asks for nothing in these lists",
    ),
    Why(
        r"resolv_conf\.searchdomains\[\]",
        r"expected a domain, found a list",
        "the schema asks for nothing in these lists",
    ),
    Why(rf"{NETWORK}config\[\]\.type", r"the key `type` is missing", "cloud-init's reader fails at it later"),
    Why(r"config\[\]\.subnets\[\]\.type", r"the key `type` is missing", "cloud-init's reader fails at it later"),
    Why(rf"{NETWORK}config\[\]\.bond_interfaces", r"the key `bond_interfaces` is missing", "cloud-init's reader, too"),
    Why(rf"{NETWORK}config\[\]\.address(\[\])?", r"not an IP address", "the resolver takes addresses alone"),
    Why(r"config\[\]\.mtu", r"expected an MTU from 68 to 65536", "no interface takes it"),
    Why(r"config\[\]", r"a route without an interface|there is no interface of this name", "nothing to put it on"),
    Why(rf"{NETWORK}vlans\.word\.(id|link)", r"the key `(id|link)` is missing", "netplan refuses it, too"),
    Why(rf"{NETWORK}config\[\]\.vlan_link", r"there is no interface of this name", "netplan refuses it, too"),
    Why(r"vlans\.word\.link", r"there is no interface of this name", "netplan refuses it, too"),
    Why(r"ethernets\.word\.set_name", r"`set-name` needs a `match`", "netplan refuses it, too"),
    Why(r"network\.bridges\.word\.unheard", r"unknown key `unheard`", "netplan refuses it, too"),
)
SCALAR = r"(\d+(\.\d+)?|True|False)"
TEXTS = (
    r"final_message|fqdn|hostname|timezone|ssh_keys\.rsa_private|random_seed\.(data|command\[\])|ntp\.pools\[\]"
    r"|growpart\.devices\[\]"
)
AS_TEXT = "a scalar is its text"
LOOSER = (  # Berth takes it, cloud-init's schema refuses it
    Why(r"[\w.]+", r"None is not of type '\w+'(, '\w+')*", "null is as good as absent"),
    Why(
        r"manage_etc_hosts|ssh_pwauth|growpart\.mode|(boot|run)cmd\[\]",
        r"None is not valid under any of .*",
        "the same",
    ),
    Why(r"resize_rootfs", r"None is not one of \[True, False, 'noblock'\]", "the same"),
    Why(r"user", r"None is valid under each of \{'required': \['snapuser'\]\}, .*", "the same"),
    Why(r"user", r"\{.*'snapuser': .*\} is valid under each of .*", "`name` beside `snapuser`, which is not acted on"),
    Why(r"user", r"\{\} is not valid under any of the given schemas", "a map that changes nothing of the default user"),
    Why(TEXTS, rf"{SCALAR} is not of type 'string'", AS_TEXT),
    Why(r"(boot|run)cmd\[\](\[\])?", rf"{SCALAR} is not (of type 'string'|valid under any of .*)", AS_TEXT),
    Why(r"config\[\]\.network", rf"{SCALAR} is not of type 'string'", AS_TEXT),
    Why(r"ntp\.pools", rf"{SCALAR} is not of type 'array'", "one item stands for a list of one"),
    Why(r"ntp\.(pools|servers)", r"\['([\w.]+)', '\1'\] has non-unique elements", "the same server twice is once"),
    Why(r"ca_certs", r"\{\} should be non-empty", "nothing asked for is nothing done"),
    Why(
        r"(boot|run)cmd|ssh_authorized_keys|groups\.eth0",
        r"\[\] should be non-empty",
        "nothing asked for is nothing done",
    ),
)


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    before = Path.cwd()
    os.chdir(ROOT)  # a build keeps its tools tree below the working folder
    try:
        context, network = Context.create(quiet=True, as_json=False), Network(heal=True)
        recipe = load(str(Path(__file__).parent / "cloudinit" / "cloudinit.yaml"))
        lock = ready_lock(recipe, ready_tools(context, network), context, network)
        tree = tools_tree(lock, context.store, tmp_path_factory.mktemp("cloud-init"), context.progress)
    finally:
        os.chdir(before)
    names = {"cloud": "cloud-config-v1", "v1": "network-config-v1", "v2": "network-config-v2"}
    return {kind: json.loads(tree.path(f"{SCHEMAS}/schema-{name}.json").read_text()) for kind, name in names.items()}


def differing(document: Any, schema: Any, kind: str) -> tuple[list[Finding], list[Finding]]:
    """Return what cloud-init's schema alone finds in a document, and what Berth alone does."""
    text = yaml.safe_dump(document, sort_keys=False).encode()
    if kind == "cloud":
        compiled = compile_document(b"#cloud-config\n" + text, file="user-data")
    else:
        compiled = compile_documents(None, network_config=Document(data=text, file="network-config"))
    ours = [(plain(each.path), each.message) for each in compiled.diagnostics if each.severity is Severity.ERROR]
    ignored = [plain(each.path) for each in compiled.diagnostics if each.code == "ignored"]
    theirs = []
    for error in branch(schema, document).iter_errors(document):
        deepest = jsonschema.exceptions.best_match([error])
        theirs += [(path, deepest.message) for path in told_at(deepest)]
    # Below a key that Berth does not act on, nothing is looked at.
    alone = [each for each in without(theirs, ours) if not any(is_below(each[0], key) for key in ignored)]
    return alone, without(ours, theirs)


def branch(schema: Any, document: Any) -> Any:
    """Return the validator: of the two forms of network configuration that of the document, for errors in it."""
    if "oneOf" not in schema:
        return jsonschema.Draft4Validator(schema)
    form = schema["oneOf"][isinstance(document, dict) and "network" in document]
    return jsonschema.Draft4Validator({**form, "$defs": schema["$defs"]})


def told_at(error: Any) -> list[str]:
    """Return the paths that an error of the schema is about: that of a key where it is about one."""
    path = ".".join("[]" if isinstance(part, int) else str(part) for part in error.absolute_path)
    path = plain(path.replace(".[]", "[]"))
    names: list[str] = []
    if error.validator == "required":
        names = [name for name in error.validator_value if name not in error.instance]
    elif error.validator == "additionalProperties":
        patterns = error.schema.get("patternProperties", {})
        known = error.schema.get("properties", {})
        names = [name for name in error.instance if name not in known and not any(re.search(p, name) for p in patterns)]
    return [plain(f"{path}.{name}".lstrip(".")) for name in names] or [path]


def plain(path: str) -> str:
    """Return a path without indexes, in one spelling."""
    return re.sub(r"\[\d+\]", "[]", path).replace("-", "_")


def is_below(path: str, key: str) -> bool:
    """Tell whether a path is a key's own, or of something in it."""
    return path == key or path.startswith((f"{key}.", f"{key}["))


def without(one: list[Finding], other: list[Finding]) -> list[Finding]:
    """Return what one finds where the other finds nothing: neither there, nor around it, nor in it."""
    return [each for each in one if not any(is_below(each[0], path) or is_below(path, each[0]) for path, _ in other)]


def compare(schema: Any, parts: dict[str, Any], kind: str) -> tuple[Counter[str], set[Why]]:
    """Compare made documents; return how many were of one mind and how many were not, and what explained those."""
    counts: Counter[str] = Counter()
    used = set()
    for seed in range(ROUNDS):
        for key, part in parts.items():
            maker = Maker(schema, seed)
            document = {key: maker.value(part, key)} if kind == "cloud" else maker.value(part, key)
            if seed % 2:
                document, _ = spoilt(document, random.Random(seed))
            theirs, ours = differing(document, schema, kind)
            for finding, known in (*((each, LOOSER) for each in theirs), *((each, STRICTER) for each in ours)):
                why = next((each for each in known if each.explains(finding)), None)
                assert why is not None, (
                    f"{document}\n  only {'Berth' if known is STRICTER else 'cloud-init'}: {finding}"
                )
                used.add(why)
            counts["different" if theirs or ours else "the same"] += 1
    return counts, used


def acted_on(name: str) -> bool:
    key = CLOUD_CONFIG.keys.get(name) or CLOUD_CONFIG.keys[name.replace("-", "_")]
    return key.ignored is None


@pytest.fixture(scope="module")
def compared(schemas: dict[str, Any]) -> dict[str, tuple[Counter[str], set[Why]]]:
    schema = schemas["cloud"]
    parts: dict[str, Any] = {}
    for each in schema["allOf"]:
        part = schema["$defs"][each["$ref"].rpartition("/")[2]]
        parts |= {name: inner for name, inner in part.get("properties", {}).items() if acted_on(name)}
    networks = {kind: compare(schemas[kind], {kind: schemas[kind]}, kind) for kind in ("v1", "v2")}
    return {"cloud": compare(schema, parts, "cloud"), **networks}


@pytest.mark.parametrize(("kind", "share"), [("cloud", 0.8), ("v1", 0.5), ("v2", 0.5)])
def test_documents_are_taken_and_refused_as_cloud_inits_schema_has_it(
    kind: str, share: float, compared: dict[str, tuple[Counter[str], set[Why]]]
) -> None:
    counts, _ = compared[kind]
    assert counts["the same"] > share * counts.total(), counts


def test_every_explanation_is_needed(compared: dict[str, tuple[Counter[str], set[Why]]]) -> None:
    """One that explains nothing any more would cover up the next difference."""
    used = set().union(*(used for _, used in compared.values()))
    assert {(each.where, each.said) for each in (*STRICTER, *LOOSER) if each not in used} == set()


def test_every_top_level_key_of_the_schema_is_known(schemas: dict[str, Any]) -> None:
    schema = schemas["cloud"]
    names = set(schema["properties"])
    for each in schema["allOf"]:
        names |= set(schema["$defs"][each["$ref"].rpartition("/")[2]].get("properties", {}))
    known = set(CLOUD_CONFIG.keys)
    assert {name for name in names if name not in known and name.replace("-", "_") not in known} == set()
