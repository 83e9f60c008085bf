"""`python -m builder.bench`: measures, prints tables in Markdown, and leaves the same figures as `build/bench.json`."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from builder.artifact.inspect import read_manifest
from builder.bench import boots, builds, configs, counted, guest, host, least, poweron, restart, updates
from builder.bench.goals import GOALS
from builder.bench.report import Figures, report
from builder.bench.sizes import sizes
from builder.cli import main as cli
from builder.cli.context import Context
from builder.cli.inputs import Network, ready_lock, ready_tools
from builder.emulate import accelerator, fault
from builder.errors import BerthError
from builder.lock.file import read_lock
from builder.lock.model import Lock
from builder.lock.select import for_build
from builder.recipe import find, load
from builder.tools.call import Tools

PARTS = ("sizes", "builds", "boots", "counted", "poweron", "restarts", "least", "configs", "updates")
FULL_PARTS = ("sizes", "boots")  # what the full kernel's goals are for
FORMAT = "berth.bench/1"


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    result = argparse.ArgumentParser(prog="python -m builder.bench", description=__doc__)
    result.add_argument("--only", metavar="PARTS", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    result.add_argument("--recipes", metavar="NAMES", default=",".join(GOALS), help="(default: all that are shipped)")
    result.add_argument(
        "--kernels",
        metavar="NAMES",
        help=f"`cloud`, `full` or both (default: cloud, and of full {','.join(FULL_PARTS)})",
    )
    result.add_argument("--boots", metavar="N", type=int, default=3, help="boots of each image (default: 3)")
    result.add_argument("--rest", metavar="S", type=float, default=boots.REST, help="before memory is read (25)")
    result.add_argument(
        "--least", metavar="LOW:HIGH", type=bounds, default=(64, 512), help="MB between which it is looked for (64:512)"
    )
    result.add_argument("--out", metavar="FILE", type=Path, default=Path("build/bench.json"), help="the same as JSON")
    return result


def bounds(text: str) -> tuple[int, int]:
    """Read `LOW:HIGH`; raise ValueError."""
    low, _, high = text.partition(":")
    return int(low), int(high)


def words(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Split a list with commas; end with status 2 where a word is not known."""
    found = tuple(word for word in text.split(",") if word)
    for word in found:
        if word not in known:
            parser().error(f"`{word}` is none of {', '.join(known)}")
    return found


def plan(parts: Sequence[str], kernels: str | None) -> dict[str, tuple[str, ...]]:
    """Return which parts to measure with which kernel; who names kernels (None: nobody did) gets all of each."""
    # Configurations are read the same way in every recipe, and updates cost the most of the smallest.
    parts = tuple(part for part in parts if part not in ("configs", "updates"))
    if kernels is None:
        wanted = {"cloud": parts, "full": tuple(part for part in parts if part in FULL_PARTS)}
    else:
        wanted = dict.fromkeys(words(kernels, ("cloud", "full")), parts)
    return {kernel: each for kernel, each in wanted.items() if each}


def image(recipe: str, kernel: str, folder: Path) -> Path:
    """Build what is measured and return the ISO's path."""
    out = folder / f"{recipe}-{kernel}"
    with contextlib.redirect_stdout(sys.stderr):
        status = cli.main(["build", recipe, "--heal", "--quiet", "--set", f"build.kernel={kernel}", "--out", str(out)])
    if status:
        raise SystemExit(status)
    return out / f"{recipe}.iso"


def measure(
    recipe: str, kernel: str, parts: Sequence[str], options: argparse.Namespace, tools: Tools
) -> Iterator[dict[str, Any]]:
    """Measure some parts of one recipe with one kernel; yield fields of its Figures, each as soon as it is known."""
    context = Context.create(quiet=True, as_json=False)
    folder = context.build_root / "bench"
    chosen = load(recipe, [f"build.kernel={kernel}"])
    lock = for_build(ready_lock(chosen, tools, context, Network(heal=True)), kernel)
    if "builds" in parts:
        locks = (lock, _tools_lock())
        yield {"builds": builds.build_times(recipe, kernel, locks=locks, store=context.store, work=folder / "work")}
    if not {"sizes", "boots", "counted", "poweron", "restarts", "least"} & set(parts):
        return
    iso = image(recipe, kernel, folder)
    if "sizes" in parts:
        yield {
            "sizes": sizes(
                read_manifest(iso), iso=iso.stat().st_size, download=sum(each.size for each in lock.packages)
            )
        }
    done: tuple[boots.Boot, ...] = ()
    for _ in range(options.boots if "boots" in parts else 0):
        done += (boots.boot(iso, tools, rest=options.rest),)
        yield {"boots": done}
    if "counted" in parts:
        yield {"counted": counted.counted(iso, tools)}
    each: tuple[poweron.PowerOn, ...] = ()
    for firmware in poweron.FIRMWARES if "poweron" in parts else ():
        each += (poweron.power_on(iso, tools, firmware),)
        yield {"power_ons": each}
    if "restarts" in parts:
        yield {"restarts": restart.restarts(iso, tools, memory=boots.MEMORY, cpus=boots.CPUS)}
    if "least" in parts:
        low, high = options.least
        yield {"least": least.search(lambda memory: least.reaches(iso, tools, memory), low=low, high=high)}


def _tools_lock() -> Lock:
    return read_lock(find("tools").with_suffix(".lock"))


def say(text: str) -> None:
    """Tell a person what goes on; the tables alone go to standard output."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the figures of a recipe that fails are missing and its error is told."""
    options = parser().parse_args(argv)
    parts = words(options.only, PARTS)
    context = Context.create(quiet=True, as_json=False)
    tools = ready_tools(context, Network(heal=True))
    machine = host.look(tools, accelerator.choose(tools))
    figures: list[Figures] = []
    status = 0
    # A recipe's kernels one after the other: they are compared, and a computer is not the same from hour to hour.
    for recipe in words(options.recipes, tuple(GOALS)):
        for kernel, wanted in plan(parts, options.kernels).items():
            say(f"measuring {recipe} with the {kernel} kernel: {', '.join(wanted)}")
            found = Figures(recipe=recipe, kernel=kernel)
            try:
                for fields in measure(recipe, kernel, wanted, options, tools):
                    found = replace(found, **fields)
            except BerthError as error:
                say(f"bench: {recipe}: {error.message}")
                status = 1
            figures.append(found)
    sys.stdout.write(f"{machine.line()}; {boots.CPUS} virtual CPUs, {boots.MEMORY} MiB, direct kernel boot.\n\n")
    sys.stdout.write(report(figures))
    read = None
    if "configs" in parts:
        say("measuring configurations: minimal with the cloud kernel")
        read = configs.configs(image("minimal", "cloud", context.build_root / "bench"), tools)
        sys.stdout.write("\n" + "\n".join(configs.lines(read)))
    taken: tuple[updates.Update, ...] = ()
    if "updates" in parts:
        say("measuring updates: minimal with the cloud kernel")
        try:
            for one in updates.updates("minimal", "cloud", tools, context):
                taken += (one,)
        except BerthError as error:
            say(f"bench: updates: {error.message}")
            status = 1
        sys.stdout.write("\n" + "\n".join(updates.lines({"minimal, cloud": taken})))
    if guest.retries:
        say(f"bench: {fault.TOLD} ({guest.retries})")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    value = {"format": FORMAT, "host": asdict(machine), "figures": [asdict(each) for each in figures]}
    value |= {"configs": asdict(read)} if read is not None else {}
    value |= {"updates": [asdict(each) for each in taken]} if taken else {}
    options.out.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
