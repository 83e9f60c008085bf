"""Documents to one `Machine`: read, laid over the recipe's, checked; all or nothing, with a lifeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from init.dialects.berth import BERTH, make_berth
from init.dialects.closing import make_closing
from init.dialects.cloudconfig import CLOUD_CONFIG
from init.dialects.diagnostic import Diagnostic, Place, Report, Severity, Unreadable, nearest
from init.dialects.files import make_files
from init.dialects.header import BUILT, DIALECTS, dialect_of
from init.dialects.identity import HOSTNAME, KEYS
from init.dialects.lifeline import WAYS_IN, lifeline
from init.dialects.merge import merge
from init.dialects.networkconfig import compile_network
from init.dialects.people import make_names, make_people
from init.dialects.position import Mapping, Node, Scalar, Sequence, is_null, parse, shown
from init.dialects.record import Fields
from init.dialects.shape import INVALID, expected
from init.dialects.system import make_system, resolver, seed_commands
from init.dialects.text import decode
from init.dialects.toolarge import documents_too_large, machine_too_large
from init.formats.machine import Machine, Network

DEFAULT_FILE = "machine.yaml"
_BELOW_BERTH = replace(  # cloud-init has no such map: whoever begins to write one puts everything into it
    BERTH, elsewhere=dict.fromkeys(CLOUD_CONFIG.keys, "the top of the document, beside `berth`")
)
_NOT_ACTED_ON = {  # of meta-data, by the way that there is instead
    "network-interfaces": "write network-config beside it",
    "seedfrom": "name the address on the kernel command line: `ds=nocloud;s=URL/`",
    "dsmode": "leave it out: what is on the disk counts before there is a network, and needs none",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document's bytes, and the name that diagnostics give it."""

    data: bytes
    file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """What became of a configuration.

    `machine` is None where it was refused; then `lifeline` is what may be taken from it on the very first boot,
    None where not even its structure could be read.
    """

    machine: Machine | None
    lifeline: Machine | None
    diagnostics: tuple[Diagnostic, ...]
    dialect: str

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(each.severity is Severity.ERROR for each in self.diagnostics)


def compile_document(text: bytes, *, file: str, default: bytes | None = None, dialect: str | None = None) -> Compiled:
    """Compile one document laid over the recipe's `default` (a `#berth` document). Never raises for what they hold."""
    return compile_documents(Document(data=text, file=file), default=default, dialect=dialect)


def compile_documents(
    user_data: Document | None,
    *,
    meta_data: Document | None = None,
    network_config: Document | None = None,
    default: bytes | None = None,
    dialect: str | None = None,
    ways_in: bool = False,
) -> Compiled:
    """Compile a data source's documents laid over the recipe's `default`. Never raises for what they hold.

    `ways_in`: only what may be a lifeline is looked at, and only the lifeline is returned.
    """
    report = Report()
    given = [each for each in (user_data, meta_data, network_config) if each is not None]
    if len(given) > 1 and (too_large := documents_too_large({each.file: len(each.data) for each in given})):
        report.error(*too_large, code="limit")
    if dialect is not None and dialect.startswith("network-config") and user_data is not None:
        network_config, user_data = user_data, None
    base = _Half()
    if default is not None:
        base = _split(*_read(Document(data=default, file=DEFAULT_FILE), "berth", report), report)
    base_machine = _assemble(base, {}, None, Report()) if default is not None else Machine()
    broken = False
    over, found = _Half(), dialect or "cloud-init"
    if user_data is not None and user_data.data.strip():
        try:
            node, found = _read(user_data, dialect, report)
            over = _split(node, found, report)
        except Unreadable as error:
            report.add(error.diagnostic)
            broken = True
    meta = _meta(meta_data, report)
    network = _network_document(network_config, report)
    half = _Half(
        cloud=_merged(base.cloud, _only(over.cloud) if ways_in else over.cloud),
        berth=_merged(base.berth, over.berth) if not ways_in else base.berth,
        prefix=over.prefix if user_data is not None else base.prefix,
    )
    machine = _assemble(half, meta, network, report)
    if too_large := machine_too_large(machine, half.cloud, half.berth, half.prefix):
        report.error(*too_large, code="limit")
    diagnostics = report.all()
    if not report.errors and not ways_in:
        return Compiled(machine=machine, lifeline=None, diagnostics=diagnostics, dialect=found)
    file = network_config.file if network_config is not None else None
    saved = None if broken else lifeline(machine, base_machine, diagnostics, file)
    return Compiled(machine=None, lifeline=saved, diagnostics=diagnostics, dialect=found)


