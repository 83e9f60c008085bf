"""A private registry on this computer's loopback: Debian's docker-registry, behind TLS and a password.

The authority that signs its certificate is made for each run, and the guest reaches it as 10.0.2.2, which is
QEMU's name for this computer.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import select
import socket
import socketserver
import ssl
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from builder.cli.context import Context
from builder.cli.inputs import Network, load_recipe, ready_lock
from builder.tools.call import Tools
from builder.tools.tree import tools_tree

USER, PASSWORD = "guest", "s3cret-Of-The-Registry"
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuurySsR8aDIK.qs7H8Ye9s4PTU/yikHaS\n"
GUESTS_NAME = "10.0.2.2"
BEHIND = "registry.invalid:443"  # the same registry by a name that only the proxy knows
PATIENCE = 60.0  # seconds until it answers
_CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {folder}/storage}}
http:
  addr: 127.0.0.1:{port}
  tls: {{certificate: {folder}/server.pem, key: {folder}/server.key}}
auth:
  htpasswd: {{realm: tests, path: {folder}/htpasswd}}
"""
_AUTHORITY = """\
[req]
distinguished_name = name
prompt = no
x509_extensions = authority
[name]
CN = an authority of the tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
subjectAltName = IP:127.0.0.1, IP:10.0.2.2, DNS:registry.invalid
authorityKeyIdentifier = keyid
"""


def registry_tools(tools: Tools, root: Path) -> Tools:
    """Return the registry, openssl and a static busybox as programs that run here."""
    context = Context.create(quiet=True, as_json=False)
    recipe = load_recipe(str(Path(__file__).parent / "registry/registry.yaml"))
    lock = ready_lock(recipe, tools, context, Network(heal=True))
    return tools_tree(lock, context.store, root, context.progress)


class PrivateRegistry:
    """The registry under way. `host` is what a container's `image:` begins with."""

    def __init__(self, tools: Tools, folder: Path) -> None:
        """Make its certificate and start it."""
        self.tools = tools
        self.folder = folder
        self.port = _free_port()
        self.host = f"{GUESTS_NAME}:{self.port}"
        self._make_certificates()
        (folder / "htpasswd").write_text(HTPASSWD)
        (folder / "config.yaml").write_text(_CONFIG.format(folder=folder, port=self.port))
        context = ssl.create_default_context(cadata=self.ca)
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def ca(self) -> str:
        """The authority's certificate, PEM."""
        return (self.folder / "ca.pem").read_text()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.tools.argv("docker-registry", "serve", str(self.folder / "config.yaml")),
                env=self.tools.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while self._ask("GET", "/v2/")[0] != 200:
            said = (self.folder / "log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, f"the registry ended:\n{said}"
            assert time.monotonic() < deadline, f"the registry does not answer:\n{said}"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it; what was pushed stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def push(self, name: str, tag: str, files: dict[str, bytes], **run: Any) -> str:
        """Put an image of one layer there; `run` is its configuration. Return what `image:` calls it."""
        layer = _layer(files)
        config = _configuration(layer, run)
        kind = "application/vnd.oci.image"
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": self._blob(name, config, f"{kind}.config.v1+json"),
            "layers": [self._blob(name, gzip.compress(layer, 1, mtime=0), f"{kind}.layer.v1.tar+gzip")],
        }
        body = json.dumps(manifest).encode()
        status, _ = self._ask("PUT", f"/v2/{name}/manifests/{tag}", body, f"{kind}.manifest.v1+json")
        assert status == 201, status
        return f"{self.host}/{name}:{tag}"

    def _blob(self, name: str, data: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        status, headers = self._ask("POST", f"/v2/{name}/blobs/uploads/", b"")
        assert status == 202, status
        place = headers["Location"]
        place += f"{'&' if '?' in place else '?'}digest={digest}"
        status, _ = self._ask("PUT", place, data, "application/octet-stream")
        assert status == 201, status
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, dict[str, str]]:
        url = path if path.startswith("https:") else f"https://127.0.0.1:{self.port}{path}"
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", **({"Content-Type": kind} if kind else {})}
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {}
        except OSError:
            return 0, {}

    def _make_certificates(self) -> None:
        at = self.folder
        (at / "openssl.cnf").write_text(_AUTHORITY)
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-config", f"{at}/openssl.cnf")
        signed = ("req", "-x509", "-days", "2", *new)
        self.tools.run("openssl", *signed, "-keyout", f"{at}/ca.key", "-out", f"{at}/ca.pem")
        by = ("-CA", f"{at}/ca.pem", "-CAkey", f"{at}/ca.key", "-extensions", "server", "-subj", "/CN=registry")
        self.tools.run("openssl", *signed, *by, "-keyout", f"{at}/server.key", "-out", f"{at}/server.pem")


class Proxy:
    """An HTTP proxy on loopback that leads CONNECT for the registry's other name to it, and refuses all else."""

    def __init__(self, target: int) -> None:
        self.asked: list[str] = []
        self._target = target
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                first = self.rfile.readline(4096).decode("latin-1").strip()
                while self.rfile.readline(4096).strip():
                    pass
                proxy.asked.append(first)
                if not first.startswith(f"CONNECT {BEHIND} "):
                    self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                    return
                with socket.create_connection(("127.0.0.1", proxy._target)) as there:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _join(self.connection, there)

        return Handler


def _join(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes on both ways until one side ends."""
    while True:
        for ready in select.select((one, other), (), ())[0]:
            try:
                data = ready.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return
            (other if ready is one else one).sendall(data)


def image_archive(files: dict[str, bytes], **run: Any) -> bytes:
    """Return an image as `docker save` writes one."""
    return archive_of(_layer(files), **run)


def archive_of(layer: bytes, **run: Any) -> bytes:
    """Return an image of one layer, given as its tar, as `docker save` writes one."""
    config = _configuration(layer, run)
    name = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": ["tests/archived:1"], "Layers": ["layer.tar"]}]
    return _layer({"manifest.json": json.dumps(manifest).encode(), f"{name}.json": config, "layer.tar": layer})


def _configuration(layer: bytes, run: dict[str, Any]) -> bytes:
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": "the tests"}],
        }
    ).encode()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _layer(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
