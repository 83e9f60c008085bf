"""`berth run` before anything is fetched: which image, whose config, and what is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pycdlib
import pytest
from fakes import heads

from builder.artifact.manifest import Manifest
from builder.cli.inspect import nearest_folder
from builder.cli.main import main
from builder.cli.run import OwnConfig, configured, find_image, own_config
from builder.emulate.image import detect
from builder.emulate.options import Forward, Options
from builder.emulate.ports import of_machine
from builder.emulate.run import run as run_guest
from builder.errors import InputError
from builder.progress import SilentProgress
from builder.rootfs.entry import Entry, Kind
from init.formats.release import Release

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = """#berth
containers:
  web: {image: "web:1", ports: ["8080:80"]}
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    release = Release(name="demo", version="1", machine_class="demo", engine="crun", kernel="6.12", epoch=0)
    entries = tuple(Entry(path=path, kind=Kind.DIRECTORY, mode=0o755, origin="x") for path in ("usr", "usr/lib"))
    manifest = Manifest(
        recipe="demo", lock_sha256="", release=release, root_hash="", hash_offset=0, cmdline="", parts=(),
        packages=(), savings=(), entries=entries, machine=OWN,
    )  # fmt: skip
    path = tmp_path / "demo.bundle"
    with tarfile.open(path, "w:", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {"manifest.json": manifest.to_json(), "boot.img": b"", "root.img": b""}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_the_image_tells_its_own_config_and_ports(bundle: Path) -> None:
    own = own_config(detect(bundle))
    assert own == OwnConfig(machine=OWN.encode())
    config, machine = configured(None, own)
    assert config is None
    assert machine is not None
    assert of_machine(machine) == (Forward(host=8080, guest=8080),)


def test_a_config_is_laid_over_the_image_s_own(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "box.yaml"
    path.write_text('#cloud-config\nusers: [{name: u, sudo: ALL}]\nberth: {containers: {web: {ports: ["9090:80"]}}}\n')
    config, machine = configured(path, own_config(detect(bundle)))
    assert config == path.read_bytes()
    assert machine is not None
    assert of_machine(machine) == (Forward(host=9090, guest=9090),)
    assert "warning" in capsys.readouterr().err  # the warning is shown


BAKED = b'#cloud-config\nberth: {containers: {web: {ports: ["7070:80"]}, more: {image: "m:1", ports: ["53:53/udp"]}}}\n'


@pytest.fixture
def iso(bundle: Path, tmp_path: Path) -> Path:
    """As much of an ISO as is looked at before it boots: a volume with the manifest and a baked config."""
    with tarfile.open(bundle) as archive:
        manifest = archive.extractfile("manifest.json").read()
    volume = pycdlib.PyCdlib()
    volume.new(interchange_level=3, rock_ridge="1.09")
    volume.add_directory("/BERTH", rr_name="berth")
    for name, data in {"manifest.json": manifest, "boot.img": b"x", "root.img": b"x", "user-data": BAKED}.items():
        path = f"/BERTH/{name.upper().replace('-', '_')}"
        volume.add_fp(io.BytesIO(data), len(data), path if "." in path else f"{path}.", rr_name=name)
    volume.write(str(tmp_path / "demo.iso"))
    volume.close()
    return tmp_path / "demo.iso"


def test_the_ports_are_those_of_the_config_that_will_be_in_force(iso: Path, tmp_path: Path) -> None:
    """Baked user-data is laid over the recipe's half; a config of the user takes its place, as on the machine."""
    own = own_config(detect(iso))
    assert own == OwnConfig(machine=OWN.encode(), baked=BAKED)
    _, machine = configured(None, own)
    assert machine is not None
    assert of_machine(machine) == (Forward(host=53, guest=53, protocol="udp"), Forward(host=7070, guest=7070))
    path = tmp_path / "box.yaml"
    path.write_text("#cloud-config\nhostname: box\n")
    _, machine = configured(path, own)
    assert machine is not None
    assert of_machine(machine) == (Forward(host=8080, guest=8080),)
    # Started without its medium, the machine does not see what is baked into it.
    _, machine = configured(None, own_config(detect(iso), direct=True))
    assert machine is not None
    assert of_machine(machine) == (Forward(host=8080, guest=8080),)


def test_a_config_with_errors_is_refused(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "box.yaml"
    path.write_text("#cloud-config\nberth:\n  containers: {web: {ports: [nonsense]}}\n")
    assert main(["run", str(bundle), "--direct", "--config", str(path), "--offline", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert f"{path}:3:" in said
    assert "would refuse" in said
    assert "berth check" in said


def test_an_image_that_does_not_tell_refuses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "box.yaml"
    path.write_text('#cloud-config\nberth: {containers: {web: {ports: ["1:1"]}}}\n')
    assert configured(path, OwnConfig())[1] is None
    assert "does not tell its own config" in capsys.readouterr().err
    iso = tmp_path / "foreign.iso"
    iso.write_bytes(heads.iso())
    assert own_config(detect(iso)) == OwnConfig()


@pytest.mark.parametrize("name", ["podmn.iso", "./podman", "x/y"])
def test_a_path_is_not_taken_for_a_recipe(name: str, tmp_path: Path) -> None:
    assert find_image(name, tmp_path) == Path(name)


def test_a_recipe_that_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not built yet") as caught:
        find_image("podman", tmp_path)
    assert caught.value.hint == "berth build podman"


def test_an_image_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.iso"
    path.write_text("not an image\n" * 5000)
    assert main(["run", str(path), "--quiet"]) == 2
    assert f"{path}: this is no image" in capsys.readouterr().err


def test_files_that_are_not_there_are_said(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle), "--files", "/usr/lib"]) == 0
    assert capsys.readouterr().out.endswith("/usr/lib\n")
    assert main(["inspect", str(bundle), "--files", "/usr/lib", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "bundle"
    assert [entry["path"] for entry in found["entries"]] == ["usr/lib"]
    assert main(["inspect", str(bundle), "--json"]) == 0
    assert "entries" not in json.loads(capsys.readouterr().out)
    assert main(["inspect", str(bundle), "--files", "/usr/lib/none/x"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "holds no /usr/lib/none/x" in said.err
    assert "--files 'usr/lib'" in said.err


def test_the_nearest_folder() -> None:
    assert nearest_folder("usr/x/y", {"usr"}) == "usr"
    assert nearest_folder("nope/x", {"usr"}) == ""


class NoTools:
    """A tools tree of names alone: nothing of it may be started."""

    def argv(self, tool: str, *arguments: str) -> list[str]:
        return ["/nonexistent/" + tool, *arguments]

    def environment(self) -> dict[str, str]:
        return {}

    def path(self, relative: str) -> Path:
        return Path("/nonexistent") / relative

    def run(self, tool: str, *arguments: str) -> bytes:
        raise AssertionError(f"{tool} was run")


@pytest.mark.parametrize("name", ["box.qcow2", "box.raw"])
def test_a_command_that_is_only_printed_makes_no_disk(tmp_path: Path, name: str) -> None:
    image = tmp_path / "small.raw"
    image.write_bytes(heads.raw())
    options = Options(image=image, disk=tmp_path / name, print_command=True)
    notes: list[str] = []
    progress = SilentProgress()
    progress.note = notes.append  # type: ignore[method-assign]
    out = io.StringIO()
    assert run_guest(options, tools=NoTools(), progress=progress, out=out) == 0  # type: ignore[arg-type]
    assert str(tmp_path / name) in out.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ["small.raw"]
    assert len(notes) == 1
    assert "is not there yet" in notes[0]


def test_a_disk_that_cannot_be_made_is_said_before_anything_is_fetched(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    disk = tmp_path / "file" / "box.raw"
    assert main(["run", str(bundle), "--direct", "--disk", str(disk), "--offline", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert f"the folder of {disk} does not exist" in err
    assert "try: make it, or choose another place with --disk" in err


def test_sigterm_ends_it_orderly(tmp_path: Path) -> None:
    fifo = tmp_path / "config"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [sys.executable, "-m", "builder", "check", str(fifo)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        with fifo.open("w"):  # returns once the program reads: it is in the middle of its work
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 143
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize("missing", [None, 0, 1, 2])
def test_without_a_whole_terminal_a_run_has_an_end(missing: int | None) -> None:
    """The console is typed into, seen and explained: none is attached where one of the streams leads elsewhere."""
    program = (
        "import argparse, os\nfrom builder.cli.run import awaited, configure\nparser = argparse.ArgumentParser()\n"
        "configure(parser)\nparser.add_argument('--json', action='store_true')\n"
        "for words in (['x'], ['x', '--unattended', 'e'], ['x', '--unattended', 'e', '--json'],\n"
        "              ['x', '--until', 'u', '--unattended', 'e']):\n"
        "    os.write(3, f'{awaited(parser.parse_args(words))}\\n'.encode())\n"
    )
    reader, writer = os.pipe()
    master, slave = os.openpty()

    def place() -> None:
        os.dup2(writer, 3)

    streams = [subprocess.DEVNULL if number == missing else slave for number in (0, 1, 2)]
    try:
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdin=streams[0], stdout=streams[1], stderr=streams[2],
            preexec_fn=place, pass_fds=(3,), check=True,
        )  # fmt: skip
        said = os.read(reader, 4096).decode().split()
    finally:
        for descriptor in (reader, writer, master, slave):
            os.close(descriptor)
    assert said == ["None", "None" if missing is None else "e", "e", "u"]


def test_make_run_leaves_the_rule_to_berth() -> None:
    done = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "run  --unattended container.healthy 'podman'" in done.stdout
    assert "-t 1" not in done.stdout
