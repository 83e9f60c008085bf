"""Published ports on the real kernel, as root of a user namespace: rules, bridge and veth, and packets through them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long  # real namespaces

ROOT = Path(__file__).parents[2]
BEGIN = """
import json, os, socket, struct, sys
from init.containers import crun, namespaces, nftables, ports
from init.containers.addresses import GATEWAY, of_container
from init.containers.order import Order
from init.containers.rtnetlink import Netlink
from init.formats.machine import Container, Port

def order(*published, number=0):
    return Order(container=Container(name=f"c{number}", image="x", ports=published), number=number)

def chains():
    '''Return the machine's chains as TABLE/CHAIN with the number of their rules, sorted.'''
    return sorted(f"{table}/{chain}" for table, chain in dump(4, 1, 3)), len(list(dump(7, 1, 2)))

def dump(request, *wanted):
    '''Yield these attributes, as text, of each object that nf_tables lists for a request.'''
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, nftables.NETLINK_NETFILTER) as opened:
        opened.send(struct.pack("=IHHIIBBH", 20, 10 << 8 | request, 0x301, 1, 0, 0, 0, 0))
        while True:
            answers = opened.recv(1 << 17)
            while answers:
                length, kind = struct.unpack_from("=IH", answers)
                if kind in (2, 3):
                    return
                attributes, found = answers[20:length], {}
                while attributes:
                    size, number = struct.unpack_from("=HH", attributes)
                    found[number & 0x7fff] = attributes[4:size]
                    attributes = attributes[size + -size % 4:]
                yield tuple(found[each].rstrip(b"\\0").decode() for each in wanted)
                answers = answers[length + -length % 4:]

def serve(order, kind, answer):
    '''Let a child be a container that answers once on its port 80 with its peer's address; return when it listens.'''
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            crun.join_network(order)
            with socket.socket(socket.AF_INET6, kind) as server:
                server.bind(("::", 80))
                if kind == socket.SOCK_STREAM:
                    server.listen()
                os.write(told, b"!")
                if kind == socket.SOCK_STREAM:
                    client, peer = server.accept()
                    client.sendall(f"{answer} {peer[0]}".encode())
                else:
                    _, peer = server.recvfrom(64)
                    server.sendto(f"{answer} {peer[0]}".encode(), peer)
        finally:
            os._exit(0)
    os.close(told)
    assert os.read(ready, 1) == b"!", "no container"

def ask(address, port, kind):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as client:
        client.settimeout(20)
        client.connect((address, port))
        client.send(b"?")
        return client.recv(200).decode()

