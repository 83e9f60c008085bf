"""The compiler beside cloud-init's own schemas, from Debian's package: on made documents both say the same.

Where they don't, a line below says why. What cloud-init takes and Berth refuses is what would fail later on the
machine, and is told before; what Berth takes and the schema refuses does no harm, and is read as people mean it.
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
ROUNDS = 40  # documents for each key; every second one has a wrong value in it

STRICTER = {  # cloud-init's schema takes it, Berth refuses it
    r".* stands here in two spellings": "which of the two counts is a guess",
    r"(hostname|fqdn): not a host name": "the kernel takes the name, DNS does not",
    r"(users?|groups|chpasswd).*: (not an? |expected |the key `name`|not a list)": "what useradd refuses, or skips",
    r"users\[\]: a user of this name": "which of the two counts is a guess",
    r"users?(\[\])?\.sudo": "a rule that sudo refuses",
    r"chpasswd: a password for a user": "chpasswd(8) would fail on the machine",
    r"ssh_pwauth: expected true or false": "any other word means nothing to sshd",
    r"(users?.*\.)?ssh_authorized_keys\[\]:": "no key: the log-in would fail later",
    r"ssh_keys\.\w+: expected a key": "an empty host key keeps sshd from starting",
    r"ca_certs\.trusted\[\]: expected a certificate": "no certificate",
    r".*passw.*: this is not the hash": "no hash: the log-in would fail later",
    r"mounts\[\]: the directory": "mount(8) needs an absolute directory",
    r"(runcmd|bootcmd)\[\]: an empty command": "nothing to run",
    r"write_files\[\]\.(content|path|owner|permissions)": "the file could not be written",
    r"(phone_home|timezone|ntp|resolv_conf|power_state|swap|random_seed)\b": "a value that no program takes",
    r"(network\.)?config\[\]": "the schema of version 1 asks for little: cloud-init's reader fails at it later",
    r"(network\.)?vlans\.\w+": "netplan refuses it: a VLAN has an id and a link that is there",
    r"(network\.)?\w+\.\w+\.(set-name|addresses|gateway|routes|match|interfaces|parameters|unheard)": "netplan, too",
}
LOOSER = {  # Berth takes it, cloud-init's schema refuses it
    r": None is not |: .*None\}.* is not valid under": "null is as good as absent",
    r"config\[\]: .*is not valid under": "version 1's schema tells no part: a scalar is its text, null is absent",
    r"non-unique": "the same thing twice is once",
    r"^users?(\[\])?: .*is (not )?valid under": "`snapuser` beside `name`, or a map that changes nothing",
    r"is not of type 'string'|: [0-9.]+ is not valid under|\[[0-9.]+.*\] is not valid under": "a scalar is its text",
    r"is not of type 'array'": "one item stands for a list of one",
    r"should be non-empty|is too short|does not have enough properties": "nothing asked for is nothing done",
}
NOT_ACTED_ON = "below a key that is not acted on, nothing is looked at"


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What both say of a document: the first error of each, or None; and the keys that Berth does not act on."""

    theirs: str | None
    ours: str | None
    ignored: tuple[str, ...]


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


def judged(document: Any, validator: Any, kind: str) -> Verdicts:
    text = yaml.safe_dump(document, sort_keys=False).encode()
    if kind == "cloud":
        compiled = compile_document(b"#cloud-config\n" + text, file="user-data")
    else:
        compiled = compile_documents(None, network_config=Document(data=text, file="network-config"))
    ours = next((each for each in compiled.diagnostics if each.severity is Severity.ERROR), None)
    wrong = jsonschema.exceptions.best_match(validator.iter_errors(document))
    theirs = f"{_path(wrong.absolute_path)}: {wrong.message}" if wrong is not None else None
    ignored = [indexless(each.path) for each in compiled.diagnostics if each.code == "ignored"]
    return Verdicts(
        theirs=theirs,
        ours=f"{indexless(ours.path)}: {ours.message}" if ours else None,
        ignored=tuple(ignored),
    )


def indexless(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


def _path(parts: Any) -> str:
    return re.sub(r"\.\[\]", "[]", ".".join("[]" if isinstance(part, int) else str(part) for part in parts))


def explained(verdicts: Verdicts) -> str | None:
    """Return the reason of a difference, or None."""
    if verdicts.theirs is None:
        return next((why for form, why in STRICTER.items() if re.match(form, verdicts.ours or "")), None)
    path = verdicts.theirs.partition(":")[0].replace("-", "_")
    if any(path.startswith(key.replace("-", "_")) for key in verdicts.ignored):
        return NOT_ACTED_ON
    return next((why for form, why in LOOSER.items() if re.search(form, verdicts.theirs)), None)


def compare(schema: Any, parts: dict[str, Any], kind: str) -> Counter[str]:
    """Compare made documents; return how many were of one mind, and how many for each reason were not."""
    validator = jsonschema.Draft4Validator(schema)
    counts: Counter[str] = Counter()
    for seed in range(ROUNDS):
        for key, part in parts.items():
            maker = Maker(schema, seed)
            document = {key: maker.value(part, key)} if kind == "cloud" else maker.value(part, key)
            if seed % 2:
                document, _ = spoilt(document, random.Random(seed))
            verdicts = judged(document, validator, kind)
            if (verdicts.theirs is None) == (verdicts.ours is None):
                counts["the same"] += 1
                continue
            why = explained(verdicts)
            assert why is not None, f"{document}\n  cloud-init: {verdicts.theirs}\n  Berth: {verdicts.ours}"
            counts[why] += 1
    return counts


def acted_on(name: str) -> bool:
    key = CLOUD_CONFIG.keys.get(name) or CLOUD_CONFIG.keys[name.replace("-", "_")]
    return key.ignored is None


def test_cloud_config_is_taken_and_refused_as_cloud_inits_schema_has_it(schemas: dict[str, Any]) -> None:
    schema = schemas["cloud"]
    parts: dict[str, Any] = {}
    for each in schema["allOf"]:
        part = schema["$defs"][each["$ref"].rpartition("/")[2]]
        parts |= {name: inner for name, inner in part.get("properties", {}).items() if acted_on(name)}
    counts = compare(schema, parts, "cloud")
    assert counts["the same"] > 0.75 * counts.total(), counts


def test_every_top_level_key_of_the_schema_is_known(schemas: dict[str, Any]) -> None:
    schema = schemas["cloud"]
    names = set(schema["properties"])
    for each in schema["allOf"]:
        names |= set(schema["$defs"][each["$ref"].rpartition("/")[2]].get("properties", {}))
    known = set(CLOUD_CONFIG.keys)
    assert {name for name in names if name not in known and name.replace("-", "_") not in known} == set()


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_network_config_is_taken_and_refused_as_cloud_inits_schema_has_it(kind: str, schemas: dict[str, Any]) -> None:
    counts = compare(schemas[kind], {kind: schemas[kind]}, kind)
    assert counts["the same"] > 0.5 * counts.total(), counts
