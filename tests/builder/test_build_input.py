"""What people give to `berth`, and is wrong: told in one go with its place, status 2 or 1, and nothing is written."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysequoia
import pytest
from fakes.clone import ROOT, Clone, Nursery, nursery, open_folder
from fakes.mirror import FakeDeb, FakeMirror, make_key, running_mirror, sign

from builder.cli.main import main

__all__ = ["nursery"]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command said."""

    status: int
    out: str
    err: str


@pytest.fixture
def berth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run `berth` in an empty folder; whatever happens, nothing new is there afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BERTH_MIRROR", "http://127.0.0.1:9/debian")  # asking it is an error of another status

    def run(*words: str) -> Done:
        before = set(tmp_path.rglob("*"))
        try:
            status = main([*words, "--quiet"])
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert "mistake in Berth" not in out + err
        new = set(tmp_path.rglob("*")) - before
        assert [path for path in new if not path.is_dir()] == []
        assert {path.relative_to(tmp_path).parts[0] for path in new} <= {"cache"}  # empty folders of the store
        return Done(status=status, out=out, err=err)

    return run


RECIPES = [
    ("build: {kernel: [cloud]}\n", "1:17", "kernel"),
    ("build:\n  kernel: clowd\n", "2:11", "cloud"),
    ("build:\n  packags: [crun]\n", "2:3", "packages"),
    ("build:\n  root_mib: many\n", "2:13", "number"),
    ("buidl: {}\n", "1:1", "build"),
    ("build:\n  packages: [Crun!]\n", "2:14", "package name"),
    ("build:\n  compression: {algorithm: zip}\n", "2:28", "zstd"),
    ("build:\n  files: {etc/x: hello}\n", "2:11", "absolute path"),
    ("build:\n  exclude: [{pattern: '/[z-a]', reason: x}]\n", "2:23", "bad character range z-a"),
    ("build:\n  exclude: [{pattern: /x/**, reason: x, keep: ['/x/{a,[z-a]}']}]\n", "2:48", "bad character range z-a"),
    ("build:\n  modules: [{pattern: '[z-a]/**', reason: x}]\n", "2:23", "bad character range z-a"),
    ("build:\n  files: {/etc/x: {source: nosuch}}\n", "2:28", "No such file or directory"),
    ("build:\n  files: {/etc/x: {source: /etc}}\n", "2:28", "Is a directory"),
    ("build:\n  files: {/etc/x: {source: /dev/zero}}\n", "2:28", "Not a regular file"),
    (
        "build:\n  images: {a: {files: {/x: {source: nosuch}}, entrypoint: [/x]}}\n",
        "2:37",
        "recipe's folder",
    ),
    ("build:\n  images: {a: {oci: nosuch, digest: 'sha256:" + "0" * 64 + "'}}\n", "2:21", "No such file or directory"),
    ("build:\n  images: {a: {oci: /dev/zero, digest: 'sha256:" + "0" * 64 + "'}}\n", "2:21", "regular file"),
    ("build:\n  images: {a: {oci: /, digest: 'sha256:" + "0" * 64 + "'}}\n", "2:21", "/index.json"),
    ("build:\n  update_root: nosuch\n", "2:16", "No such file or directory"),
    ("build:\n  update_root: /etc\n", "2:16", "Is a directory"),
    ("build:\n  update_root: /dev/zero\n", "2:16", "Not a regular file"),
    ("build:\n  compression: {algorithm: lz4hc, level: 22}\n", "2:42", "0 to 12"),
    ("build:\n  compression: {algorithm: lzma, level: 12}\n", "2:41", "0 to 9 and 100 to 109"),
    ("machine:\n  containers: {web: {imagee: demo}}\n", "2:22", "image"),
    ("machine:\n  hostname: [a]\n", "2:13", "hostname"),
    ("build:\n\tkernel: cloud\n", "2:1", ""),
    ("build: {kernel: cloud\n", "", ""),
    ("- a\n- b\n", "1:1", ""),
    ("extends: nosuch\nbuild: {}\n", "1:10", "nosuch"),
    ("extends: mine.yaml\nbuild: {}\n", "1:10", "circle"),
]


