"""Commands in maintainer scripts that change nothing in an image, and why.

A script of which nothing else is left needs no stage and no review.
"""

from __future__ import annotations

_REASONS: dict[str, str] = {
    "part of the shell": """
        [ [[ : . break cd continue exit export false getopts local printf echo pwd read readonly return set shift
        sleep test times trap true type ulimit umask unset wait""",
    "reads and prints; where its output goes is looked at by itself": """
        awk basename cat cmp cut date dirname egrep expr fgrep getent grep head id ls md5sum pidof
        readlink realpath runlevel sed seq sha512sum sort stat tail tr uname uniq wc which who ischroot""",
    "asks questions through debconf, whose defaults are what an image has": """
        db_beginblock db_capb db_clear db_endblock db_fget db_fset db_get db_go db_input db_metaget db_progress
        db_purge db_register db_reset db_set db_settitle db_stop db_subst db_title db_unregister db_version
        db_x_loadtemplatefile""",
    "looks versions and packages up": "dpkg dpkg-query",
    "moves and removes configuration files of versions before: there was none": "dpkg-maintscript-helper",
    "enables, starts and stops services, which PID 1 does from the machine config": """
        deb-systemd-helper deb-systemd-invoke invoke-rc.d systemctl update-rc.d policy-rc.d""",
    "compiles Python modules, which the stage `bytecode` does": "py3compile pypy3compile py3clean",
    "loads profiles into a running kernel": "aa-enabled apparmor_parser",
    "labels files for SELinux, which Debian's kernel does not enforce": "restorecon",
    "lists what dpkg-statoverride was told": "dpkg-statoverride-list",
}
_INERT = {word: reason for reason, words in _REASONS.items() for word in words.split()}
_SOURCED = frozenset({". /usr/share/debconf/confmodule", ". /usr/share/dpkg/sh/dpkg-error.sh"})


def is_inert(command: str) -> bool:
    """Return whether a command (as `shellwords.commands` gives it) changes nothing in an image."""
    if command in _INERT or command in _SOURCED:
        return True
    carrier, _, carried = command.partition(" ")
    if command == "command -v":
        return True  # asks where a program is
    if carrier in ("xargs", "env", "exec", "nohup", "command"):
        return bool(carried) and is_inert(carried)
    return command in ("> &1", "> &2", "> /dev/stderr", "> /dev/stdout")
