"""A real nginx on loopback, with the configuration that is shipped."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

TEMPLATE = Path(__file__).resolve().parents[2] / "docker" / "gateway" / "echo2pheno.conf.template"
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
NGINX, OPENSSL = (shutil.which(name, path=SEARCHED) for name in ("nginx", "openssl"))

FRAME = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/echo2pheno.conf;
}}
"""


@dataclass
class Gateway:
    """A running nginx."""

    address: str
    prefix: str
    folder: Path
    trust: ssl.SSLContext

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.address, verify=self.trust, timeout=60, trust_env=False, headers=headers
        )

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def log(self) -> str:
        return (self.folder / "access.log").read_text()


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """Do what envsubst does in nginx's image."""
    return re.sub(r"\$\{(GATEWAY_\w+)\}", lambda found: values[found[1]], template)


def certify(folder: Path) -> None:
    subprocess.run(
        [
            OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", folder / "key.pem", "-out", folder / "certificate.pem",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def gateway(
    folder: Path, upstream: str, prefix: str = "/echo", changes: Mapping[str, str] | None = None
) -> Iterator[Gateway]:
    """Start nginx in front of a service.

    Parameters
    ----------
    folder : Path
        An empty one, for all that it writes.
    upstream : str
        Host and port of the service.
    prefix : str
    changes : mapping, optional
        Passages of the shipped file to replace; each has to be there.
    """
    folder.mkdir()
    certify(folder)
    port = free_port()
    filled = fill_in(
        TEMPLATE.read_text("utf-8"),
        {
            "GATEWAY_UPSTREAM": upstream,
            "GATEWAY_PORT": f"127.0.0.1:{port}",
            "GATEWAY_PREFIX": prefix,
            "GATEWAY_CERTIFICATES": str(folder),
        },
    )
    for old, new in (changes or {}).items():
        assert filled.count(old) == 1, old
        filled = filled.replace(old, new)
    (folder / "echo2pheno.conf").write_text(filled)
    user = "user root;" if os.getuid() == 0 else ""
    main = folder / "nginx.conf"
    main.write_text(FRAME.format(folder=folder, user=user))
    command = [NGINX, "-p", folder, "-c", main, "-e", folder / "error.log"]
    subprocess.run([*command, "-t"], check=True, capture_output=True, timeout=60)
    with (folder / "access.log").open("w") as log, (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(command, stdout=log, stderr=stderr)
    try:
        while True:
            assert process.poll() is None, (folder / "error.log").read_text()
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
        trust = ssl.create_default_context(cafile=folder / "certificate.pem")
        yield Gateway(f"https://localhost:{port}", prefix, folder, trust)
    finally:
        process.terminate()
        process.wait(60)
