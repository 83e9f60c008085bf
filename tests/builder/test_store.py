"""The content store: right bytes or none, whatever happens to those who write."""

import errno
import hashlib
import io
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from builder.cli.cache import locked_here
from builder.errors import BerthError, VerificationError
from builder.fetch.store import BlobDamaged, BlobMissing, Store, default_root, explain_full_disk
from builder.fetch.upkeep import cache_info, clean, prune
from builder.lock.file import read_lock

ROOT = Path(__file__).resolve().parents[2]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "störe with blanks")


def test_put_and_read(store: Store) -> None:
    name = store.put(b"content")
    assert name == digest(b"content")
    assert store.has(name)
    assert store.read(name) == b"content"
    with store.open(name) as stream:
        assert stream.read() == b"content"
    assert store.path(name).parent.name == name[:2]
    assert store.put(b"content") == name


def test_what_is_not_there(store: Store) -> None:
    missing = digest(b"nothing")
    assert not store.has(missing)
    with pytest.raises(BlobMissing):
        store.read(missing)
    with pytest.raises(BlobMissing):
        store.open(missing)


@pytest.mark.parametrize("reader", [lambda s, n: s.read(n), lambda s, n: s.open(n)])
def test_a_damaged_file_is_found_and_taken_away(store: Store, reader) -> None:
    name = store.put(b"content")
    path = store.path(name)
    path.chmod(0o600)
    path.write_bytes(b"c0ntent")
    with pytest.raises(BlobDamaged) as caught:
        reader(store, name)
    assert caught.value.sha256 == name
    assert str(path) in caught.value.message
    assert not store.has(name)
    store.put(b"content")
    assert store.read(name) == b"content"


def test_verify_takes_an_emptied_file_away(store: Store) -> None:
    name = store.put(b"content")
    store.path(name).chmod(0o600)
    store.path(name).write_bytes(b"")
    assert not store.verify(name)
    assert not store.has(name)


def test_a_stream_must_keep_its_promises(store: Store) -> None:
    data = b"x" * 3_000_000
    assert store.put_stream(io.BytesIO(data), sha256=digest(data), size=len(data)) == digest(data)
    for stream, promise in (
        (io.BytesIO(b"other"), {"sha256": digest(b"else")}),
        (io.BytesIO(b"short"), {"size": 6}),
        (io.BytesIO(b"too long"), {"size": 3}),
    ):
        with pytest.raises(VerificationError):
            store.put_stream(stream, **promise)
    assert not store.has(digest(b"other"))
    assert not list(store.scratch().parent.glob("put-*"))


def test_a_stream_without_end_is_not_read_on(store: Store) -> None:
    class Endless:
        given = 0

        def read(self, size: int) -> bytes:
            self.given += size
            return b"x" * size

    endless = Endless()
    with pytest.raises(VerificationError):
        store.put_stream(endless, size=10)
    assert endless.given < 10_000_000


def test_scratch_is_private_and_swept_when_its_owner_is_gone(store: Store) -> None:
    mine = store.scratch()
    assert mine.is_dir()
    assert mine != store.scratch()
    (mine / "file").write_bytes(b"in work")
    dead = store.root / "scratch" / "left-by-a-killed-build"
    dead.mkdir()
    (dead / "rest").write_bytes(b"rest")
    assert Store(store.root).sweep() == 1
    assert not dead.exists()
    assert (mine / "file").exists()


def test_scratch_goes_with_its_process(store: Store) -> None:
    script = (
        "from builder.fetch.store import Store; from pathlib import Path; "
        f"print(Store(Path({str(store.root)!r})).scratch())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()


WRITER = textwrap.dedent("""
    import io, os, random, sys
    from pathlib import Path
    from builder.fetch.store import Store
    store = Store(Path(sys.argv[1]))
    print("ready", flush=True)
    chance = random.Random(1)
    while True:
        data = chance.randbytes(chance.randrange(200000))
        store.put(data)
        store.put_stream(io.BytesIO(data + b"x"))
""")


@pytest.mark.long
def test_killed_at_seeded_instants_the_store_has_only_right_bytes(store: Store) -> None:
    chance = random.Random(20)
    for _ in range(10):
        pair = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(store.root)], stdout=subprocess.PIPE) for _ in range(2)
        ]
        for process in pair:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.random() * 0.05)
        for process in pair:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
    blobs = [path for path in (store.root / "blobs").rglob("*") if path.is_file()]
    assert blobs
    for path in blobs:
        assert digest(path.read_bytes()) == path.name
    store.sweep()
    assert not list((store.root / "scratch").iterdir())


