"""Images on the machine: archives, a registry on loopback, and layers made to hurt, really unpacked."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from init.containers import archive, fetch, registry
from init.containers.bundle import BundleError
from init.containers.image import ImageError, Images
from init.containers.inside import account, read_inside
from init.containers.order import Order
from init.containers.reference import parse
from init.containers.unpack import UnpackError, unpack
from init.formats.machine import Container, Registry

ROOT = Path(__file__).parents[2]
# the registry of these tests is a thread, and a layer is unpacked by a fork: Python 3.12 warns of any such pair
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(data), 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for info, data in members:
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def into(folder: Path, layer: bytes, raw: bytes | None = None, **changed: Any) -> None:
    """Unpack a layer into a new folder."""
    folder.mkdir()
    raw = layer if raw is None else raw
    arguments: dict[str, Any] = {"digest": f"sha256:{sha(raw)}", "size": len(raw), "diff_id": sha(layer), **changed}
    unpack(io.BytesIO(raw), str(folder), **arguments)


# --- one layer -------------------------------------------------------------------------------------------------


def test_a_layer_becomes_files(tmp_path: Path) -> None:
    layer = tar(
        member("d/", tarfile.DIRTYPE, mode=0o750, mtime=1000),
        member("d/f", data=b"hello", mode=0o4755, mtime=2000),
        member("d/h", tarfile.LNKTYPE, linkname="d/f"),
        member("l", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("p", tarfile.FIFOTYPE),
        member("new/deep/x", data=b"1"),
    )
    into(tmp_path / "x", layer, gzip.compress(layer))
    root = tmp_path / "x"
    assert (root / "d/f").read_bytes() == b"hello"
    assert (root / "d/f").stat().st_mode & 0o7777 == 0o4755
    assert (root / "d/f").stat().st_mtime == 2000
    assert (root / "d").stat().st_mtime == 1000
    assert (root / "d").stat().st_mode & 0o7777 == 0o750
    assert (root / "d/h").samefile(root / "d/f")
    assert (root / "l").readlink() == Path("/etc/passwd")
    assert (root / "p").is_fifo()
    assert (root / "new/deep/x").read_bytes() == b"1"


HOSTILE: dict[str, tuple[tuple[tarfile.TarInfo, bytes], ...]] = {
    "a name that climbs out": (member("../OUT", data=b"x"),),
    "one in the middle": (member("a/../../OUT", data=b"x"),),
    "a file below a link out": (member("l", tarfile.SYMTYPE, linkname="OUTSIDE"), member("l/OUT", data=b"x")),
    "a file through a link out": (member("l", tarfile.SYMTYPE, linkname="OUTSIDE/OUT"), member("l", data=b"x")),
    "a folder through a link out": (
        member("l", tarfile.SYMTYPE, linkname="OUTSIDE"),
        member("l", tarfile.DIRTYPE, mode=0o777),
        member("l/OUT", data=b"x"),
    ),
    "a hard link out": (member("h", tarfile.LNKTYPE, linkname="OUTSIDE/secret"), member("h", data=b"x")),
    "a hard link through a link": (
        member("l", tarfile.SYMTYPE, linkname="OUTSIDE"),
        member("h", tarfile.LNKTYPE, linkname="l/secret"),
    ),
    "a whiteout through a link": (member("l", tarfile.SYMTYPE, linkname="OUTSIDE"), member("l/.wh.secret")),
    "an opaque mark through a link": (member("l", tarfile.SYMTYPE, linkname="OUTSIDE"), member("l/.wh..wh..opq")),
    "a device": (member("d", tarfile.CHRTYPE, devmajor=1, devminor=1),),
    "a disk": (member("d", tarfile.BLKTYPE, devmajor=8),),
    "set-uid through a link": (
        member("l", tarfile.SYMTYPE, linkname="OUTSIDE/secret"),
        member("l", tarfile.LNKTYPE, linkname="l", mode=0o4777),
    ),
}


def state_of(folder: Path) -> dict[str, Any]:
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_nlink, status.st_mtime, status.st_uid, data)
    return found


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_outside_is_touched(tmp_path: Path, members: tuple[tuple[tarfile.TarInfo, bytes], ...]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"mine")
    changed = []
    for info, data in members:
        info = tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "strict")  # noqa: PLW2901 - a copy to change
        info.name = info.name.replace("OUTSIDE", str(outside))
        info.linkname = info.linkname.replace("OUTSIDE", str(outside))
        changed.append((info, data))
    before = state_of(outside), sorted(path.name for path in tmp_path.iterdir())
    with contextlib.suppress(UnpackError):  # refused is as good as confined
        into(tmp_path / "x", tar(*changed))
    after = state_of(outside), sorted(path.name for path in tmp_path.iterdir() if path.name != "x")
    assert after == before


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"digest": f"sha256:{'0' * 64}"}, "not those of"),
        ({"size": 7}, "larger than"),
        ({"size": 1 << 20}, "not the 1048576"),
        ({"diff_id": "0" * 64}, "not what the image's configuration names"),
    ],
)
def test_other_bytes_than_promised(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnpackError, match=reason):
        into(tmp_path / "x", tar(member("a", data=b"1")), **changed)


@pytest.mark.parametrize("cut", [1, 100, 700])
def test_a_cut_off_stream_is_said(tmp_path: Path, cut: int) -> None:
    layer = tar(member("a", data=os.urandom(5000)))
    raw = gzip.compress(layer)
    with pytest.raises(UnpackError):
        into(tmp_path / "x", layer, raw[:-cut])


def test_whiteouts_are_what_overlayfs_reads(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    into(folder, tar(member("d", tarfile.DIRTYPE), member("d/.wh.gone"), member("top"), member(".wh.top")))
    for path in ("d/gone", "top"):
        status = (folder / path).lstat()
        assert (status.st_mode & 0o170000, status.st_rdev) == (0o020000, 0)


# --- archives --------------------------------------------------------------------------------------------------


def blobs_of(layers: tuple[bytes, ...]) -> tuple[dict[str, bytes], str, bytes]:
    """Return all blobs of an OCI image by digest, the manifest's digest and the configuration."""
    config = json.dumps(
        {
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(layer)}" for layer in layers]},
        }
    ).encode()  # fmt: skip
    packed = [gzip.compress(layer) for layer in layers]
    blobs = {f"sha256:{sha(data)}": data for data in (config, *packed)}

    def descriptor(data: bytes) -> dict[str, Any]:
        return {"digest": f"sha256:{sha(data)}", "size": len(data)}

    manifest = json.dumps(
        {"schemaVersion": 2, "config": descriptor(config), "layers": [descriptor(each) for each in packed]}
    ).encode()
    blobs[f"sha256:{sha(manifest)}"] = manifest
    return blobs, f"sha256:{sha(manifest)}", config