def forge(source, destination, port):
    '''Send a UDP packet as no system would: the frame goes to the bridge, whatever its destination is.'''
    payload = struct.pack("!HHHH", 999, port, 10, 0) + b"in"
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0) + ends
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xffff) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xffff) + header[12:]
    macs = bytes.fromhex((GATEWAY.mac + of_container(1).mac).replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as opened:
        opened.bind(("eth0", 0x800))
        opened.send(macs + b"\\x08\\0" + header + payload)

outside = Netlink()
outside.up(outside.index("lo"))
"""


def inside(code: str) -> Any:
    """Run code in fresh user and network namespaces; return what it puts into `answer`."""
    program = "\n".join([BEGIN, textwrap.dedent(code), "print(json.dumps(answer))"])
    words = ["unshare", "--map-root-user", "--net", "--mount", sys.executable, "-c", program]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_published_port_leads_into_the_container_for_both_families_and_protocols() -> None:
    answer = inside(
        """
        answer = []
        for number, (kind, name) in enumerate(((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp"))):
            wanted = order(Port(host=8080 + number, container=80, protocol=name), number=number)
            crun.publish(wanted)
            own = of_container(number)
            for address in ("127.0.0.1", "10.89.0.1", "fd62:6572:7468::1"):
                serve(wanted, kind, name)
                answer.append(ask(address, 8080 + number, kind))
        """
    )
    # what comes from 127.0.0.1 gets the bridge's address, or no answer would find its way back
    froms = [["::ffff:10.89.0.1", "::ffff:10.89.0.1", "fd62:6572:7468::1"]] * 2
    expected = [f"{name} {peer}" for name, peers in zip(("tcp", "udp"), froms, strict=True) for peer in peers]
    assert answer == expected


def test_a_port_of_one_address_answers_on_that_alone() -> None:
    answer = inside(
        """
        outside.add_address(outside.index("lo"), "192.0.2.1", 32)
        outside.add_address(outside.index("lo"), "192.0.2.2", 32)
        wanted = order(Port(host=8080, container=80, address="192.0.2.1"))
        crun.publish(wanted)
        serve(wanted, socket.SOCK_STREAM, "here")
        try:
            answer = [ask("192.0.2.2", 8080, socket.SOCK_STREAM)]
        except ConnectionRefusedError:
            answer = ["refused"]
        answer.append(ask("192.0.2.1", 8080, socket.SOCK_STREAM).split()[0])
        """
    )
    assert answer == ["refused", "here"]


def test_a_container_reaches_what_is_published_and_not_what_listens_on_the_machines_loopback() -> None:
    answer = inside(
        """
        web = order(Port(host=8080, container=80))
        crun.publish(web)
        serve(web, socket.SOCK_STREAM, "web")
        hidden = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        hidden.bind(("127.0.0.1", 9))
        hidden.settimeout(3)
        ready, told = os.pipe()
        if os.fork() == 0:
            try:
                crun.publish(order(number=1))
                crun.join_network(order(number=1))
                os.write(told, ask("10.89.0.1", 8080, socket.SOCK_STREAM).encode())
                forge("10.89.0.3", "127.0.0.1", 9)
            finally:
                os._exit(0)
        os.close(told)
        answer = b"".join(iter(lambda: os.read(ready, 100), b"")).decode().split()
        try:
            answer.append(hidden.recv(9).decode())
        except TimeoutError:
            answer.append("nothing")
        """
    )
    assert answer == ["web", "::ffff:10.89.0.1", "nothing"]


def test_what_comes_from_outside_reaches_published_ports_and_nothing_else() -> None:
    answer = inside(
        """
        web = order(Port(host=8080, container=80))
        crun.publish(web)
        serve(web, socket.SOCK_STREAM, "web")
        ready, told = os.pipe()
        go, may = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                namespaces.own_network()
                os.write(told, b"!")
                os.read(go, 1)
                own = Netlink()
                own.add_address(own.index("eth0"), "192.0.2.9", 24)
                own.up(own.index("eth0"))
                own.add_default_route(own.index("eth0"), "192.0.2.1")
                words = [ask("192.0.2.1", 8080, socket.SOCK_STREAM)]
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                    client.settimeout(2)
                    try:
                        client.connect(("10.89.0.2", 80))
                        words.append("in")
                    except TimeoutError:
                        words.append("dropped")
                server = socket.create_server(("", 8080))
                os.write(told, " ".join(words).encode())
                for _ in range(2):
                    client, peer = server.accept()
                    client.sendall(f"far {peer[0]}".encode())
                    client.close()
            finally:
                os._exit(0)
        os.read(ready, 1)
        outside.add_veth("out0", master=0, peer="eth0", peer_mac="02:00:00:00:00:09", peer_pid=pid)
        outside.add_address(outside.index("out0"), "192.0.2.1", 24)
        os.write(may, b"!")
        answer = os.read(ready, 200).decode().split()
        answer += ask("192.0.2.9", 8080, socket.SOCK_STREAM).split()  # the same number there is not ours
        inner, said = os.pipe()
        if os.fork() == 0:
            try:
                crun.join_network(order(number=1))
                os.write(said, ask("192.0.2.9", 8080, socket.SOCK_STREAM).encode())
            finally:
                os._exit(0)
        answer += os.read(inner, 200).decode().split()
        """
    )
    assert answer == ["web", "::ffff:192.0.2.9", "dropped", "far", "192.0.2.1", "far", "192.0.2.1"]


def test_hundreds_of_ports_are_published_at_once() -> None:
    answer = inside(
        """
        crun.publish(order(*(Port(host=10000 + n, container=80) for n in range(300))))
        answer = chains()[1]
        """
    )
    assert answer == 11 + 2 + 600


def test_tables_are_replaced_taken_away_and_never_left_half() -> None:
    answer = inside(
        """
        given = order(Port(host=1, container=2), Port(host=3, container=4, protocol="udp", address="127.0.0.1"))
        crun.publish(given)
        answer = [chains()]
        crun.publish(given)
        crun.publish(order(number=1))
        answer.append(chains() == answer[0])
        Chain, Table = nftables.Chain, nftables.Table
        wrong = Table(name="berth-c0", chains=(Chain(name="a", rules=(nftables.accept(), nftables.jump("nowhere"))),))
        try:
            nftables.commit(nftables.replace((wrong,)))
        except OSError as error:
            answer.append(error.strerror)
        answer.append(chains() == answer[0])
        for _ in range(2):
            nftables.commit(nftables.destroy(ports.table_of("c0")))
        answer.append(chains())
        """
    )
    shared = ["berth/forward", "berth/postrouting", "berth/raw"]
    own = ["berth-c0/output", "berth-c0/prerouting", "berth-c0/published"]
    assert answer == [[own + shared, 16], True, "No such file or directory", True, [shared, 11]]


def test_who_may_not_is_told_so() -> None:
    code = "from init.containers import nftables; nftables.commit(nftables.destroy('berth'))"
    words = ["unshare", "--map-root-user", "--net", "setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    words += [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1:] == ["PermissionError: [Errno 1] Operation not permitted"]
