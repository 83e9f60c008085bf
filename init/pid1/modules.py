"""Which module files a device or a name needs: `modules.alias`, `modules.dep`, `modules.softdep` of depmod(8).

Pure. Some 20,000 alias patterns stand against some hundred devices at each boot, and under emulation every
microsecond that a pattern costs is a fifth of a second. So a line is only put into a bucket by its first letters,
and taken apart when a device looks into that bucket; a pattern is matched only when its longest piece of plain text
occurs in the device's alias.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNWANTED = ("floppy", "joydev", "parport_pc", "pcspkr", "psmouse", "serio_raw", "vesafb", "vga16fb")
"""Never loaded because a device is there: a server has no use for them, and some wait long for what never answers."""

_KEY = 14  # letters: `pci:v00008086d` tells the vendor
_SHORT_KEY = 4  # for patterns with a wildcard among the first 14: `pci:`, `usb:`, `acpi`


def canonical(name: str) -> str:
    """Return a module's name as the kernel has it: from `a/b/dm-verity.ko.xz` or `dm-verity` to `dm_verity`."""
    return name.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern with `*`, `?` and `[a-f0]` fits the whole text, as fnmatch(3) without flags."""
    at = place = 0
    star, resume = -1, 0
    while place < len(text):
        step = _match_one(pattern, at, text[place])
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, place
            at += 1
        elif step:
            at += step
            place += 1
        elif star >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    while at < len(pattern) and pattern[at] == "*":
        at += 1
    return at == len(pattern)


def longest_piece(pattern: str) -> str:
    """Return the longest text of a pattern between wildcards: a name that fits has it. `re` is slow to import."""
    text = pattern.replace("?", "*")
    while "[" in text:
        before, _, rest = text.partition("[")
        _, closed, after = rest.partition("]")
        if not closed:
            break
        text = f"{before}*{after}"
    return max(text.split("*"), key=len)


def _plain(text: str) -> bool:
    return not ("*" in text or "?" in text or "[" in text or " " in text)


def _match_one(pattern: str, at: int, letter: str) -> int:
    """Return how many letters of the pattern, from `at`, stand for this one letter; 0 when they don't."""
    if at >= len(pattern):
        return 0
    if pattern[at] == "[":
        end = pattern.find("]", at + 1)
        if end > 0:
            return end + 1 - at if _in_set(pattern[at + 1 : end], letter) else 0
    return 1 if pattern[at] in ("?", letter) else 0


def _in_set(members: str, letter: str) -> bool:
    at = 0
    while at < len(members):
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            if members[at] <= letter <= members[at + 2]:
                return True
            at += 3
        else:
            if members[at] == letter:
                return True
            at += 1
    return False


class ModuleIndex:
    """What depmod wrote about one kernel's modules, ready to be asked."""

    __slots__ = ("_aliases", "_before", "_buckets", "_files", "_lines", "_needs", "_unwanted", "folder", "parameters")

    def __init__(self, folder: str, texts: Mapping[str, str]) -> None:
        """Read `modules.dep`, `modules.alias`, `modules.softdep` and `modprobe.d` (all its files) by name.

        A missing one is as if empty.
        """
        self.folder = folder
        self.parameters: dict[str, str] = {}
        self._unwanted = set(UNWANTED)
        self._files: dict[str, str] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._lines: dict[str, list[str]] = {}
        self._buckets: dict[str, list[tuple[str, str, str]]] = {}
        self._before: dict[str, tuple[str, ...]] = {}
        self._read_dependencies(texts.get("modules.dep", ""))
        self._aliases = texts.get("modules.alias", "")  # taken apart when first asked: after the boot few ask
        self._read_soft(texts.get("modules.softdep", ""))
        self._read_settings(texts.get("modprobe.d", ""))

    def _read_dependencies(self, text: str) -> None:
        for line in text.splitlines():
            path, colon, needs = line.partition(":")
            if colon:
                self._files[canonical(path)] = path
                self._needs[canonical(path)] = tuple(needs.split())

    def _read_aliases(self) -> None:
        text, self._aliases = self._aliases, ""
        for line in ("\n" + text).split("\nalias ")[1:]:
            key = line[:_KEY]
            if not _plain(key):
                key = line[:_SHORT_KEY]
                if not _plain(key):
                    key = ""
            self._lines.setdefault(key, []).append(line)

    def _bucket(self, key: str) -> list[tuple[str, str, str]]:
        """Return a bucket's aliases: the longest plain piece, the pattern, the module."""
        if self._aliases:
            self._read_aliases()
        found = self._buckets.get(key)
        if found is None:
            found = []
            for line in self._lines.pop(key, ()):
                pattern, _, module = line.partition("\n")[0].rpartition(" ")
                name = canonical(module)
                if name in self._files:
                    found.append((longest_piece(pattern), pattern, name))
            self._buckets[key] = found
        return found

    def _read_soft(self, text: str) -> None:
        for line in text.splitlines():
            words = line.split()
            if len(words) > 3 and words[0] == "softdep" and words[2] == "pre:":
                before = words[3 : words.index("post:")] if "post:" in words else words[3:]
                self._before[canonical(words[1])] = tuple(before)

    def _read_settings(self, text: str) -> None:
        """`blacklist NAME` and `options NAME PARAMETERS` of modprobe.d(5); the rest is for modprobe alone."""
        for line in text.splitlines():
            match line.split():
                case ["blacklist", name]:
                    self._unwanted.add(canonical(name))
                case ["options", name, *words]:
                    known = self.parameters.get(canonical(name), "")
                    self.parameters[canonical(name)] = " ".join([known, *words]).strip()

    def for_device(self, alias: str) -> tuple[str, ...]:
        """Return what `wanted` does, without those that are not loaded for a device's sake."""
        return tuple(name for name in self.wanted(alias) if name not in self._unwanted)

    def wanted(self, alias: str) -> tuple[str, ...]:
        """Return the modules whose alias fits a MODALIAS or a name, each once."""
        name = canonical(alias)
        if name in self._files:
            return (name,)
        found: dict[str, None] = {}
        for key in dict.fromkeys((alias[:_KEY], alias[:_SHORT_KEY], "")):
            for piece, pattern, module in self._bucket(key):
                if piece in alias and matches(pattern, alias):
                    found[module] = None
        return tuple(found)

    def closure(self, name: str) -> tuple[str, ...]:
        """Return the paths to load for a module, in order: soft dependencies, dependencies deepest first, itself."""
        paths: dict[str, None] = {}
        self._collect(canonical(name), paths, set())
        return tuple(f"{self.folder}/{path}" for path in paths)

    def _collect(self, name: str, paths: dict[str, None], seen: set[str]) -> None:
        if name in seen or name not in self._files:
            return
        seen.add(name)
        for soft in self._before.get(name, ()):
            for module in self.wanted(soft):
                self._collect(module, paths, seen)
        for need in reversed(self._needs[name]):
            self._collect(canonical(need), paths, seen)
        paths[self._files[name]] = None

    def __len__(self) -> int:
        """Return how many modules there are."""
        return len(self._files)

    def names(self) -> Iterable[str]:
        """Return the modules' names."""
        return self._files.keys()
