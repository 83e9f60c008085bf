"""Baked images: from packages and OCI layouts to a store that engines read."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import random
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder.errors import BuildError, InputError, Place, VerificationError
from builder.fetch.store import Store
from builder.images.bake import bake
from builder.images.layout import read_layout
from builder.images.packages import image_of, left_out
from builder.images.storage import PREFIX, store_entries
from builder.lock.model import Lock
from builder.progress import SilentProgress
from builder.recipe.model import BakedImage, ExtraFile
from builder.rootfs.entry import Entry, Kind
from init.containers.baked import IMAGES_FILE, LAYERS_FILE, parse

PLACE = Place(file="recipe.yaml", line=3, column=5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def recipe_image(name: str = "demo", **fields: Any) -> BakedImage:
    values: dict[str, Any] = {
        "oci": None, "digest": None, "packages": (), "files": (), "entrypoint": ("/bin/sh",), "command": (),
        "environment": (("A", "b=c"),),
    }  # fmt: skip
    return BakedImage(name=name, place=PLACE, **{**values, **fields})


def file(store: Store, path: str, data: bytes = b"x", origin: str = "") -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=0o755, size=len(data), sha256=store.put(data), origin=origin)


def busybox(store: Store) -> dict[str, tuple[Entry, ...]]:
    return {
        "busybox-static": (
            Entry(path="usr", kind=Kind.DIRECTORY, mode=0o755),
            Entry(path="usr/bin", kind=Kind.DIRECTORY, mode=0o755),
            file(store, "usr/bin/busybox", b"\x7fELF"),
            Entry(path="usr/bin/ash", kind=Kind.HARDLINK, target="usr/bin/busybox"),
            Entry(path="usr/share/man", kind=Kind.DIRECTORY, mode=0o755),
            file(store, "usr/share/man/man1/busybox.1.gz"),
            file(store, "usr/share/doc/busybox-static/changelog.gz"),
            file(store, "usr/share/doc/busybox-static/copyright", b"GPL-2"),
        )
    }


def tree(entries: tuple[Entry, ...]) -> dict[str, Entry]:
    return {entry.path: entry for entry in entries}


def test_an_image_of_packages_has_their_files_without_documentation(store: Store) -> None:
    extra = ExtraFile(path="/srv/a/b", content="hi", source=None, mode=0o600, uid=3, gid=4, place=PLACE)
    image = image_of(recipe_image(files=(extra,)), busybox(store), store, 1_700_000_000)
    nodes = tree(image.layers[0].entries)
    assert nodes["usr/bin/sh"].target == "busybox"
    assert "usr/share/doc/busybox-static/copyright" in nodes
    assert not [path for path in nodes if "share/man" in path or "changelog" in path]
    assert (nodes["srv/a/b"].mode, nodes["srv/a/b"].uid, nodes["srv/a/b"].gid) == (0o600, 3, 4)
    config = json.loads(image.config)
    assert config["config"]["Entrypoint"] == ["/bin/sh"]
    assert "A=b=c" in config["config"]["Env"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{image.layers[0].diff_id}"]
    assert config["created"] == "2023-11-14T22:13:20Z"


def test_an_image_of_files_alone_needs_no_part_of_the_lock(store: Store) -> None:
    own = ExtraFile(path="/app", content="x", source=None, mode=0o755, uid=0, gid=0, place=PLACE)
    recipe: Any = SimpleNamespace(
        build=SimpleNamespace(images=(recipe_image(packages=(), files=(own,)),)),
        given="x", sets=(), path=Path("x.yaml"),
    )  # fmt: skip
    lock: Any = Lock(recipe="x", architecture="amd64", epoch=0, releases=(), packages=())
    assert any(path.endswith("/app") for path in tree(bake(recipe, lock, store, SilentProgress()).entries))


def test_what_stays_out_of_an_image_is_told_with_its_reason(store: Store) -> None:
    told = {saved.pattern: saved for saved in left_out("demo", busybox(store))}
    assert told.keys() == {"image demo: /usr/share/doc/**", "image demo: /usr/share/man/**"}
    documents = told["image demo: /usr/share/doc/**"]
    assert (documents.files, documents.size) == (1, 1), "the copyright's text stays"
    assert all(saved.reason for saved in told.values())
    # What is told is what is missing: all that the packages ship is in the image, or told.
    image = image_of(recipe_image(), busybox(store), store, 7)
    inside = {entry.path for entry in image.layers[0].entries}
    shipped = [entry for entry in busybox(store)["busybox-static"] if entry.kind is not Kind.DIRECTORY]
    assert len([entry for entry in shipped if entry.path not in inside]) == sum(saved.files for saved in told.values())


def test_two_packages_may_not_bring_the_same_file(store: Store) -> None:
    packages = {"one": (file(store, "usr/bin/x"),), "two": (file(store, "usr/bin/x", b"y"),)}
    with pytest.raises(BuildError, match=r"one and two of one image both bring /usr/bin/x"):
        image_of(recipe_image(), packages, store, 0)


def test_the_same_image_gives_the_same_store_and_ids(tmp_path: Path) -> None:
    def build(folder: str) -> tuple[Entry, ...]:
        store = Store(tmp_path / folder)
        return store_entries([image_of(recipe_image(), busybox(store), store, 7)], store)

    assert build("one") == build("two")


def test_the_store_is_what_the_machine_reads(store: Store) -> None:
    image = image_of(recipe_image(), busybox(store), store, 7)
    other = image_of(recipe_image("other"), busybox(store), store, 7)
    entries = store_entries([image, other], store)
    nodes = tree(entries)
    assert [entry.path for entry in entries] == sorted(nodes)
    for path in nodes:
        parent = path.rpartition("/")[0]
        assert parent in nodes or path == PREFIX
    baked = parse(
        store.read(nodes[f"{PREFIX}/{IMAGES_FILE}"].sha256), store.read(nodes[f"{PREFIX}/{LAYERS_FILE}"].sha256)
    )
    found = baked.find("demo")
    assert found is not None
    assert baked.find("other") == found  # equal content is one image with two names
    assert baked.find("localhost/demo:latest") == found
    assert baked.find("docker.io/library/demo") is None
    assert baked.find("archive:/demo") is None
    assert store.read(nodes[f"{PREFIX}/{found.config_file}"].sha256) == image.config
    for layer, lower in zip(found.layers, found.lowers, strict=True):
        assert nodes[f"{PREFIX}/overlay/{lower}"].target == f"../{layer}/diff"
    hard = nodes[f"{PREFIX}/overlay/{found.layers[0]}/diff/usr/bin/ash"]
    assert nodes[hard.target].kind is Kind.FILE


# --- OCI layouts -----------------------------------------------------------------------------------------------


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(data), 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layout(folder: Path, *layers: bytes, compress: bool = True) -> str:
    """Write an OCI layout; return the manifest's digest."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {
        "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z", "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }  # fmt: skip
    packed = [gzip.compress(layer, mtime=0) if compress else layer for layer in layers]
    described = put(json.dumps(config).encode())
    manifest = {"schemaVersion": 2, "config": described, "layers": [put(each) for each in packed]}
    descriptor = put(json.dumps(manifest).encode())
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(descriptor["digest"])


