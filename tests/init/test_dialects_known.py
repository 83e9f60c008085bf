"""Keys below the top that are known and not acted on: each is a warning that says what happens instead, never an error.

The top-level keys are walked over in `test_dialects_cloudconfig.py`.
"""

from __future__ import annotations

import pytest

from init.dialects.compile import Document, compile_document, compile_documents
from init.dialects.diagnostic import Severity

USER = {
    "selinux_user": "x", "expiredate": "'2030-01-01'", "inactive": "'5'", "create_groups": "true",
    "no_log_init": "true", "plain_text_passwd": "x", "ssh_import_id": "[gh:x]", "ssh_redirect_user": "true",
    "doas": "[permit x]", "snapuser": "x@y", "sudo": "ALL",
}  # fmt: skip
BELOW = {
    **{f"users[0].{key}": f"users: [{{name: a, {key}: {value}}}]" for key, value in USER.items()},
    "chpasswd.expire": "chpasswd: {expire: true}",
    "chpasswd.list": "chpasswd: {list: 'a:b'}",
    "chpasswd.users[0]": "chpasswd: {users: [{name: root, type: RANDOM}]}",
    "write_files[0].source": "write_files: [{path: /etc/a, source: {uri: 'https://x/'}}]",
    "ntp.peers": "ntp: {peers: [a]}",
    "ntp.allow": "ntp: {allow: [a]}",
    "ntp.config": "ntp: {config: {template: x}}",
    "ntp.ntp_client": "ntp: {ntp_client: openntpd}",
    "random_seed.file": "random_seed: {file: /dev/x}",
    "random_seed.command_required": "random_seed: {command_required: false}",
    "resolv_conf.sortlist": "{manage_resolv_conf: true, resolv_conf: {sortlist: [192.0.2.0/24]}}",
    "resolv_conf.options": "{manage_resolv_conf: true, resolv_conf: {options: {rotate: true}}}",
    "power_state.timeout": "power_state: {mode: poweroff, timeout: 30}",
    "swap.maxsize": "swap: {filename: /var/s, size: 1G, maxsize: 2G}",
    "swap.size": "swap: {filename: /var/s, size: auto}",
    "mounts[0]": "mounts: [[ephemeral0, /mnt/x]]",
    "resolv_conf": "resolv_conf: {nameservers: [192.0.2.1]}",
}
VIA = "via: 192.0.2.1"
OVERRIDES = (
    "hostname", "route-metric", "send-hostname", "use-dns", "use-domains", "use-hostname", "use-mtu", "use-ntp",
    "use-routes",
)  # fmt: skip
LINK2 = {
    "critical": "true", "dhcp-identifier": "mac", "ipv6-privacy": "true", "link-local": "[ipv6]",
    "ignore-carrier": "true", "activation-mode": "manual", "routing-policy": "[{from: 192.0.2.1}]",
    "optional-addresses": "[dhcp4]", "wakeonlan": "true",
}  # fmt: skip
ROUTE2 = {"from": "192.0.2.1", "type": "unicast", "scope": "global", "table": "7", "mtu": "1400"}
NETWORK = {
    **{f"ethernets.e.{key}": f"ethernets: {{e: {{{key}: {value}}}}}" for key, value in LINK2.items()},
    **{
        f"ethernets.e.dhcp{family}-overrides.{name}": f"ethernets: {{e: {{dhcp{family}-overrides: {{{name}: 1}}}}}}"
        for family in (4, 6)
        for name in OVERRIDES
    },
    **{
        f"ethernets.e.routes[0].{key}": f"ethernets: {{e: {{routes: [{{to: default, {VIA}, {key}: {value}}}]}}}}"
        for key, value in ROUTE2.items()
    },
    "ethernets.e.match.driver": "ethernets: {e: {match: {driver: x}}}",
    "ethernets.e.addresses[0]": "ethernets: {e: {addresses: [{192.0.2.1/24: {label: x, lifetime: 0}}]}}",
    **{name: f"{name}: {{x: {{}}}}" for name in ("wifis", "tunnels", "vrfs", "dummy-devices", "modems")},
}
BRIDGE = "type: bridge, name: b, bridge_interfaces: []"
V1 = {
    "config[0].keep_configuration": "{type: physical, name: e, keep_configuration: true}",
    "config[0].subnets[0].control": "{type: physical, name: e, subnets: [{type: dhcp4, control: manual}]}",
    **{
        f"config[0].params.bridge_{key}": f"{{{BRIDGE}, params: {{bridge_{key}: 1}}}}"
        for key in ("hw", "maxwait", "ports", "waitport")
    },
    **{
        f"config[0].params.bond-{key}": f"{{type: bond, name: b, bond_interfaces: [], params: {{bond-{key}: 1}}}}"
        for key in ("slaves", "active_slave", "queue_id")
    },
}


def check(diagnostics: tuple, path: str) -> None:
    assert [str(each) for each in diagnostics if each.severity is Severity.ERROR] == []
    [warning] = [each for each in diagnostics if each.severity is Severity.WARNING]
    assert warning.path.startswith(path)
    assert warning.place.line > 0
    assert len(warning.message) > 20 or warning.hint, "it says what happens instead"


@pytest.mark.parametrize(("path", "text"), BELOW.items())
def test_keys_of_cloud_config(path: str, text: str) -> None:
    compiled = compile_document(f"#cloud-config\n{text}\n".encode(), file="user-data")
    assert compiled.machine is not None
    check(compiled.diagnostics, path)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        *((path, f"{{version: 2, {text}}}") for path, text in NETWORK.items()),
        *((path, f"{{version: 1, config: [{text}]}}") for path, text in V1.items()),
    ],
)
def test_keys_of_network_config(path: str, text: str) -> None:
    compiled = compile_documents(None, network_config=Document(data=text.encode(), file="network-config"))
    assert compiled.machine is not None
    check(compiled.diagnostics, path)
