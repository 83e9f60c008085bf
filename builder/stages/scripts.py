"""Every maintainer script of a build is answered for, or the build fails: closed, not silent.

| what | who answers |
|---|---|
| `prerm`, `postrm` | nobody has to: an image removes nothing |
| `config`, `templates` | nobody has to: debconf's defaults are the answers |
| a script of inert commands alone | `inert.py`, by its commands |
| a script that was read | `reviewed.py`, by package and commands |
| any other | the recipe, by name and with a reason (`build.scripts`) |
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from builder.errors import BuildError, Place
from builder.rootfs.deb import Deb
from builder.rootfs.unpack import Unpacked
from builder.stages.context import ScriptAnswer, StageContext
from builder.stages.inert import is_inert
from builder.stages.reviewed import TRIGGERS, review_of
from builder.stages.shellwords import commands

_SCRIPTS = ("preinst", "postinst")


def answers(unpacked: Unpacked, context: StageContext) -> tuple[ScriptAnswer, ...]:
    """Return who answers for each script; raise BuildError naming every script that nobody answers for."""
    found: list[ScriptAnswer] = []
    open_questions: list[tuple[str, str, str]] = []
    for deb in unpacked.debs:
        for script, unknown, answer in _scripts_of(deb):
            if answer is not None:
                found.append(ScriptAnswer(package=deb.name, script=script, answer=answer))
            elif (excuse := _excuse(deb.name, context)) is not None:
                found.append(ScriptAnswer(package=deb.name, script=script, answer=f"recipe: {excuse}"))
            else:
                open_questions.append((deb.name, script, unknown))
    if open_questions:
        raise _refusal(open_questions, context)
    return tuple(found)


def _excuse(package: str, context: StageContext) -> str | None:
    return next((row.reason for row in context.recipe.build.scripts if fnmatchcase(package, row.package)), None)


def _scripts_of(deb: Deb) -> list[tuple[str, str, str | None]]:
    """Return (script, what is not known of it, answer) of each script and trigger."""
    rows: list[tuple[str, str, str | None]] = []
    review = review_of(deb.name)
    for script in _SCRIPTS:
        if script not in deb.control_files:
            continue
        effects = {command for command in commands(deb.control_files[script]) if not is_inert(command)}
        if not effects:
            rows.append((script, "", "does nothing on a first installation"))
        elif review is not None and effects <= review.commands:
            rows.append((script, "", review.answer))
        else:
            unknown = effects - review.commands if review is not None else effects
            rows.append((script, f"runs {', '.join(f'`{command}`' for command in sorted(unknown))}", None))
    for line in deb.control_files.get("triggers", b"").decode("utf-8", "replace").splitlines():
        words = line.split("#")[0].split()
        if len(words) == 2 and words[0].startswith("activate"):
            rows.append((f"trigger {words[1]}", "sets off what no stage knows", TRIGGERS.get(words[1])))
    return rows


def _refusal(questions: list[tuple[str, str, str]], context: StageContext) -> BuildError:
    lines = [f"  {package}: {script} {what}" for package, script, what in questions]
    package = questions[0][0]
    return BuildError(
        "nobody answers for these maintainer scripts, which a build does not run:\n" + "\n".join(lines),
        hint=(
            "read each with `dpkg-deb --control`. Where an image needs nothing of what it does, say so in the recipe:\n"
            f"  build:\n    scripts:\n      {package}: why nothing is needed"
        ),
        place=Place(file=str(context.recipe.path)),
    )
