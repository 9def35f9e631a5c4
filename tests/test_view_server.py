"""`sds3d view`: what the local server gives, to whom, and nothing else."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from view_helpers import make_run

from sds3d.errors import UserError
from sds3d.view.page import render
from sds3d.view.server import Site, ViewServer
from sds3d.view.site import site


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ViewServer]:
    folder = tmp_path_factory.mktemp("view")
    run = make_run(folder / "run")
    (folder / "secret.txt").write_text("secret")
    (run / "checkpoint.safetensors").write_text("secret")
    (run / "asset-link.glb").symlink_to(folder / "secret.txt")
    (run / "asset <i>.stl").write_text("words")
    (run / "asset-folder").mkdir()
    server = ViewServer(site(run))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(
    server: ViewServer, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, bytes, dict[str, str]]:
    """Exactly this path and Host header, nothing tidied up on the way."""
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for value in [f"localhost:{port}"] if host is None else [host] * bool(host):
        connection.putheader("Host", value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def test_the_page_and_its_parts(server) -> None:
    status, page, headers = ask(server, "/")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    sources = re.findall(rb'data-source="([^"]*)"', page)
    assert sources == [b"/data/mesh.glb", b"/data/splats.bin"]
    folder = next(iter(server.site.files.values())).parent
    assert ask(server, "/data/mesh.glb")[1] == (folder / "asset.glb").read_bytes()
    assert ask(server, "/data/splats.bin")[1][:4] == (400).to_bytes(4, "little")
    assert ask(server, "/?x=1")[0] == 200


def test_head_gives_no_body_and_other_methods_nothing(server) -> None:
    status, body, headers = ask(server, "/data/mesh.glb", method="HEAD")
    assert status == 200 and body == b"" and int(headers["content-length"]) == len(ask(server, "/data/mesh.glb")[1])
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, "/", method=method)[0] == 501


def test_every_offered_file_is_linked_and_given(server) -> None:
    page = ask(server, "/")[1].decode()
    links = dict(re.findall(r'<a href="(/files/[^"]*)" download>([^<]*)</a>', page))
    assert links.pop("/files/asset%20%3Ci%3E.stl") == "asset &lt;i&gt;.stl"
    assert ask(server, "/files/asset%20%3Ci%3E.stl")[1] == b"words"
    assert set(links.values()) == {
        "asset.glb", "asset.ply", "config.yaml", "metrics.jsonl", "result.json", "views.png",
    }  # fmt: skip
    for link, name in links.items():
        status, data, headers = ask(server, link)
        assert status == 200 and data == server.site.files[name].read_bytes()
        assert headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "path",
    [
        "/files/../secret.txt", "/files/%2e%2e/secret.txt", "/files/..%2fsecret.txt", "/files/..\\secret.txt",
        "/../secret.txt", "//secret.txt", "/files/", "/files", "/files//etc/passwd", "/files/asset-link.glb",
        "/files/checkpoint.safetensors", "/files/asset-folder", "/files/asset.glb/", "/files/asset.glb%00.txt",
        "/data/../files/asset.glb", "/data/", "/static/page.js", "/etc/passwd", "http://localhost/secret.txt",
    ],
)  # fmt: skip
def test_nothing_else_can_be_asked_for(server, path) -> None:
    status, body, _ = ask(server, path)
    assert status == 404 and body == b"there is no such page\n"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil", "[::2]"]
)
def test_a_foreign_name_that_points_here_is_refused(server, host) -> None:
    for path in ("/", "/data/mesh.glb", "/files/asset.glb"):
        assert ask(server, path, host)[:2] == (403, b"this server answers to localhost only\n")
    assert ask(server, "/", "")[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80"])
def test_every_name_of_this_machine_is_welcome_through_any_tunnel(server, host) -> None:
    assert ask(server, "/", host)[0] == 200


def test_headers_keep_others_out(server) -> None:
    for path in ("/", "/data/mesh.glb", "/files/asset.glb", "/nothing"):
        headers = ask(server, path)[2]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "connect-src blob: 'self';" in policy
        assert "frame-ancestors 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin" and headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers and "python" not in headers["server"].lower()


def test_it_listens_on_this_machine_only(server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(UserError, match="leave --port out"):
        ViewServer(server.site, server.server_address[1])


def test_a_run_that_goes_on_is_shown_as_far_as_it_is(tmp_path) -> None:
    run = make_run(tmp_path / "run")
    (run / "result.json").unlink()
    (run / "preview").mkdir()
    for step in (100, 200):
        Image.new("RGB", (4, 4)).save(run / "preview" / f"{step:06}.png")
    (run / "preview" / "abc.png").write_bytes(b"no picture")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": "x", "loss": 1' + "0" * 400 + "}\n")
    page = site(run).page()
    assert b"step 200" in render(page)
    assert page.title == "a red egg" and "601 of 900 steps" in page.lead and page.mesh is None
    assert {caption: path.name for caption, path in page.media.items()} == {"step 200": "000200.png"}


def test_what_is_no_run_or_damaged_is_told(tmp_path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        site(tmp_path / "nothing")
    with pytest.raises(UserError, match="no config.yaml"):
        site(tmp_path)
    run = make_run(tmp_path / "run")
    for name, content in (("result.json", b"{}"), ("result.json", b"\xff"), ("asset.ply", b"ply"), ("asset.glb", b"x")):
        kept = (run / name).read_bytes()
        (run / name).write_bytes(content)
        with pytest.raises(UserError):
            ViewServer(site(run))
        (run / name).write_bytes(kept)


def test_an_asset_is_shown_alone(tmp_path) -> None:
    run = make_run(tmp_path / "run")
    for name, shown, hidden in (("asset.glb", "mesh", "splats"), ("asset.ply", "splats", "mesh")):
        alone = site(run / name)
        page = alone.page()
        assert page.title == name and getattr(page, shown) and getattr(page, hidden) is None and not alone.files
    assert site(run / "asset.glb").page().mesh.data == (run / "asset.glb").read_bytes()
    facts = site(run / "asset.ply", up="z").page().tables["In the file"]
    assert facts["Gaussians"] == 400 and facts["bytes"] == (run / "asset.ply").stat().st_size
    with pytest.raises(UserError, match="for an asset's file"):
        site(run, up="z")


def test_a_file_that_went_away_is_a_404(server) -> None:
    path = server.site.files["asset <i>.stl"]
    hidden = path.rename(path.with_name("hidden"))
    assert ask(server, "/files/asset%20%3Ci%3E.stl")[0] == 404
    hidden.rename(path)


def test_ctrl_c_ends_it_without_a_word_of_complaint(tmp_path) -> None:
    run = make_run(tmp_path / "run")
    command = [sys.executable, "-m", "sds3d", "view", str(run), "--no-browser"]
    root = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # shells let background jobs ignore Ctrl-C
    )
    assert process.stdout is not None
    port = re.match(r"http://localhost:(\d+)/", process.stdout.readline())
    assert port is not None
    connection = http.client.HTTPConnection("localhost", int(port[1]), timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    os.kill(process.pid, signal.SIGINT)
    _, complaints = process.communicate(timeout=120)
    assert process.returncode == 0 and complaints == ""


class Joined(ViewServer):
    daemon_threads = False  # server_close waits for every visitor's thread


def test_a_visitor_who_leaves_early_is_not_complained_about(server, tmp_path, capfd) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(64 << 20))  # more than the sockets between hold
    served = Joined(Site(lambda: server.page, {"large.bin": large}))
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    with socket.create_connection(("127.0.0.1", served.server_address[1])) as visitor:
        visitor.sendall(b"GET /files/large.bin HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert visitor.recv(8) == b"HTTP/1.0"
    served.shutdown()
    thread.join()
    served.server_close()
    assert capfd.readouterr().err == ""
