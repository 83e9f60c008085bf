"""Images on the machine: archives, and a registry on loopback."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import lzma
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.layers import member, sha, tar

from init.containers import archive, fetch, registry
from init.containers.image import ImageError, Images
from init.containers.order import Order
from init.containers.reference import parse
from init.formats.machine import Container, Registry

ROOT = Path(__file__).parents[2]
# the registry of these tests is a thread, and a layer is unpacked by a fork: Python 3.12 warns of any such pair
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


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
    order = Order(container=Container(name="web", image=f"archive:{path}"), number=0, images=(f"archive:{path}",))
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
    order = Order(container=Container(name="web", image=f"archive:{path}"), number=0, images=(f"archive:{path}",))
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
    order = Order(container=Container(name="web", image=f"archive:{path}"), number=0)
    with pytest.raises(ImageError, match="not what the image's configuration names"):
        fetch.fetch(order, "crun", images)
    assert images.find(f"archive:{path}") is None
    assert os.listdir(tmp_path / "images/partial") == []


DAMAGED = tar(member("index.json", data=random.Random(4).randbytes(100_000)))


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", tar(), tar(member("index.json", data=b"[]")), tar(member("index.json", data=b"{")),
     tar(member("manifest.json", data=b"[{}]")), tar(member("manifest.json", data=b"[]")),
     tar(member("index.json", data=b'{"manifests": [7]}')), tar(member("index.json", data=b'{"config": []}')),
     tar(member("index.json", data=b"[" * 100_000)), tar(member("manifest.json", data=b"[7]")),
     gzip.compress(DAMAGED)[:300], gzip.compress(DAMAGED)[:9000] + b"?" * 500,
     lzma.compress(DAMAGED)[:300], lzma.compress(DAMAGED)[:9000] + b"?" * 500],
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
    return Order(container=Container(name="web", image=image), number=0, images=(image,), registries=(known,))


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


@pytest.mark.parametrize(
    "manifest",
    [
        b'{"manifests": [7]}',
        b'{"manifests": 7}',
        b'{"manifests": [{}]}',
        b'{"manifests": [{"platform": 7}]}',
        b"[" * 100_000,
    ],
    ids=lambda manifest: manifest[:40].decode(),
)
def test_a_manifest_that_is_none_keeps_nobody_from_starting(tmp_path: Path, shop: Shop, manifest: bytes) -> None:
    images = Images(str(tmp_path))
    order = order_from(shop)
    order = replace(order, container=replace(order.container, pull="always"))
    fetch.fetch(order, "crun", images)
    shop.blobs[shop.digest] = manifest
    with pytest.raises(ImageError):
        registry.Client(parse(order.container.image), order.registries).find()
    fetch.fetch(order, "crun", images)
    assert images.find(order.container.image) is not None


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
