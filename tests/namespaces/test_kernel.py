"""The real bodies of the door, as root of a user namespace of their own: netlink, mounts, files, children."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def inside(code: str) -> Any:
    """Run code with `kernel` in fresh user, mount, network and UTS namespaces; return what it puts into `answer`."""
    program = "\n".join(
        [
            "import json, os",
            "from init.pid1.linux.early import EarlyKernel",
            "kernel = EarlyKernel()",
            textwrap.dedent(code),
            "print(json.dumps(answer))",
        ]
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", "--mount", "--uts", sys.executable, "-c", program],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_links_of_each_kind_are_made_changed_and_seen() -> None:
    answer = inside(
        """
        kernel.set_link("lo", up=True)
        kernel.add_link("left0", "veth", peer="right0")
        kernel.add_link("left0", "veth", peer="right0")  # what is there already is no error
        kernel.add_link("br0", "bridge")
        kernel.set_link("right0", master="br0", up=True)
        kernel.set_link("left0", mtu=1400, mac="02:00:00:00:00:07", rename="uplink")
        kernel.add_alternative_name("uplink", "enp1s0")
        kernel.set_link("enp1s0", up=True)
        kernel.set_link("br0", up=True)
        kernel.add_address("uplink", "192.0.2.2/24")
        kernel.add_address("uplink", "2001:db8::2/64")
        kernel.add_route("uplink", "0.0.0.0/0", via="192.0.2.1", metric=50)
        kernel.add_route("uplink", "198.51.100.0/24", via="203.0.113.9", on_link=True)
        kernel.add_route("uplink", "2001:db8:1::/48", via="2001:db8::1")
        links = {link.name: link for link in kernel.links()}
        up = links["uplink"]
        answer = {
            "lo": [links["lo"].up, links["lo"].loopback],
            "uplink": [up.mac, up.mtu, up.up, up.kind, list(up.alternative_names), up.ethernet],
            "member": links["right0"].master == links["br0"].index,
            "bridge": links["br0"].kind,
            "addresses": sorted(a.address for a in kernel.addresses() if a.index == up.index and a.scope == "global"),
            "routes": open("/proc/net/route").read(),
        }
        kernel.remove_link("br0")
        answer["gone"] = "br0" not in [link.name for link in kernel.links()]
        """
    )
    assert answer["lo"] == [True, True]
    assert answer["uplink"] == ["02:00:00:00:00:07", 1400, True, "veth", ["enp1s0"], True]
    assert answer["member"]
    assert answer["bridge"] == "bridge"
    assert answer["addresses"] == ["192.0.2.2/24", "2001:db8::2/64"]
    lines = [line.split() for line in answer["routes"].splitlines()[1:]]
    assert ["uplink", "00000000", "010200C0"] in [line[:3] for line in lines]
    assert ["uplink", "006433C6", "097100CB"] in [line[:3] for line in lines]
    assert answer["gone"]


def test_a_refusal_is_an_oserror_with_the_kernels_number_and_what_it_was_about() -> None:
    answer = inside(
        """
        answer = []
        for action in (
            lambda: kernel.set_link("nothere", up=True),
            lambda: kernel.add_address("lo", "not an address/8"),
            lambda: kernel.add_address("lo", "10.0.0.1/99"),
            lambda: kernel.add_route("lo", "192.0.2.0/24", via="198.51.100.1"),
        ):
            try:
                action()
                answer.append(None)
            except OSError as error:
                answer.append([error.errno, error.filename])
        """
    )
    assert answer[0] == [19, "nothere"]
    assert answer[1] == [22, "not an address"]
    assert answer[2] == [22, "10.0.0.1/99"]
    assert answer[3][1] == "192.0.2.0/24 on lo"


def test_changes_of_links_are_news() -> None:
    answer = inside(
        """
        news = kernel.open_network_news()
        before = kernel.wait_readable([news], 0)
        kernel.set_link("lo", up=True)
        answer = [before, kernel.wait_readable([news], 5) == [news], len(kernel.read_from(news, 65536)) > 16]
        """
    )
    assert answer == [[], True, True]


def test_the_early_mounts_that_a_namespace_allows_and_folders_shown_elsewhere(tmp_path: Path) -> None:
    answer = inside(
        f"""
        from init.pid1 import mounts
        base = {str(tmp_path)!r}
        flags = mounts.NO_SUID
        step = mounts.MountStep(source="tmpfs", target=base + "/a/b", kind="tmpfs", flags=flags, data="size=1m")
        mounts.perform(kernel, step)
        kernel.make_folder(base + "/a/b/inner")
        kernel.replace(base + "/a/b/inner/file", b"text", 0o640)
        mounts.perform(kernel, mounts.MountStep(source=base + "/a/b/inner", target=base + "/shown", flags=mounts.BIND))
        free, size = kernel.space(base + "/a/b")
        answer = [kernel.read(base + "/shown/file").decode(), oct(kernel.status(base + "/shown/file").mode), size]
        kernel.unmount(base + "/shown")
        kernel.unmount(base + "/a/b")
        answer.append(kernel.exists(base + "/a/b/inner"))
        kernel.set_hostname("harbour")
        answer.append(os.uname().nodename)
        """
    )
    assert answer == ["text", "0o100640", 1 << 20, False, "harbour"]


def test_a_child_ends_is_killed_in_time_or_can_not_be_started() -> None:
    answer = inside(
        """
        ended = kernel.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], seconds=20)
        killed = kernel.run(["/bin/sh", "-c", "exec sleep 60"], seconds=0.2)
        try:
            kernel.run(["/no/such/program"], seconds=1)
        except OSError as error:
            missing = error.errno
        answer = [ended.status, ended.output.decode(), killed.status, missing]
        """
    )
    assert answer == [3, "out\nerr\n", None, 2]


def test_a_tree_is_filled_only_where_it_lacks_something(tmp_path: Path) -> None:
    source, target = tmp_path / "factory", tmp_path / "var"
    (source / "lib" / "deep").mkdir(parents=True)
    (source / "lib" / "deep" / "file").write_text("from the image")
    (source / "lib" / "deep" / "file").chmod(0o751)
    (source / "lib" / "kept").write_text("from the image")
    (source / "run").symlink_to("/run")
    (target / "lib").mkdir(parents=True)
    (target / "lib" / "kept").write_text("from state")
    answer = inside(f"answer = kernel.fill_tree({str(source)!r}, {str(target)!r})")
    assert answer == 3  # deep, deep/file, run
    assert (target / "lib" / "kept").read_text() == "from state"
    assert (target / "lib" / "deep" / "file").stat().st_mode & 0o777 == 0o751
    assert (target / "run").readlink() == Path("/run")


def test_a_program_is_started_in_a_root_of_its_own(tmp_path: Path) -> None:
    answer = inside(
        f"""
        from init.pid1.linux.kernel import Kernel
        from init.pid1.system import Spawn
        root = {str(tmp_path / "root")!r}
        os.mkdir(root)
        kernel.mount("/", root, "", 4096 | 16384)  # MS_BIND, MS_REC
        kernel.mount("tmpfs", root + "/mnt", "tmpfs")
        with open(root + "/mnt/only-there", "w") as stream:
            stream.write("seen")
        reading, writing = os.pipe()
        argv = ("/bin/sh", "-c", "pwd; cat only-there")
        said = Spawn(argv=argv, root=root, folder="/mnt", stdout=writing, stderr=writing)
        pid = Kernel().spawn(said)
        os.close(writing)
        text = open(reading).read()
        answer = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.split(), os.path.exists("/mnt/only-there")]
        """
    )
    assert answer == [0, ["/mnt", "seen"], False]
