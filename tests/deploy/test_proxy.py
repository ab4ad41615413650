"""The proxy of docs/operations.md: a real nginx with that configuration lets in whom it knows, and to the page alone.

Only what a machine has of its own is put in place of what stands there: ports, certificate, list of people.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, encode_basic_auth
from prometheus_client import CollectorRegistry

from deploy.local.ports import free_ports
from deploy.local.processes import ChildProcess
from streams.http import HttpServer
from tests.faults.system import wait_until

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
# The one password of the test: {PLAIN} is nginx's own word for it.
KNOWN = "ann:{PLAIN}right\n"


def configuration(folder: Path, front: int, worker: int, second: int) -> str:
    """Return nginx's whole configuration around the guide's part of it."""
    blocks = re.findall(r"(?s)```nginx\n(.*?)```", GUIDE.read_text(encoding="utf-8"))
    assert len(blocks) == 1
    theirs = (
        blocks[0]
        .replace("127.0.0.1:6066", f"127.0.0.1:{worker}")
        .replace("127.0.0.1:6067", f"127.0.0.1:{second}")
        .replace("listen 443 ssl", f"listen 127.0.0.1:{front} ssl")
        .replace("/etc/ssl/", f"{folder}/")
        .replace("/etc/nginx/", f"{folder}/")
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""  # started by root it would otherwise become somebody else
    return (
        f"daemon off; {user} worker_processes 1; pid {folder}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{theirs}}}\n"
    )


@contextmanager
def proxy(folder: Path, worker: int, second: int) -> Iterator[str]:
    """Run nginx in front of two ports; yield its address."""
    if NGINX is None:
        pytest.skip("nginx is not installed here (Debian: apt install nginx-light)")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed here")
    (front,) = free_ports(1)
    made = {"-keyout": folder / "orgpulse.key", "-out": folder / "orgpulse.pem", "-subj": "/CN=orgpulse.example.com"}
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command = [openssl, "req", *kind, *(word for pair in made.items() for word in pair)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "orgpulse.htpasswd").write_text(KNOWN, encoding="utf-8")
    config = folder / "nginx.conf"
    config.write_text(configuration(folder, front, worker, second), encoding="utf-8")
    with ChildProcess([NGINX, "-c", config, "-p", folder, "-e", "stderr"], log=folder / "nginx.log") as child:
        address = f"https://127.0.0.1:{front}"

        def silent() -> str:
            assert child.running, (folder / "nginx.log").read_text(encoding="utf-8")
            return asyncio.run(answers(address))

        wait_until(silent, 60.0)
        yield address


async def answers(address: str) -> str:
    """Return nothing when something answers there."""
    try:
        await ask(address, "/", None)
    except OSError as error:
        return str(error)
    return ""


async def ask(address: str, path: str, password: str | None) -> tuple[int, str]:
    """Return status and text of a page, for Ann with this password or for nobody."""
    says = {} if password is None else {"Authorization": encode_basic_auth("ann", password)}
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with ClientSession(headers=says) as client, client.get(address + path, ssl=trusting) as response:
        return response.status, await response.text()


def test_people_it_knows_see_the_page_others_nothing_and_nobody_the_metrics(tmp_path: Path) -> None:
    first, second = free_ports(2)

    async def told(address: str) -> None:
        server = HttpServer("127.0.0.1", first, CollectorRegistry(), list)
        await server.start()
        try:
            status, page = await ask(address, "/", "right")
            assert status == 200 and "orgpulse" in page
            assert [(await ask(address, "/", who))[0] for who in (None, "wrong")] == [401, 401]
            assert [(await ask(address, path, "right"))[0] for path in ("/metrics", "/live", "/ready")] == [
                404,
                404,
                404,
            ]
        finally:
            await server.stop()
        other = HttpServer("127.0.0.1", second, CollectorRegistry(), list)
        await other.start()
        try:
            assert (await ask(address, "/", "right"))[0] == 200, "the second worker does not answer for the first"
        finally:
            await other.stop()

    with proxy(tmp_path, first, second) as address:
        asyncio.run(told(address))
