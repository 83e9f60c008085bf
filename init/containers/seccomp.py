"""System calls that a container has no business with, refused with EPERM unless a capability of its own excuses them.

An engine with a list of its own (podman, docker) uses that. This one is short, so that it costs nothing to load: what
reaches the kernel's large rarely used parts, or what would make a user namespace and by that all capabilities over it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EPERM, _ENOSYS = 1, 38
_NEW_USER = 0x10000000  # CLONE_NEWUSER
_ALWAYS = (
    "add_key", "keyctl", "request_key", "userfaultfd", "vmsplice", "nfsservctl", "uselib", "ustat", "sysfs", "_sysctl",
    "kexec_file_load", "kexec_load", "lookup_dcookie", "pivot_root", "vm86", "vm86old",
)  # fmt: skip
_EXCUSED_BY = {
    "SYS_ADMIN": (
        "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree", "quotactl",
        "quotactl_fd", "setdomainname", "sethostname", "setns", "swapoff", "swapon", "umount", "umount2",
    ),
    "BPF": ("bpf",),
    "PERFMON": ("perf_event_open",),
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "SYS_BOOT": ("reboot",),
    "SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "SYS_PACCT": ("acct",),
    "SYS_RAWIO": ("iopl", "ioperm"),
    "SYS_TIME": ("clock_adjtime", "clock_settime", "settimeofday", "stime"),
    "SYSLOG": ("syslog",),
}  # fmt: skip


def profile(capabilities: tuple[str, ...]) -> dict[str, Any]:
    """Return `linux.seccomp` of config.json for a container that holds `capabilities` (without their prefix)."""
    refused = list(_ALWAYS)
    for capability, calls in _EXCUSED_BY.items():
        if capability not in capabilities and "SYS_ADMIN" not in capabilities:
            refused += calls
    rules: list[dict[str, Any]] = [_refuse(sorted(refused), _EPERM)]
    if "SYS_ADMIN" not in capabilities:
        new_user = [{"index": 0, "value": _NEW_USER, "valueTwo": _NEW_USER, "op": "SCMP_CMP_MASKED_EQ"}]
        rules.append({**_refuse(["clone", "unshare"], _EPERM), "args": new_user})
        # clone3 has its flags in memory, where no filter can look: libc falls back to clone on ENOSYS
        rules.append(_refuse(["clone3"], _ENOSYS))
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }


def _refuse(names: list[str], code: int) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": code}
