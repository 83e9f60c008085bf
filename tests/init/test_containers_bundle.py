"""What crun is given, and the ports that are held for it."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.containers import bundle
from init.containers.baked import Baked, BakedImage
from init.containers.bundle import Account, BundleError, ImageConfig, Place
from init.containers.crun import StartError, hosts, reserve
from init.containers.docker_store import chain_ids, merged_names
from init.containers.order import Order
from init.containers.reference import Reference, parse
from init.formats.layers import Change, change_of, clean_path
from init.formats.machine import Container, Port, Volume

CONTAINER = Container(name="web", image="demo")
IMAGE = ImageConfig(entrypoint=("/entry",), command=("arg",), environment=("A=1", "PATH=/image"), working_dir="/srv")
PLACE = Place(root="/r", network="/proc/7/ns/net", init="/usr/bin/catatonit", hostname="web")


ROOT = Account()


def spec(container: Container = CONTAINER, image: ImageConfig = IMAGE, account: Account = ROOT, **place: Any) -> Any:
    return bundle.runtime_spec(container, image, account, replace(PLACE, **place))


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (None, None, ("/entry", "arg")),
        (None, ("b",), ("/entry", "b")),
        (None, (), ("/entry",)),
        (("/mine",), None, ("/mine",)),
        (("/mine",), ("b",), ("/mine", "b")),
    ],
)
def test_what_is_started(entrypoint: Any, command: Any, expected: tuple[str, ...]) -> None:
    assert bundle.arguments(replace(CONTAINER, entrypoint=entrypoint, command=command), IMAGE) == expected


def test_nothing_to_start_is_said() -> None:
    with pytest.raises(BundleError, match="nor the config says what to start"):
        bundle.arguments(CONTAINER, ImageConfig())


def test_the_small_init_stands_before_the_command() -> None:
    assert spec()["process"]["args"] == ["/dev/init", "--", "/entry", "arg"]
    assert spec(init=None)["process"]["args"] == ["/entry", "arg"]


def test_the_containers_variables_win() -> None:
    container = replace(CONTAINER, environment=(("A", "2"), ("B", "x=y")))
    env = dict(pair.split("=", 1) for pair in spec(container)["process"]["env"])
    assert env == {"PATH": "/image", "HOSTNAME": "web", "HOME": "/", "A": "2", "B": "x=y"}


def test_a_user_who_is_not_root_holds_no_capability() -> None:
    found = spec(account=Account(uid=1000, gid=1000, groups=(5,)))["process"]
    assert found["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    assert found["capabilities"]["effective"] == []
    assert "CAP_CHOWN" in found["capabilities"]["bounding"]


@pytest.mark.parametrize(
    ("add", "drop", "held"),
    [
        ((), (), set(bundle.CAPABILITIES)),
        (("NET_ADMIN",), ("ALL",), {"NET_ADMIN"}),
        (("CAP_NET_RAW",), ("cap_chown",), set(bundle.CAPABILITIES) - {"CHOWN"} | {"NET_RAW"}),
        (("ALL",), ("SYS_ADMIN",), set(bundle.ALL_CAPABILITIES) - {"SYS_ADMIN"}),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], held: set[str]) -> None:
    assert set(bundle.capability_names(replace(CONTAINER, cap_add=add, cap_drop=drop))) == held


def test_an_unknown_capability_is_said() -> None:
    with pytest.raises(BundleError, match="no capability NET_ADMINN"):
        bundle.capability_names(replace(CONTAINER, cap_add=("NET_ADMINN",)))


def test_device_nodes_need_a_capability_that_is_not_given() -> None:
    assert "MKNOD" not in bundle.CAPABILITIES
    assert "SYS_ADMIN" not in bundle.CAPABILITIES


def test_volumes_and_devices() -> None:
    container = replace(
        CONTAINER,
        volumes=(
            Volume(source="data", target="/data"),
            Volume(source="/srv/x", target="/x", read_only=True, options=("Z", "noexec")),
            Volume(source="", target="/m", options=("size=1m",)),
        ),
        devices=("/dev/ttyS0:/dev/serial:rw",),
        tmpfs=("/t:size=2m,mode=700",),
    )
    mounts = {mount["destination"]: mount for mount in spec(container)["mounts"]}
    assert mounts["/data"]["source"] == "/var/lib/berth/volumes/data"
    assert mounts["/x"]["options"] == ["rbind", "nodev", "noexec", "ro"]
    assert (mounts["/m"]["type"], mounts["/m"]["options"][-1]) == ("tmpfs", "size=1m")
    assert mounts["/dev/serial"]["source"] == "/dev/ttyS0"
    assert mounts["/t"]["options"][-2:] == ["size=2m", "mode=700"]


def test_privileged_takes_the_fences_away() -> None:
    found = spec(replace(CONTAINER, privileged=True))
    assert "seccomp" not in found["linux"]
    assert found["linux"]["maskedPaths"] == []
    assert len(found["process"]["capabilities"]["effective"]) == len(bundle.ALL_CAPABILITIES)


def test_the_machines_network() -> None:
    found = spec(replace(CONTAINER, network="host"), network=None)
    assert {"network", "uts"}.isdisjoint(each["type"] for each in found["linux"]["namespaces"])
    assert "hostname" not in found
    assert found["linux"]["sysctl"] == {}


def test_a_user_namespace_cannot_be_made() -> None:
    rules = spec()["linux"]["seccomp"]["syscalls"]
    names = {name for rule in rules for name in rule["names"]}
    assert {"clone", "clone3", "unshare", "mount", "bpf", "keyctl"} <= names
    allowed = spec(replace(CONTAINER, cap_add=("SYS_ADMIN",)))["linux"]["seccomp"]["syscalls"]
    assert "mount" not in {name for rule in allowed for name in rule["names"]}


def test_an_images_configuration_of_wrong_types_is_empty() -> None:
    for document in ({}, {"config": None}, {"config": []}, {"config": {"Env": 3, "Cmd": None, "Entrypoint": "x"}}):
        assert bundle.image_config(document) == ImageConfig()


# --- ports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_is_taken_is_found_out(protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        number = other.getsockname()[1]
        if protocol == "tcp":
            other.listen()
        for address in ("", "127.0.0.1", "0.0.0.0"):
            with pytest.raises(
                StartError, match=f"port {number}/{protocol} can't be published: Address already in use"
            ):
                reserve((Port(host=number, container=1, protocol=protocol, address=address),))
    for held in reserve((Port(host=number, container=1, protocol=protocol),)):
        held.close()


def test_an_address_may_come_later() -> None:
    for held in reserve(
        (Port(host=0, container=1, address="192.0.2.7"), Port(host=0, container=1, address="2001:db8::7"))
    ):
        held.close()


def test_hosts_names_everyone_on_the_bridge() -> None:
    order = Order(
        container=replace(CONTAINER, hostname="www", extra_hosts=("gw:host-gateway", "db2=192.0.2.7")), number=1,
        numbers=(("db", 0), ("web", 1)),
    )  # fmt: skip
    lines = hosts(order).splitlines()
    assert "10.89.0.2\tdb" in lines
    assert "10.89.0.3\tweb www" in lines
    assert "10.89.0.1\tgw" in lines
    assert "192.0.2.7\tdb2" in lines


# --- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", Reference(host="registry-1.docker.io", repository="library/nginx", tag="latest")),
        ("a/b:1", Reference(host="registry-1.docker.io", repository="a/b", tag="1")),
        ("localhost/x", Reference(host="localhost", repository="x", tag="latest")),
        ("r.example:5000/a/b:1.4", Reference(host="r.example:5000", repository="a/b", tag="1.4")),
        (
            f"r.example/a:1@sha256:{'0' * 64}",
            Reference(host="r.example", repository="a", digest=f"sha256:{'0' * 64}"),
        ),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "Nginx", "a@md5:00", "r.example/../x", "x y", "r.example/"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match=r"no image's name|no digest"):
        parse(text)


@given(st.lists(st.sampled_from(["..", ".", "", "a", ".wh.x", "..a", "b"]), max_size=6).map("/".join))
def test_a_cleaned_path_never_leads_out(name: str) -> None:
    try:
        path = clean_path(name)
    except ValueError:
        assert ".." in name.split("/")
        return
    assert not path.startswith("/")
    assert not {"..", ".", ""}.intersection(path.split("/")) or path == ""
    change, what = change_of(path)
    assert change is not Change.NODE or what == path


def test_chain_ids_follow_the_image_specification() -> None:
    one, two, three = "a" * 64, "b" * 64, "c" * 64
    second = hashlib.sha256(f"sha256:{one} sha256:{two}".encode()).hexdigest()
    third = hashlib.sha256(f"sha256:{second} sha256:{three}".encode()).hexdigest()
    assert chain_ids([one, two, three]) == [one, second, third]
    assert chain_ids([]) == []


def test_names_of_others_stay_and_dangling_ones_go() -> None:
    document = {"Repositories": {"mine": {"mine:1": "sha256:11"}, "gone": {"gone:1": "sha256:22"}}}
    image = BakedImage(id="ff", names=("localhost/demo:latest",), layers=(), diff_ids=())
    assert merged_names(document, Baked(images=(image,)), {"11", "ff"}) == {
        "Repositories": {
            "mine": {"mine:1": "sha256:11"},
            "localhost/demo": {"localhost/demo:latest": "sha256:ff"},
            "demo": {"demo:latest": "sha256:ff"},
        }
    }
