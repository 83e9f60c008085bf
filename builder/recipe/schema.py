"""The keys of a recipe: what each takes, and what it is for. `berth schema recipe` prints this table."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from builder.recipe.patterns import compile_glob, expand
from init.dialects.diagnostic import Report
from init.dialects.position import Mapping, Node
from init.dialects.record import Key, Named, Record
from init.dialects.shape import INVALID, Anything, Choice, Custom, Integer, Listing, Size, Text
from init.formats.offer import NAME

KERNELS = ("full", "cloud", "none")
ENGINES = ("none", "crun", "podman", "docker")
# Each of EROFS's algorithms with the levels that mkfs.erofs 1.8 takes; lzma's from 100 on are its extreme ones.
LEVELS = {
    "zstd": (range(23),),
    "lz4hc": (range(13),),
    "lzma": (range(10), range(100, 110)),
    "none": (range(110),),
}
ALGORITHMS = tuple(LEVELS)

_PACKAGE = Text(what="a package name", pattern=r"[a-z0-9][a-z0-9+.-]+")
_PACKAGE_GLOB = Text(what="a package name, or a pattern of such names", pattern=r"[a-z0-9*?\[][a-z0-9+.*?\[\]-]*")
_EXCUSED = replace(
    _PACKAGE_GLOB,
    check=lambda text: (
        None
        if re.search(r"[a-z0-9][a-z0-9+.-]", re.sub(r"\[[^]]*\]", "*", text)) or not re.search(r"[*?\[]", text)
        else "expected a pattern with two letters of the names that it is for: one for all packages asks nobody"
    ),
)
_REASON = Text(what="the reason, in a few words", empty=False)


def _absolute(text: str) -> str | None:
    if not text.startswith("/") or text.endswith("/"):
        return "expected an absolute path of a file"
    return "a path without `.` and `..` parts" if {"", ".", ".."} & set(text[1:].split("/")) else None


def _pattern(text: str) -> str | None:
    return _unread(text) or (None if text.startswith("/") else "expected a pattern of whole paths, beginning with `/`")


def _module_pattern(text: str) -> str | None:
    wrong = "expected a pattern of paths below `kernel/`, without a leading `/`"
    return _unread(text) or (wrong if text.startswith("/") else None)


def _unread(text: str) -> str | None:
    try:
        for pattern in expand(text):
            compile_glob(pattern)
    except ValueError as error:
        return str(error)
    return None


def _mode(node: Node, path: str, report: Report) -> Any:
    text = Text(what="an octal mode such as `0644`", pattern=r"(0o?)?[0-7]{3,4}").read(node, path, report)
    return text if text is INVALID else int(text.replace("o", ""), 8)


_MODE = Custom(_mode, {"type": "string", "pattern": "^(0o?)?[0-7]{3,4}$"})
_PATTERN = Text(what="a pattern", check=_pattern)
_MODULES = Text(what="a pattern", check=_module_pattern)

EXTRA_FILE = Record(
    what="text, or a map with `content` or `source`",
    keys={
        "content": Key(shape=Text(what="the file's text"), doc="the file's text"),
        "source": Key(shape=Text(what="a path", empty=False), doc="a file beside the recipe"),
        "mode": Key(shape=_MODE, doc="permissions, octal; 0644 by default"),
        "uid": Key(shape=Integer(most=65534), doc="owner, 0 by default"),
        "gid": Key(shape=Integer(most=65534), doc="group, 0 by default"),
    },
)


def _file(node: Node, path: str, report: Report) -> Any:
    if not isinstance(node, Mapping):
        return Text(what=EXTRA_FILE.what).read(node, path, report)
    fields = EXTRA_FILE.read(node, path, report)
    if fields is not INVALID and ("content" in fields) == ("source" in fields):
        report.error(node.place, path, "expected one of `content` and `source`", code="value")
        return INVALID
    return fields


FILES = Named(
    value=Custom(_file, {"anyOf": [{"type": "string"}, EXTRA_FILE.schema()]}),
    name=Text(what="an absolute path", check=_absolute),
    what="a map from path to text",
)

IMAGE = Record(
    what="a map with `oci`, or with `packages` and `files`",
    keys={
        "oci": Key(shape=Text(empty=False), doc="an OCI layout, a folder or a tar file beside the recipe"),
        "digest": Key(
            shape=Text(what="a digest such as `sha256:…`", pattern=r"sha256:[0-9a-f]{64}"), doc="the manifest's digest"
        ),
        "packages": Key(shape=Listing(_PACKAGE), doc="Debian packages to make the image from"),
        "files": Key(shape=FILES, doc="files to make the image from"),
        "entrypoint": Key(shape=Listing(Text()), doc="the program and its first arguments"),
        "command": Key(shape=Listing(Text()), doc="further arguments, which a container may replace"),
        "environment": Key(shape=Named(value=Text()), doc="environment variables"),
    },
)


def _image(node: Node, path: str, report: Report) -> Any:
    fields = IMAGE.read(node, path, report)
    if fields is INVALID:
        return INVALID
    made = [name for name in ("packages", "files") if name in fields]
    if ("oci" in fields) == bool(made):
        report.error(node.place, path, "expected `oci` with `digest`, or `packages` and `files`", code="value")
        return INVALID
    if "oci" in fields and "digest" not in fields:
        report.error(node.place, path, "the key `digest` is missing: a baked image is locked by it", code="missing")
        return INVALID
    if made and "entrypoint" not in fields:
        report.error(node.place, path, "the key `entrypoint` is missing", code="missing")
        return INVALID
    return fields


def _dependencies(node: Node, path: str, report: Report) -> Any:
    return Listing(_PACKAGE, single=True).read(node, path, report)


def _cut(pattern: Text, **more: Key) -> Record:
    return Record(
        what="a map with `pattern` and `reason`",
        keys=more
        | {
            "pattern": Key(
                shape=pattern, required=True, doc="what is left out; `**` crosses slashes, braces list choices"
            ),
            "reason": Key(shape=_REASON, required=True, doc="why; `berth inspect --all` shows it"),
            "keep": Key(shape=Listing(pattern), doc="what stays all the same"),
        },
    )


_CLUSTER = Integer(least=4096, most=1048576)
_HOT = Record(
    what="a map with `paths`, and with `algorithm`, `level` or `cluster`",
    keys={
        "algorithm": Key(shape=Choice(ALGORITHMS[:-1]), doc="EROFS's algorithm for these; by default that of the rest"),
        "level": Key(shape=Integer(most=109), doc="its level, one for each algorithm of an image"),
        "cluster": Key(
            shape=_CLUSTER, doc="bytes compressed together, a power of two, no more than the others' cluster"
        ),
        "paths": Key(shape=Listing(_PATTERN), doc="which files, as patterns", required=True),
    },
)

BUILD = Record(
    what="a map: the `build` half",
    keys={
        "version": Key(
            shape=Text(pattern=r"[A-Za-z0-9][A-Za-z0-9.+~-]{0,62}", what="a version"),
            doc="the release's version; by default from the lock's date",
        ),
        "class": Key(
            shape=Text(pattern=NAME, what="small letters, digits, `.`, `_` and `-`, at most 64"),
            doc="which machines take this as an update; RECIPE-ARCH by default",
        ),
        "suite": Key(
            shape=Text(pattern=r"[a-z][a-z0-9-]{1,30}", what="the name of a Debian suite"), doc="Debian's suite"
        ),
        "architecture": Key(shape=Choice(("amd64",)), doc="the machine's architecture"),
        "kernel": Key(shape=Choice(KERNELS), doc="`full` for metal and VMs, `cloud` for VMs only"),
        "engine": Key(shape=Choice(ENGINES), doc="what runs containers"),
        "packages": Key(shape=Listing(_PACKAGE), doc="Debian packages, without what they only recommend"),
        "images": Key(
            shape=Named(
                value=Custom(_image, IMAGE.schema()),
                name=Text(pattern=r"[a-z0-9][a-z0-9._/-]{0,120}(:[A-Za-z0-9._-]{1,60})?", what="an image's name"),
            ),
            doc="container images that are part of the slot",
        ),
        "files": Key(shape=FILES, doc="files added to the root"),
        "exclude": Key(shape=Listing(_cut(_PATTERN)), doc="paths left out, each with its reason"),
        "modules": Key(
            shape=Listing(
                _cut(_MODULES, kernel=Key(shape=Choice(KERNELS), doc="the kernel that the rule is for (default: both)"))
            ),
            doc="kernel modules left out, each with its reason",
        ),
        "module_signatures": Key(
            shape=Choice(("keep", "cut")),
            doc="`cut` loads the root's modules several times as fast; they don't load under lockdown then",
        ),
        "compression": Key(
            shape=Record(
                keys={
                    "algorithm": Key(shape=Choice(ALGORITHMS), doc="EROFS's algorithm"),
                    "level": Key(shape=Integer(most=109), doc="its level"),
                    "cluster": Key(shape=_CLUSTER, doc="bytes compressed together, a power of two"),
                    "hot": Key(
                        shape=Listing(_HOT, what="a list of maps, each with `paths`"),
                        doc="files that are read at each start, compressed in another way than the rest; "
                        "the first record that has a file decides",
                    ),
                }
            ),
            doc="how the root is compressed",
        ),
        "scripts": Key(
            shape=Listing(
                Record(
                    keys={
                        "package": Key(shape=_EXCUSED, required=True, doc="the package, or a pattern"),
                        "reason": Key(shape=_REASON, required=True),
                    }
                )
            ),
            doc="packages whose maintainer scripts have nothing to do here, in the root and in images",
        ),
        "waive": Key(
            shape=Listing(
                Record(
                    keys={
                        "package": Key(shape=_PACKAGE_GLOB, required=True, doc="the package, or a pattern"),
                        "depends": Key(
                            shape=Custom(_dependencies, Listing(_PACKAGE, single=True).schema()),
                            required=True,
                            doc="what it can do without",
                        ),
                        "reason": Key(shape=_REASON, required=True),
                    }
                )
            ),
            doc="dependencies that the image can do without",
        ),
        "budget": Key(shape=Size(least=1), doc="most bytes of the ISO; more fails the build"),
        "root_mib": Key(shape=Integer(least=64, most=65536), doc="MiB of a root slot on the disk"),
        "cmdline": Key(
            shape=Listing(
                Text(
                    what="a word of the kernel's command line",
                    check=lambda text: (
                        None
                        if re.fullmatch(r"\S+", text) and not text.startswith("berth.")
                        else "expected one word that does not begin with `berth.`"
                    ),
                )
            ),
            doc="words added to the kernel's command line",
        ),
        "update_root": Key(
            shape=Text(empty=False), doc="the TUF root that the machine trusts: a file beside the recipe, or its text"
        ),
    },
)

RECIPE = Record(
    what="a map with `build` and `machine`",
    keys={
        "extends": Key(shape=Text(empty=False), doc="the recipe that this one adds to"),
        "build": Key(shape=BUILD, doc="what to build", null=False),
        "machine": Key(shape=Anything(), doc="how the machine is configured when nobody says otherwise"),
    },
    elsewhere={
        **{name: f"`build.{name}`" for name in BUILD.keys},
        "containers": "`machine.containers`",
        "hostname": "`machine.hostname`",
    },
)
