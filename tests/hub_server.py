"""A model hub on localhost: the parts of the Hugging Face API that a download needs, over folders on the disk."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
INFO = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?")
TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/?]+)")
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked."""

    repos: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)  # files only for those with the token "good"
    failing: dict[str, int] = field(default_factory=dict)  # path -> HTTP status of its content
    cut: dict[str, int] = field(default_factory=dict)  # path -> bytes after which the connection breaks, once
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    url: str = ""

    def fetched(self) -> list[str]:
        """Paths of the files whose content was asked for, in order."""
        found = [(method, RESOLVE.fullmatch(path)) for method, path, _ in self.requests]
        return [match[3] for method, match in found if match and method == "GET"]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        tree, info, file = TREE.fullmatch(path), INFO.fullmatch(path), RESOLVE.fullmatch(path)
        match = tree or info or file
        if match is None:
            return self._refuse(404, "EntryNotFound")
        if match[1] not in self.hub.repos:
            return self._refuse(401, "")  # what the hub says of repositories that are not there
        if match[2] not in (None, "main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if tree:
            return self._json([self._entry(match[1], path) for path in self._files(match[1])])
        if info:
            return self._json(self._info(match[1]))
        return self._file(match[1], match[3])

    def _info(self, repo: str) -> dict[str, Any]:
        siblings = [{"rfilename": p, "size": self._entry(repo, p)["size"]} for p in self._files(repo)]
        gated = "auto" if repo in self.hub.gated else False
        return {"id": repo, "modelId": repo, "sha": COMMIT, "gated": gated, "siblings": siblings, "private": False,
                "tags": [], "downloads": 0, "likes": 0, "cardData": {"license": "openrail++"}}  # fmt: skip

    def _files(self, repo: str) -> list[str]:
        folder = self.hub.repos[repo]
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())

    def _entry(self, repo: str, path: str) -> dict[str, Any]:
        data = (self.hub.repos[repo] / path).read_bytes()
        return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _file(self, repo: str, path: str) -> None:
        if repo in self.hub.gated and self.headers.get("Authorization") != "Bearer good":
            return self._refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
        if path in self.hub.failing and self.command == "GET":
            return self._refuse(self.hub.failing[path], "")
        if not (self.hub.repos[repo] / path).is_file():
            return self._refuse(404, "EntryNotFound")
        data = (self.hub.repos[repo] / path).read_bytes()
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if begin else 200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            end = begin + self.hub.cut.pop(path) if path in self.hub.cut else len(data)
            self.wfile.write(data[begin:end])
            self.close_connection = end < len(data)

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub, at `hub.url`, for the time of the block."""
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def point_to(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make huggingface_hub ask `url` and keep files in `cache`: it reads its environment at import."""
    from huggingface_hub import constants

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
