"""The boot after the switch of roots, as a pure machine: state + event → state + actions.

The sequence is a value, `SEQUENCE`: stages in order, each with what it does and what it waits for. None may hold up the
boot: a stage that waits has a bound, and a stage that fails leaves a sentence behind and goes on.

Before it, `seeddisk` looks for the disk labelled `cidata`, with bounds of its own.

    stage     does                                                      waits for
    seed      DHCP on all cards, where the config lies at an address    an address, at most 90 s
    config    starts the config child over the sources that there are   its report, at most 30 s
    identity  host name, time zone, accounts, modules, sysctls          –
    bootcmd   the commands of `bootcmd`, one script                     its end, at most 120 s
    files     `write_files`: after bootcmd, which may mount their place –
    network   links, addresses, the DHCP client                         –
    services  the base's daemons, engine, containers, log-ins           –
    settled   nothing: the loop goes on with health and the gates       –

What the config child says decides what is in force: its machine (a new config, the last good one, the lifeline of a
refused one, or the recipe's default). When it died, spoke nonsense or took too long, a second child reads the last good
config alone; when that one is lost, too, or there is none, the recipe's default is in force.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from init.formats import events
from init.formats.bare import StrEnum
from init.formats.machine import Machine, decode

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SEED_BOUND = 90.0  # a port with classic spanning tree is deaf for 30 s: who is not heard asks again at 28 and 60
FETCH_BOUND = 15.0  # more for the config child where it asks the network
CONFIG_BOUND = 30.0  # an emulated machine on a busy host took 13 s; a config that is lost is worse than a wait
BOOTCMD_BOUND = 120.0
ERRORS_MOST = 20  # error messages of a refused config that go into the event


class Stage(StrEnum):
    """The stages of `SEQUENCE`."""

    SEED = "seed"
    CONFIG = "config"
    IDENTITY = "identity"
    BOOTCMD = "bootcmd"
    FILES = "files"
    NETWORK = "network"
    SERVICES = "services"
    SETTLED = "settled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One stage: its phase in the boot record's sector, and how long it may be waited for (0: not at all)."""

    stage: Stage
    phase: str
    bound: float = 0.0