def test_a_full_disk_is_said_with_a_way_out(store: Store) -> None:
    with pytest.raises(BerthError) as caught, explain_full_disk(store.root):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "No space left" in caught.value.message
    assert "cache prune" in (caught.value.hint or "")


def test_what_did_not_fit_leaves_nothing(store: Store) -> None:
    script = textwrap.dedent(f"""
        import io, resource, signal
        from pathlib import Path
        from builder.errors import BerthError
        from builder.fetch.store import Store
        store = Store(Path({str(store.root)!r}))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
        for put in (lambda: store.put(b"y" * 300_000), lambda: store.put_stream(io.BytesIO(b"z" * 300_000))):
            try:
                put()
            except BerthError as error:
                print(error.message)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("cannot write to the store") == 2, done.stdout + done.stderr
    assert not [path for path in (store.root / "blobs").rglob("*") if path.is_file()]


def test_a_store_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BerthError) as caught:
        Store(tmp_path / "file" / "store")
    assert "BERTH_CACHE" in (caught.value.hint or "")


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_CACHE", "/some/where")
    assert default_root() == Path("/some/where")
    monkeypatch.delenv("BERTH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_root() == Path("/xdg/berth")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_root() == Path("/home/me/.cache/berth")


@pytest.mark.parametrize("chosen", [None, "~nosuchuser/x"])
def test_a_user_without_a_home_is_told_to_choose(monkeypatch: pytest.MonkeyPatch, chosen: str | None) -> None:
    for name in ("BERTH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv("BERTH_CACHE", chosen)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # nobody's
    with pytest.raises(BerthError, match="there is no place for the store") as caught:
        default_root()
    assert "BERTH_CACHE=" in (caught.value.hint or "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    if not chosen:
        assert default_root() == Path("/xdg/berth")


def test_upkeep(store: Store) -> None:
    old, kept, fresh = store.put(b"old"), store.put(b"kept"), store.put(b"fresh")
    long_ago = time.time() - 40 * 86400
    for name in (old, kept):
        os.utime(store.path(name), (long_ago, long_ago))
    (store.root / "partial" / ("0" * 64)).write_bytes(b"half")
    os.utime(store.root / "partial" / ("0" * 64), (long_ago, long_ago))
    info = cache_info(store)
    assert (info.blobs, info.blob_bytes, info.partial, info.partial_bytes) == (3, 12, 1, 4)
    assert info.oldest > 39 * 86400
    removed = prune(store, unused_for=30 * 86400, keep=[kept])
    assert (removed.files, removed.size) == (2, 7)
    assert not store.path(old).exists()
    assert store.path(kept).exists()
    assert store.has(fresh)
    clean(store)
    assert cache_info(store).blobs == 0


def test_using_a_blob_renews_it(store: Store) -> None:
    names = [store.put(text) for text in (b"1", b"2", b"3")]
    long_ago = time.time() - 40 * 86400
    for name in names:
        os.utime(store.path(name), (long_ago, long_ago))
    store.has(names[0])
    store.read(names[1])
    store.open(names[2]).close()
    assert prune(store, unused_for=30 * 86400).files == 0


def test_nobody_empties_a_store_that_another_works_with(store: Store) -> None:
    kept, other = store.put(b"kept"), store.put(b"other")
    program = (
        "import sys; from pathlib import Path; from builder.fetch.store import Store;"
        "store = Store(Path(sys.argv[1])); store.hold(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"held\n"
        store.hold()
        for emptying in (clean, partial(prune, unused_for=0)):
            with pytest.raises(BerthError, match="another command works with the store"):
                emptying(store)
        assert prune(store, unused_for=30 * 86400).files == 0  # takes nothing that was used of late: needs nobody gone
        assert store.has(kept)
        assert store.has(other)
        user.communicate()
    assert prune(store, unused_for=0, keep=[kept], now=time.time() + 1).files == 1
    assert store.has(kept)
    assert not store.has(other)
    assert clean(store).files == 1


def test_what_the_locks_of_a_folder_name_is_not_old(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/minimal.lock").write_bytes((ROOT / "recipes/minimal.lock").read_bytes())
    (tmp_path / "uv.lock").write_text("version = 1\n")
    assert locked_here(tmp_path) == {package.sha256 for package in read_lock(ROOT / "recipes/minimal.lock").packages}
