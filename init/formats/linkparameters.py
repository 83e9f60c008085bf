"""The parameters of bonds and bridges that a machine acts on, by the kernel's own names.

Source: the kernel's `Documentation/networking/bonding.rst`, `net/bridge/br_sysfs_br.c` and `br_sysfs_if.c`.
"""

from __future__ import annotations

BOND = frozenset(
    (
        "ad_actor_sys_prio", "ad_actor_system", "ad_select", "ad_user_port_key", "all_slaves_active",
        "arp_all_targets", "arp_interval", "arp_ip_target", "arp_validate", "downdelay", "fail_over_mac", "lacp_rate",
        "lp_interval", "miimon", "min_links", "mode", "num_grat_arp", "num_unsol_na", "packets_per_slave",
        "peer_notif_delay", "primary", "primary_reselect", "resend_igmp", "tlb_dynamic_lb", "updelay", "use_carrier",
        "xmit_hash_policy",
    )
)  # fmt: skip
BRIDGE = {"stp_state": 1, "priority": 1, "forward_delay": 100, "hello_time": 100, "max_age": 100, "ageing_time": 100}
"""Each with the factor from the configuration's number to the kernel's: seconds become hundredths."""

BRIDGE_PORT = {"path_cost": "path_cost", "port_priority": "priority"}
"""Of a port of a bridge, with the kernel's name below `brport`; the value is `PORT NUMBER`."""
