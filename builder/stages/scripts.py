"""Every maintainer script of a build is answered for, or the build fails: closed, not silent.

| what | who answers |
|---|---|
| `prerm`, `postrm` | nobody has to: an image removes nothing |
| `config`, `templates` | nobody has to: debconf's defaults are the answers |
| a script of inert commands alone | `inert.py`, by its commands |
| calls of `dpkg-divert` that can be read | `diversions.py`: they are carried out |
| a script that was read | `reviewed.py`, by package and commands |
| any other | the recipe, by name and with a reason (`build.scripts`) |

The packages of a baked image are asked the same. No stage works on an image: an answer that names one is none there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from builder.errors import BuildError, Place
from builder.recipe.model import BakedImage, Recipe, ScriptExcuse
from builder.rootfs.deb import Deb
from builder.rootfs.unpack import Unpacked
from builder.stages import diversions
from builder.stages.context import ScriptAnswer, StageContext
from builder.stages.inert import is_inert
from builder.stages.reviewed import TRIGGERS, review_of
from builder.stages.shellwords import commands

_SCRIPTS = ("preinst", "postinst")
_STAGES_WORK = re.compile(r"\bstages? [a-z]")
_IN_IMAGE = {"trigger ldconfig": "the linker finds Debian's own folders without its cache"}


def answers(unpacked: Unpacked, context: StageContext) -> tuple[ScriptAnswer, ...]:
    """Return who answers for each script; raise BuildError naming every script that nobody answers for."""
    found, questions = _asked(unpacked.debs, context.recipe)
    if questions:
        raise _refusal(questions, "which a build does not run", Place(file=str(context.recipe.path)))
    return found


def answers_of_image(image: BakedImage, debs: Iterable[Deb], recipe: Recipe) -> tuple[ScriptAnswer, ...]:
    """Return who answers for the scripts of a baked image's packages; raise BuildError as `answers` does."""
    found, questions = _asked(debs, recipe, image=image.name)
    if questions:
        raise _refusal(questions, f"which nobody runs in the image {image.name}", image.place)
    return found


def idle_excuses(recipe: Recipe, found: Iterable[ScriptAnswer]) -> tuple[ScriptExcuse, ...]:
    """Return the excuses of a recipe that none of the answers, of root and images, needs."""
    used = {answer.excuse for answer in found}
    return tuple(excuse for excuse in recipe.build.scripts if excuse not in used)


def _asked(
    debs: Iterable[Deb], recipe: Recipe, image: str = ""
) -> tuple[tuple[ScriptAnswer, ...], list[tuple[str, str, str]]]:
    """Return the answers, and (package, script, what is not known of it) of each script that has none."""
    found: list[ScriptAnswer] = []
    questions: list[tuple[str, str, str]] = []
    for deb in debs:
        for script, unknown, answer in _scripts_of(deb, diverts=not image):
            valid = _in_image(script, answer) if image else answer
            if valid is not None:
                found.append(ScriptAnswer(package=deb.name, script=script, answer=valid, image=image))
            elif (excuse := _excuse(deb.name, recipe)) is not None:
                said = f"recipe: {excuse.reason}"
                found.append(ScriptAnswer(package=deb.name, script=script, answer=said, image=image, excuse=excuse))
            else:
                questions.append((deb.name, script, unknown or f"is the work of {answer}, and no stage works here"))
    return tuple(found), questions


def _in_image(script: str, answer: str | None) -> str | None:
    if script in _IN_IMAGE:
        return _IN_IMAGE[script]
    return None if answer is None or _STAGES_WORK.search(answer) else answer


def _excuse(package: str, recipe: Recipe) -> ScriptExcuse | None:
    return next((row for row in recipe.build.scripts if fnmatchcase(package, row.package)), None)


def _scripts_of(deb: Deb, *, diverts: bool = True) -> list[tuple[str, str, str | None]]:
    """Return (script, what is not known of it, answer) of each script and trigger."""
    rows: list[tuple[str, str, str | None]] = []
    review = review_of(deb.name)
    for script in _SCRIPTS:
        if script not in deb.control_files:
            continue
        effects = {command for command in commands(deb.control_files[script]) if not is_inert(command)}
        if review is not None and effects <= review.commands and effects:
            rows.append((script, "", review.answer))
            continue
        diverted = diverts and diversions.COMMAND in effects and diversions.carries_out(deb, script)
        effects -= {diversions.COMMAND} if diverted else set()
        if diverted and not effects:
            rows.append((script, "", "what it diverts is diverted"))
        elif not effects:
            rows.append((script, "", "does nothing on a first installation"))
        else:
            unknown = effects - review.commands if review is not None else effects
            said = f"runs {', '.join(f'`{command}`' for command in sorted(unknown))}"
            if diversions.COMMAND in unknown and diverts:
                said += " (a diversion is carried out where a preinst names all of it, and surely on an installation)"
            rows.append((script, said, None))
    for line in deb.control_files.get("triggers", b"").decode("utf-8", "replace").splitlines():
        words = line.split("#")[0].split()
        if len(words) == 2 and words[0].startswith("activate"):
            answer = TRIGGERS.get(words[1])
            rows.append((f"trigger {words[1]}", "" if answer else "sets off what no stage knows", answer))
    return rows


def _refusal(questions: list[tuple[str, str, str]], whose: str, place: Place) -> BuildError:
    lines = [f"  {package}: {script} {what}" for package, script, what in questions]
    rows = [
        f"\n    - {{package: {package}, reason: why nothing is needed}}"
        for package in dict.fromkeys(package for package, _, _ in questions)
    ]
    return BuildError(
        f"nobody answers for these maintainer scripts, {whose}:\n" + "\n".join(lines),
        hint=(
            "read each with `dpkg-deb --control`. Where an image needs nothing of what it does, say so in the recipe:\n"
            "build:\n  scripts:" + "".join(rows)  # from the first column: so it can be pasted
        ),
        place=place,
    )