def _only(node: Mapping | None) -> Mapping | None:
    """Return what of cloud-init's keys may be a way in."""
    return Mapping(tuple(entry for entry in node.entries if entry[0].text in WAYS_IN), node.place) if node else None


def compile_tree(node: Mapping) -> Compiled:
    """Compile the machine half of a recipe: a `#berth` document that was read already."""
    report = Report()
    machine = _assemble(_split(node, "berth", report), {}, None, report)
    return Compiled(
        machine=None if report.errors else machine, lifeline=None, diagnostics=report.all(), dialect="berth"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Half:
    """A document's two halves: cloud-init's keys and Berth's. `prefix` is where Berth's stand."""

    cloud: Mapping | None = None
    berth: Mapping | None = None
    prefix: str = ""


def _read(document: Document, dialect: str | None, report: Report) -> tuple[Node, str]:
    """Return a document's tree and dialect; raise Unreadable."""
    text = decode(document.data, file=document.file)
    found = dialect or dialect_of(text, file=document.file)
    if found not in BUILT:
        message = f"the dialect `{found}` is not understood yet" if found in DIALECTS else "no such dialect"
        raise Unreadable(
            Diagnostic(severity=Severity.ERROR, place=Place(document.file), path="", message=message, code="dialect")
        )
    node = parse(text, report, file=document.file, yaml11=found == "cloud-init")
    return node if node is not None else Mapping((), Place(document.file, 1, 1)), found


def _split(node: Node, dialect: str, report: Report) -> _Half:
    """Tell cloud-init's keys from Berth's."""
    if not isinstance(node, Mapping):
        if not is_null(node):
            expected("a map of keys", node, "", report)
        return _Half()
    if dialect == "cloud-init":
        cloud = tuple(entry for entry in node.entries if entry[0].text != "berth")
        berth = node.get("berth")
        if berth is not None and not isinstance(berth, Mapping) and not is_null(berth):
            expected(BERTH.what, berth, "berth", report)
        inner = berth if isinstance(berth, Mapping) else None
        return _Half(cloud=_canonical(Mapping(cloud, node.place)), berth=inner, prefix="berth")
    mine, theirs = [], []
    for entry in node.entries:
        name = entry[0].text
        if name in BERTH.keys or name.startswith("x-"):
            mine.append(entry)
        elif name in CLOUD_CONFIG.keys or name.replace("-", "_") in CLOUD_CONFIG.keys:
            theirs.append(entry)
        else:
            close = None if report.is_full else nearest(name, (*BERTH.keys, *CLOUD_CONFIG.keys))
            hint = f"did you mean {shown(close)}?" if close else None
            if name == "berth":
                hint = "in a `#berth` document its keys stand at the top"
            report.error(entry[0].place, name[:60], f"unknown key {shown(name)}", hint=hint, code="unknown-key")
    return _Half(cloud=_canonical(Mapping(tuple(theirs), node.place)), berth=Mapping(tuple(mine), node.place))


def _canonical(node: Mapping) -> Mapping:
    """Give hyphenated keys their underscores, so that the same key of two documents meets."""
    names = {key.text for key, _ in node.entries}
    entries = tuple(
        (replace(key, text=new), value)
        if (new := key.text.replace("-", "_")) != key.text and new in CLOUD_CONFIG.keys and new not in names
        else (key, value)
        for key, value in node.entries
    )
    return Mapping(entries, node.place)


def _merged(base: Mapping | None, over: Mapping | None) -> Mapping:
    empty = Mapping((), Place(""))
    if over is None:
        return base or empty
    result = merge(base, over) if base is not None else over
    return result if isinstance(result, Mapping) else empty


def _assemble(half: _Half, meta: dict[str, Any], network: Network | None, report: Report) -> Machine:
    """Read both halves and make the machine of what is right in them."""
    arguments: dict[str, Any] = {}
    cloud = CLOUD_CONFIG.read(half.cloud or Mapping((), Place("")), "", report)
    shape = _BELOW_BERTH if half.prefix else BERTH
    berth = shape.read(half.berth or Mapping((), Place("")), half.prefix, report)
    if isinstance(berth, Fields):
        arguments |= make_berth(berth, report)
        node = half.berth.get("network") if half.berth is not None else None
        if network is None and node is not None:
            network = compile_network(node, berth.below("network"), report)
    if isinstance(cloud, Fields):
        arguments |= make_names(cloud, meta.get("hostname"))
        arguments |= make_people(cloud, meta.get("keys", ()), report)
        arguments |= make_files(cloud) | make_system(cloud, report) | make_closing(cloud)
        if seeding := seed_commands(cloud):
            arguments["bootcmd"] = (*seeding, *arguments.get("bootcmd", ()))
        for key, field in (
            ("disable_root", "disable_root"),
            ("ssh_pwauth", "ssh_password"),
            ("ssh_keys", "ssh_host_keys"),
        ):
            if cloud.get(key) is not None:
                arguments[field] = cloud.get(key)
        if cloud.get("manage_etc_hosts") is not None:
            arguments["manage_etc_hosts"] = cloud.get("manage_etc_hosts")
        servers, search = resolver(cloud)
        if servers or search:
            network = network or Network()
            network = replace(network, nameservers=network.nameservers + servers, search=network.search + search)
    if network is not None:
        arguments["network"] = network
    if "instance_id" in meta:
        arguments["instance_id"] = meta["instance_id"]
    return Machine(**arguments)


def _meta(document: Document | None, report: Report) -> dict[str, Any]:
    """Read NoCloud's meta-data: instance-id, local-hostname, public-keys. Other facts that stand there are not ours."""
    node = _small(document, report)
    if not isinstance(node, Mapping):
        return {}
    for key, value in node.entries:
        if key.text in _NOT_ACTED_ON and not is_null(value):
            message = f"`{key.text}` of meta-data is not acted on"
            report.warn(key.place, key.text, message, hint=_NOT_ACTED_ON[key.text])
    result: dict[str, Any] = {}
    instance = node.get("instance-id")
    if isinstance(instance, Scalar) and instance.text and len(instance.text) <= 256:
        result["instance_id"] = instance.text
    name = node.get("local-hostname") or node.get("hostname")
    if name is not None and not is_null(name):
        hostname = HOSTNAME.read(name, "local-hostname", report)
        if hostname is not INVALID:
            result["hostname"] = hostname
    keys = node.get("public-keys")
    if isinstance(keys, Mapping):
        keys = Sequence(tuple(value for _, value in keys.entries), keys.place)
    if keys is not None and not is_null(keys):
        read = KEYS.read(keys, "public-keys", report)
        result["keys"] = () if read is INVALID else read
    return result


def _network_document(document: Document | None, report: Report) -> Network | None:
    node = _small(document, report)
    return None if node is None else compile_network(node, "", report)


def _small(document: Document | None, report: Report) -> Node | None:
    """Return the tree of a document that needs no header."""
    if document is None or not document.data.strip():
        return None
    try:
        return parse(decode(document.data, file=document.file), report, file=document.file, yaml11=True)
    except Unreadable as error:
        report.add(error.diagnostic)
        return None
