"""Ordinary clients that send a large body without asking first, and read what comes back."""

import http.client
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx

CURL = shutil.which("curl")
LARGE = 30_000_000

Send = Callable[[str, Mapping[str, str], Path | None], tuple[int, bytes]]
"""Takes an address, headers and a certificate to trust; gives status and body."""


def _trusting(certificate: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def by_httpx(address: str, headers: Mapping[str, str], certificate: Path | None) -> tuple:
    with httpx.Client(verify=_trusting(certificate), timeout=60, trust_env=False) as client:
        answer = client.post(address, content=bytes(LARGE), headers=headers)
    return answer.status_code, answer.content


def by_http_client(address: str, headers: Mapping[str, str], certificate: Path | None) -> tuple:
    parts = urlsplit(address)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.netloc, timeout=60, context=_trusting(certificate)
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    target = parts._replace(scheme="", netloc="").geturl()
    connection.request("POST", target, bytes(LARGE), dict(headers))
    answer = connection.getresponse()
    status, body = answer.status, answer.read()
    connection.close()
    return status, body


def by_http_client_unasked(
    address: str, headers: Mapping[str, str], certificate: Path | None
) -> tuple:
    """Say that it waits, and send all the same: http.client knows nothing of ``100 Continue``."""
    return by_http_client(address, {**headers, "Expect": "100-continue"}, certificate)


def by_curl(address: str, headers: Mapping[str, str], certificate: Path | None) -> tuple:
    """Send with curl, which asks with ``Expect: 100-continue`` first where a body is this large."""
    return _curl(address, headers, certificate)


def by_curl_at_once(address: str, headers: Mapping[str, str], certificate: Path | None) -> tuple:
    return _curl(address, {**headers, "Expect": ""}, certificate)


def _curl(address: str, headers: Mapping[str, str], certificate: Path | None) -> tuple:
    assert CURL is not None
    with tempfile.NamedTemporaryFile() as large:
        large.write(bytes(LARGE))
        large.flush()
        done = subprocess.run(
            [
                CURL, "--silent", "--show-error", "--noproxy", "*",
                *(("--cacert", certificate) if certificate else ()),
                *(part for name, value in headers.items() for part in ("-H", f"{name}: {value}")),
                "--write-out", "%{stderr}%{http_code}", "--data-binary", f"@{large.name}", address,
            ],
            capture_output=True,
            timeout=120,
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stderr), done.stdout


CLIENTS: tuple[Send, ...] = (
    by_httpx,
    by_http_client,
    by_http_client_unasked,
    by_curl,
    by_curl_at_once,
)
