"""Writing a tree as tar: another program reads the same back, and the same tree gives the same bytes."""

import hashlib
import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.errors import BuildError, VerificationError
from builder.fetch.store import Store
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.tarstream import write_tar

KINDS = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.HARDLINK: tarfile.LNKTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.CHARACTER: tarfile.CHRTYPE,
    Kind.BLOCK: tarfile.BLKTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def written(tree, store, mtime=1_700_000_000):
    out = io.BytesIO()
    write_tar(tree, store, out, mtime)
    return out.getvalue()


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [(one, archive.extractfile(one).read() if one.isreg() else b"") for one in archive]


def test_everything_comes_back(store):
    data = bytes(range(256)) * 8192  # more than is read at once
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    nodes = (
        Entry(path="", kind=Kind.DIRECTORY, mode=0o755),
        Entry(path="a", kind=Kind.FILE, mode=0o4755, uid=1, gid=2, size=len(data), sha256=store.put(data)),
        Entry(path="b", kind=Kind.HARDLINK, target="a"),
        Entry(path="c", kind=Kind.SYMLINK, target="t" * 150),
        Entry(path="d" * 120, kind=Kind.DIRECTORY, uid=3_000_000, gid=70_000),
        Entry(path="e", kind=Kind.CHARACTER, device=(1, 3)),
        Entry(path="f", kind=Kind.FILE, xattrs=(("security.capability", capability),)),
        Entry(path="Főtanúsítvány", kind=Kind.FIFO),
    )
    found = members(written(Tree(nodes), store))
    for node, (member, content) in zip(nodes, found, strict=True):
        assert member.name.removeprefix("./") == (node.path or ".")
        assert (member.type, member.mode, member.uid, member.gid) == (KINDS[node.kind], node.mode, node.uid, node.gid)
        assert (member.uname, member.gname, member.mtime) == ("", "", 1_700_000_000)
        assert member.linkname.removeprefix("./") == node.target
        assert (member.devmajor, member.devminor) == node.device
        assert content == (data if node.path == "a" else b"")
    raw = found[6][0].pax_headers["SCHILY.xattr.security.capability"]
    assert raw.encode("utf-8", "surrogateescape") == capability


def test_a_link_before_its_file_is_refused(store):
    nodes = (Entry(path="a", kind=Kind.HARDLINK, target="b"), Entry(path="b", kind=Kind.FILE))
    with pytest.raises(BuildError, match="before its file"):
        written(Tree(nodes), store)


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_damaged_content_never_gets_into_an_image(store, size):
    sha256 = store.put(b"x" * size)
    store.path(sha256).chmod(0o644)
    store.path(sha256).write_bytes(b"y" * size)
    with pytest.raises(VerificationError):
        written(Tree((Entry(path="a", kind=Kind.FILE, size=size, sha256=sha256),)), store)


def test_an_entry_that_states_another_size_is_refused(store):
    sha256 = store.put(b"xyz")
    with pytest.raises(BuildError, match="has 3 bytes"):
        written(Tree((Entry(path="a", kind=Kind.FILE, size=4, sha256=sha256),)), store)


paths = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=130)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(paths.filter(lambda text: text not in (".", "..")), unique=True, max_size=6),
    st.tuples(st.integers(0, 0o7777), st.integers(0, (1 << 32) - 2), st.integers(0, (1 << 33) - 1)),
    st.binary(max_size=600),
)
def test_any_name_owner_and_attribute(store, names, numbers, value):
    mode, uid, mtime = numbers
    nodes = tuple(
        Entry(path=name, kind=Kind.FILE, mode=mode, uid=uid, gid=uid // 2, xattrs=(("user.x", value),))
        for name in sorted(names)
    )
    data = written(Tree(nodes), store, mtime)
    assert hashlib.sha256(data).digest() == hashlib.sha256(written(Tree(nodes), store, mtime)).digest()
    assert len(data) % 512 == 0
    for node, (member, _) in zip(nodes, members(data), strict=True):
        assert member.name == f"./{node.path}"
        assert (member.mode, member.uid, member.gid, member.mtime) == (mode, uid, uid // 2, mtime)
        assert member.pax_headers["SCHILY.xattr.user.x"].encode("utf-8", "surrogateescape") == value
