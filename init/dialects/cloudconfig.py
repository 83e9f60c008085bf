"""`#cloud-config`: the table of all its top-level keys. Each group of keys that Berth acts on has a file of its own.

Source: cloud-init's schema and reference (`cloudinit/config/schemas`, `doc/rtd/reference`), as of August 2026.
"""

from __future__ import annotations

from init.dialects.berth import BERTH
from init.dialects.closing import CLOSING
from init.dialects.files import FILES
from init.dialects.identity import IDENTITY
from init.dialects.record import Key, Record
from init.dialects.system import SYSTEM

_PACKAGES = "the OS is immutable; put the package into the recipe, or the program into a container"
_MANAGED = "the OS is immutable; run the agent in a container, or write its result into this configuration"
_BASE = "it configures cloud-init itself, which is not on the machine"
_UBUNTU = "it belongs to another distribution"
_HOST_KEYS = "host keys are made once, kept on state, and their fingerprints shown on the console"
_DISKS = "disks other than Berth's own are used as they are"

_IGNORED: dict[str, tuple[str, ...]] = {
    _PACKAGES: (
        "packages",
        "package_update",
        "package_upgrade",
        "package_reboot_if_required",
        "apt_update",
        "apt_upgrade",
        "apt_reboot_if_required",
        "apt",
        "apt_pipelining",
        "apk_repos",
        "yum_repos",
        "yum_repo_dir",
        "zypper",
        "snap",
    ),
    _MANAGED: ("ansible", "chef", "puppet", "salt_minion", "mcollective", "spacewalk", "rh_subscription", "landscape"),
    _BASE: (
        "datasource_list",
        "datasource",
        "system_info",
        "disable_network_activation",
        "syslog_fix_perms",
        "def_log_file",
        "log_cfgs",
        "ssh_svcname",
        "manual_cache_clean",
        "features",
        "launch-index",
        "version",
        "cloud_init_modules",
        "cloud_config_modules",
        "cloud_final_modules",
        "merge_how",
        "merge_type",
        "vendor_data",
        "output",
        "reporting",
        "updates",
        "allow_public_ssh_keys",
        "unverified_modules",
        "migrate",
    ),
    _UBUNTU: (
        "byobu_by_default",
        "drivers",
        "fan",
        "lxd",
        "ubuntu_pro",
        "ubuntu_advantage",
        "autoinstall",
        "raspberry_pi",
        "rpi",
        "vendor_suffix",
    ),
    _HOST_KEYS: (
        "ssh_deletekeys",
        "ssh_genkeytypes",
        "ssh_quiet_keygen",
        "no_ssh_fingerprints",
        "authkey_hash",
        "ssh",
        "ssh_key_console_blacklist",
        "ssh_fp_console_blacklist",
        "ssh_publish_hostkeys",
    ),
    _DISKS: ("device_aliases", "disk_setup", "fs_setup", "mount_default_fields"),
    "no key is fetched from elsewhere; write it under `ssh_authorized_keys`": ("ssh_import_id",),
    "root's keys are refused without a message": ("disable_root_opts",),
    "the file is made at each boot": ("create_hostname_file",),
    "the machine speaks C.UTF-8": ("locale", "locale_configfile"),
    "the console has the keyboard layout of the kernel, US": ("keyboard",),
    "PID 1 keeps the logs on state; run a log shipper in a container": ("rsyslog",),
    "run it in a container with `network_mode: host` and `cap_add: [NET_ADMIN]`": ("wireguard",),
    "cloud-init reads no network from user data; write it below `berth:`, or as network-config": ("network",),
    "no metadata service is asked": ("disable_ec2_metadata",),
    "the boot loader belongs to the slot": ("grub_dpkg",),
}

CLOUD_CONFIG = Record(
    what="a map",
    hyphens=True,
    extensions=True,
    elsewhere={name: f"`berth.{name}`" for name in BERTH.keys},
    beside=("berth",),
    keys={
        **IDENTITY,
        **FILES,
        **SYSTEM,
        **CLOSING,
        **{name: Key(ignored=reason) for reason, names in _IGNORED.items() for name in names},
    },
)