def one_layer(tmp_path: Path, store: Store, *members: tuple[tarfile.TarInfo, bytes]) -> dict[str, Entry]:
    digest = layout(tmp_path / "oci", tar(*members))
    return tree(read_layout(tmp_path / "oci", digest, name="x", store=store).layers[0].entries)


def test_whiteouts_become_what_overlayfs_reads(tmp_path: Path, store: Store) -> None:
    lower = tar(
        member("a", tarfile.DIRTYPE, mode=0o700, uid=5), member("a/one", data=b"1"), member("a/two", data=b"2"),
        member("b/c", data=b"3"),
    )  # fmt: skip
    upper = tar(member("a/.wh.one"), member("b/.wh..wh..opq"), member("./a/three", data=b"4"), member(".wh..wh.aufs"))
    digest = layout(tmp_path / "oci", lower, upper, compress=False)
    image = read_layout(tmp_path / "oci", digest, name="x", store=store)
    nodes = tree(image.layers[1].entries)
    assert (nodes["a/one"].kind, nodes["a/one"].device) == (Kind.CHARACTER, (0, 0))
    assert nodes["b"].xattrs == (("trusted.overlay.opaque", b"y"),)
    # a folder that the upper layer only implies keeps owner and mode of the layer below
    assert (nodes["a"].mode, nodes["a"].uid) == (0o700, 5)
    assert set(nodes) == {"a", "a/one", "a/three", "b"}
    assert image.created == 1_704_164_645
    stored = tree(store_entries([image], store))
    lowers = [path for path in stored if path.endswith("/lower")]
    assert len(lowers) == 1


