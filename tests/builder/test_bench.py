"""The bench's pure parts: goals, counting, the floor's program, what is read from QEMU and /proc, the tables."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.locks import make_lock, solved, universe
from fakes.mirror import FakeDeb
from hypothesis import given
from hypothesis import strategies as st

from builder.bench import builds, configs, floor, guest, host, least, measured, poweron, restart, updates
from builder.bench.__main__ import PARTS, parser, plan
from builder.bench.boots import Boot, middle, ratio
from builder.bench.builds import Builds
from builder.bench.goals import GOALS, more, verdict
from builder.bench.guest import Mark
from builder.bench.measured import Measured
from builder.bench.poweron import PowerOn
from builder.bench.report import Figures, report
from builder.bench.sizes import Sizes
from builder.errors import GuestFailed
from builder.fetch.http import Client, Gone
from builder.fetch.mirrors import Mirrors
from builder.fetch.store import Store
from builder.lock.file import read_lock
from builder.lock.recipe import check_fits
from builder.recipe import load
from builder.recipe.parse import SHIPPED
from init.dialects.compile import compile_document
from init.formats import events


def test_a_figure_stands_beside_its_goal() -> None:
    assert verdict(42.9, 43) == "42.9 (≤ 43)"
    assert verdict(43.1, 43) == "43.1 (≤ 43: no)"
    assert verdict(None, 43) == "–"
    assert verdict(123.4, None) == "123"


@given(st.integers(0, 600), st.integers(1, 40))
def test_the_least_memory_is_the_first_that_works(limit: int, step: int) -> None:
    low, high = 0, 640 // step * step
    found = least.search(lambda memory: memory >= limit, low=low, high=high, step=step)
    expected = -(-limit // step) * step
    assert found == (expected if expected <= high else None)


def test_the_floors_program_says_its_line(tmp_path: Path) -> None:
    program = tmp_path / "init"
    program.write_bytes(
        floor.program().replace(struct.pack("<I", 169), struct.pack("<I", 60))
    )  # exit instead of reboot
    program.chmod(0o755)
    done = subprocess.run([program], stdout=subprocess.PIPE, check=False)
    assert done.stdout == f"{floor.LINE}\n".encode()
    assert done.returncode == 0xFEE1DEAD & 0xFF  # its first argument


def test_times_are_read_behind_a_name_with_brackets() -> None:
    assert guest.ticks("7 (a) b ) c) S 1 7 7 0 -1 4 1 2 3 4 150 25 0 0 20 0") == 175


def test_a_guest_that_tells_nothing_has_no_figure() -> None:
    stats = {"stat-total-memory": 1000, "stat-available-memory": 900}
    assert guest.in_use({"last-update": 5, "stats": stats}) == 100
    assert guest.in_use({"last-update": 0, "stats": stats}) is None
    assert guest.in_use({"last-update": 5, "stats": {**stats, "stat-available-memory": 2**64 - 1}}) is None
    assert guest.in_use(None) is None


def test_a_processor_is_named_once() -> None:
    assert host.processor("processor: 0\nmodel name\t: Some  CPU\nmodel name\t: Other\n") == "Some CPU"
    assert host.processor("") == "unknown processor"


def test_a_command_is_measured_with_its_children(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytearray(64 << 20)'])"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    found = measured.measure([sys.executable, "-c", code], cwd=tmp_path, environment=environment)
    assert found.memory > 64 << 20
    assert found.processor > 0


def test_what_the_measured_program_prints_is_read() -> None:
    text = "noise\n" + json.dumps({"seconds": 1.5, "processor": 2, "memory": 3}) + "\n"
    assert measured.parse(text) == Measured(seconds=1.5, processor=2.0, memory=3)


def figures() -> Figures:
    once = Measured(seconds=20.0, processor=30.0, memory=300 << 20)
    marks = {
        events.INIT_STARTED: Mark(wall=3.0, kernel=2.0, processor=3.0),
        events.CONTAINER_OUTPUT: Mark(wall=6.0, kernel=5.0, processor=6.0),
    }
    boot = Boot(floor=Mark(wall=2.0, kernel=None, processor=2.0), marks=marks, used=50 << 20, power_off=0.2)
    return Figures(
        recipe="minimal",
        kernel="cloud",
        sizes=Sizes(iso=43_000_000, kernel=1, initramfs=1, root=1, download=1, packages=(("libc6", 3_400_000),)),
        builds=Builds(fetched=once, cold=once, changed=once, unchanged=once),
        boots=(boot,),
        counted={events.INIT_STARTED: 1.5, events.CONTAINER_OUTPUT: 9.25},
        power_ons=(PowerOn(firmware="uefi", live=30.0, install=12.0, installed=20.0),),
        least=96,
    )


def test_the_report_has_every_figure_beside_its_goal() -> None:
    text = report([figures()])
    for expected in ("43.0 (≤ 43)", "libc6 3.4", "| 20.0, 30 | 20.0 (≤ 30), 30 | 20.0, 30 |",
                     "20.0 (≤ 3: no)", "6.00 (≤ 5: no) / 5.00 / 3.00",
                     "minimal, cloud | 1.50 | 9.25 |", "minimal, cloud, uefi | 30.0 | 12.0 | 20.0", "50.0 (≤ 54)",
                     "96.0 (≤ 112)", "0.20 (≤ 1)"):  # fmt: skip
        assert expected in text
    assert report([]) == ""


def test_power_on_has_a_line_for_each_recipe_and_firmware() -> None:
    assert parser().parse_args(["--only", "poweron"]).recipes.split(",") == list(GOALS)
    ons = tuple(PowerOn(firmware=firmware, live=30.0, install=12.0, installed=20.0) for firmware in poweron.FIRMWARES)
    text = report([Figures(recipe=recipe, kernel="cloud", power_ons=ons) for recipe in GOALS])
    for recipe in GOALS:
        for firmware in ("bios", "uefi"):
            assert f"| {recipe}, cloud, {firmware} | 30.0 | 12.0 | 20.0 |" in text


def test_goals_are_for_the_cloud_kernel() -> None:
    one = figures()
    full = Figures(recipe=one.recipe, kernel="full", sizes=one.sizes)
    assert "≤" not in report([full])


def with_full(*, iso: int, first_line: float) -> str:
    cloud = figures()
    (boot,) = cloud.boots
    assert cloud.sizes is not None
    marks = boot.marks | {events.CONTAINER_OUTPUT: Mark(wall=first_line, kernel=6.0, processor=7.0)}
    full = Figures(
        recipe=cloud.recipe,
        kernel="full",
        sizes=replace(cloud.sizes, iso=iso),
        boots=(replace(boot, marks=marks),),
    )
    other = replace(full, recipe="podman")  # whose cloud kernel was not measured
    return report([cloud, full, other])


def test_the_full_kernel_stands_beside_the_cloud_kernel_of_the_same_recipe_and_run() -> None:
    text = with_full(iso=57_700_000, first_line=7.4)
    for expected in ("| minimal, cloud | 43.0 (≤ 43) |", "| minimal, full | 57.7 (14.7 more ≤ 30) |",
                     "| podman, full | 57.7 |",
                     "7.40 (1.40 more ≤ 1.5) / 6.00 / 3.50 |", "7.40 / 6.00 / 3.50 |"):  # fmt: skip
        assert expected in text
    text = with_full(iso=73_100_000, first_line=7.6)
    assert "73.1 (30.1 more ≤ 30: no)" in text
    assert "7.60 (1.60 more ≤ 1.5: no)" in text
    assert more(5.0, 6.0, 1.5) == "5.00 (1.00 less ≤ 1.5)"
    assert (more(5.0, None, 1.5), more(None, 6.0, 1.5)) == ("5.00", "–")


def test_make_bench_measures_sizes_and_boots_of_both_kernels() -> None:
    usual = parser().parse_args([])
    planned = plan(usual.only.split(","), usual.kernels)
    assert set(planned["cloud"]) == set(PARTS) - {"configs", "updates"}  # once, not for each recipe
    assert planned["full"] == ("sizes", "boots")
    assert plan(("counted",), None) == {"cloud": ("counted",)}
    assert plan(("sizes", "builds"), "full") == {"full": ("sizes", "builds")}
    assert plan(("configs",), None) == {}


def test_ratios_are_over_the_same_runs_floor() -> None:
    (boot,) = figures().boots
    assert ratio(boot, events.CONTAINER_OUTPUT) == pytest.approx(3.0)
    assert ratio(boot, "never") is None
    assert middle([None, 3, 1, 2]) == 2
    assert middle([None]) is None


def test_every_shipped_recipe_has_goals() -> None:
    assert set(GOALS) == {"minimal", "podman", "docker"}


def test_a_container_is_away_from_its_end_to_its_next_first_word():
    def event(name, t, of="short"):
        return {"event": name, "t": t, "name": of}

    seen = [
        event("container.output", 1.0),
        event("container.exited", 16.0),
        event("container.output", 16.1, of="web"),
        event("container.started", 16.3),
        event("container.output", 16.5),
        event("network.up", 17.0),
        event("container.exited", 31.5),
    ]
    assert restart.away(seen) == (0.5,)


def test_a_configuration_of_so_many_lines_is_valid_and_stands_beside_its_goal() -> None:
    text = configs.document(configs.LINES)
    assert abs(text.count("\n") - configs.LINES) < 10
    compiled = compile_document(text.encode(), file="x")
    assert (compiled.machine is not None, compiled.diagnostics) == (True, ())
    one = Measured(seconds=1.0, processor=0.2, memory=30 << 20)
    table = "\n".join(configs.lines(configs.Configs(check=one, empty=one, short=1.25, long=3.0)))
    assert "| `berth check`, processor s | 0.20 | 0.20 (≤ 0.3) |" in table
    assert "| 1.2 | 3.0 |" in table


def test_older_slots_are_the_lock_with_real_older_packages() -> None:
    def lock(krb5: str, kernel: str, epoch: int):
        debs = (FakeDeb("libc6", "2.41"), FakeDeb("libkrb5-3", krb5), FakeDeb(f"linux-image-{kernel}", kernel))
        packages = solved(universe(*debs), *(deb.name for deb in debs))
        sources = {"libkrb5-3": "krb5", f"linux-image-{kernel}": "linux-signed-amd64"}
        return make_lock(tuple(replace(one, source=sources.get(one.name, one.source)) for one in packages), epoch=epoch)

    new, old = lock("2", "6.2", 200), lock("1", "6.1", 100)
    cases = updates._cases(new, old)
    assert list(cases.values()) == [{"krb5"}, {"linux-signed-amd64"}, {"krb5", "linux-signed-amd64"}]
    assert next(iter(cases)) == "one small package (krb5)"
    mixed = [
        {package.name: package.version for package in updates._mixed(new, old, sources).packages}
        for sources in cases.values()
    ]
    assert mixed == [
        {"libc6": "2.41", "libkrb5-3": "1", "linux-image-6.2": "6.2"},
        {"libc6": "2.41", "libkrb5-3": "2", "linux-image-6.1": "6.1"},
        {"libc6": "2.41", "libkrb5-3": "1", "linux-image-6.1": "6.1"},
    ]
    assert updates._mixed(new, old, cases["the kernel"]).epoch == 100


@pytest.mark.parametrize(
    ("moved", "chosen"),
    [
        ({"a": 9000, "b": 8000}, [{"b"}, {"a", "b"}]),
        ({"a": 9000, "krb5": 9999}, [{"krb5"}, {"a", "krb5"}]),
        ({"large": updates.SMALL_MOST + 1, "linux": 1}, [{"linux"}, {"large", "linux"}]),
        ({}, []),
    ],
)  # fmt: skip
def test_what_the_security_suite_has_today_is_measured(moved: dict[str, int], chosen: list[set[str]]) -> None:
    names = ["a", "b", "krb5", "large", "linux"]
    old = make_lock(solved(universe(*(FakeDeb(name, "1") for name in names)), *names))
    packages = [
        replace(one, source=one.name, **({"version": "2", "size": moved[one.name]} if one.name in moved else {}))
        for one in old.packages
    ]
    assert list(updates._cases(replace(old, packages=tuple(packages)), old).values()) == chosen


def test_where_no_small_package_was_replaced_a_file_of_the_bench_is(tmp_path: Path) -> None:
    recipe = load("minimal", [])
    one, two = (updates._with_file(recipe, tmp_path, size).build.files[-1] for size in updates.FILE_SIZES)
    assert one.path == two.path
    assert (one.source.stat().st_size, two.source.stat().st_size) == updates.FILE_SIZES
    assert one.source.read_bytes()[:64] != two.source.read_bytes()[:64]


def test_what_a_machine_says_of_its_update_is_read_and_stands_beside_its_goal() -> None:
    last = {"size": 40_000_000, "fetched": 2_000_000, "seconds": 7.25, "memory": 30 << 20}
    said = json.dumps({"format": "berth.update/1", "state": "switched", "last": last})
    small = updates.read("one small package", said, new=1_500_000)
    text = "\n".join(updates.lines({"minimal, cloud": (small,)}))
    assert "| minimal, cloud: one small package | 40.0 | 1.50 | 2.00 | 5.00 (≤ 10) | 7.2 | 30.0 (≤ 64) |" in text
    for answer in ("", "{}", json.dumps({"state": "refused", "reason": "held", "last": last})):
        with pytest.raises(GuestFailed):
            updates.read("one", answer, new=0)


def test_the_mirror_of_a_bench_gives_what_the_locks_name_and_nothing_else(tmp_path: Path) -> None:
    deb = FakeDeb("g++-x", "1:2.0~a")
    store = Store(tmp_path)
    store.put(deb.data)
    with builds.mirror([make_lock(solved(universe(deb), "g++-x"))], store) as base, Client() as client:
        mirrors = Mirrors(main=base, security=base, origin="the test")
        assert client.get(mirrors.url("main", deb.filename), limit=1 << 20) == deb.data
        with pytest.raises(Gone):
            client.get(mirrors.url("main", "pool/x"), limit=1)


@pytest.mark.parametrize("recipe", GOALS)
def test_the_recipe_with_a_package_more_fits_its_lock(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds.add_package(recipe, tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    more = load(recipe)
    lock = read_lock(tmp_path / "recipes" / f"{recipe}.lock")
    check_fits(more, lock)
    assert more.path.parent == Path("recipes")
    shipped = {package.name for package in read_lock(SHIPPED / f"{recipe}.lock").packages}
    assert {package.name for package in lock.packages} - shipped == {builds.MORE}
