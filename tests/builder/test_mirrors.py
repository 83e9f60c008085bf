"""Which mirror is asked, and what is taken from apt's sources."""

import os
from pathlib import Path

import pytest

from builder.errors import BerthError, FetchError, InputError, UsageError
from builder.fetch.aptsources import read_sources
from builder.fetch.mirrors import Mirrors, find_mirrors


def found(tmp_path: Path, *, given: tuple[str, ...] = (), config: str | None = None, **variables: str) -> Mirrors:
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    return find_mirrors(given, environment=variables, config=tmp_path / "config.yaml", apt=tmp_path / "apt")


def apt(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "apt"
    (folder / "sources.list.d").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / "sources.list" if name == "list" else folder / "sources.list.d" / name.replace("_", ".")
        path.write_text(text)
    return folder


DEB822 = """\
# made by the installer
Types: deb deb-src
URIs: http://one.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://sec.example/debian-security/
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def test_the_order(tmp_path: Path) -> None:
    apt(tmp_path, debian_sources=DEB822)
    config = "mirror: http://config.example/debian\n"
    everything = {"BERTH_MIRROR": "http://variable.example/debian"}
    mirrors = found(tmp_path, given=("http://given.example/debian/",), config=config, **everything)
    assert (mirrors.main, mirrors.security) == ("http://given.example/debian", "http://given.example/debian-security")
    assert found(tmp_path, config=config, **everything).main == "http://variable.example/debian"
    assert found(tmp_path, config=config).main == "http://config.example/debian"
    (tmp_path / "config.yaml").unlink()
    mirrors = found(tmp_path)
    assert (mirrors.main, mirrors.security) == ("http://one.example/debian", "http://sec.example/debian-security")
    assert mirrors.url("security", "dists/x") == "http://sec.example/debian-security/dists/x"


def test_a_user_without_a_home_has_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # nobody's
    apt(tmp_path, debian_sources=DEB822)
    assert find_mirrors(environment={}, apt=tmp_path / "apt").main == "http://one.example/debian"


@pytest.mark.parametrize("value", ["http://a.example/d http://b.example/s", "http://a.example/d,http://b.example/s"])
def test_a_second_address_is_the_security_archive(tmp_path: Path, value: str) -> None:
    mirrors = found(tmp_path, BERTH_MIRROR=value)
    assert (mirrors.main, mirrors.security) == ("http://a.example/d", "http://b.example/s")


@pytest.mark.parametrize("value", ["https://a.example", "https://a.example/", "http://a.example:8000"])
def test_a_host_alone_has_no_archive_beside_it(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="names a host") as caught:
        found(tmp_path, BERTH_MIRROR=value)
    assert "/debian" in (caught.value.hint or "")
    apt(tmp_path, list=f"deb {value} trixie main\n")
    with pytest.raises(FetchError):
        found(tmp_path)
    both = found(tmp_path, BERTH_MIRROR=f"{value} {value}/security")
    assert (both.main, both.security) == (value.rstrip("/"), f"{value}/security")


@pytest.mark.parametrize(
    "value", ["ftp://a/b", "a.example/debian", "http://", "http://[::1", "file:///srv", "http://a/?b", "x " * 3]
)
def test_what_is_no_address(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        found(tmp_path, BERTH_MIRROR=value)
    assert "BERTH_MIRROR" in caught.value.message
    assert caught.value.hint


def test_a_list_in_the_config(tmp_path: Path) -> None:
    assert found(tmp_path, config="mirror: [http://a.example/d, http://b.example/s]").security == "http://b.example/s"
    apt(tmp_path, debian_sources=DEB822)
    assert found(tmp_path, config="something: else").main == "http://one.example/debian"
    assert found(tmp_path, config="").main == "http://one.example/debian"


@pytest.mark.parametrize(
    "text", ["mirror: 3", "mirror: []", "mirror: {a: b}", "mirror: [", "mirror: [1, 2]", "\x00", "a: b: c"]
)
def test_a_config_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        found(tmp_path, config=text)
    assert caught.value.place is not None
    assert caught.value.place.file.endswith("config.yaml")


@pytest.mark.parametrize(
    "line",
    [
        "deb http://one.example/debian trixie main",
        "deb [arch=amd64 signed-by=/etc/debian-archive-keyring.gpg] http://one.example/any bookworm main contrib",
        "  deb\thttp://one.example/debian/   stable   main  # ours",
        "deb-src http://src.example/debian trixie main\ndeb http://one.example/debian trixie main",
        "deb cdrom:[Debian]/ trixie main\ndeb http://one.example/debian trixie-updates main",
        "#deb http://old.example/debian trixie main\ndeb http://one.example/debian sid main",
    ],
)
def test_one_line_sources(tmp_path: Path, line: str) -> None:
    mirror = read_sources(apt(tmp_path, list=line + "\n"))
    assert mirror is not None
    assert mirror.main.startswith("http://one.example/")
    assert mirror.security is None


@pytest.mark.parametrize(
    "line",
    [
        "deb http://archive.ubuntu.example/ubuntu noble main universe",
        "deb https://download.docker.example/linux/debian bookworm stable",
        "deb https://packages.vendor.example/debian/12/prod bookworm main",
        "deb https://vendor.example/apt cloud-sdk-bookworm main",
        "deb http://http.kali.example/kali kali-rolling main",
        "deb file:/srv/debian trixie main",
        "deb http://one.example/debian ./",
        "deb http://one.example/debian trixie contrib",
        "garbage",
        "",
    ],
)
def test_what_is_not_debian_is_not_taken(tmp_path: Path, line: str) -> None:
    apt(tmp_path, list=line + "\n")
    assert read_sources(tmp_path / "apt") is None
    with pytest.raises(FetchError) as caught:
        found(tmp_path)
    assert "BERTH_MIRROR" in (caught.value.hint or "")


def test_disabled_and_foreign_paragraphs(tmp_path: Path) -> None:
    text = "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n\n" + DEB822
    mirror = read_sources(apt(tmp_path, a_sources=text, b_save="deb http://x/debian trixie main"))
    assert mirror is not None
    assert mirror.main == "http://one.example/debian"


def test_a_cloud_image_names_a_list_of_mirrors(tmp_path: Path) -> None:
    (tmp_path / "debian.list").write_text("# comment\nhttps://cloud.example/debian\n")
    text = f"Types: deb\nURIs: mirror+file://{tmp_path}/debian.list\nSuites: trixie\nComponents: main\n"
    mirror = read_sources(apt(tmp_path, debian_sources=text))
    assert mirror is not None
    assert mirror.main == "https://cloud.example/debian"


def test_no_apt_at_all(tmp_path: Path) -> None:
    with pytest.raises(BerthError):
        found(tmp_path)