def oci_archive(path: Path, *layers: bytes) -> None:
    blobs, digest, _ = blobs_of(layers)
    index = {"schemaVersion": 2, "manifests": [{"digest": digest, "size": len(blobs[digest])}]}
    entries = [member(f"blobs/sha256/{name.removeprefix('sha256:')}", data=data) for name, data in blobs.items()]
    path.write_bytes(
        tar(member("oci-layout", data=b"{}"), *entries, member("index.json", data=json.dumps(index).encode()))
    )


def docker_archive(path: Path, *layers: bytes) -> None:
    _, _, config = blobs_of(layers)
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": names}]
    entries = [member(name, data=layer) for name, layer in zip(names, layers, strict=True)]
    path.write_bytes(
        tar(member("c.json", data=config), *entries, member("manifest.json", data=json.dumps(manifest).encode()))
    )


LAYERS = (tar(member("a", data=b"1"), member("b", data=b"2")), tar(member("a", data=b"3")))


@pytest.mark.parametrize("write", [oci_archive, docker_archive])
def test_an_archive_is_unpacked_once(tmp_path: Path, write: Callable[..., None]) -> None:
    path = tmp_path / "image.tar"
    write(path, *LAYERS)
    images = Images(str(tmp_path / "images"))
    order = Order(container=Container(name="web", image=f"archive:{path}"), index=0, images=(f"archive:{path}",))
    fetch.fetch(order, "crun", images)
    found = images.find(f"archive:{path}")
    assert found is not None
    assert found.config["config"]["Cmd"] == ["/x"]
    assert [Path(found.folder, lower, "a").read_bytes() for lower in found.lowers] == [b"3", b"1"]
    inode = Path(found.folder, found.lowers[0]).stat().st_ino
    fetch.fetch(order, "crun", images)
    assert Path(found.folder, found.lowers[0]).stat().st_ino == inode
    path.unlink()
    fetch.fetch(order, "crun", images)  # what is here stays usable


