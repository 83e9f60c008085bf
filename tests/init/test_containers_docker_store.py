"""Baked images become dockerd's own by links alone, and leave with their slot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from init.containers.docker_store import chain_ids, link_images
from init.containers.local import find_baked, read_baked
from init.formats.imagestore import big_data_name, short_name


def bake(root: Path, *diff_ids: str, name: str = "demo") -> str:
    """Write a store as the builder does, with one image; return the image's id."""
    identity = (name * 64)[:64]
    config = {
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in diff_ids]},
        "config": {"Cmd": ["/x"]},
    }
    layers: list[dict[str, Any]] = []
    for number, diff_id in enumerate(diff_ids):
        layer = f"{number}{diff_id}"[:64]
        record = {"id": layer, "diff-digest": f"sha256:{diff_id}", "diff-size": 7}
        layers.append({**record, "parent": layers[-1]["id"]} if layers else record)
        (root / f"overlay/{layer}/diff").mkdir(parents=True)
        (root / f"overlay/{layer}/diff/file").write_text(diff_id)
        (root / f"overlay/{layer}/link").write_text(short_name(layer))
        (root / "overlay/l").mkdir(exist_ok=True)
        (root / f"overlay/l/{short_name(layer)}").symlink_to(f"../{layer}/diff")
    images = [{"id": identity, "names": [f"localhost/{name}:latest"], "layer": layers[-1]["id"]}]
    for path, value in (
        ("overlay-images/images.json", images),
        ("overlay-layers/layers.json", layers),
        (f"overlay-images/{identity}/{big_data_name(f'sha256:{identity}')}", config),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(value))
    return identity


def content(root: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(root)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def link(images: Path, docker: Path) -> dict[str, Any]:
    link_images(read_baked(str(images)), root=str(docker), images=str(images))
    return content(docker)


def test_two_layers_are_linked_and_a_second_boot_writes_nothing(tmp_path: Path) -> None:
    one, two = "a" * 64, "b" * 64
    images, docker = tmp_path / "images", tmp_path / "docker"
    identity = bake(images, one, two)
    found = link(images, docker)
    lower, upper = f"0{one}"[:64], f"1{two}"[:64]
    assert found[f"overlay2/{upper}/diff"] == images / f"overlay/{upper}/diff"
    assert found[f"overlay2/{upper}/lower"] == f"l/{short_name(lower)}".encode()
    assert f"overlay2/{lower}/lower" not in found
    assert found[f"overlay2/l/{short_name(upper)}"] == Path(f"../{upper}/diff")
    chains = chain_ids([one, two])
    base = "image/overlay2/layerdb/sha256"
    assert found[f"{base}/{chains[1]}/parent"] == f"sha256:{chains[0]}".encode()
    assert found[f"{base}/{chains[1]}/cache-id"] == upper.encode()
    assert json.loads(found["image/overlay2/repositories.json"])["Repositories"]["demo"] == {
        "demo:latest": f"sha256:{identity}"
    }
    times = {path: path.lstat().st_mtime_ns for path in docker.rglob("*")}
    assert link(images, docker) == found
    assert {path: path.lstat().st_mtime_ns for path in docker.rglob("*")} == times


def test_what_another_slot_left_goes_and_the_operators_own_stays(tmp_path: Path) -> None:
    images, docker = tmp_path / "images", tmp_path / "docker"
    old = bake(images, "a" * 64, name="old")
    link(images, docker)
    (docker / "overlay2/mine/diff").mkdir(parents=True)
    (docker / "overlay2/mine/diff/file").write_text("mine")
    mine = {"Repositories": {"mine": {"mine:1": "sha256:77"}, **json.loads(
        (docker / "image/overlay2/repositories.json").read_text())["Repositories"]}}  # fmt: skip
    (docker / "image/overlay2/repositories.json").write_text(json.dumps(mine))
    (docker / "image/overlay2/imagedb/content/sha256/77").write_text('{"rootfs": {"diff_ids": ["sha256:1"]}}')
    images.rename(tmp_path / "other-slot")
    new = bake(images, "c" * 64, name="new")
    found = link(images, docker)
    assert not [path for path in found if old in path or "a" * 60 in path]
    assert found["overlay2/mine/diff/file"] == b"mine"
    names = json.loads(found["image/overlay2/repositories.json"])["Repositories"]
    assert set(names) == {"mine", "new", "localhost/new"}
    assert names["new"] == {"new:latest": f"sha256:{new}"}
    assert all(path.resolve().exists() for path in docker.rglob("*") if path.is_symlink())


def test_a_slot_without_images_takes_away_its_predecessors(tmp_path: Path) -> None:
    images, docker = tmp_path / "images", tmp_path / "docker"
    bake(images, "a" * 64)
    link(images, docker)
    images.rename(tmp_path / "other-slot")
    found = link(images, docker)
    assert [path for path in found if path.startswith("overlay2")] == []
    assert json.loads(found["image/overlay2/repositories.json"]) == {"Repositories": {}}


def test_a_baked_image_is_found_with_its_layers_topmost_first(tmp_path: Path) -> None:
    bake(tmp_path, "a" * 64, "b" * 64)
    found = find_baked("demo", str(tmp_path))
    assert found is not None
    assert [(Path(found.folder) / lower / "file").read_text()[0] for lower in found.lowers] == ["b", "a"]
    assert found.config["config"]["Cmd"] == ["/x"]
    assert find_baked("other", str(tmp_path)) is None
    assert find_baked("demo", str(tmp_path / "nothing")) is None