@pytest.mark.parametrize(("text", "place", "word"), RECIPES)
def test_a_wrong_recipe_is_told_with_its_place(
    berth: Callable[..., Done], tmp_path: Path, text: str, place: str, word: str
):
    if "extends" not in text and not text.startswith(("-", "build: {kernel: cloud\n")):
        text += "extends: base\n"
    (tmp_path / "mine.yaml").write_text(text)
    for verb in ("build", "fetch", "lock"):
        done = berth(verb, "./mine.yaml")
        assert done.status == 2, done.err
        assert f"mine.yaml:{place}" in done.err
        assert word in done.err
        assert done.out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "minimall"], "minimal"),
        (["build", "./nosuch.yaml"], "nosuch.yaml"),
        (["build", "minimal", "--set", "build.kernle=cloud"], "kernel"),
        (["build", "minimal", "--set", "kernel=cloud"], "build."),
        (["build", "minimal", "--set", "build.kernel"], "KEY=VALUE"),
        (["build", "minimal", "--config", "nosuch.yaml"], "nosuch.yaml"),
        (["build", "minimal", "--mirror", "ftp://example.org/debian"], "BERTH_MIRROR"),
        (["run", "minimall"], "minimal"),
        (["run", "./nosuch.iso"], "nosuch.iso"),
        (["run", "minimal", "--cpus", "0"], "0"),
        (["inspect", "./nosuch.iso"], "nosuch.iso"),
        (["diff", "./nosuch.iso", "./neither.iso"], "nosuch.iso"),
    ],
)
def test_a_wrong_command_line(berth: Callable[..., Done], words: list[str], said: str):
    done = berth(*words)
    assert done.status == 2, done.err
    assert said in done.err


@pytest.mark.parametrize(
    ("words", "option"), [(["build", "minimal", "--out"], "--out"), (["fetch", "minimal", "--to"], "--to")]
)
def test_where_results_go_is_tried_before_anything_is_fetched(
    berth: Callable[..., Done], tmp_path: Path, words: list[str], option: str
):
    (tmp_path / "file").touch()
    for where in ("file", "file/below/it"):
        done = berth(*words, where)
        assert done.status == 1
        assert f"nothing can be written to {tmp_path / where}: {tmp_path / 'file'} is no folder" in done.err
        assert f"try: choose another folder with {option}" in done.err


def test_a_working_folder_that_takes_no_build_is_said_with_the_cure(berth: Callable[..., Done], tmp_path: Path):
    (tmp_path / "build").touch()
    for words in (["build", "minimal", "--out", "out"], ["tools"], ["fetch", "minimal"]):
        done = berth(*words)
        assert done.status == 1
        assert "try: go to a folder of yours" in done.err


