"""One dhcpcd for all links that want addresses: its configuration, its hook for resolv.conf, its service. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from init.formats.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = "/run/berth/network"
CONFIGURATION = f"{FOLDER}/dhcpcd.conf"
HOOK = f"{FOLDER}/hook"
SERVERS = f"{FOLDER}/resolv"
STATIC = f"{SERVERS}/00-static"
RESOLV_CONF = "/etc/resolv.conf"
FOLDERS = (SERVERS, "/run/dhcpcd", "/var/lib/dhcpcd")

SERVICE = "dhcpcd"

HARDWARE = ("eth*", "en*", "usb*", "wwan*")
"""What the kernel calls cards; one that is put in later is served as well."""

# nodev: dhcpcd would wait for udev to call a card ready, and there is none.
# noarp: no ARP probe before an address is used: it would cost five seconds of each boot; other clients don't either.
_COMMON = """\
# Made at boot by PID 1 from the machine's configuration.
hostname
duid
persistent
vendorclassid
nodev
nodelay
noarp
noipv4ll
option domain_name_servers, domain_name, domain_search
option classless_static_routes
option interface_mtu
option host_name
require dhcp_server_identifier
slaac private
"""

HOOK_TEXT = r"""#!/bin/sh
# dhcpcd calls this at each change: one file for each interface and family, and resolv.conf from all of them.
# The tools are busybox's by name, for an image may lack the links to them.
umask 022
folder=/run/berth/network/resolv
put() { # file, name servers, search
    {
        for server in $2; do echo "nameserver $server"; done
        [ -z "$3" ] || echo "search $3"
    } > "$folder/.new.$$" && busybox mv "$folder/.new.$$" "$folder/$1"
}
case "$reason" in
BOUND|RENEW|REBIND|REBOOT|TIMEOUT|INFORM|STATIC)
    put "$interface.4" "$new_domain_name_servers" "${new_domain_search:-$new_domain_name}" ;;
BOUND6|RENEW6|REBIND6|REBOOT6|INFORM6)
    put "$interface.6" "$new_dhcp6_name_servers" "$new_dhcp6_domain_search" ;;
ROUTERADVERT) # every router's, each with up to four lists of servers and of search domains, as far as they live
    servers="" search="" router=1
    while eval "acquired=\$nd${router}_acquired now=\$nd${router}_now" && [ -n "$acquired" ]; do
        age=$((${now:-$acquired} - acquired))
        for number in 1 2 3 4; do
            eval "server=\$nd${router}_rdnss${number}_servers life=\$nd${router}_rdnss${number}_lifetime"
            [ "${life:-0}" -le "$age" ] || servers="$servers $server"
            eval "domain=\$nd${router}_dnssl${number}_search life=\$nd${router}_dnssl${number}_lifetime"
            [ "${life:-0}" -le "$age" ] || search="$search $domain"
        done
        router=$((router + 1))
    done
    put "$interface.ra" "$servers" "${search# }" ;;
EXPIRE|NAK|RELEASE|FAIL)
    busybox rm -f "$folder/$interface.4" ;;
EXPIRE6|RELEASE6|STOP6)
    busybox rm -f "$folder/$interface.6" ;;
STOP|STOPPED|DEPARTED|NOCARRIER)
    busybox rm -f "$folder/$interface.4" "$folder/$interface.6" "$folder/$interface.ra" ;;
*)
    exit 0 ;;
esac
# Written in place: containers that started before the lease have this very file mounted.
text=$(busybox cat "$folder"/* 2>/dev/null | busybox awk '/^nameserver/ && !seen[$2]++ { print }
    /^search/ { for (i = 2; i <= NF; i++) if (!known[$i]++) search = search " " $i }
    END { if (search) print "search" search }') || exit 1
[ "$text" = "$(busybox cat /etc/resolv.conf 2>/dev/null)" ] || echo "$text" > /etc/resolv.conf
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """What one interface, or a pattern of names, wants."""

    name: str
    dhcp4: bool
    dhcp6: bool
    accept_ra: bool | None = None
    metric: int | None = None


def configuration(clients: Iterable[Client], *, hardware: bool, never: Iterable[str]) -> str:
    """Return dhcpcd.conf: these clients, all cards when `hardware`, and none of `never`."""
    clients = tuple(clients)
    allowed = [client.name for client in clients] + list(HARDWARE if hardware else ())
    text = _COMMON + f"allowinterfaces {' '.join(allowed)}\n"
    refused = " ".join(never)
    if refused:
        text += f"denyinterfaces {refused}\n"
    for client in clients:
        text += f"interface {client.name}\n"
        if not client.dhcp4:
            text += "noipv4\n"
        if not client.dhcp6:
            text += "nodhcp6\n"
        if client.accept_ra is False or (client.accept_ra is None and not client.dhcp6):
            text += "noipv6rs\n"
        if client.metric is not None:
            text += f"metric {client.metric}\n"
    return text


def leases(clients: Iterable[Client], *, hardware: bool) -> tuple[str, ...]:
    """Return how the hook's files end that tell that a network has said all: a lease's by DHCPv4, where it is asked."""
    clients = tuple(clients)
    if hardware or any(client.dhcp4 for client in clients):
        return (".4",)
    return (".6", ".ra") if clients else ()


def resolv_conf(servers: Iterable[str], search: Iterable[str]) -> str:
    """Return resolv.conf's lines for servers and search domains, each once."""
    text = "".join(f"nameserver {server}\n" for server in dict.fromkeys(servers))
    domains = " ".join(dict.fromkeys(search))
    return text + (f"search {domains}\n" if domains else "")


def service() -> Service:
    """Return the service: one process for all links, in the foreground."""
    return Service(name=SERVICE, argv=("/usr/sbin/dhcpcd", "-B", "-f", CONFIGURATION, "-c", HOOK))