SEQUENCE = (
    Step(stage=Stage.SEED, phase="config", bound=SEED_BOUND),
    Step(stage=Stage.CONFIG, phase="config", bound=CONFIG_BOUND),
    Step(stage=Stage.IDENTITY, phase="config"),
    Step(stage=Stage.BOOTCMD, phase="config", bound=BOOTCMD_BOUND),
    Step(stage=Stage.FILES, phase="config"),
    Step(stage=Stage.NETWORK, phase="config"),
    Step(stage=Stage.SERVICES, phase="containers"),
    Step(stage=Stage.SETTLED, phase="containers"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What the config child found. `errors` are messages with their places; secrets are never in them."""

    machine: Machine | None
    source: str
    sha256: str = ""
    warnings: int = 0
    refused: str | None = None  # the source that was refused
    refused_sha256: str = ""
    errors: tuple[str, ...] = ()
    lifeline: bool = False
    document: str = ""  # base64 of the winner, to keep as last good
    messages: tuple[str, ...] = ()  # all diagnostics, one line each
    findings: tuple[Mapping[str, object], ...] = ()  # the same for programs


@dataclass(frozen=True, kw_only=True, slots=True)
class InForce:
    """The configuration that runs, as `status` shows it."""

    machine: Machine = field(default_factory=Machine)
    source: str = "recipe"
    sha256: str = ""
    refused: str | None = None  # the source of a config that was refused in this boot, and why
    refused_sha256: str = ""
    lost: bool = False  # no child could read even what the last boot had in force
    lifeline: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Boot:
    """Where the boot stands. `waiting`: the stage's work is under way."""

    default: Machine
    stage: Stage = Stage.CONFIG
    waiting: bool = False
    last_good: bool = False  # there is one to fall back on
    lost: str = ""  # why there is no report on all sources; from then on the last good one is read alone
    in_force: InForce = field(default_factory=InForce)
    config_bound: float = CONFIG_BOUND


# --- events and actions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """The root is there; `sources`: something besides the recipe's default may hold a configuration.

    `network`: one of them lies at an address. `last_good`: one of them is what the last boot had in force.
    """

    sources: bool = True
    network: bool = False
    last_good: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkUp:
    """A card has an address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigRead:
    """The config child's report."""

    report: Report


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigLost:
    """There is no report, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BootcmdEnded:
    """The script of `bootcmd` ended, well or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Late:
    """A stage's bound has passed."""

    stage: Stage


Event = Begun | NetworkUp | ConfigRead | ConfigLost | BootcmdEnded | Late


@dataclass(frozen=True, kw_only=True, slots=True)
class EnterPhase:
    """Write how far the boot has come into the record's spare sector."""

    phase: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Perform:
    """Do a stage's work with the configuration that is in force."""

    stage: Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Abandon:
    """End the child of a stage that took too long."""

    stage: Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """Send `Late` after so many seconds."""

    stage: Stage
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepLastGood:
    """Keep the document that was applied on state, for a boot that finds no other."""

    document: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Emit:
    """Say an event."""

    event: str
    fields: Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A line for people: on the console and in the log."""

    text: str


Action = EnterPhase | Perform | Abandon | Bound | KeepLastGood | Emit | Note
Outcome = tuple[Boot, list[Action]]


def step(boot: Boot, event: Event) -> Outcome:
    """Return the boot after the event, and what to do. What a stage doesn't wait for changes nothing."""
    if isinstance(event, Begun) and not boot.waiting:
        boot = replace(boot, last_good=event.last_good)
    match event:
        case Begun(sources=True, network=True) if boot.stage is Stage.CONFIG and not boot.waiting:
            actions: list[Action] = [EnterPhase(phase="config"), Perform(stage=Stage.SEED)]
            after = replace(boot, stage=Stage.SEED, waiting=True)
            return after, [*actions, Bound(stage=Stage.SEED, seconds=SEED_BOUND)]
        case NetworkUp() if boot.stage is Stage.SEED:
            return _ask(replace(boot, config_bound=CONFIG_BOUND + FETCH_BOUND))
        case Late(stage=Stage.SEED) if boot.stage is Stage.SEED:
            after, actions = _ask(boot)
            text = f"no card has an address after {SEED_BOUND:g} s, so no configuration is fetched from the network"
            return after, [Note(text=text), *actions]
        case Begun(sources=True) if boot.stage is Stage.CONFIG and not boot.waiting:
            after, actions = _ask(boot)
            return after, [EnterPhase(phase="config"), *actions]
        case Begun() if boot.stage is Stage.CONFIG and not boot.waiting:
            report = Report(machine=boot.default, source="recipe")
            after, more = _read(boot, report)
            return after, [EnterPhase(phase="config"), *more]
        case ConfigRead(report=report) if boot.stage is Stage.CONFIG:
            return _read(boot, report)
        case ConfigLost(reason=reason) if boot.stage is Stage.CONFIG:
            return _lost(boot, reason)
        case Late(stage=Stage.CONFIG) if boot.stage is Stage.CONFIG:
            after, actions = _lost(boot, f"the config child took longer than {boot.config_bound:g} s")
            return after, [Abandon(stage=Stage.CONFIG), *actions]
        case BootcmdEnded() if boot.stage is Stage.BOOTCMD:
            return _go_on(boot)
        case Late(stage=Stage.BOOTCMD) if boot.stage is Stage.BOOTCMD:
            after, actions = _go_on(boot)
            return after, [Note(text=f"bootcmd runs longer than {BOOTCMD_BOUND:g} s: going on without it"), *actions]
        case _:
            return boot, []


def _ask(boot: Boot) -> Outcome:
    """Start the config child."""
    after = replace(boot, stage=Stage.CONFIG, waiting=True)
    return after, [Perform(stage=Stage.CONFIG), Bound(stage=Stage.CONFIG, seconds=boot.config_bound)]


def _read(boot: Boot, report: Report) -> Outcome:
    """Take what the child found."""
    if report.machine is None:
        return _lost(boot, "; ".join(report.errors) or "the config child gave no machine", report)
    actions: list[Action] = [Note(text=message) for message in report.messages[:ERRORS_MOST]]
    refused = boot.lost or None
    if boot.lost and report.refused is None:
        fields = {"source": "", "errors": [boot.lost], "in_force": report.source}
        actions.append(Emit(event=events.CONFIG_REFUSED, fields=fields))
    if report.refused is not None:
        in_force = "lifeline" if report.lifeline else report.source
        refused = f"{report.refused}: {report.errors[0] if report.errors else 'it has errors'}"
        fields = {"source": report.refused, "errors": list(report.errors[:ERRORS_MOST]), "in_force": in_force}
        actions.append(Emit(event=events.CONFIG_REFUSED, fields=fields))
    if not report.lifeline:
        applied = {"source": report.source, "sha256": report.sha256, "warnings": report.warnings}
        actions.append(Emit(event=events.CONFIG_APPLIED, fields=applied))
        if report.document and report.source not in ("recipe", "last-good"):
            actions.append(KeepLastGood(document=report.document, sha256=report.sha256))
    in_force_now = InForce(
        machine=report.machine,
        source=report.source,
        sha256=report.sha256,
        refused=refused,
        refused_sha256=report.refused_sha256,
        lost=bool(boot.lost) and report.source != "last-good",
        lifeline=report.lifeline,
    )
    after, more = _go_on(replace(boot, in_force=in_force_now))
    return after, actions + more


def _lost(boot: Boot, reason: str, report: Report | None = None) -> Outcome:
    """Nothing useful came from the child: the last good config is read alone, once; then the recipe's is in force."""
    if boot.last_good and not boot.lost:
        after, actions = _ask(replace(boot, lost=reason, config_bound=CONFIG_BOUND))
        return after, [Note(text=f"config: {reason}; the last good configuration is read alone"), *actions]
    source = (report.refused or report.source) if report else ""
    fields = {"source": source, "errors": [reason], "in_force": "recipe"}
    digest = report.refused_sha256 if report else ""
    in_force = InForce(machine=boot.default, refused=reason, refused_sha256=digest, lost=boot.last_good)
    after, more = _go_on(replace(boot, in_force=in_force))
    return after, [Note(text=f"config: {reason}"), Emit(event=events.CONFIG_REFUSED, fields=fields), *more]


def _go_on(boot: Boot) -> Outcome:
    """Do the following stages, up to the next that waits."""
    actions: list[Action] = []
    phase = _step_of(boot.stage).phase
    following = boot.stage
    while following is not Stage.SETTLED:
        following = _next(following)
        entry = _step_of(following)
        if entry.phase != phase:
            phase = entry.phase
            actions.append(EnterPhase(phase=phase))
        if following is Stage.BOOTCMD:
            if not boot.in_force.machine.bootcmd:
                continue
            actions += [Perform(stage=following), Bound(stage=following, seconds=entry.bound)]
            return replace(boot, stage=following, waiting=True), actions
        if following is not Stage.SETTLED:
            actions.append(Perform(stage=following))
    return replace(boot, stage=Stage.SETTLED, waiting=False), actions


def _step_of(stage: Stage) -> Step:
    return next(entry for entry in SEQUENCE if entry.stage is stage)


def _next(stage: Stage) -> Stage:
    position = [entry.stage for entry in SEQUENCE].index(stage)
    return SEQUENCE[position + 1].stage


def read_report(value: object) -> Report:
    """Read the config child's JSON; raise ValueError for what is none. PID 1 trusts no child's form."""
    if not isinstance(value, dict):
        raise ValueError("the report is no object")  # noqa: TRY004 - one kind of error for one kind of fault
    machine = value.get("machine")
    refused = value.get("refused")
    found = value.get("diagnostics")
    diagnostics = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    errors = tuple(_sentence(entry) for entry in diagnostics if entry.get("severity") == "error")
    return Report(
        machine=decode(machine) if machine is not None else None,
        source=str(value.get("source") or "recipe"),
        sha256=str(value.get("sha256") or ""),
        warnings=sum(entry.get("severity") != "error" for entry in diagnostics),
        refused=str(refused.get("source") or "?") if isinstance(refused, dict) else None,
        refused_sha256=str(refused.get("sha256") or "") if isinstance(refused, dict) else "",
        errors=errors,
        lifeline=value.get("lifeline") is True,
        document=str(value.get("document") or ""),
        messages=tuple(_sentence(entry) for entry in diagnostics),
        findings=tuple(diagnostics),
    )


def _sentence(entry: Mapping[str, object]) -> str:
    place = ":".join(str(entry[key]) for key in ("file", "line", "column") if entry.get(key))
    path = f"{entry['path']}: " if entry.get("path") else ""
    hint = f" ({entry['hint']})" if entry.get("hint") else ""
    return f"{place}: {path}{entry.get('message', '')}{hint}"
