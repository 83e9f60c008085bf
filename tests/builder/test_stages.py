"""The stages, each over a small tree: what it writes, and what it leaves alone."""

import hashlib
import lzma
import os
import struct
import subprocess
from dataclasses import replace

import pytest
from fakes import debs
from fakes.debs import PLACE, Item, file, folder, hard, link

from builder.errors import BuildError, RecipeError, ToolError
from builder.fetch.store import Store
from builder.recipe.model import ExtraFile
from builder.rootfs.entry import Entry, Kind
from builder.rootfs.plainmodule import MAGIC
from builder.rootfs.tree import merge
from builder.rootfs.unpack import Unpacked
from builder.stages import (
    accounts,
    alternatives,
    busybox,
    bytecode,
    cabundle,
    capabilities,
    copyrights,
    defaults,
    dpkgdb,
    extrafiles,
    layout,
    modules,
    stubs,
)
from builder.stages.context import StageContext
from builder.stages.draft import Draft
from builder.tools.call import Tools
from init.formats.release import Release

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def stage(store, tmp_path):
    """Run one stage over packages and return the draft."""

    def run(module, *packages, **build):
        whole = merge(packages)
        unpacked = Unpacked(debs=tuple(packages), whole=whole, tree=whole, saved=(), cut=(), kernel_version="")
        lock = debs.lock()
        release = Release(
            name="test", version="1", machine_class="test-amd64", engine="none", kernel="6.1", epoch=lock.epoch
        )
        context = StageContext(
            recipe=debs.recipe(**build),
            lock=lock,
            store=store,
            tools=Tools(root=tmp_path, key="none"),
            release=release,
            kernel_version="",
        )
        draft = Draft(whole, store, "stage")
        draft.note = module.run(draft, context, unpacked)
        return draft

    return run


def text(draft, path):
    return draft.read(path).decode()


class TestAccounts:
    def test_every_user_can_log_in_by_key_and_by_nothing_else(self, stage, store):
        draft = stage(accounts, debs.package(store, "openssh-server"))
        rows = [line.split(":") for line in text(draft, "etc/shadow").splitlines()]
        assert {row[1] for row in rows} == {"*"}
        assert {row[2] for row in rows} == {str(1_700_000_000 // 86400)}
        shadow = draft.get("etc/shadow")
        assert (shadow.mode, shadow.uid, shadow.gid) == (0o640, 0, 42)
        assert "sshd:x:101:65534:" in text(draft, "etc/passwd")

    def test_only_accounts_of_packages_that_are_in(self, stage, store):
        assert "_chrony" not in text(stage(accounts, debs.package(store, "openssh-server")), "etc/passwd")

    def test_numbers_do_not_depend_on_what_else_is_in(self, stage, store):
        alone = stage(accounts, debs.package(store, "chrony"))
        together = stage(accounts, *(debs.package(store, name) for name in accounts.PACKAGES))
        assert set(text(alone, "etc/passwd").splitlines()) < set(text(together, "etc/passwd").splitlines())

    def test_no_name_or_number_is_given_twice(self):
        everything = accounts.accounts_of(set(accounts.PACKAGES))
        for values in (
            [user.name for user in everything.users],
            [user.uid for user in everything.users],
            [group.name for group in everything.groups],
            [group.gid for group in everything.groups],
        ):
            assert len(values) == len(set(values))
        assert {user.group for user in everything.users} <= {group.gid for group in everything.groups}

    def test_paths_get_their_owners(self, stage, store):
        chrony = debs.package(store, "chrony", folder("./var/lib/chrony/"), file("./etc/chrony/chrony.keys"))
        client = debs.package(store, "openssh-client", file("./usr/bin/ssh-agent", b"x", 0o755))
        draft = stage(accounts, chrony, client)
        found = {
            path: (draft.get(path).uid, draft.get(path).gid, draft.get(path).mode)
            for path in ("var/lib/chrony", "var/log/chrony", "etc/chrony/chrony.keys", "usr/bin/ssh-agent")
        }
        assert found == {
            "var/lib/chrony": (102, 102, 0o750),
            "var/log/chrony": (102, 102, 0o750),
            "etc/chrony/chrony.keys": (0, 102, 0o640),
            "usr/bin/ssh-agent": (0, 104, 0o2755),
        }


class TestDefaults:
    def test_rows_of_packages_that_are_in(self, stage, store):
        draft = stage(defaults, debs.package(store, "chrony", file("./usr/share/chrony/chrony.conf", b"pool x\n")))
        assert text(draft, "etc/chrony/chrony.conf") == "pool x\n"
        assert "etc/chrony/chrony.keys" not in draft  # its template is not in this package
        assert "etc/hosts" not in draft
        assert draft.get("etc/mtab").target == "../proc/self/mounts"

    def test_what_a_package_ships_is_left_alone(self, stage, store):
        draft = stage(defaults, debs.package(store, "netbase", file("./etc/hosts", b"mine\n")))
        assert text(draft, "etc/hosts") == "mine\n"
        assert text(draft, "etc/networks").startswith("default")


class TestAlternatives:
    def test_the_links_of_iptables(self, stage, store):
        programs = [link(f"./usr/sbin/iptables-nft{verb}", "xtables-nft-multi") for verb in ("", "-save", "-restore")]
        draft = stage(alternatives, debs.package(store, "iptables", *programs, file("./usr/sbin/xtables-nft-multi")))
        made = {node.path: node.target for node in draft if node.origin == "stage"}
        assert made == {f"usr/sbin/iptables{verb}": f"iptables-nft{verb}" for verb in ("", "-save", "-restore")}

    def test_the_higher_priority_gets_the_name(self, stage, store):
        packages = [
            debs.package(store, "util-linux", file("./usr/bin/more")),
            debs.package(store, "less", file("./usr/bin/less")),
        ]
        for order in (packages, packages[::-1]):
            assert stage(alternatives, *order).get("usr/bin/pager").target == "less"

    def test_a_name_that_is_taken_stays(self, stage, store):
        package = debs.package(store, "mawk", file("./usr/bin/mawk"), file("./usr/bin/awk", b"mine"))
        assert text(stage(alternatives, package), "usr/bin/awk") == "mine"


class TestCapabilities:
    def test_the_value_is_what_the_kernel_reads(self, stage, store):
        draft = stage(capabilities, debs.package(store, "iputils-arping", file("./usr/bin/arping", b"x", 0o4755)))
        assert draft.get("usr/bin/arping").mode == 0o755
        [(name, value)] = draft.get("usr/bin/arping").xattrs
        assert name == "security.capability"
        assert struct.unpack("<5I", value) == (0x02000001, 1 << 13, 0, 0, 0)


class TestCaBundle:
    def test_the_bundle_holds_each_certificate_once_and_in_order(self, stage, store):
        one, two = PEM.replace("AAAA", "MQ=="), PEM.replace("AAAA", "Mg==")
        package = debs.package(
            store,
            "ca-certificates",
            file("./usr/share/ca-certificates/m/b.crt", two.strip().encode()),
            file("./usr/share/ca-certificates/m/a.crt", one.replace("\n", "\r\n").encode()),
        )
        draft = stage(cabundle, package)
        assert text(draft, cabundle.BUNDLE) == one + two
        assert draft.get("etc/ssl/certs/ca-certificates.crt").target == f"/{cabundle.BUNDLE}"
        assert draft.get("usr/lib/ssl/cert.pem").target == "/etc/ssl/certs/ca-certificates.crt"

    @pytest.mark.parametrize(
        "data", ["", "x", PEM + PEM, PEM.replace("AAAA", "A!AA"), PEM.replace("BEGIN C", "BEGIN X C")]
    )
    def test_what_is_no_certificate_is_refused(self, stage, store, data):
        package = debs.package(store, "ca-certificates", file("./usr/share/ca-certificates/x.crt", data.encode()))
        with pytest.raises(BuildError, match=r"x\.crt"):
            stage(cabundle, package)

    def test_without_the_package_there_is_no_bundle(self, stage, store):
        assert stage(cabundle, debs.package(store, "a")).note == "no authorities"


class TestExtraFiles:
    def extra(self, path, content="x", source=None):
        return ExtraFile(path=path, content=content, source=source, mode=0o600, uid=1, gid=2, place=PLACE)

    def test_files_are_laid_over_what_packages_brought(self, stage, store, tmp_path):
        source = tmp_path / "source"
        source.write_bytes(b"bytes\xff")
        files = (self.extra("/etc/x"), self.extra("/lib/y", None, source))
        draft = stage(extrafiles, debs.package(store, "a", file("./etc/x", b"old")), files=files)
        node = draft.get("etc/x")
        assert (text(draft, "etc/x"), node.mode, node.uid, node.gid) == ("x", 0o600, 1, 2)
        assert draft.read("usr/lib/y") == b"bytes\xff"

    @pytest.mark.parametrize("path", ["etc/x", "/etc/../x", "/etc/x/", "/etc"])
    def test_bad_paths_are_the_recipes_fault(self, stage, store, path):
        with pytest.raises(RecipeError) as caught:
            stage(extrafiles, debs.package(store, "a", folder("./etc/")), files=(self.extra(path),))
        assert caught.value.place == PLACE

    def test_a_source_that_is_not_there(self, stage, store, tmp_path):
        with pytest.raises(RecipeError, match="cannot be read"):
            stage(extrafiles, debs.package(store, "a"), files=(self.extra("/etc/x", None, tmp_path / "no"),))


class TestDpkgDatabase:
    def test_status_lists_and_sums(self, stage, store):
        package = debs.package(
            store,
            "libx",
            folder("./etc/"),
            file("./etc/x", b"1"),
            file("./lib/y", b"2"),
            file("./usr/lib/python3/z.py"),
            scripts={"conffiles": "/etc/x\n/etc/gone\n", "md5sums": "0" * 32 + "  lib/y\n" + "1" * 32 + "  usr/gone\n"},
            Multi_Arch="same",
            Depends="libc6",
        )
        draft = stage(dpkgdb, package)
        folder_ = dpkgdb.FOLDER
        status = text(draft, f"{folder_}/status")
        assert status.startswith(
            "Package: libx\nStatus: install ok installed\nVersion: 1.0\nConffiles:\n /etc/x c4ca4238a0b9"
        )
        assert "Depends: libc6\n" in status
        assert "\n a package" not in status.split("Description")[0]
        assert text(draft, f"{folder_}/info/libx:amd64.list") == "/.\n/etc\n/etc/x\n/lib/y\n/usr/lib/python3/z.py\n"
        assert text(draft, f"{folder_}/info/libx:amd64.md5sums") == "0" * 32 + "  lib/y\n"

    def test_paragraphs_are_parted_by_one_blank_line(self, stage, store):
        status = text(stage(dpkgdb, debs.package(store, "a"), debs.package(store, "b")), f"{dpkgdb.FOLDER}/status")
        assert [part.splitlines()[0] for part in status.split("\n\n")] == ["Package: a", "Package: b"]


class TestBusybox:
    PROGRAM = b"\x7fELF...\0[\0[[\0ash\0cat\0init\0mount\0modprobe\0pivot_root\0sh\0\0more"

    def test_names_are_read_from_the_program(self):
        names = ("[", "[[", "ash", "cat", "sh")
        assert busybox.applets(b"x\0" + b"\0".join(name.encode() for name in names) + b"\0\0") == names

    @pytest.mark.parametrize("data", [b"", b"\0[\0[[\0b\0a\0sh\0\0", b"\0[\0[[\0a\0\0", b"\0[\0[[\0sh"])
    def test_another_program_is_an_error(self, data):
        with pytest.raises(BuildError):
            busybox.applets(data)

    def test_links_only_where_nothing_else_is(self, stage, store):
        program = b"\0[\0[[\0ash\0cat\0init\0modprobe\0mount\0pivot_root\0poweroff\0sh\0\0"
        packages = [
            debs.package(store, "busybox", file("./bin/busybox", program, 0o755)),
            debs.package(store, "kmod", file("./sbin/modprobe"), file("./usr/bin/mount")),
        ]
        draft = stage(busybox, *packages)
        made = {node.path: node.target for node in draft if node.origin == "stage"}
        assert made == {
            "usr/bin/[": "busybox",
            "usr/bin/[[": "busybox",
            "usr/bin/ash": "busybox",
            "usr/bin/cat": "busybox",
            "usr/sbin/pivot_root": "../bin/busybox",
            "usr/sbin/poweroff": "../bin/busybox",
            "usr/bin/sh": "busybox",
        }
        # init and modprobe: the one is not ours to link, the other is there


class TestStubs:
    BASE = (file("./usr/bin/sh"), file("./usr/bin/busybox"), link("./usr/bin/vi", "busybox"))

    def test_names_that_a_package_has_are_left_alone(self, stage, store):
        own = (file("./usr/sbin/service"), link("./usr/bin/passwd", "busybox"), file("./usr/bin/crontab"))
        draft = stage(stubs, debs.package(store, "a", *self.BASE, *own))
        linked = {node.path for node in draft if node.target == "../lib/berth/habit"}
        assert linked >= {"usr/bin/apt", "usr/bin/systemctl", "usr/bin/passwd"}
        assert not linked & {"usr/bin/service", "usr/sbin/service", "usr/bin/crontab"}

    @pytest.mark.parametrize(
        ("typed", "advice"),
        [
            ("apt install nginx", "add the package to the recipe"),
            ("systemctl restart web.service", "berthctl service restart web"),
            ("systemctl status", "berthctl ps"),
            ("systemctl restart", "berthctl service restart NAME"),
            ("systemctl enable web", "config"),
            ("service web stop", "berthctl service stop web"),
            ("journalctl -u web -f", "berthctl logs web -f"),
            ("journalctl -xeu web.service", "berthctl logs"),
            ("journalctl -fu", "berthctl logs"),
            ("journalctl -u", "berthctl logs NAME"),
            ("journalctl -b -1 -k", "berthctl logs --boot -1 kernel"),
            ("shutdown -r now", "berthctl reboot"),
            ("shutdown -h now", "berthctl poweroff"),
            ("sudo -i", "group berth"),
            ("passwd", "config"),
            ("ifup eth0", "config"),
            ("nano /etc/hosts", "vi is here"),
            ("crontab -e", "container"),
        ],
    )
    def test_a_habit_is_answered_in_one_line(self, stage, store, tmp_path, typed, advice):
        draft = stage(stubs, debs.package(store, "a", *self.BASE))
        name, *words = typed.split()
        script = tmp_path / name
        script.write_bytes(draft.read(stubs.SCRIPT))
        done = subprocess.run(("sh", script, *words), capture_output=True, check=False, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (127, "")
        assert done.stderr.startswith(f"{name}: ")
        assert advice in done.stderr
        assert done.stderr.count("\n") == 1

    def test_vi_edits_and_says_what_becomes_of_etc(self, stage, store):
        draft = stage(stubs, debs.package(store, "a", *self.BASE))
        assert b'busybox vi "$@"' in draft.read("usr/bin/vi")

    def test_without_a_shell_there_is_none(self, stage, store):
        draft = stage(stubs, debs.package(store, "a", file("./usr/bin/x")))
        assert not [node for node in draft if node.origin == "stage"]


class TestCopyrights:
    def test_equal_texts_are_kept_once(self, stage, store):
        draft = stage(
            copyrights,
            debs.package(store, "a", file("./usr/share/doc/a/copyright", b"GPL"), file("./usr/lib/x", b"GPL")),
            debs.package(store, "b", file("./usr/share/doc/b/copyright", b"GPL")),
            debs.package(store, "c", file("./usr/share/doc/c/copyright", b"MIT")),
        )
        tree = draft.tree().by_path()
        shared = tree["usr/share/doc/b/copyright"]
        assert (shared.kind, shared.target) == (Kind.HARDLINK, "usr/share/doc/a/copyright")
        assert text(draft, "usr/share/doc/b/copyright") == "GPL"
        others = ("usr/share/doc/a/copyright", "usr/share/doc/c/copyright", "usr/lib/x")
        assert [tree[path].kind for path in others] == [Kind.FILE] * 3


class TestLayout:
    def test_etc_and_var_move_to_the_factory(self, stage, store):
        package = debs.package(
            store,
            "a",
            folder("./etc/x/", 0o700),
            file("./etc/x/y", b"1"),
            hard("./etc/x/z", "./etc/x/y"),
            file("./var/lib/a/b", b"2"),
            link("./etc/l", "../usr/lib/l"),
            file("./etc/machine-id"),
            file("./root/.profile"),
            folder("./run/a/"),
            file("./opt/p/q"),
            folder("./usr/local/bin/"),
            Item(name="./var/tmp/", kind=b"5", mode=0o1777),
        )
        tree = stage(layout, package).tree().by_path()
        for name in (
            "etc",
            "var",
            "run",
            "tmp",
            "proc",
            "sys",
            "dev",
            "home",
            "root",
            "srv",
            "opt",
            "mnt",
            "usr/local",
        ):
            assert tree[name].kind is Kind.DIRECTORY
            assert not [path for path in tree if path.startswith(name + "/")], name
        factory = {path.removeprefix("usr/share/factory/"): node for path, node in tree.items() if "factory" in path}
        assert factory["etc/x"].mode == 0o700
        assert factory["etc/x/z"].target == "usr/share/factory/etc/x/y"
        assert factory["etc/l"].target == "../usr/lib/l"
        assert factory["var/run"].target == "/run"
        assert factory["var/lib/dpkg"].target == "/usr/lib/berth/dpkg"
        assert factory["var/tmp"].mode == 0o1777
        assert {"root/.profile", "opt/p/q", "var/lib/a/b"} <= set(factory)
        assert "etc/machine-id" not in factory
        assert not [path for path in factory if path.startswith(("run/", "usr/local"))]
        assert (tree["tmp"].mode, tree["root"].mode) == (0o1777, 0o700)


class TestDraft:
    def draft(self, store, *nodes):
        tree = merge([debs.package(store, "a", *nodes)])
        return Draft(tree, store, "stage")

    def test_removing_a_file_leaves_its_hard_links_the_bytes(self, store):
        draft = self.draft(store, file("./usr/a", b"1"), hard("./usr/b", "./usr/a"), hard("./usr/c", "./usr/a"))
        draft.remove("usr/a")
        assert draft.read("usr/c") == b"1"
        kinds = {node.path: node.kind for node in draft.tree().entries if node.path.startswith("usr/")}
        assert kinds == {"usr/b": Kind.FILE, "usr/c": Kind.HARDLINK}

    def test_removing_a_folder_takes_what_is_below(self, store):
        draft = self.draft(store, file("./usr/x/a"), file("./usr/xy"), hard("./etc/b", "./usr/x/a"))
        draft.remove("usr/x")
        paths = {node.path for node in draft}
        assert {"usr/xy", "etc/b"} <= paths
        assert not {"usr/x", "usr/x/a"} & paths

    def test_what_lacks_is_named(self, store):
        with pytest.raises(BuildError, match="`stage` needs the file `/etc/x`"):
            self.draft(store).read("etc/x")

    def test_a_node_brings_its_folders(self, store):
        draft = self.draft(store)
        draft.put(replace(Entry(path="a/b/c", kind=Kind.FILE), origin="image"))
        tree = draft.tree()
        assert [node.path for node in tree.entries if node.path.startswith("a")] == ["a", "a/b", "a/b/c"]
        draft.file("a/b/c", "text")
        assert draft.get("a/b/c").sha256 == hashlib.sha256(b"text").hexdigest()


class TestByteCode:
    def test_where_one_compiler_fails_none_works_on(self, stage, store, tmp_path):
        """The one fails once the other is at work, which it would be for ten minutes."""
        loader, python = tmp_path / "usr/lib64/ld-linux-x86-64.so.2", tmp_path / "usr/bin/python3.13"
        for path in (loader, python):
            path.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        there = tmp_path / "there"
        loader.write_text(
            f"#!/bin/sh\nread -r line\ncase $line in\n"
            f"*a.py) while ! [ -s '{there}' ]; do sleep 0.01; done; exit 3;;\n"
            f"*) echo $$ > '{there}'; exec sleep 600;;\nesac\n"
        )
        loader.chmod(0o755)
        folder = "./usr/lib/python3.13"
        sources = debs.package(store, "p", file(f"{folder}/a.py", b"a = 1\n"), file(f"{folder}/b.py", b"b = 1\n"))
        with pytest.raises(ToolError, match="ended with status 3"):
            stage(bytecode, sources)
        with pytest.raises(ProcessLookupError):
            os.kill(int(there.read_text()), 0)


class TestModules:
    def test_tables_that_nothing_reads_are_left_out_and_counted(self, store):
        folder = "usr/lib/modules/6"
        brought = [file(f"./{folder}/{name}", b"12345") for name in ("modules.order", "modules.builtin", "a.ko")]
        draft = Draft(merge([debs.package(store, "k", *brought)]), store, "modules")
        modules.leave_unread(draft, folder, {"modules.symbols": 70, "modules.dep": 900, "modules.symbols.bin": 800})
        assert [node.path.rpartition("/")[2] for node in draft.below(folder)] == ["a.ko", "modules.builtin"]
        (saved,) = draft.saved
        assert (saved.files, saved.size) == (3, 5 + 70 + 800)
        assert saved.pattern.startswith("/usr/lib/modules/*/")
        assert "depmod" in saved.reason
        modules.leave_unread(draft, folder, {"modules.dep": 900})
        assert draft.saved == [saved]

    def test_modules_lie_plain_and_unsigned_where_the_recipe_cuts_their_signatures(self, store):
        code = b"\x7fELF module"
        signed = code + b"signature" + bytes(8) + (9).to_bytes(4, "big") + MAGIC
        tree = merge([debs.package(store, "k", file("./usr/lib/modules/6/a.ko.xz", lzma.compress(signed)))])
        draft = Draft(tree, store, "stage")
        [node] = [node for node in draft if node.kind is Kind.FILE]
        plain = modules.plain(draft, node)
        assert [(one.path, draft.read(one.path)) for one in draft if one.kind is Kind.FILE] == [(plain.path, code)]
        assert (plain.path, plain.size, plain.origin) == ("usr/lib/modules/6/a.ko", len(code), node.origin)
