"""Answers for habits: what a hand types on any Debian and is not here says in a line what to do instead, and fails.

One script answers by the name that it was called by, with the command of this machine where there is one, and ends as
a shell does that finds nothing (127). It takes only names that no package has. `vi` edits, and then says what becomes
of a change of `/etc`.
"""

from __future__ import annotations

from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

SCRIPT = "usr/lib/berth/habit"
# Not among them: what scripts look for to choose between two (curl or wget, docker or podman).
NAMES = (
    "apt", "apt-get", "aptitude", "yum", "dnf", "apk", "snap",
    "systemctl", "service", "journalctl", "loginctl", "chkconfig", "update-rc.d", "sudo", "doas", "shutdown",
    "hostnamectl", "timedatectl", "networkctl", "resolvectl", "nmcli", "netplan", "ifup", "ifdown", "ufw",
    "adduser", "useradd", "usermod", "passwd", "crontab", "vim", "nano",
)  # fmt: skip
# applets of busybox whose work the next boot would undo
OVER_BUSYBOX = frozenset(("passwd", "crontab", "ifup", "ifdown"))
_HABIT = """\
#!/bin/sh
name=${0##*/}
say() { echo "$name: $*" >&2; exit 127; }
unit() { unit=${1%.service}; echo "${unit:-NAME}"; }
config='comes from the machine config, at each boot: change it there'
case $name in
apt* | yum | dnf | apk | snap)
    say 'the system is one read-only image: add the package to the recipe and build a release, or run a container' ;;
systemctl | service)
    if [ "$name" = service ]; then set -- "$2" "$1"; fi
    case $1 in
    start | stop | restart) say "there is no systemd: berthctl service $1 $(unit "$2")" ;;
    reload | try-restart) say "there is no systemd: berthctl service restart $(unit "$2")" ;;
    reboot | poweroff) say "there is no systemd: berthctl $1" ;;
    enable | disable | edit | mask | unmask) say "there is no systemd: what runs $config" ;;
    *) say 'there is no systemd: berthctl ps, berthctl status' ;;
    esac ;;
journalctl)
    command='berthctl logs'
    while [ $# -gt 0 ]; do
        case $1 in
        -u | --unit) command="$command $(unit "$2")"; [ $# -gt 1 ] && shift ;;
        -u?*) command="$command $(unit "${1#-u}")" ;;
        --unit=*) command="$command $(unit "${1#--unit=}")" ;;
        -k | --dmesg) command="$command kernel" ;;
        -b) case $2 in -[1-9]) command="$command --boot $2"; shift ;; esac ;;
        --follow | -f | -[a-z]f) command="$command -f" ;;
        esac
        shift
    done
    say "there is no journal: $command" ;;
sudo | doas)
    case $(id -u)$1 in 0[!-]*) exec "$@" ;; esac
    say "there is none: members of the group berth may use every verb of berthctl, and root may do the rest" ;;
shutdown) case " $* " in *" -r "*) say berthctl reboot ;; *) say berthctl poweroff ;; esac ;;
loginctl | chkconfig | update-rc.d) say "there is no systemd: berthctl ps; what runs $config" ;;
hostnamectl | timedatectl | networkctl | resolvectl | nmcli | netplan | ifup | ifdown | ufw)
    say "name, clock and network: each $config" ;;
adduser | useradd | usermod | passwd) say "who may log in $config" ;;
crontab) say 'nothing here runs at times of day: run a container that does' ;;
*) say 'vi is here; what stands in /etc is made anew at each boot' ;;
esac
"""
_VI = """\
#!/bin/sh
/bin/busybox vi "$@"
status=$?
for file; do
    case $file in
    /etc/*) echo "vi: /etc is made anew at each boot: for a change that stays, write it into the config" >&2; break ;;
    esac
done
exit $status
"""


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Link the script for each name that nothing else has."""
    if "usr/bin/sh" not in draft:
        return "no shell"
    draft.file(SCRIPT, _HABIT, mode=0o755)
    made = 0
    for name in NAMES:
        there = [path for path in (f"usr/bin/{name}", f"usr/sbin/{name}") if path in draft]
        if there and not (name in OVER_BUSYBOX and all(_is_applet(draft, path) for path in there)):
            continue
        for path in there:
            draft.remove(path)
        draft.link(f"usr/bin/{name}", "../lib/berth/habit")
        made += 1
    if _is_applet(draft, "usr/bin/vi"):
        draft.remove("usr/bin/vi")
        draft.file("usr/bin/vi", _VI, mode=0o755)
    return f"{made} habits"


def _is_applet(draft: Draft, path: str) -> bool:
    node = draft.get(path)
    return node is not None and node.target.rpartition("/")[2] == "busybox"
