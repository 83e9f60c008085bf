"""The kernel, as far as the early half asks it."""

from __future__ import annotations

from init.pid1.linux.blocks import BlockCalls
from init.pid1.linux.children import ChildCalls
from init.pid1.linux.clock import ClockCalls
from init.pid1.linux.files import DescriptorCalls, FileCalls
from init.pid1.linux.modules import DeviceCalls
from init.pid1.linux.mounting import MountCalls
from init.pid1.linux.netlink import NetworkCalls
from init.pid1.linux.power import PowerCalls


class EarlyKernel(
    FileCalls, DescriptorCalls, MountCalls, BlockCalls, DeviceCalls, ClockCalls, NetworkCalls, PowerCalls, ChildCalls
):
    """The body of `system.Early`."""
