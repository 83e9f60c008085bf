"""The kernel command line: every word that Berth gives a meaning to.

berth.root=HASH,OFFSET   verity root hash (hex), byte offset of verity's superblock in the root image
berth.slot=a|b           the slot that GRUB chose; absent when booted from an ISO or by a kernel of its own
berth.record=UUID        partition GUID of `record-0` on the disk that GRUB booted from
berth.rescue             initramfs only: no root, no containers
berth.reason=WORD        why GRUB asks for rescue (`bootrecord.Decision.why`)
berth.console=events     events to the console as JSON lines as well
berth.media=iso          booted from the ISO: root is `/berth/root.img` on it
ds=nocloud…              where the configuration lies (cloud-init's own word)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandLine:
    """The words that were found; `parameters` holds every `key=value` (last one wins) and bare word (as `""`)."""

    root_hash: str | None
    root_offset: int | None
    slot: str | None
    record: str | None
    media: str | None
    rescue: bool
    console_events: bool
    parameters: dict[str, str]


def split_words(text: str) -> list[str]:
    """Split at blanks; double quotes protect them (kernel, `lib/cmdline.c`, next_arg)."""
    words: list[str] = []
    word = ""
    quoted = started = False
    for letter in text:
        if letter == '"':
            quoted = not quoted
            started = True
        elif letter.isspace() and not quoted:
            if started or word:
                words.append(word)
            word, started = "", False
        else:
            word += letter
    if started or word:
        words.append(word)
    return words


def parse(text: str) -> CommandLine:
    """Read `/proc/cmdline`. Never fails: a word with a wrong form is as if it were absent."""
    parameters: dict[str, str] = {}
    for word in split_words(text):
        key, _, value = word.partition("=")
        parameters[key] = value
    root_hash, _, offset = parameters.get("berth.root", "").partition(",")
    well_formed = len(root_hash) == 64 and set(root_hash) <= set("0123456789abcdef") and offset.isdecimal()
    slot = parameters.get("berth.slot")
    return CommandLine(
        root_hash=root_hash if well_formed else None,
        root_offset=int(offset) if well_formed else None,
        slot=slot if slot in ("a", "b") else None,
        record=parameters.get("berth.record"),
        media=parameters.get("berth.media"),
        rescue="berth.rescue" in parameters,
        console_events=parameters.get("berth.console") == "events",
        parameters=parameters,
    )
