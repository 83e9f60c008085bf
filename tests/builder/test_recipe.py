"""Recipes: the shipped ones load; wrong ones are told with file, line, column, all at once."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
from pathlib import Path

import pytest
import yaml
from fakes.schemadocs import spoilt
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import RecipeError, UsageError
from builder.lock.recipe import recipe_parts
from builder.recipe import RecipeErrors, compile_machine, load
from builder.recipe.beside import LARGEST, read_file
from builder.recipe.diagnose import place
from builder.recipe.model import Compression, HotFiles
from builder.recipe.patterns import expand
from init.dialects.compile import compile_document
from init.dialects.diagnostic import Severity
from init.formats.offer import name_of

SHIPPED = ("base", "minimal", "podman", "docker", "tools")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_load_and_their_machine_compiles_without_a_warning(name: str) -> None:
    recipe = load(name)
    compiled = compile_machine(recipe)
    assert compiled.diagnostics == ()
    again = compile_document(compiled.document, file="machine.yaml")
    assert again.machine == compiled.machine


@pytest.mark.parametrize(("name", "engine"), [("minimal", "crun"), ("podman", "podman"), ("docker", "docker")])
def test_a_recipe_adds_to_what_it_extends(name: str, engine: str) -> None:
    recipe, base = load(name), load("base")
    assert recipe.build.engine == engine
    assert recipe.build.packages[: len(base.build.packages)] == base.build.packages
    assert recipe.build.waive[: len(base.build.waive)] == base.build.waive
    assert [image.name for image in recipe.build.images] == ["demo"]
    (web,) = compile_machine(recipe).machine.containers
    assert (web.image, web.required, web.ports[0].host) == ("demo", True, 8080)


def test_both_kernels_are_locked_and_images_have_packages_of_their_own() -> None:
    names = {part: [one.name for one in asked] for part, asked in recipe_parts(load("minimal")).items()}
    assert (names["kernel-full"], names["kernel-cloud"]) == (["linux-image-amd64"], ["linux-image-cloud-amd64"])
    assert names["image-demo"] == ["busybox-static"]
    assert recipe_parts(load("tools")) == {"root": load("tools").build.packages}


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def wrong(folder: Path, text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(RecipeErrors) as caught:
        load(write(folder, text))
    found = [each for each in caught.value.diagnostics if each.severity is Severity.ERROR]
    assert all(each.place.file.endswith("mine.yaml") for each in found)
    return [(each.place.line, each.place.column, each.path) for each in found]


HEAD = "build:\n  suite: trixie\n  architecture: amd64\n"


@pytest.mark.parametrize("name", ["Box", "größe", "my box", "-box", "a" * 59])
def test_a_name_that_no_machine_class_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """Else the first `berth publish` would refuse it, with machines of that class installed."""
    path = write(tmp_path, HEAD).rename(tmp_path / f"{name}.yaml")
    with pytest.raises(RecipeErrors, match="can't be a recipe's name"):
        load(path)
    load(path.rename(tmp_path / f"{'a' * 58}.yaml"))


def test_a_class_of_its_own_leaves_a_recipe_more_names(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "  class: edge\n").rename(tmp_path / "Edge.yaml")
    assert load(path).name == "Edge"
    with pytest.raises(RecipeErrors, match="can't be a recipe's name"):
        load(path.rename(tmp_path / "größe.yaml"))


@pytest.mark.parametrize("name", ["Edge", "box-", "a" * 65])
def test_a_class_that_can_not_be_updated_is_refused(tmp_path: Path, name: str) -> None:
    assert wrong(tmp_path, HEAD + f"  class: {name}\n") == [(4, 10, "build.class")]
    with pytest.raises(ValueError, match="class"):
        name_of("class", name)


def test_all_errors_are_told_at_once_each_at_its_place(tmp_path: Path) -> None:
    text = (
        HEAD + "  kernal: cloud\n  packages: {a: b}\n  root_mib: many\n  exclude:\n    - {pattern: usr/x, reason: x}\n"
    )
    assert wrong(tmp_path, text) == [
        (4, 3, "build.kernal"),
        (5, 13, "build.packages"),
        (6, 13, "build.root_mib"),
        (8, 17, "build.exclude[0].pattern"),
    ]


def test_a_misspelt_key_gets_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(RecipeErrors) as caught:
        load(write(tmp_path, HEAD + "  kernal: cloud\n"))
    assert caught.value.hint == "did you mean `kernel`?"
    assert caught.value.place is not None
    assert caught.value.place.line == 4
    assert caught.value.exit_status == 2


def test_a_key_one_level_too_high_is_told_its_place(tmp_path: Path) -> None:
    with pytest.raises(RecipeErrors) as caught:
        load(write(tmp_path, HEAD + "packages: [a]\n"))
    assert caught.value.hint == "this key stands at `build.packages`"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "build: 3",
        "machine: {}",
        "build: {suite: trixie}",
        HEAD + "  packages: [Bad_Name]\n",
        HEAD + "  kernel: huge\n",
        HEAD + "  modules: [{pattern: sound/**, reason: x, kernel: huge}]\n",
        HEAD + "  budget: much\n",
        HEAD + "  cmdline: ['berth.root=x']\n",
        HEAD + "  cmdline: ['two words']\n",
        HEAD + "  compression: {cluster: 5000}\n",
        HEAD + "  compression: {hot: [{level: 12}]}\n",
        HEAD + "  compression: {hot: {paths: [/x]}}\n",
        HEAD + "  compression: {hot: [{paths: [usr/bin/x]}]}\n",
        HEAD + "  compression: {hot: [{paths: [/x], algorithm: none}]}\n",
        HEAD + "  compression: {hot: [{paths: [/x], algorithm: lz4hc, level: 13}]}\n",
        HEAD + "  compression: {hot: [{paths: [/x], cluster: 5000}]}\n",
        HEAD + "  compression: {cluster: 65536, hot: [{paths: [/x], cluster: 131072}]}\n",
        HEAD + "  module_signatures: shorten\n",
        HEAD + "  waive: [{package: a, depends: b}]\n",
        HEAD + "  waive: [{package: a, depends: b, reason: ''}]\n",
        HEAD + "  exclude: [{pattern: '/a/{b', reason: x}]\n",
        HEAD + "  images: {x: {oci: a}}\n",
        HEAD + "  images: {x: {oci: a, digest: 'sha256:1', packages: [b]}}\n",
        HEAD + "  images: {x: {packages: [b]}}\n",
        HEAD + "  files: {relative: text}\n",
        HEAD + "  files: {/a/../b: text}\n",
        HEAD + "  files: {/a: {content: x, source: y}}\n",
        HEAD + "  files: {/a: {content: x, mode: 999}}\n",
        HEAD + "  update_root: absent.json\n",
        HEAD + "  update_root: recipe.yaml\n",
        HEAD + '  update_root: \'{"signed": {"_type": "targets"}}\'\n',
        HEAD + "  suite: trixie\n",
        HEAD + "machine: []\n",
        HEAD + "\tpackages: []\n",
        HEAD + "  packages: [!foreign a]\n",
    ],
)
def test_bad_recipes_are_refused(tmp_path: Path, text: str) -> None:
    assert wrong(tmp_path, text)


@pytest.mark.parametrize(("algorithm", "level"), [("zstd", 12), ("lz4hc", 12), ("lzma", 9), ("none", 12)])
def test_an_algorithm_without_a_level_gets_one_that_it_has(tmp_path: Path, algorithm: str, level: int) -> None:
    recipe = load(write(tmp_path, HEAD + f"  compression: {{algorithm: {algorithm}}}\n"))
    assert recipe.build.compression.level == level


HOT = HEAD + "  compression:\n    algorithm: lzma\n    level: 105\n    hot:\n"


def test_hot_files_are_compressed_as_the_rest_unless_they_say_otherwise(tmp_path: Path) -> None:
    records = (
        "      - {paths: ['/usr/{a,b}']}\n"
        "      - {paths: [/c], cluster: 4096}\n"
        "      - {paths: [/d], algorithm: lz4hc}\n"
        "      - {paths: [/e], algorithm: zstd, level: 9, cluster: 65536}\n"
        "      - {paths: [/f], algorithm: zstd}\n"
    )
    hot = (
        HotFiles(algorithm="lzma", level=105, cluster=131072, paths=("/usr/a", "/usr/b")),
        HotFiles(algorithm="lzma", level=105, cluster=4096, paths=("/c",)),
        HotFiles(algorithm="lz4hc", level=12, cluster=131072, paths=("/d",)),
        HotFiles(algorithm="zstd", level=9, cluster=65536, paths=("/e",)),
        HotFiles(algorithm="zstd", level=9, cluster=131072, paths=("/f",)),
    )
    recipe = load(write(tmp_path, HOT + records))
    assert recipe.build.compression == Compression(algorithm="lzma", level=105, hot=hot)
    small = load(write(tmp_path, HOT + records), ["build.compression.cluster=65536"]).build.compression
    assert [each.cluster for each in small.hot] == [65536, 4096, 65536, 65536, 65536]


@pytest.mark.parametrize(
    ("record", "places"),
    [
        ("{cluster: 4096}", [(8, 9, "build.compression.hot[0].paths")]),
        ("{paths: [/x], level: 6}", [(8, 30, "build.compression.hot[0].level")]),
        ("{paths: [/x], algorithm: zstd, level: 8}", [(9, 54, "build.compression.hot[1].level")]),
        ("{paths: [/x], cluster: 524288}", [(8, 32, "build.compression.hot[0].cluster")]),
        ("{paths: [/x], clusters: 4096}", [(8, 23, "build.compression.hot[0].clusters")]),
    ],
)
def test_a_wrong_record_of_hot_files_is_told_at_its_place(
    tmp_path: Path, record: str, places: list[tuple[int, int, str]]
) -> None:
    other = "      - {paths: ['/longer'], algorithm: zstd, level: 9}\n"
    assert wrong(tmp_path, HOT + f"      - {record}\n" + other) == places


def test_a_second_level_for_one_algorithm_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(RecipeErrors) as caught:
        load(write(tmp_path, HOT + "      - {paths: [/x], level: 6}\n"))
    assert "lzma has level 105 in this image, which has one for each algorithm" in str(caught.value)
    assert caught.value.hint == "leave `level` out, or take another algorithm"


def test_hot_files_of_an_extended_recipe_give_way_to_what_another_says_for_the_rest(tmp_path: Path) -> None:
    below = (
        HEAD + "  compression: {algorithm: lzma, hot: [{paths: [/a], algorithm: lz4hc, level: 9, cluster: 65536}]}\n"
    )
    write(tmp_path, below.replace("lzma,", "lzma, level: 6,"), "below.yaml")
    text = "extends: ./below.yaml\nbuild: {compression: {algorithm: lz4hc, level: 12, cluster: 32768}}\n"
    (only,) = load(write(tmp_path, text)).build.compression.hot
    assert (only.algorithm, only.level, only.cluster) == ("lz4hc", 12, 32768)


def test_a_recipe_adds_hot_files_to_those_it_extends_or_replaces_them(tmp_path: Path) -> None:
    write(tmp_path, HOT + "      - {paths: [/a]}\n", "below.yaml")
    for tag, expected in (("", ["/a", "/b"]), ("!replace ", ["/b"])):
        text = f"extends: ./below.yaml\nbuild: {{compression: {{hot: {tag}[{{paths: [/b]}}]}}}}\n"
        hot = load(write(tmp_path, text)).build.compression.hot
        assert [path for each in hot for path in each.paths] == expected


def test_a_file_is_taken_up_to_a_bound_and_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(LARGEST + 1)
    for name, said in (("pipe", "Not a regular file"), ("large", "Larger than 512 MiB")):
        with pytest.raises(OSError, match=said):
            read_file(tmp_path / name)


def test_a_rule_for_modules_may_be_for_one_kernel(tmp_path: Path) -> None:
    rules = "  modules: [{pattern: a/**, reason: x, kernel: cloud}, {pattern: b/**, reason: y}]\n"
    recipe = load(write(tmp_path, HEAD + rules))
    assert [(rule.pattern, rule.kernel) for rule in recipe.build.modules] == [("a/**", "cloud"), ("b/**", "")]


def test_the_root_of_trust_in_updates_is_a_file_or_its_text(tmp_path: Path) -> None:
    root = '{"signed": {"_type": "root"}}'
    (tmp_path / "root.json").write_text(root)
    for written in ("root.json", f"'{root}'"):
        assert load(write(tmp_path, HEAD + f"  update_root: {written}\n")).build.update_root == root


def test_an_error_in_the_machine_half_has_its_place_in_the_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "machine:\n  containers:\n    web: {imagine: demo}\n")
    with pytest.raises(RecipeErrors) as caught:
        compile_machine(load(path))
    first = caught.value.diagnostics[0]
    assert (first.place.file, first.place.line, first.path) == (str(path), 6, "containers.web.image")
    assert "did you mean `image`?" in {each.hint for each in caught.value.diagnostics}


def test_extends_concatenates_lists_and_replaces_where_it_is_said(tmp_path: Path) -> None:
    write(
        tmp_path, HEAD + "  packages: [a1, b1]\n  files: {/x: one, /y: two}\nmachine: {modules: [m]}\n", "parent.yaml"
    )
    child = (
        "extends: ./parent.yaml\nbuild:\n  packages: [c1]\n  files: {/x: null, /z: three}\nmachine: {modules: [n]}\n"
    )
    recipe = load(write(tmp_path, child))
    assert [each.name for each in recipe.build.packages] == ["a1", "b1", "c1"]
    assert [each.path for each in recipe.build.files] == ["/y", "/z"]
    assert recipe.machine == {"modules": ["n"]}
    recipe = load(write(tmp_path, child.replace("[c1]", "!replace [c1]")))
    assert [each.name for each in recipe.build.packages] == ["c1"]


def test_what_is_wrong_in_a_merged_list_is_told_where_it_was_written(tmp_path: Path) -> None:
    """Number, file and line are those of the list that people see, not of the one that is built."""
    parent = write(tmp_path, HEAD + "  packages: [a1, b1, Bad_One]\n  exclude:\n  - {pattern: /x}\n", "parent.yaml")
    child = write(tmp_path, "extends: ./parent.yaml\nbuild:\n  packages:\n  - c1\n  - Bad_Two\n")
    with pytest.raises(RecipeErrors) as caught:
        load(child, ["build.packages=[d1, Bad_Three]"])
    found = {(str(place(each)), each.path) for each in caught.value.diagnostics}
    assert ("--set build.packages", "build.packages[1]") in found
    with pytest.raises(RecipeErrors) as caught:
        load(child)
    lines = HEAD.count("\n")
    assert {(str(place(each)), each.path) for each in caught.value.diagnostics} == {
        (f"{parent}:{lines + 1}:22", "build.packages[2]"),
        (f"{parent}:{lines + 3}:5", "build.exclude[0].reason"),
        (f"{child}:5:5", "build.packages[1]"),
    }


@pytest.mark.parametrize(("name", "near"), [("podmna", "podman"), ("Docker", "docker"), ("./minmal.yaml", "minimal")])
def test_a_misspelt_recipe_is_answered_with_the_one_that_was_meant(name: str, near: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(name)
    assert str(caught.value.hint).startswith(f"{near} (there are: ")


@pytest.mark.parametrize("pattern", ["*", "?*", "*a", "[a-z]*", "[0-9a-z][a-z]*", "**"])
def test_an_excuse_for_every_package_is_refused(tmp_path: Path, pattern: str) -> None:
    head = ["suite: trixie", "architecture: amd64"]
    line = "scripts: [{package: '%s', reason: x}]"
    ((path, message),) = told(tmp_path, recipe_of([*head, line % pattern], []))
    assert path.endswith("package")
    assert "two letters" in message
    for taken in ("linux-image-*", "*-dev", "lib*[0-9]", "nginx"):
        load(write(tmp_path, recipe_of([*head, line % taken], [])))


WRONG_LINES = {  # one error each, of every kind that there is: of form, of value, of a file, of the machine half
    "build": [
        "suite: 'no suite'", "kernal: cloud", "packages: [ok-a, Bad_Name]", "root_mib: many", "budget: much",
        "exclude: [{pattern: usr/x, reason: x}]", "modules: [{reason: x}]", "waive: [{package: a, reason: x}]",
        "scripts: [{package: a}]", "compression: {cluster: 5000}", "files: {/a: {source: absent}, relative: x}",
        "images: {x: {oci: gone, digest: 'sha256:" + "0" * 64 + "'}, y: {packages: [b]}}", "update_root: absent.json",
    ],
    "machine": ["hostname: [a]", "containers: {web: {imagine: demo}}", "update: {policy: never}"],
}  # fmt: skip


def recipe_of(build: list[str], machine: list[str], extends: str = "") -> str:
    text = extends + "build:\n" + "".join(f"  {line}\n" for line in build)
    return text + ("machine:\n" + "".join(f"  {line}\n" for line in machine) if machine else "")


def told(folder: Path, text: str) -> set[tuple[str, str]]:
    with pytest.raises(RecipeErrors) as caught:
        compile_machine(load(write(folder, text)))
    return {(each.path, each.message) for each in caught.value.diagnostics if each.severity is Severity.ERROR}


def test_whatever_is_wrong_alone_is_told_beside_all_else(tmp_path: Path) -> None:
    head = ["suite: trixie", "architecture: amd64"]
    alone = [told(tmp_path, recipe_of([*head[line.startswith("suite") :], line], [])) for line in WRONG_LINES["build"]]
    alone += [told(tmp_path, recipe_of(head, [line])) for line in WRONG_LINES["machine"]]
    assert all(alone)
    together = told(tmp_path, recipe_of([head[1], *WRONG_LINES["build"]], WRONG_LINES["machine"]))
    assert together == set().union(*alone)


def test_a_missing_parent_hides_nothing_of_the_files_own_errors(tmp_path: Path) -> None:
    found = told(tmp_path, recipe_of(["kernal: x"], ["hostname: [a]"], "extends: absent\n"))
    assert {path for path, _ in found} == {"extends", "build.kernal", "hostname"}


@given(st.integers(0, 10_000))
def test_a_recipe_with_anything_anywhere_is_refused_or_taken(seed: int) -> None:
    whole = {
        "build": {
            "suite": "trixie", "architecture": "amd64", "packages": ["ok-a"], "root_mib": 64, "cmdline": ["a"],
            "exclude": [{"pattern": "/x", "reason": "x", "keep": ["/x/y"]}],
            "modules": [{"pattern": "a/**", "reason": "x", "kernel": "cloud"}],
            "compression": {"algorithm": "zstd", "level": 3, "cluster": 4096, "hot": {"level": 2, "paths": ["/h"]}},
            "module_signatures": "keep",
            "scripts": [{"package": "a1", "reason": "x"}],
            "waive": [{"package": "a1", "depends": ["b1"], "reason": "x"}],
            "files": {"/a": "text", "/b": {"content": "x", "mode": "0644", "uid": 0}},
            "images": {
                "x": {"packages": ["b1"], "files": {"/c": "x"}, "entrypoint": ["/c"], "environment": {"A": "b"}}
            },
        },
        "machine": {"hostname": "a", "containers": {"web": {"image": "x", "ports": ["80:80"]}}},
    }  # fmt: skip
    chance = random.Random(seed)
    document, _ = spoilt(whole, chance)
    if seed % 2:
        document, _ = spoilt(document, chance)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(RecipeErrors):
        compile_machine(load(write(Path(folder), yaml.safe_dump(document))))


def test_a_circle_of_recipes_is_told(tmp_path: Path) -> None:
    write(tmp_path, "extends: ./b.yaml\n", "a.yaml")
    write(tmp_path, "extends: ./a.yaml\n", "b.yaml")
    with pytest.raises(RecipeError, match="circle"):
        load(tmp_path / "a.yaml")


def test_a_missing_parent_is_told_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe of the name absent") as caught:
        load(write(tmp_path, "build: {}\nextends: absent\n"))
    assert caught.value.place is not None
    assert caught.value.place.line == 2


def test_set_is_typed_by_the_schema() -> None:
    sets = ["build.root_mib=2048", "build.version=3.10", "build.cmdline=[quiet, a=b]", "machine.containers.web=null"]
    recipe = load("minimal", sets)
    assert recipe.build.root_mib == 2048
    assert recipe.build.version == "3.10"
    assert recipe.build.cmdline == ("quiet", "a=b")
    assert compile_machine(recipe).machine.containers == ()


@pytest.mark.parametrize(
    "text", ["build.kernel", "=x", "kernel=cloud", "build.=x", "build..kernel=x", "machine", "a b=c"]
)
def test_a_set_that_is_none_is_a_wrong_command_line(text: str) -> None:
    with pytest.raises(UsageError):
        load("minimal", [text])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("kernel=cloud", "--set build.kernel=VALUE"),
        ("hostname=box1", "--set machine.hostname=VALUE"),
        ("containers.web.image=demo", "--set machine.containers.web.image=VALUE"),
        ("colour=red", "--set build.kernel=cloud"),
        ("build.kernel.=cloud", "build.kernel=cloud"),
    ],
)
def test_a_set_without_its_half_is_told_the_half_that_has_it(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        load("minimal", [text])
    assert meant in (caught.value.hint or "")


@pytest.mark.parametrize("value", ["[a", "{a: 1", '"a', "[a]]"])
def test_a_list_that_does_not_close_is_no_text(value: str) -> None:
    with pytest.raises(UsageError, match="YAML") as caught:
        load("minimal", [f"build.packages={value}"])
    assert value in caught.value.message
    assert "[a, b]" in (caught.value.hint or "")


def test_a_set_of_a_wrong_type_is_told_by_its_word() -> None:
    with pytest.raises(RecipeErrors) as caught:
        load("minimal", ["build.root_mib=huge"])
    assert str(caught.value.place) == "--set build.root_mib"


def test_a_name_that_is_no_recipe_lists_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load("podmam", recipes=tmp_path)
    assert "podman" in (caught.value.hint or "")
    with pytest.raises(RecipeError):
        load(tmp_path / "absent.yaml")


def test_paths_start_at_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hi")
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "index.json").write_text("{}")
    text = HEAD + "  files: {/etc/motd: {source: motd}}\n  images: {x: {oci: img, digest: 'sha256:" + "0" * 64 + "'}}\n"
    recipe = load(write(tmp_path, text))
    assert recipe.build.files[0].source == tmp_path / "motd"
    assert recipe.build.images[0].oci == tmp_path / "img"


PART = st.text(alphabet="ab/*?.", max_size=5)


@given(PART, st.lists(PART, min_size=1, max_size=4), PART)
def test_braces_are_the_choices_between_what_stands_around_them(head: str, choices: list[str], tail: str) -> None:
    pattern = head + "{" + ",".join(choices) + "}" + tail
    assert expand(pattern) == tuple(head + choice + tail for choice in choices)


def test_braces_nest_and_multiply() -> None:
    assert expand("{a,b{c,d}}{1,2}") == ("a1", "a2", "bc1", "bc2", "bd1", "bd2")
    for bad in ("{a", "a}", "{" + ",".join("abcdefghij") * 1 + "}" * 1 + "{a,b,c,d,e,f,g,h,i,j}" * 3):
        with pytest.raises(ValueError, match=r"`|patterns"):
            expand(bad)
