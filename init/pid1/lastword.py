"""When all is up: the page on the console, `final_message`, and what `power_state` wants; each comes once.

A machine that needs longer than `settle` seconds shows the page then, as far as it is, and what became of it when all
is up.
"""

from __future__ import annotations

from init.pid1.lifecycle import AT_REST, State
from init.pid1.scripts import CONDITION, RUNCMD, final_text

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.conductor import Conductor

POWER_STATE = "power_state"


class LastWord:
    """Reads the conductor; asks it to go down where the configuration wants that."""

    def __init__(self, conductor: Conductor) -> None:
        self._of = conductor
        self._shown = ""  # the page as it came last; none yet: nothing was told
        self._shown_up = False
        self._asked = False  # what the condition says, where there is one
        self._decided = False

    def tell(self, *, up: bool) -> None:
        """All is up, or has had `settle` seconds and is not `up`."""
        of = self._of
        first = not self._shown
        if not self._shown_up:
            self._shown_up = up
            page = of.reporter.page()
            if page != self._shown:
                self._shown = page
                of.console.show(page)
        if not first:
            return
        message = of.boot.in_force.machine.final_message
        if message:
            of.say(final_text(message, of.reporter.facts()))
        self.look()

    def look(self) -> None:
        """What `power_state` wants comes once per instance, when the commands of the config are done.

        Its condition is asked then, once as well, as cloud-init does.
        """
        of = self._of
        machine = of.boot.in_force.machine
        wanted = machine.power_state
        if wanted is None or self._decided or not self._shown or self._under_way(RUNCMD):
            return
        if not self._asked:
            self._asked = True
            if of.applier.was_done(machine, POWER_STATE):
                self._decided = True
                return
            of.applier.note_done(machine, POWER_STATE)
            if wanted.condition is not None:
                of.applier.ask_condition(machine, wanted.condition)
        if wanted.condition is not None and self._under_way(CONDITION):
            return
        self._decided = True
        if wanted.condition is not None and not self._holds():
            return
        if wanted.message:
            of.say(wanted.message)
        of.loop.after("power state", wanted.delay, lambda: of.ask(wanted.mode, "power_state of the config"))

    def _holds(self) -> bool:
        status = self._of.applier.condition()
        if status != "0":
            ended = f"ended with status {status}" if status else "did not end"
            self._of.say(f"power_state: its condition {ended}, so the machine stays up")
        return status == "0"

    def _under_way(self, name: str) -> bool:
        commands = self._of.performer.supervisor.services.get(name)
        return commands is not None and commands.state not in AT_REST - {State.WAITING}
