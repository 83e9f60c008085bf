"""Starts one container through crun: everything around it is made here, then this process becomes crun.

What is made dies with the container, however it ends: the overlay mount lies in a mount namespace of its own, the
interface in a network namespace of its own. Only the port rules stay; PID 1 takes them away when the service stops.
The writable layer is new at each start. It lies on state, so that what a container writes costs no memory.

    /run/berth/containers/NAME/    config.json, pid, rootfs (mount point), hosts, hostname
    /var/lib/berth/containers/NAME/{upper,work}
"""

# These programs start often, and pathlib costs time at each start.
# ruff: noqa: PTH101, PTH103, PTH108, PTH110, PTH112, PTH123, PTH208

from __future__ import annotations

import _socket as socket  # `socket` itself takes as long to import as the rest of the program
import errno
import json
import os
import resource
import sys

from init.containers import bundle, namespaces, nftables, ports
from init.containers.addresses import BRIDGE, GATEWAY, PREFIX4, PREFIX6, Address, of_container
from init.containers.inside import account
from init.containers.order import PATH, Order
from init.containers.rtnetlink import Netlink
from init.formats.bare import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.containers.local import Local
    from init.formats.machine import Container, Port

CRUN = "/usr/bin/crun"
INIT = "/usr/bin/catatonit"
STATE = "/var/lib/berth/containers"
RUNTIME_STATE = "/run/crun"


class StartError(Exception):
    """The container can't be started; the text says why, for the log."""


def start(order: Order, image: Local) -> None:
    """Make everything around the container and become crun. Returns never; raises StartError or OSError."""
    container = order.container
    folder = f"{PATH}/{container.name}"
    os.makedirs(folder, 0o711, exist_ok=True)
    _forget(container.name)
    with suppress(FileNotFoundError):
        os.unlink(f"{folder}/pid")  # of the start before: whoever asks after its health must not find that
    held = reserve(container.ports) if container.network == "bridge" else []
    if container.network == "bridge":
        publish(order)
    namespaces.own_mounts()
    root = _mount_root(container.name, folder, image)
    _make_volumes(container)
    network = join_network(order) if container.network != "host" else None
    place = bundle.Place(
        root=root,
        network=network,
        files=_write_files(order, folder),
        init=INIT if container.init and os.path.exists(INIT) else None,
        hostname=container.hostname or container.name[:63],
    )
    config = bundle.image_config(image.config)
    user = account(root, container.user if container.user is not None else config.user)
    spec = bundle.runtime_spec(container, config, user, place)
    with open(f"{folder}/config.json", "w", opener=_private) as stream:
        json.dump(spec, stream)
    for reserved in held:
        os.set_inheritable(reserved.detach(), True)  # the ports stay taken as long as crun lives
    with suppress(OSError, ValueError):  # what the kernel gives to init, 4096, is too few for servers
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 524288))
    argv = (CRUN, "--cgroup-manager=disabled", f"--root={RUNTIME_STATE}", "run", f"--bundle={folder}")
    sys.stdout.flush()
    os.execv(  # noqa: S606 - this process becomes the container's
        CRUN, (*argv, f"--pid-file={folder}/pid", container.name)
    )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _forget(name: str) -> None:
    """Take away what a container that was killed has left in crun's own notes; its processes are dead."""
    _remove(f"{RUNTIME_STATE}/{name}")


def _remove(folder: str) -> None:
    if os.path.isdir(folder):
        import shutil  # noqa: PLC0415 - a first start has nothing to remove

        shutil.rmtree(folder, ignore_errors=True)


def _mount_root(name: str, folder: str, image: Local) -> str:
    """Mount the image's layers with an empty writable one on top; return the mount point."""
    root = f"{folder}/rootfs"
    state = f"{STATE}/{name}"
    _remove(state)
    for path in (root, f"{state}/upper", f"{state}/work"):
        os.makedirs(path, exist_ok=True)
    os.chmod(f"{state}/upper", image.root_mode)
    # relative names, because all options together have to fit into one page
    os.chdir(image.folder)
    # volatile: nothing is synced for a layer that the next start throws away
    options = f"lowerdir={':'.join(image.lowers)},upperdir={state}/upper,workdir={state}/work,volatile"
    namespaces.mount("overlay", root, "overlay", namespaces.MS_NODEV, options)
    os.chdir("/")
    return root


def _make_volumes(container: Container) -> None:
    for volume in container.volumes:
        source = bundle.volume_source(volume)
        if source and not os.path.lexists(source):
            os.makedirs(source, 0o755)