HOSTILE = {
    "a name that climbs out": (member("../x"),),
    "one in the middle": (member("a/../../x"),),
    "a device": (member("d", tarfile.CHRTYPE, devmajor=1, devminor=1),),
    "a block device": (member("d", tarfile.BLKTYPE),),
    "a file below a link of the same layer": (member("l", tarfile.SYMTYPE, linkname="/etc"), member("l/passwd")),
    "a hard link out": (member("h", tarfile.LNKTYPE, linkname="../../etc/shadow"),),
    "a hard link to what the layer lacks": (member("h", tarfile.LNKTYPE, linkname="etc/shadow"),),
    "a whiteout of nothing": (member("a/.wh."),),
    "a whiteout of ..": (member(".wh..."),),
    "a name too long for Linux": (member("n" * 300),),
    "an unknown type": (member("t", b"Z"),),
    "holes that are no numbers": (member("s", data=b"x" * 600, pax_headers={"GNU.sparse.map": "x"}),),
    "a map of holes that is none": (
        member("s", data=b"x" * 600, pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    ),
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_layers_are_refused(
    tmp_path: Path, store: Store, members: tuple[tuple[tarfile.TarInfo, bytes], ...]
) -> None:
    with pytest.raises(BuildError):
        one_layer(tmp_path, store, *members)


def test_absolute_names_and_links_stay_inside_the_layer(tmp_path: Path, store: Store) -> None:
    nodes = one_layer(
        tmp_path, store, member("/etc/x", data=b"1"), member("l", tarfile.SYMTYPE, linkname="/../../etc/shadow")
    )
    assert nodes["etc/x"].kind is Kind.FILE
    assert nodes["l"].target == "/../../etc/shadow"  # a link's text means something only inside the container


def test_a_later_member_replaces_an_earlier_one(tmp_path: Path, store: Store) -> None:
    nodes = one_layer(
        tmp_path, store, member("a", tarfile.DIRTYPE), member("a/b", data=b"1"), member("a", data=b"now a file")
    )
    assert set(nodes) == {"a"}


@pytest.mark.parametrize("what", ["manifest", "config", "layer"])
def test_an_altered_byte_is_found(tmp_path: Path, store: Store, what: str) -> None:
    digest = layout(tmp_path / "oci", tar(member("a", data=b"1" * 600)))
    blobs = tmp_path / "oci/blobs/sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    chosen = {"manifest": digest, "config": manifest["config"]["digest"], "layer": manifest["layers"][0]["digest"]}
    path = blobs / chosen[what].removeprefix("sha256:")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises((VerificationError, BuildError)):
        read_layout(tmp_path / "oci", digest, name="x", store=store)


def test_a_layer_that_is_not_the_one_in_the_configuration(tmp_path: Path, store: Store) -> None:
    digest = layout(tmp_path / "oci", tar(member("a")))
    blobs = tmp_path / "oci/blobs/sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    other = gzip.compress(tar(member("b")))
    name = hashlib.sha256(other).hexdigest()
    (blobs / name).write_bytes(other)
    manifest["layers"] = [{"digest": f"sha256:{name}", "size": len(other)}]
    data = json.dumps(manifest).encode()
    (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
    with pytest.raises(VerificationError, match="not the one that is named"):
        read_layout(tmp_path / "oci", f"sha256:{hashlib.sha256(data).hexdigest()}", name="x", store=store)


def test_a_layout_as_a_tar_is_the_same_image(tmp_path: Path, store: Store) -> None:
    digest = layout(tmp_path / "oci", tar(member("a", data=b"1")))
    with tarfile.open(tmp_path / "oci.tar", "w") as archive:
        archive.add(tmp_path / "oci", arcname=".")
    from_folder = read_layout(tmp_path / "oci", digest, name="x", store=store)
    assert read_layout(tmp_path / "oci.tar", digest, name="x", store=store) == from_folder


def test_what_is_no_layout_is_the_users_mistake(tmp_path: Path, store: Store) -> None:
    digest = "sha256:" + "0" * 64
    (tmp_path / "file").write_bytes(b"no tar")
    for path in (tmp_path / "nothing", tmp_path / "file", tmp_path):
        with pytest.raises(InputError):
            read_layout(path, digest, name="x", store=store)
    with pytest.raises(VerificationError):
        read_layout(tmp_path, "sha256:../../etc/passwd", name="x", store=store)


def test_a_layout_in_a_tar_whose_headers_make_no_sense(tmp_path: Path, store: Store) -> None:
    (tmp_path / "oci.tar").write_bytes(tar(member("s", data=b"x", pax_headers={"GNU.sparse.map": "x"})))
    with pytest.raises(InputError, match=r"oci\.tar is damaged"):
        read_layout(tmp_path / "oci.tar", "sha256:" + "0" * 64, name="x", store=store)


def blob(folder: Path, data: bytes) -> str:
    (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(data).hexdigest()
    (folder / "blobs/sha256" / name).write_bytes(data)
    return f"sha256:{name}"


NO_MANIFESTS = [
    b'{"config": {}, "layers": []}',
    b'{"config": [], "layers": []}',
    b'{"config": null, "layers": []}',
    b'{"config": {"digest": 7}, "layers": []}',
    b'{"config": {"digest": "CONFIG"}}',
    b'{"config": {"digest": "CONFIG"}, "layers": {}}',
    b'{"config": {"digest": "CONFIG"}, "layers": [[]]}',
    b'{"config": {"digest": "CONFIG"}, "layers": [{}]}',
    b'{"config": {"digest": "EMPTY"}, "layers": []}',
    b'{"config": {"digest": "LETTERS"}, "layers": []}',
    b'{"manifests": [{"platform": null}]}',
    b'{"manifests": [{"platform": []}]}',
    b'{"manifests": [{}]}',
    b'{"manifests": [7]}',
    b'{"manifests": {}}',
    b"[]",
    b"[" * 100_000,
    b"\xff",
]


@pytest.mark.parametrize("manifest", NO_MANIFESTS, ids=lambda manifest: manifest[:60].decode("latin-1"))
def test_a_manifest_that_is_none_is_told_with_its_file(tmp_path: Path, store: Store, manifest: bytes) -> None:
    configs = {
        b"CONFIG": b'{"rootfs": {"diff_ids": []}}',
        b"EMPTY": b"{}",
        b"LETTERS": b'{"rootfs": {"diff_ids": "ab"}}',
    }
    for word, data in configs.items():
        manifest = manifest.replace(word, blob(tmp_path / "oci", data).encode())
    digest = blob(tmp_path / "oci", manifest)
    with pytest.raises(VerificationError) as caught:
        read_layout(tmp_path / "oci", digest, name="x", store=store)
    assert f"of {tmp_path / 'oci'}" in caught.value.message


@pytest.mark.parametrize("packing", ["gz", "xz", "bz2"])
def test_a_layout_that_is_cut_off_or_altered_is_told_with_its_file(tmp_path: Path, store: Store, packing: str) -> None:
    digest = layout(tmp_path / "oci", tar(member("a", data=random.Random(1).randbytes(200_000))), compress=False)
    path = tmp_path / f"oci.tar.{packing}"
    with tarfile.open(path, f"w:{packing}") as archive:  # type: ignore[call-overload]
        archive.add(tmp_path / "oci", arcname=".")
    whole = path.read_bytes()
    assert read_layout(path, digest, name="x", store=store).name == "x"
    for at in (30, 1000, len(whole) // 2):
        path.write_bytes(whole[:at])
        with pytest.raises(InputError) as caught:
            read_layout(path, digest, name="x", store=store)
        assert str(path) in caught.value.message
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) * 40 + whole[at + 40 :])
        with contextlib.suppress(InputError, VerificationError):  # or it is in what nobody needs
            read_layout(path, digest, name="x", store=store)
