"""What a preinst diverts is diverted, as dpkg would; what only the running script knows is refused."""

import pytest
from fakes import debs
from fakes.debs import PLACE, file, hard

from builder.errors import BuildError
from builder.fetch.store import Store
from builder.progress import SilentProgress
from builder.recipe.model import ScriptExcuse
from builder.rootfs.tree import Diversion
from builder.rootfs.unpack import build_tree
from builder.stages import dpkgdb
from builder.stages.diversions import diversions_of
from builder.stages.draft import Draft
from builder.stages.scripts import answers
from builder.stages.shellwords import commands

# of Debian's parallel 20221122+ds-2
PARALLEL = """#!/bin/sh
set -e

if [ "$1" = "install" ]; then
    dpkg-divert --package parallel --add --rename \\
                --divert /usr/bin/parallel.moreutils \\
                /usr/bin/parallel
    dpkg-divert --package parallel --add --rename \\
                --divert /usr/share/man/man1/parallel.moreutils.1.gz \\
                /usr/share/man/man1/parallel.1.gz
fi

exit 0
"""


class Context:
    def __init__(self, *excuses):
        self.recipe = debs.recipe(
            scripts=tuple(ScriptExcuse(package=name, reason="because", place=PLACE) for name in excuses)
        )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def built(store, preinst=PARALLEL):
    lock = debs.lock(
        debs.locked(
            store, "moreutils",
            debs.deb(
                "moreutils", file("./usr/bin/parallel", b"C", 0o755), hard("./usr/bin/twin", "./usr/bin/parallel"),
                file("./usr/bin/ts"), scripts={"md5sums": "0" * 32 + "  usr/bin/parallel\n"},
            ),
        ),
        debs.locked(
            store, "parallel", debs.deb("parallel", file("./usr/bin/parallel", b"perl"), scripts={"preinst": preinst})
        ),
    )  # fmt: skip
    return build_tree(lock, debs.recipe(kernel="none"), store, SilentProgress(), diversions_of)


def test_both_are_there_the_diverted_one_under_its_other_name(store):
    found = built(store)
    tree = found.tree.by_path()
    assert tree["usr/bin/parallel"].origin == "parallel"
    diverted = found.find("usr/bin/parallel.moreutils")
    assert (diverted.origin, store.read(diverted.sha256), diverted.mode) == ("moreutils", b"C", 0o755)
    assert store.read(found.find("usr/bin/twin").sha256) == b"C"
    (answer,) = answers(found, Context())
    assert (answer.package, answer.script) == ("parallel", "preinst")


def test_dpkgs_database_tells_them(store):
    found = built(store)
    draft = Draft(found.tree, store, "dpkgdb")
    dpkgdb.run(draft, Context(), found)
    assert draft.read(f"{dpkgdb.FOLDER}/diversions").decode() == (
        "/usr/bin/parallel\n/usr/bin/parallel.moreutils\nparallel\n"
        "/usr/share/man/man1/parallel.1.gz\n/usr/share/man/man1/parallel.moreutils.1.gz\nparallel\n"
    )
    assert "/usr/bin/parallel\n" in draft.read(f"{dpkgdb.FOLDER}/info/moreutils.list").decode()


ADD = "dpkg-divert --rename --divert /usr/bin/x.y /usr/bin/x"
SURE = [
    ADD,
    f'if [ "$1" = install ] || [ "$1" = upgrade ]; then\n{ADD}\nfi',
    f'if test "$1" = install -o "$1" = upgrade; then {ADD}; fi',
    f'case "$1" in\n  upgrade) echo;;\n  install|reinstall)\n    {ADD} >/dev/null\n  ;;\n  *)\n  exit 1;;\nesac',
    f"f() {{\n  echo\n}}\nf\n{ADD}",
    "dpkg-divert --package=a --divert=/bin/x.y --add --no-rename /bin/x",
]
UNSURE = [
    f'if [ "$1" = upgrade ]; then {ADD}; fi',
    f'if [ "$1" = install ] && [ -e /etc/x ]; then {ADD}; fi',
    f'if [ "$1" = install ]; then :; else {ADD}; fi',
    f'if [ "$1" = install ]; then if [ -e /x ]; then {ADD}; fi; fi',
    f'case "$1" in upgrade) {ADD};; esac',
    f'case "$2" in install) {ADD};; esac',
    f'case "$1" in *) ;; install) {ADD};; esac',
    f"[ -e /etc/x ] && {ADD}",
    f"[ -e /etc/x ] || exit 0\n{ADD}",
    f"f() {{ {ADD}; }}\nf",
    f"for i in a b; do {ADD}; done",
    f"( {ADD} )",
    "for i in x y; do dpkg-divert --divert /usr/bin/$i.z /usr/bin/$i; done",
    'dpkg-divert --divert "$x" /usr/bin/x',
    "dpkg-divert --package other --divert /usr/bin/x.y /usr/bin/x",
    "dpkg-divert --local /usr/bin/x",
    "dpkg-divert --remove /usr/bin/x",
    "dpkg-divert --divert /usr/../x /usr/bin/x",
    f'eval "{ADD}"',
    f"command {ADD}",
]


@pytest.mark.parametrize("text", SURE)
def test_a_literal_call_that_surely_runs_is_carried_out(store, text):
    package = debs.package(store, "a", scripts={"preinst": f"#!/bin/sh -e\n{text}\n"})
    assert diversions_of([package]) == (Diversion(package="a", path="usr/bin/x", to="usr/bin/x.y"),)
    assert "dpkg-divert" in commands(package.control_files["preinst"])


@pytest.mark.parametrize("text", UNSURE)
def test_any_other_call_diverts_nothing_and_is_refused(store, text):
    package = debs.package(store, "a", scripts={"preinst": f"#!/bin/bash\n{text}\n"})
    assert diversions_of([package]) == ()
    lock = debs.lock(debs.locked(store, "a", debs.deb("a", scripts={"preinst": f"#!/bin/bash\n{text}\n"})))
    found = build_tree(lock, debs.recipe(kernel="none"), store, SilentProgress(), diversions_of)
    with pytest.raises(BuildError, match=r"a: preinst runs `.*dpkg-divert"):
        answers(found, Context())
    answers(found, Context("a"))


def test_a_clash_says_that_a_diversion_was_not_understood(store):
    with pytest.raises(BuildError, match="both bring `/usr/bin/parallel`") as caught:
        built(store, "#!/bin/sh\nfor x in parallel; do dpkg-divert --divert /usr/bin/$x.y /usr/bin/$x; done\n")
    assert "the preinst of parallel calls `dpkg-divert`" in str(caught.value.hint)


def test_two_diversions_of_one_path_are_refused(store):
    two = [debs.package(store, name, scripts={"preinst": f"#!/bin/sh\n{ADD}\n"}) for name in ("a", "b")]
    with pytest.raises(BuildError, match="a and b both divert `/usr/bin/x`"):
        diversions_of(two)


def test_a_script_that_was_read_diverts_nothing(store):
    assert diversions_of([debs.package(store, "libc6", scripts={"preinst": f"#!/bin/sh\n{ADD}\n"})]) == ()
