"""When all is up: the page on the console, `final_message`, and what `power_state` wants; each comes once."""

from __future__ import annotations

from init.pid1.lifecycle import AT_REST, State
from init.pid1.scripts import RUNCMD, final_text

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.conductor import Conductor

POWER_STATE = "power_state"


class LastWord:
    """Reads the conductor; asks it to go down where the configuration wants that."""

    def __init__(self, conductor: Conductor) -> None:
        self._of = conductor
        self._told = False
        self._asked = False

    def tell(self) -> None:
        """All is up for the first time, or has had `settle` seconds."""
        if self._told:
            return
        self._told = True
        of = self._of
        of.console.show(of.reporter.page())
        message = of.boot.in_force.machine.final_message
        if message:
            of.say(final_text(message, of.reporter.facts()))
        self.look()

    def look(self) -> None:
        """What `power_state` wants comes once per instance, when the commands of the config are done."""
        of = self._of
        machine = of.boot.in_force.machine
        wanted = machine.power_state
        if wanted is None or self._asked or not self._told or self._under_way():
            return
        self._asked = True
        if of.applier.was_done(machine, POWER_STATE):
            return
        of.applier.note_done(machine, POWER_STATE)
        if wanted.message:
            of.say(wanted.message)
        of.loop.after("power state", wanted.delay, lambda: of.ask(wanted.mode, "power_state of the config"))

    def _under_way(self) -> bool:
        commands = self._of.performer.supervisor.services.get(RUNCMD)
        return commands is not None and commands.state not in AT_REST - {State.WAITING}
