"""A page on this machine only: a fixed list of addresses, each with its bytes or its one file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from sds3d.errors import UserError
from sds3d.view.page import Page, Part, policy, render

HOSTS = ("localhost", "127.0.0.1", "[::1]")  # a name of someone else's that was pointed here (DNS rebinding) is none
DATA = {"mesh": "/data/mesh.glb", "splats": "/data/splats.bin"}


@dataclass(frozen=True)
class Site:
    """Everything that can be asked for."""

    page: Callable[[], Page]  # called for every visit, so that reloading shows a run's progress
    files: Mapping[str, Path] = field(default_factory=dict)  # name -> file offered for download


class ViewServer(ThreadingHTTPServer):
    """Serves one Site at 127.0.0.1; `port` 0 takes a free one. UserError when the port cannot be had."""

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0) -> None:
        self.site = site
        self.page = site.page()
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"port {port} cannot be used: {reason}; leave --port out to take a free one") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor who leaves while the page is still on its way is no error; anything else is told on stderr."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        return f"http://localhost:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    server: ViewServer
    server_version, sys_version = "sds3d", ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not printed."""

    def _answer(self, body: bool) -> None:
        if _host(self.headers.get("Host", "")) not in HOSTS:
            return self._send(b"this server answers to localhost only\n", "text/plain", body, status=403)
        path = urlsplit(self.path).path
        files = {f"/files/{quote(name)}": file for name, file in self.server.site.files.items()}
        if path == "/":
            return self._send_page(body)
        if (part := self._part(path)) is not None:
            return self._send(part.data, "application/octet-stream", body)
        if path in files:
            return self._send_file(files[path], body)
        return self._send(b"there is no such page\n", "text/plain", body, status=404)

    def _send_page(self, body: bool) -> None:
        try:
            self.server.page = self.server.site.page()
        except UserError as error:
            return self._send(f"{error}\n".encode(), "text/plain; charset=utf-8", body, status=500)
        downloads = {name: f"/files/{quote(name)}" for name in self.server.site.files}
        self._send(render(self.server.page, DATA, downloads), "text/html; charset=utf-8", body)

    def _part(self, path: str) -> Part | None:
        page = self.server.page
        return {DATA["mesh"]: page.mesh, DATA["splats"]: page.splats}.get(path)

    def _send(self, data: bytes, kind: str, body: bool, status: int = 200) -> None:
        self._head(kind, len(data), status)
        if body:
            self.wfile.write(data)

    def _send_file(self, path: Path, body: bool) -> None:
        if not path.is_file():
            return self._send(b"this file is no longer there\n", "text/plain", body, status=404)
        with open(path, "rb") as file:
            self._head("application/octet-stream", path.stat().st_size, 200)
            if body:
                shutil.copyfileobj(file, self.wfile)

    def _head(self, kind: str, length: int, status: int) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(length),
            "Content-Security-Policy": f"{policy(local=True)}; frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()


def _host(header: str) -> str:
    """A Host header without its port."""
    name, colon, port = header.strip().lower().rpartition(":")
    return name if colon and port.isdigit() else header.strip().lower()
