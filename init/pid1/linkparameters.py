"""Bond and bridge parameters as the kernel's files: from netplan's names, and from those of ifupdown."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.machine import Link

_BOND = {
    "mode": "mode",
    "lacp-rate": "lacp_rate",
    "mii-monitor-interval": "miimon",
    "miimon": "miimon",
    "min-links": "min_links",
    "transmit-hash-policy": "xmit_hash_policy",
    "xmit-hash-policy": "xmit_hash_policy",
    "ad-select": "ad_select",
    "all-slaves-active": "all_slaves_active",
    "all-members-active": "all_slaves_active",
    "arp-interval": "arp_interval",
    "arp-ip-targets": "arp_ip_target",
    "arp-ip-target": "arp_ip_target",
    "arp-validate": "arp_validate",
    "arp-all-targets": "arp_all_targets",
    "up-delay": "updelay",
    "updelay": "updelay",
    "down-delay": "downdelay",
    "downdelay": "downdelay",
    "fail-over-mac-policy": "fail_over_mac",
    "fail-over-mac": "fail_over_mac",
    "gratuitous-arp": "num_grat_arp",
    "num-grat-arp": "num_grat_arp",
    "packets-per-slave": "packets_per_slave",
    "packets-per-member": "packets_per_slave",
    "primary-reselect-policy": "primary_reselect",
    "primary-reselect": "primary_reselect",
    "resend-igmp": "resend_igmp",
    "learn-packet-interval": "lp_interval",
}
# Seconds here, hundredths of a second in the kernel (net/bridge/br_sysfs_br.c); None: as it stands.
_BRIDGE: dict[str, tuple[str, int | None]] = {
    "stp": ("stp_state", None),
    "priority": ("priority", None),
    "bridgeprio": ("priority", None),
    "forward-delay": ("forward_delay", 100),
    "fd": ("forward_delay", 100),
    "hello-time": ("hello_time", 100),
    "hello": ("hello_time", 100),
    "max-age": ("max_age", 100),
    "maxage": ("max_age", 100),
    "ageing-time": ("ageing_time", 100),
    "ageing": ("ageing_time", 100),
}
_TRUTH = {"true": "1", "yes": "1", "on": "1", "false": "0", "no": "0", "off": "0"}
_MODE_FIRST = ("mode", "miimon")  # the others are refused while the mode doesn't know them


def texts(link: Link) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the kernel's files with what to write, in order, and a sentence for each parameter that isn't known."""
    found: list[tuple[str, str, str]] = []
    problems = []
    for name, value in link.parameters:
        key = name.removeprefix("bond-").removeprefix("bridge_").replace("_", "-")
        known = _bond(link, key, value) if link.kind == "bond" else _bridge(link, key, value)
        if known is None:
            problems.append(f"network: {link.name}: {link.kind} parameter {name} can't be acted on")
        else:
            found.append(known)
    if link.kind == "bond":
        found.sort(key=lambda item: _MODE_FIRST.index(item[0]) if item[0] in _MODE_FIRST else len(_MODE_FIRST))
    return [(path, text) for _, path, text in found], problems


def _bond(link: Link, key: str, value: str) -> tuple[str, str, str] | None:
    file = _BOND.get(key)
    if file is None:
        return None
    return file, f"/sys/class/net/{link.name}/bonding/{file}", _TRUTH.get(value.lower(), value)


def _bridge(link: Link, key: str, value: str) -> tuple[str, str, str] | None:
    file, factor = _BRIDGE.get(key, ("", None))
    text = _TRUTH.get(value.lower(), value)
    if not file or not text.isdecimal():
        return None
    return file, f"/sys/class/net/{link.name}/bridge/{file}", str(int(text) * (factor or 1))