def test_an_archive_that_changed_is_unpacked_anew_and_the_old_goes(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    images = Images(str(tmp_path / "images"))
    order = Order(container=Container(name="web", image=f"archive:{path}"), index=0, images=(f"archive:{path}",))
    oci_archive(path, *LAYERS)
    fetch.fetch(order, "crun", images)
    oci_archive(path, tar(member("only", data=b"new")))
    fetch.fetch(order, "crun", images)
    found = images.find(f"archive:{path}")
    assert found is not None
    assert len(found.lowers) == 1
    assert sorted(os.listdir(found.folder)) == sorted(found.lowers)


def test_an_archive_with_a_wrong_layer_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    images = Images(str(tmp_path / "images"))
    _, _, config = blobs_of(LAYERS)
    manifest = json.dumps([{"Config": "c", "Layers": ["l0", "l1"]}]).encode()
    path.write_bytes(
        tar(member("c", data=config), member("l0", data=LAYERS[0]), member("l1", data=LAYERS[0]),
            member("manifest.json", data=manifest))
    )  # fmt: skip
    order = Order(container=Container(name="web", image=f"archive:{path}"), index=0)
    with pytest.raises(ImageError, match="not what the image's configuration names"):
        fetch.fetch(order, "crun", images)
    assert images.find(f"archive:{path}") is None
    assert os.listdir(tmp_path / "images/partial") == []


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", tar(), tar(member("index.json", data=b"[]")), tar(member("index.json", data=b"{")),
     tar(member("manifest.json", data=b"[{}]")), tar(member("manifest.json", data=b"[]"))],
)  # fmt: skip
def test_what_is_no_archive_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(ImageError), archive.opened(str(path)):
        pass


# --- a registry ------------------------------------------------------------------------------------------------