def test_a_folder_that_is_not_ones_own_is_said_to_be_so(tmp_path: Path):
    """As a user, for whom `/` is somebody else's; tests may run as root."""
    program = (
        "import os; from pathlib import Path; from builder.errors import BerthError\n"
        "from builder.writable import require_writable\n"
        "os.getuid() or os.setuid(65534)\n"
        "try: require_writable(Path('/nobody/made/this'), hint='x')\n"
        "except BerthError as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "nothing can be written to /nobody/made/this: / is not yours to write to\n"


def garbage(folder: Path) -> Iterator[Path]:
    """Make files that are no images, some of which begin like one."""
    seeded = random.Random(8)
    sector = bytes(512)
    contents = {
        "empty.iso": b"",
        "short.iso": b"x",
        "text.raw": b"I am no disk.\n" * 1000,
        "noise.qcow2": seeded.randbytes(200_000),
        "head only.iso": bytes(0x8000) + b"\x01CD001\x01",
        "noise after head.iso": bytes(0x8000) + b"\x01CD001\x01" + seeded.randbytes(100_000),
        "zeros.raw": bytes(1 << 20),
        "gpt head.raw": sector + b"EFI PART" + bytes(1 << 20),
        "gpt noise.raw": sector + b"EFI PART" + seeded.randbytes(1 << 20),
        "qcow head.qcow2": b"QFI\xfb\x00\x00\x00\x03",
        "qcow noise.qcow2": b"QFI\xfb\x00\x00\x00\x03" + seeded.randbytes(100_000),
        "compressed.raw.gz": gzip.compress(b"x" * 10_000),
        "list.manifest.json": b"[]",
        "other.manifest.json": json.dumps({"format": "somebody.else/7"}).encode(),
        "half.manifest.json": json.dumps({"format": "berth.manifest/1"}).encode()[:-1],
        "deep.manifest.json": b'{"a":' * 100_000,
        "bill.spdx.json": b'{"spdxVersion": "SPDX-2.3"}',
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    with tarfile.open(folder / "other.bundle", "w") as archive:
        archive.add(folder / "text.raw", "boot.img")
    with tarfile.open(folder / "wrong.bundle", "w") as archive:
        for name in ("manifest.json", "boot.img", "root.img"):
            archive.add(folder / "noise.qcow2", name)
    (folder / "a folder").mkdir()
    os.mkfifo(folder / "pipe")
    yield from sorted(folder.iterdir())


def test_what_is_no_image_is_said_to_be_none(berth: Callable[..., Done], tmp_path: Path):
    for path in garbage(tmp_path):
        for words in (["inspect", str(path)], ["inspect", str(path), "--json"], ["diff", str(path), str(path)]):
            done = berth(*words)
            assert done.status == 2, (words, done)
            assert path.name in done.out + done.err, (words, done)


def test_what_is_no_image_is_not_booted(berth: Callable[..., Done], tmp_path: Path):
    """Before anything is fetched, whatever its first bytes are."""
    for path in garbage(tmp_path):
        for words in ([], ["--print"]):
            done = berth("run", str(path), *words)
            assert done.status == 2, (path, words, done)
            assert path.name in done.err
            assert "try: " in done.err


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> pysequoia.Tsk:
    return make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def town(nursery: Nursery, key: pysequoia.Tsk) -> Iterator[tuple[Clone, FakeMirror]]:
    """A clone that believes the test's own archive."""
    with open_folder() as folder, running_mirror() as mirror:
        clone = nursery.clone(folder)
        (clone.root / "builder" / "keys" / "test.asc").write_bytes(bytes(key.extract_certificate()))
        mirror.publish(
            key,
            [
                FakeDeb("shop", depends="till (>= 2), baker"),
                FakeDeb("till", version="1.0-1"),
                FakeDeb("baker"),
                FakeDeb("inn", depends="cook"),
                FakeDeb("cook", conflicts="baker"),
                FakeDeb("linux-image-amd64"),
                FakeDeb("linux-image-cloud-amd64"),
            ],
        )
        yield clone, mirror


def lock(town: tuple[Clone, FakeMirror], packages: str) -> subprocess.CompletedProcess[str]:
    clone, mirror = town
    recipe = clone.root / "mine.yaml"
    recipe.write_text(f"build:\n  suite: trixie\n  architecture: amd64\n  packages: {packages}\n")
    before = sorted(clone.root.rglob("*"))
    done = clone.berth("lock", "./mine.yaml", "--mirror", mirror.base)
    assert sorted(clone.root.rglob("*")) == before
    return done


@pytest.mark.packages
@pytest.mark.parametrize(
    ("packages", "words"),
    [
        ("[baker, bakery]", ("bakery", "mine.yaml:4")),
        ("[shop]", ("shop", "till", "2", "1.0-1", "mine.yaml:4")),
        ("[baker, inn]", ("inn", "cook", "baker", "Conflicts", "mine.yaml:4")),
    ],
)
def test_what_cannot_be_locked_is_explained_by_names(
    town: tuple[Clone, FakeMirror], packages: str, words: tuple[str, ...]
):
    done = lock(town, packages)
    assert done.returncode in (1, 2), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def unsigned(text: str, key: pysequoia.Tsk, folder: Path) -> bytes:
    return text.encode()


def by_another_key(text: str, key: pysequoia.Tsk, folder: Path) -> bytes:
    return sign(make_key(folder, "another"), text)


def expired(text: str, key: pysequoia.Tsk, folder: Path) -> bytes:
    return sign(key, text.replace("SHA256:", "Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:"))


def altered(text: str, key: pysequoia.Tsk, folder: Path) -> bytes:
    return sign(key, text).replace(b"Origin: Debian", b"Origin: Debiam")


def of_another_suite(text: str, key: pysequoia.Tsk, folder: Path) -> bytes:
    return sign(key, text.replace("Codename: trixie", "Codename: sid"))


@pytest.mark.packages
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (unsigned, "not signed"),
        (by_another_key, "builder/keys"),
        (expired, "expired"),
        (altered, "not good"),
        (of_another_suite, "Release file of sid"),
    ],
)
def test_a_release_file_that_is_not_to_be_believed_gives_no_lock(
    town: tuple[Clone, FakeMirror], key: pysequoia.Tsk, tmp_path: Path, make: Callable[..., bytes], words: str
):
    """`berth lock` itself, from a server: `lock` sees that nothing is written."""
    _, mirror = town
    place = "/debian/dists/trixie/InRelease"
    signed = mirror.files[place]
    text = signed.decode().partition("\n\n")[2].partition("-----BEGIN PGP SIGNATURE")[0]
    assert text.startswith("Origin: Debian\n")
    mirror.files[place] = make(text, key, tmp_path)
    try:
        done = lock(town, "[baker]")
    finally:
        mirror.files[place] = signed
    assert done.returncode == 1, done.stderr
    assert words in done.stderr
    assert "trixie" in done.stderr
    assert "try: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.packages
