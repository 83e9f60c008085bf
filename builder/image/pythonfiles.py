"""Which Python files PID 1 needs in the initramfs, found by following its imports in the byte code that it will run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from builder.errors import BuildError
from init.formats.release import APP_PATH

if TYPE_CHECKING:
    from builder.image.treeview import TreeView

ROOT_MODULES = ("init.pid1.main", "init.pid1.broken")  # what `/init` imports
OWN_PACKAGE = "init."
# Python's start and text files import these by name, which no import statement shows.
BY_NAME = ("encodings", "encodings.aliases", "encodings.utf_8", "encodings.ascii", "encodings.latin_1")
LANDMARK = "os"  # frozen into the interpreter, yet its file is how Python finds its own folder (getpath.py)
# Modules that their importers try or ask for in a rare case only, why they can be left out, and what that saves.
DISPENSABLE = {
    "_hashlib": "hashlib has the same functions built in; 7 MB of libcrypto and libzstd",
    "_uuid": "uuid does without; libuuid",
    "logging": "hashlib complains through it where a function is missing; 250 kB of byte code",
    "platform": "uuid asks it on other systems than Linux",
}
# The root has them: what goes on there, and what is started in a fork, is imported there. `init.light` stands in the
# place of `dataclasses`, which needs `inspect`, `ast` and `dis`, half of the library's byte code; `init.lightjson` in
# that of `json`, which needs `re`, `enum` and `collections`, and is asked only where a text has a fault.
LATER = (
    "dataclasses", "json", "init.pid1.running", "init.containers.ahead", "init.containers.run", "init.containers.probe",
)  # fmt: skip
_EXTENSION = re.compile(r"^(?P<name>\w+)(\.cpython-\d+[\w-]*|\.abi3)?\.so$")


class Runner(Protocol):
    """What of the tools tree is needed here."""

    def run(self, tool: str, *arguments: str, input: bytes | None = None) -> bytes:  # noqa: A002 - its name there
        """Run a tool and return what it printed; raise ToolError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """A module in the tree: the path of its file, its form (`pyc`, `py`, `so`), and whether it is a package."""

    path: str
    form: str
    package: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonFiles:
    """What was found. `interpreter` is the real file; `modules` and `extensions` are paths in the tree, sorted."""

    interpreter: str
    library: str
    modules: tuple[str, ...]
    extensions: tuple[str, ...]


def library_of(view: TreeView) -> tuple[str, str]:
    """Return the paths of the interpreter's real file and of its standard library."""
    interpreter = view.file("usr/bin/python3").path
    name = interpreter.rpartition("/")[2]
    if not re.fullmatch(r"python3\.\d+", name):
        raise BuildError(f"/usr/bin/python3 leads to /{interpreter}, which is no Python that is known here")
    return interpreter, f"usr/lib/{name}"


def modules_below(view: TreeView, folder: str) -> dict[str, Module]:
    """Return the modules below a folder that is on sys.path, by their dotted name; byte code goes before source."""
    found: dict[str, Module] = {}
    for path in view.paths_below(folder):
        parts = path[len(folder.strip("/")) + 1 :].split("/")
        extension = _EXTENSION.match(parts[-1])
        if extension is not None:
            name, form = extension["name"], "so"
        else:
            name, _, form = parts[-1].rpartition(".")
        if form not in ("so", "pyc", "py") or not all(part.isidentifier() for part in (*parts[:-1], name)):
            continue
        package = name == "__init__"
        dotted = ".".join(parts[:-1] if package else (*parts[:-1], name))
        if view.find(path) is None:
            continue  # Debian's sitecustomize is a link into /etc, which is made at boot
        if form != "py" or dotted not in found:
            found[dotted] = Module(path=path, form=form, package=package)
    return found


def find(view: TreeView, runner: Runner, roots: tuple[str, ...] = ROOT_MODULES) -> PythonFiles:
    """Return every Python file that importing `roots` can ask for before the switch of roots.

    Raises BuildError where one of our own modules imports what is nowhere.
    """
    interpreter, library = library_of(view)
    modules = {
        **modules_below(view, f"{library}/lib-dynload"),
        **modules_below(view, library),
        **modules_below(view, APP_PATH.strip("/")),
    }
    reply = _scan(view, runner, interpreter.rpartition("/")[2], modules, (*roots, *BY_NAME))
    missing: dict[str, str] = reply["missing"]
    for name, by in sorted(missing.items()):
        raise BuildError(
            f"{by} imports {name}, which the root tree lacks",
            hint="is it left out by build.exclude, or is its package missing?",
        )
    chosen = [modules[name] for name in (*reply["found"], LANDMARK) if name in modules]
    return PythonFiles(
        interpreter=interpreter,
        library=library,
        modules=tuple(sorted({module.path for module in chosen if module.form != "so"})),
        extensions=tuple(sorted({module.path for module in chosen if module.form == "so"})),
    )


def _scan(
    view: TreeView, runner: Runner, python: str, modules: dict[str, Module], roots: tuple[str, ...]
) -> dict[str, Any]:
    request = {
        "modules": {
            name: {"file": str(view.stored(module.path)), "form": module.form, "package": module.package}
            for name, module in modules.items()
        },
        "roots": roots,
        "late": [OWN_PACKAGE],
        "without": [*DISPENSABLE],
        "later": [*LATER],
    }
    program = Path(__file__).with_name("scan_imports.py")
    # Not isolated (-I): the tools tree's Python finds its library by PYTHONHOME.
    reply = runner.run(python, "-sSBP", str(program), input=json.dumps(request).encode())
    answer: dict[str, Any] = json.loads(reply)
    return answer