class Shop(http.server.ThreadingHTTPServer):
    """A registry on loopback. `requests` are (path, Authorization) pairs; `mode` says how it misbehaves."""

    daemon_threads = True

    def __init__(self, blobs: dict[str, bytes], digest: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs = blobs
        self.digest = digest
        self.mode = "open"
        self.requests: list[tuple[str, str | None]] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Shop

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the same
        pass

    def answer(self, code: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        shop = self.server
        given = self.headers.get("Authorization")
        shop.requests.append((self.path, given))
        basic = "Basic " + base64.b64encode(b"u:p").decode()
        if self.path.startswith("/token?"):
            self.answer(200 if given == basic else 401, json.dumps({"token": "T"}).encode())
        elif shop.mode == "basic" and given != basic:
            self.answer(401, WWW_Authenticate='Basic realm="x"')
        elif shop.mode == "bearer" and given != "Bearer T" and not self.path.startswith("/cdn/"):
            self.answer(401, WWW_Authenticate=f'Bearer realm="http://{shop.host}/token",service="s"')
        elif shop.mode == "broken":
            self.answer(500)
        elif "/manifests/" in self.path:
            self.answer(200, shop.blobs[shop.digest])
        elif shop.mode == "bearer" and "/blobs/" in self.path and not self.path.startswith("/cdn/"):
            self.answer(307, Location=f"http://{shop.host}/cdn/{self.path.rpartition('/')[2]}")
        else:
            data = shop.blobs.get(self.path.rpartition("/")[2], b"")
            self.answer(200, data[:-1] + b"?" if shop.mode == "altered" else data)


@pytest.fixture
def shop() -> Iterator[Shop]:
    blobs, digest, _ = blobs_of(LAYERS)
    server = Shop(blobs, digest)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def order_from(shop: Shop, **fields: Any) -> Order:
    image = f"{shop.host}/team/web:1"
    known = Registry(host=shop.host, insecure=True, **fields)
    return Order(container=Container(name="web", image=image), index=0, images=(image,), registries=(known,))


@pytest.mark.parametrize("mode", ["open", "basic", "bearer"])
def test_an_image_is_pulled(tmp_path: Path, shop: Shop, mode: str) -> None:
    shop.mode = mode
    images = Images(str(tmp_path))
    order = order_from(shop, username="u", password="p")
    fetch.fetch(order, "crun", images)
    found = images.find(order.container.image)
    assert found is not None
    assert [Path(found.folder, lower, "a").read_bytes() for lower in found.lowers] == [b"3", b"1"]
    asked = len(shop.requests)
    fetch.fetch(order, "crun", images)
    assert len(shop.requests) == asked  # nothing is asked for an image that is here
    # a token is the registry's alone: where it leads to gets none
    assert [given for path, given in shop.requests if path.startswith("/cdn/") and given] == []


def test_a_registry_that_is_down_keeps_nobody_from_starting(tmp_path: Path, shop: Shop) -> None:
    images = Images(str(tmp_path))
    order = order_from(shop)
    order = replace(order, container=replace(order.container, pull="always"))
    fetch.fetch(order, "crun", images)
    shop.mode = "broken"
    fetch.fetch(order, "crun", images)
    assert images.find(order.container.image) is not None


@pytest.mark.parametrize(
    ("mode", "fields", "reason"),
    [
        ("basic", {}, "wants a user and a password"),
        ("basic", {"username": "u", "password": "wrong"}, "does not take a user and a password"),
        ("bearer", {"username": "u", "password": "wrong"}, "does not take a user and a password"),
        ("broken", {}, "HTTP status 500"),
        ("altered", {}, "other content"),
    ],
)
def test_what_goes_wrong_is_said(tmp_path: Path, shop: Shop, mode: str, fields: dict[str, str], reason: str) -> None:
    shop.mode = mode
    with pytest.raises(ImageError, match=reason):
        fetch.fetch(order_from(shop, **fields), "crun", Images(str(tmp_path)))


def test_without_being_told_nothing_is_asked_in_the_clear(shop: Shop) -> None:
    client = registry.Client(parse(f"{shop.host}/team/web:1"), ())
    with pytest.raises(ImageError, match="can't be asked"):
        client.find()
    assert shop.requests == []


def test_an_image_that_may_not_be_pulled(tmp_path: Path, shop: Shop) -> None:
    order = order_from(shop)
    order = replace(order, container=replace(order.container, pull="never"))
    with pytest.raises(ImageError, match="pull: never"):
        fetch.fetch(order, "crun", Images(str(tmp_path)))
    assert shop.requests == []


# --- accounts inside -------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nbad line\nweb:x:7:8::/srv:/bin/sh\n")
    (tmp_path / "root/etc/group").write_text("root:x:0:\nmore:x:9:web,other\nweb:x:8:\n")
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (), "/root")),
        ("web", (7, 8, (9,), "/srv")),
        ("7", (7, 8, (9,), "/srv")),
        ("1000", (1000, 0, (), "/")),
        ("web:more", (7, 9, (), "/srv")),
        ("1000:1000", (1000, 1000, (), "/")),
    ],
)
def test_users(root: Path, user: str, expected: tuple[Any, ...]) -> None:
    found = account(str(root), user)
    assert (found.uid, found.gid, found.groups, found.home) == expected


@pytest.mark.parametrize("user", ["nobody-here", "web:nobody-here"])
def test_an_unknown_user_is_said(root: Path, user: str) -> None:
    with pytest.raises(BundleError, match="nobody-here"):
        account(str(root), user)


def test_links_do_not_lead_out_of_the_root(root: Path) -> None:
    (root.parent / "secret").write_text("secret:x:0:0::/:/bin/sh\n")
    (root / "etc/passwd").unlink()
    for target in ("../../secret", "/../secret", str(root.parent / "secret")):
        (root / "etc/passwd").symlink_to(target)
        with pytest.raises(OSError, match=r".*"):
            read_inside(str(root), "etc/passwd")
        (root / "etc/passwd").unlink()
    (root / "real").write_text("inside")
    (root / "etc/passwd").symlink_to("/real")
    assert read_inside(str(root), "/etc/passwd") == b"inside"
    (root / "etc/loop").symlink_to("loop")
    with pytest.raises(OSError, match=r".*"):
        read_inside(str(root), "etc/loop")


# --- the programs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "words", "status"),
    [
        ("run", ("run", "no-such-container"), 125),
        ("run", ("fetch", "no-such-container"), 125),
        ("run", (), 2),
        ("probe", ("http", "no-such-container", "1", "http://127.0.0.1/"), 1),
        ("probe", ("tcp", "no-such-container", "1", "nonsense"), 1),
        ("probe", ("exec", "no-such-container", "1", "podman", "true"), 1),
        ("probe", (), 2),
    ],
)
def test_programs_say_one_line_and_end(program: str, words: tuple[str, ...], status: int) -> None:
    code = f"import sys; from init.containers.{program} import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        (sys.executable, "-ISBc", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}", *words),
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr
