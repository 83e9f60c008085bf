"""No maintainer script goes unanswered."""

import pytest
from fakes import debs
from fakes.debs import PLACE
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuildError, Place
from builder.fetch.store import Store
from builder.images.bake import bake
from builder.pipeline import Order, root_tree
from builder.progress import SilentProgress
from builder.recipe import load
from builder.recipe.model import BakedImage, PackageRequest, ScriptExcuse
from builder.rootfs.entry import Tree
from builder.rootfs.unpack import Unpacked
from builder.stages.inert import is_inert
from builder.stages.reviewed import REVIEWED, review_of
from builder.stages.scripts import answers, answers_of_image, idle_excuses
from builder.stages.shellwords import commands
from builder.steps import Steps
from builder.tools.call import Tools


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("adduser --system x", {"adduser"}),
        ("# adduser\n  # rm\necho 'rm -rf /; mkdir' # cp", {"echo"}),
        ("if adduser x; then rm y; elif ! mv a b; then cp a b; else ln; fi", {"adduser", "rm", "mv", "cp", "ln"}),
        ("a && b || c | d & e; f\ng", set("abcdefg")),
        ("X=1 Y='2 3' cmd", {"cmd"}),
        ("X=$(rm a) echo", {"rm", "echo"}),
        ('echo "$(rm "$(cat a)")"', {"echo", "rm", "cat"}),
        ("echo `rm \\`id\\``", {"echo", "rm", "id"}),
        ('echo "a\\`rm\\`b"', {"echo"}),
        (
            "case $1 in\n  configure|abort) rm ;;\n  (x) mv ;;\n *)\n  case y in z) cp;; esac\nesac; ln",
            {"rm", "mv", "cp", "ln"},
        ),
        ("f() { rm; }\nf x", {"rm"}),
        ("f () {\n rm\n}\nf", {"rm"}),
        ("cat > /etc/x <<EOF\nrm -rf /\nEOF\nmv", {"cat", "> /etc/x", "mv"}),
        ("cat <<-'EOF' >>/etc/y\n\trm $(reboot)\n\tEOF\nmv", {"cat", "> /etc/y", "mv"}),
        ("cat <<EOF\n$(rm)\nEOF", {"cat", "rm"}),
        ("echo a 2>&1 >/dev/null; echo > $x/y", {"echo", "> $x/y"}),
        ("echo a 2>/etc/z", {"echo", "> /etc/z"}),
        ("for i in rm mv; do cp $i; done", {"cp"}),
        ("while read x; do rm $x; done < list", {"read", "rm"}),
        ("sed -i s/a/b/ f; sed s/i/b/; sed -n -e x -es/i/j/; sed --in-place=x y; sed -ri x", {"sed -i", "sed"}),
        (
            ". /usr/share/x; exec rm -f y; xargs -0 rm; command -v z",
            {". /usr/share/x", "exec rm", "xargs rm", "command -v"},
        ),
        ('"$hook" run; $x; ${y} z', {"$hook", "$x", "${y}"}),
        ("a \\\n  b", {"a"}),
        ("( cd /x && rm y )", {"cd", "rm"}),
        ("{ rm; }", {"rm"}),
        ('eval "$(rm)"', {"eval $()", "rm"}),
        ("r''m x; \\mkdir", {"rm", "mkdir"}),
        ("echo ${x:-$(rm)}", {"echo", "rm"}),
        ("[ -e x ] && rm", {"[", "rm"}),
    ],
)
def test_every_command_is_found(text, found):
    assert commands(b"#!/bin/sh -e\n" + text.encode()) == found


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (b"#!/usr/bin/perl -w\nunlink 'x';", {"#!perl"}),
        (b"#! /usr/bin/env python3\n", {"#!python3"}),
        (b"\x7fELF\0\0", {"#!"}),
        (b"", {"#!"}),
    ],
)
def test_what_is_no_shell_script_is_not_read(script, found):
    assert commands(script) == found
    assert not any(is_inert(one) for one in found)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("command adduser foo", "command adduser"),
        ("command -p adduser foo", "command adduser"),
        ("trap 'adduser foo' EXIT", "adduser"),
        ('trap -- "adduser $x" 0', "adduser"),
        ('trap "$x" EXIT', "trap $x"),
        ("awk 'BEGIN{system(\"adduser foo\")}'", 'awk BEGIN{system("adduser foo")}'),
        ("awk '{print > \"/etc/x\"}' f", 'awk {print > "/etc/x"}'),
        ("awk '{print | \"sh\"}' f", 'awk {print | "sh"}'),
        ("awk -f prog f", "awk -f"),
        ('awk "$prog" f', "awk $prog"),
        ("sort -o /etc/passwd x", "sort -o"),
        ("sort -uo/etc/passwd x", "sort -uo/etc/passwd"),
        ("sort x --output=/etc/passwd", "sort --output=/etc/passwd"),
        ("sort --compress-program=x y", "sort --compress-program=x"),
        ("sort $x", "sort $x"),
        ("uniq a /etc/passwd", "uniq /etc/passwd"),
        ("date -s 2000-01-01", "date -s"),
        ("date 01010000", "date 01010000"),
        ("cat <(adduser foo)", "adduser"),
        ("cat < <(adduser foo)", "adduser"),
        ("echo a > >(adduser foo)", "adduser"),
        ("sed s/a/b/e f", "sed s/a/b/e"),
        ("sed 's/a/b/w /etc/x' f", "sed s/a/b/w /etc/x"),
        ("sed -n 'p;w /etc/x' f", "sed p;w /etc/x"),
        ("sed -e p -e '1e adduser' f", "sed 1e adduser"),
        ("sed --expression='e adduser' f", "sed e adduser"),
        ("sed -f prog f", "sed -f"),
        ("sed s/a/$x/ f", "sed s/a/$x/"),
        ("sed 's/[/]/x/;w f' y", "sed s/[/]/x/;w f"),
        ('sed p "$f"', "sed $f"),
        ("xargs sed s/a/b/", "xargs sed what it reads"),
        ("xargs -I cat adduser", "xargs -I"),
        ("env -u cat adduser", "env -u"),
        ("env sed -i s/a/b/ f", "env sed -i"),
        ("exec -a cat adduser", "exec -a"),
        ("dpkg -i x.deb", "dpkg -i"),
        ('dpkg "$x"', "dpkg $x"),
        ("unset -f adduser", "unset -f"),
        ("PATH=/opt cat x", "PATH="),
        ("export PATH=/opt", "export PATH=/opt"),
        ("[ -v 'a[$(adduser)]' ]", "[ a[$(adduser)]"),
        ('chmod(){ command chmod "$@"; }\nchmod x', "command chmod"),
        ("adduser x\nadduser(){ :; }", "adduser"),
        ("( adduser(){ :; }\n)\nadduser x", "adduser"),
        ("false && adduser(){ :; }\nadduser x", "adduser"),
        ("if false; then adduser(){ :; }\nfi\nadduser x", "adduser"),
        ("adduser(){ :; } | cat\nadduser x", "adduser"),
        ("'case' x in\nadduser x\n", "adduser"),
    ],
)
def test_what_is_not_wholly_understood_is_not_inert(text, form):
    found = commands(b"#!/bin/bash\n" + text.encode())
    assert form in found
    assert not is_inert(form)


@pytest.mark.parametrize(
    "text",
    [
        "sed -e 's/^[[:space:]]*//' -e 's|a|b|g' f | sort -u -k2 | uniq -c | awk '/^x:/ {print $2}'",
        "sed -n '/^\\/usr\\/lib\\/.*\\.py$/p' f; sed -e's/\\bat\\b/atd/g;$d'; sed '1,/x/!d'",
        "awk -F: '$3 == 0 {print}' f",
        'date -d "$x"; date -u +%s; dpkg --compare-versions "$2" lt 1; unset TZ; trap \'\' INT; trap - EXIT',
        "command -v adduser; command cat x; f(){ echo a; }\nf | cat; trap f EXIT; xargs -0 ls; env cat x",
        "local IFS=,; export LANG=C; [ -n \"$(cat x)\" ] && printf '%s' x",
    ],
)
def test_what_only_reads_is_inert(text):
    assert [one for one in commands(b"#!/bin/sh\n" + text.encode()) if not is_inert(one)] == []


@given(st.text("rm;|&()<>{}'\"`$\\\n #if=case in esac\t-i", max_size=60))
def test_any_text_is_read_to_its_end(text):
    assert commands(b"#!/bin/sh\n" + text.encode()) >= frozenset()


@given(st.lists(st.sampled_from(["echo a", "[ -n x ]", "Y=$(id)", "case x in y) true;; esac"]), max_size=4))
def test_a_command_is_found_wherever_it_stands(around):
    for place in range(len(around) + 1):
        lines = [*around[:place], "mkfs.ext4 /dev/sda", *around[place:]]
        for separator in ("\n", "; ", " && ", " || "):
            assert "mkfs.ext4" in commands(b"#!/bin/sh\n" + separator.join(lines).encode())


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


class Context:
    def __init__(self, *excuses):
        rows = tuple(ScriptExcuse(package=name, reason="because", place=PLACE) for name in excuses)
        self.recipe = debs.recipe(scripts=rows)


def unpacked_of(packages):
    return Unpacked(debs=tuple(packages), whole=Tree(), tree=Tree(), saved=(), cut=(), kernel_version="")


def asked(packages, *excuses):
    return {(one.package, one.script): one.answer for one in answers(unpacked_of(packages), Context(*excuses))}


def test_an_unknown_script_fails_with_package_script_and_what_to_write(store, tmp_path):
    packages = [
        debs.package(store, "a", scripts={"postinst": "#!/bin/sh\nmkfs.ext4 /dev/sda\n"}),
        debs.package(store, "b", scripts={"preinst": "#!/usr/bin/perl\n", "prerm": "#!/bin/sh\nrm x\n"}),
    ]
    with pytest.raises(BuildError) as caught:
        asked(packages)
    assert "a: postinst runs `mkfs.ext4`" in caught.value.message
    assert "b: preinst runs `#!perl`" in caught.value.message
    assert "prerm" not in caught.value.message
    _, _, pasted = str(caught.value.hint).partition("\n")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"extends: minimal\n{pasted}\n")
    assert [row.package for row in load(recipe).build.scripts][-2:] == ["a", "b"]
    assert set(asked(packages, "a", "b").values()) == {"recipe: because"}
    assert len(asked(packages, "[ab]")) == 2


def test_scripts_of_inert_commands_need_nobody(store):
    script = (
        "#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\ndeb-systemd-helper enable x >/dev/null || true\nexit 0\n"
    )
    found = asked([debs.package(store, "a", scripts={"postinst": script, "config": "#!/bin/sh\nrm x\n"})])
    assert found == {("a", "postinst"): "does nothing on a first installation"}


def test_a_reviewed_package_that_gained_a_command_fails(store):
    read = debs.package(store, "netbase", scripts={"postinst": "#!/bin/sh\ncat > /etc/hosts\n"})
    assert asked([read]) == {("netbase", "postinst"): "stage defaults"}
    grown = debs.package(store, "netbase", scripts={"postinst": "#!/bin/sh\ncat > /etc/hosts\nchattr +i /etc/hosts\n"})
    with pytest.raises(BuildError, match="netbase: postinst runs `chattr`"):
        asked([grown])


def test_triggers_are_answered_for(store):
    known = debs.package(store, "a", scripts={"triggers": "# comment\nactivate-noawait ldconfig\ninterest /x\n"})
    assert asked([known]) == {("a", "trigger ldconfig"): "stage ldcache"}
    with pytest.raises(BuildError, match="trigger other sets off what no stage knows"):
        asked([debs.package(store, "b", scripts={"triggers": "activate other\n"})])


def baked(store, tmp_path, excuses, **packages):
    """Bake an image of packages, and say who answers for the scripts of each."""
    image = BakedImage(
        name="web", oci=None, digest=None, packages=tuple(PackageRequest(name=name, place=PLACE) for name in packages),
        files=(), entrypoint=("/bin/sh",), command=(), environment=(), place=Place(file="r.yaml", line=7, column=3),
    )  # fmt: skip
    locked = [
        debs.locked(
            store, name.replace("_", "-"), debs.deb(name.replace("_", "-"), scripts=scripts), parts=("image-web",)
        )
        for name, scripts in packages.items()
    ]
    rows = tuple(ScriptExcuse(package=name, reason="because", place=PLACE) for name in excuses)
    recipe = debs.recipe(images=(image,), scripts=rows)
    tools = Tools(root=tmp_path, key="", packages=())
    lock = debs.lock(*locked)
    baked = bake(recipe, lock, store, SilentProgress())
    ((_, members),) = baked.packages
    try:
        found = answers_of_image(image, members, recipe)
    except BuildError:
        order = Order(
            recipe=recipe, lock=lock, lock_sha256="", store=store, tools=tools, steps=Steps(tmp_path), out=tmp_path,
            config=None, progress=SilentProgress(),
        )  # fmt: skip
        root_tree(order, unpacked_of(()), None, baked)  # a whole build says the same, and before any tool is needed
    assert {one.image for one in found} == {"web"}
    return {(one.package, one.script): one.answer for one in found}, [
        one.package for one in idle_excuses(recipe, found)
    ]


def test_the_packages_of_a_baked_image_are_asked_as_the_roots_are(store, tmp_path):
    script = {"postinst": "#!/bin/sh\nadduser --system www\n"}
    with pytest.raises(BuildError) as caught:
        baked(store, tmp_path, (), nginx=script)
    assert "image web" in caught.value.message
    assert "nginx: postinst runs `adduser`" in caught.value.message
    assert str(caught.value.place).startswith("r.yaml:7")
    assert baked(store, tmp_path, ("nginx",), nginx=script) == ({("nginx", "postinst"): "recipe: because"}, [])
    quiet = {"postinst": "#!/bin/sh\nexit 0\n", "triggers": "activate-noawait ldconfig\n"}
    answered, idle = baked(store, tmp_path, ("nginx", "ng*"), nginx=quiet)
    assert set(answered) == {("nginx", "postinst"), ("nginx", "trigger ldconfig")}
    assert idle == ["nginx", "ng*"]


def test_what_a_stage_does_in_the_root_nobody_does_in_an_image(store, tmp_path):
    script = {"postinst": "#!/bin/sh\nupdate-ca-certificates\n"}
    with pytest.raises(BuildError, match="ca-certificates: postinst is the work of stage cabundle, and no stage"):
        baked(store, tmp_path, (), ca_certificates=script)
    upgrades = {"postinst": "#!/bin/sh\nchmod 644 /etc/x\n"}
    answered, _ = baked(store, tmp_path, (), rsync=upgrades)
    assert answered[("rsync", "postinst")].startswith("only when an older version")


def test_rows_of_the_review_say_something():
    for name, row in REVIEWED.items():
        assert row.answer, name
        assert not [one for one in row.commands if is_inert(one)], name
    assert review_of("linux-image-6.12.1+deb13-cloud-amd64") is REVIEWED["linux-image-[0-9]*"]
    assert review_of("linux-image-amd64") is None