def test_a_lock_that_is_added_to_keeps_its_versions_and_says_where_they_stand_in_the_way(nursery: Nursery):
    with open_folder() as folder, running_mirror() as mirror:
        clone = nursery.clone(folder)
        key = make_key(clone.root / "builder" / "keys")
        kernels = [FakeDeb("linux-image-amd64"), FakeDeb("linux-image-cloud-amd64")]

        def asked(packages: str, *more: str) -> subprocess.CompletedProcess[str]:
            text = f"build:\n  suite: trixie\n  architecture: amd64\n  packages: {packages}\n"
            (clone.root / "mine.yaml").write_text(text)
            return clone.berth("lock", "./mine.yaml", "--json", "--mirror", mirror.base, *more)

        def locked(packages: str, *more: str) -> dict[str, Any]:
            done = asked(packages, *more)
            assert done.returncode == 0, done.stderr
            fact: dict[str, Any] = json.loads(done.stdout)
            assert (fact["format"], fact["lock"]) == ("berth.locked/1", "mine.lock")
            return fact

        mirror.publish(key, [FakeDeb("baker"), *kernels], date=time.time() - 86400)
        assert locked("[baker]")["difference"] is None
        mirror.publish(
            key, [FakeDeb("baker", "2.0-1"), FakeDeb("cook"), FakeDeb("inn", depends="baker (>= 2)"), *kernels]
        )
        (change,) = locked("[baker, cook]")["difference"]["changes"]
        assert (change["name"], change["kind"]) == ("cook", "added")
        fact = json.loads(asked("[baker, inn]").stdout)
        assert "which holds baker at 1.0-1 (the mirror has 2.0-1)" in fact["message"]
        assert fact["hint"].endswith("berth lock ./mine.yaml --update")
        changes = locked("[baker, inn]", "--update")["difference"]["changes"]
        assert {each["name"]: each["kind"] for each in changes} == {
            "baker": "upgraded", "cook": "removed", "inn": "added",
        }  # fmt: skip


@pytest.mark.packages
def test_a_build_refuses_a_recipe_that_its_lock_does_not_answer(town: tuple[Clone, FakeMirror]):
    clone, _ = town
    for words in (["--set", "build.packages=[nosuch]"], ["--set", "build.suite=bookworm"]):
        done = clone.berth("build", "minimal", "--offline", *words)
        assert done.returncode == 1, done.stderr
        assert "berth lock recipes/minimal-own.yaml" in done.stderr
        assert not (clone.root / "build" / "out").exists()