def _write_files(order: Order, folder: str) -> tuple[tuple[str, str], ...]:
    """Write what the container reads about its network; return the pairs to mount."""
    container = order.container
    pairs = []
    if container.network == "host":
        return (("/etc/hosts", "/etc/hosts"), ("/etc/resolv.conf", "/etc/resolv.conf"))
    name = container.hostname or container.name[:63]
    for file, text in (("hostname", f"{name}\n"), ("hosts", hosts(order))):
        with open(f"{folder}/{file}", "w") as stream:
            stream.write(text)
        os.chmod(f"{folder}/{file}", 0o644)
        pairs.append((f"{folder}/{file}", f"/etc/{file}"))
    if container.dns:
        with open(f"{folder}/resolv.conf", "w") as stream:
            stream.writelines(f"nameserver {server}\n" for server in container.dns)
        os.chmod(f"{folder}/resolv.conf", 0o644)
        pairs.append((f"{folder}/resolv.conf", "/etc/resolv.conf"))
    elif container.network == "bridge":
        # the machine's own file, written in place when a lease comes: the container need not wait for the network
        with suppress(FileExistsError):
            os.close(os.open("/etc/resolv.conf", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        pairs.append(("/etc/resolv.conf", "/etc/resolv.conf"))
    return tuple(pairs)


def hosts(order: Order) -> str:
    """Return `/etc/hosts` of a container: itself, the machine, and every other container on the bridge."""
    container = order.container
    own = container.hostname or container.name[:63]
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if container.network != "bridge":
        return "\n".join([*lines, f"127.0.1.1\t{own}", ""])
    for name, number in order.numbers:
        address = of_container(number)
        words = f"{name} {own}" if number == order.number and own != name else name
        lines += [f"{address.ipv4}\t{words}", f"{address.ipv6}\t{words}"]
    lines.append(f"{GATEWAY.ipv4}\thost.containers.internal host.docker.internal")
    for text in container.extra_hosts:
        name, _, address_text = text.replace("=", ":", 1).partition(":")
        lines.append(f"{GATEWAY.ipv4 if address_text == 'host-gateway' else address_text}\t{name}")
    return "\n".join([*lines, ""])


def reserve(published: tuple[Port, ...]) -> list[socket.socket]:
    """Bind every published port, so that no other program takes it, and one that is taken already is found out.

    An address may be one that the machine gets only later.
    """
    held = []
    for port in published:
        kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
        try:
            held.append(_bind(port.address.strip("[]") or "::", port.host, kind))
        except OSError as error:
            for opened in held:
                opened.close()
            raise StartError(f"port {port.host}/{port.protocol} can't be published: {error.strerror}") from error
    return held


def _bind(address: str, number: int, kind: int) -> socket.socket:
    ip_freebind, ipv6_freebind = 15, 78  # linux/in.h, linux/in6.h
    try:
        opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    except OSError:
        if address != "::":
            raise
        return _bind("0.0.0.0", number, kind)  # noqa: S104 - a kernel without IPv6
    try:
        if ":" in address:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
            opened.setsockopt(socket.IPPROTO_IPV6, ipv6_freebind, 1)
        else:
            opened.setsockopt(socket.IPPROTO_IP, ip_freebind, 1)
        opened.bind((address, number))
    except OSError:
        opened.close()
        raise
    return opened


def publish(order: Order) -> None:
    """Give the machine's own network the container's rules."""
    wanted = ports.tables(order.container.name, of_container(order.number), order.container.ports)
    try:
        nftables.commit(nftables.replace(wanted))
    except OSError as error:
        why = f"its ports can't be published: nf_tables refuses the rules: {error.strerror}"
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT):
            why += " (does the recipe leave out one of the kernel's modules nft_*?)"
        raise StartError(why) from error


def join_network(order: Order) -> str:
    """Enter a network namespace of its own, with an interface on the bridge where that is wanted."""
    outside = Netlink()
    if order.container.network == "bridge":
        bridge = _make_bridge(outside)
    namespaces.own_network()
    inside = Netlink()
    inside.up(inside.index("lo"))
    if order.container.network == "bridge":
        address = of_container(order.number)
        name = f"vb{order.number}"
        outside.remove(name)
        outside.add_veth(name, master=bridge, peer="eth0", peer_mac=address.mac, peer_pid=os.getpid())
        outside.hairpin(outside.index(name))
        _configure(inside, inside.index("eth0"), address)
    inside.close()
    outside.close()
    return f"/proc/{os.getpid()}/ns/net"


def _make_bridge(outside: Netlink) -> int:
    outside.add_bridge(BRIDGE, GATEWAY.mac)
    index = outside.index(BRIDGE)
    with suppress(OSError):  # a kernel without IPv6
        _set("net/ipv6/conf/" + BRIDGE + "/accept_dad", "0")
        outside.add_address(index, GATEWAY.ipv6, PREFIX6)
    outside.add_address(index, GATEWAY.ipv4, PREFIX4)
    outside.up(index)
    _set(f"net/ipv4/conf/{BRIDGE}/route_localnet", "1")
    _set("net/ipv4/ip_forward", "1")
    with suppress(OSError):
        _forward_ipv6()
    return index


def _forward_ipv6() -> None:
    """Forward IPv6 without losing the machine's own address: a router ignores advertisements unless told twice."""
    base = "/proc/sys/net/ipv6/conf"
    for name in os.listdir(base):
        with open(f"{base}/{name}/accept_ra") as stream:
            if stream.read().strip() == "1":
                _set(f"net/ipv6/conf/{name}/accept_ra", "2")
    _set("net/ipv6/conf/all/forwarding", "1")


def _configure(inside: Netlink, index: int, address: Address) -> None:
    inside.add_address(index, address.ipv4, PREFIX4)
    inside.up(index)
    inside.add_default_route(index, GATEWAY.ipv4)
    with suppress(OSError):
        inside.add_address(index, address.ipv6, PREFIX6)
        inside.add_default_route(index, GATEWAY.ipv6)


def _set(name: str, value: str) -> None:
    with open(f"/proc/sys/{name}", "r+") as stream:
        if stream.read().strip() != value:
            stream.seek(0)
            stream.write(value)
