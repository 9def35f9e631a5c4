"""The viewer in a real browser: what it draws beside the renderer's own pictures, and how it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import Tab, chromium
from view_helpers import ball, cloud, draw_mesh, draw_splats, make_run, match, report, shoot

from sds3d.assets import Placement
from sds3d.assets.placement import orientation
from sds3d.export import FORMATS, axes_kind
from sds3d.export.files import write_mesh
from sds3d.view.report import write_report
from sds3d.view.server import ViewServer
from sds3d.view.site import site
from sds3d.view.stage import run_parts

SIZE = 160


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("browser") / "run")
    report(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with chromium() as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab) -> Iterator[Tab]:
    """The tab, with a clean record that must stay clean."""
    browser.events.clear()
    browser.send("Emulation.setEmulatedMedia", features=[])
    yield browser
    assert browser.complaints() == []


VIEWS = [(0.0, 15.0), (70.0, -20.0), (200.0, 50.0)]


@pytest.mark.parametrize(("azimuth", "elevation"), VIEWS)
def test_the_mesh_looks_as_our_rasteriser_draws_it(run, tab, azimuth, elevation) -> None:
    shot = shoot(tab, (run / "report.html").as_uri(), "mesh", azimuth, elevation, SIZE)
    found = match(shot, draw_mesh(ball(), azimuth, elevation, SIZE))
    print(f"mesh {azimuth:.0f} {elevation:.0f}: IoU {found.iou:.4f}, PSNR {found.psnr:.1f} dB")
    assert found.iou > 0.98 and found.psnr > 32


@pytest.mark.parametrize(("azimuth", "elevation"), VIEWS)
def test_the_splats_look_as_our_renderer_draws_them(run, tab, azimuth, elevation) -> None:
    shot = shoot(tab, (run / "report.html").as_uri(), "splats", azimuth, elevation, SIZE)
    found = match(shot, draw_splats(cloud(), azimuth, elevation, SIZE))
    print(f"splats {azimuth:.0f} {elevation:.0f}: IoU {found.iou:.4f}, PSNR {found.psnr:.1f} dB")
    assert found.iou > 0.97 and found.psnr > 38


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_colours_change_with_the_view_as_ours_do(tmp_path, tab, degree) -> None:
    splats = cloud(200, degree)
    address = report(make_run(tmp_path / "run", splats=splats)).as_uri()
    found = match(shoot(tab, address, "splats", 40, 20, SIZE), draw_splats(splats, 40, 20, SIZE))
    print(f"harmonics of degree {degree}: PSNR {found.psnr:.1f} dB")
    assert found.psnr > 38
    assert match(shoot(tab, address, "splats", 40, 20, SIZE), draw_splats(cloud(200, 0), 40, 20, SIZE)).psnr < 30


def test_a_run_that_lies_elsewhere_stands_in_the_middle(tmp_path, tab) -> None:
    mesh, splats = ball(), cloud()
    moved = replace(mesh, vertices=mesh.vertices * np.float32(20) + np.float32([30, 0, 5]))
    run = make_run(tmp_path / "run", moved, splats.placed(20.0, np.array([30.0, 0, 5])))
    *centre, radius, _ = run_parts(run / "asset.glb", None, inside=True)[0].placement
    address = report(run).as_uri()
    home = replace(mesh, vertices=(moved.vertices - np.float32(centre)) / np.float32(radius))
    assert match(shoot(tab, address, "mesh", 40, 20, SIZE), draw_mesh(home, 40, 20, SIZE)).iou > 0.98
    near = splats.placed(20.0 / radius, (np.array([30.0, 0, 5]) - centre) / radius)
    assert match(shoot(tab, address, "splats", 40, 20, SIZE), draw_splats(near, 40, 20, SIZE)).iou > 0.97


@pytest.mark.parametrize("name", ["glb", "mesh-ply"])
def test_a_run_of_a_turned_file_stands_upright(tmp_path, tab, name) -> None:
    """Its front is the file's +X, and in formats that leave that open its top is the file's +Z."""
    mesh = ball()
    up, front = ("+y", "+x") if name == "glb" else ("+z", "+x")
    run = make_run(tmp_path / "run", mesh)
    (run / "asset.glb").unlink()
    axes = {"upright_axes" if name == "glb" else "mesh_axes": orientation(up, front)}
    write_mesh(name, run / FORMATS[name], mesh, Placement(**axes))
    result = {**json.loads((run / "result.json").read_bytes()), "axes": {axes_kind(name): [up, front]}}
    address = write_report(run, run / "metrics.jsonl", result).as_uri()
    found = match(shoot(tab, address, "mesh", 40, 20, SIZE), draw_mesh(mesh, 40, 20, SIZE))
    assert found.iou > 0.98 and found.psnr > 28  # a .ply has its colours at the vertices


def test_the_report_asks_nobody(run, tab) -> None:
    address = (run / "report.html").as_uri()
    tab.open(address)
    assert {url for url in tab.requests() if not url.startswith(("data:", "blob:"))} == {address}


def test_the_server_gives_the_same_picture_and_nobody_else_is_asked(run, tab) -> None:
    server = ViewServer(site(run))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        served = shoot(tab, server.address, "both", 30, 15, SIZE)
        own = {url for url in tab.requests() if not url.startswith(("data:", "blob:"))}
        assert own and all(url.startswith(server.address) for url in own)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    inside = shoot(tab, (run / "report.html").as_uri(), "both", 30, 15, SIZE)
    assert np.abs(served[0].astype(int) - inside[0]).max() <= 1


def test_normals_are_in_the_axes_of_the_world(run, tab) -> None:
    shot, _ = shoot(tab, (run / "report.html").as_uri(), "mesh", 90, 0, SIZE, "&look=normals")
    centre = shot[SIZE // 2, SIZE // 2].astype(float) / 255 * 2 - 1
    assert centre[0] > 0.95 and np.abs(centre[1:]).max() < 0.3  # azimuth 90 sees the side that looks along +X


def test_edges_clay_and_light_change_the_picture(run, tab) -> None:
    address = (run / "report.html").as_uri()
    plain, _ = shoot(tab, address, "both", 30, 15, SIZE)
    seen = [shoot(tab, address, "both", 30, 15, SIZE, more)[0] for more in ("&edges=1", "&look=clay", "&light=1")]
    for shot in seen:
        assert np.abs(shot.astype(int) - plain).max() > 20
    clay = seen[1].astype(int)
    assert np.ptp(clay, axis=-1).max() < 30  # no colour left


def pressed(tab: Tab) -> list[str]:
    return tab.evaluate("[...document.querySelectorAll('[aria-pressed=true]')].map((b) => b.textContent)")


def camera(tab: Tab) -> np.ndarray:
    """What the picture shows is moved by the camera alone: the stage's pixels, small."""
    tab.frame()
    return tab.screenshot()[140:440:8, 100:900:8].astype(int)


def test_keys(run, tab) -> None:
    tab.size(1000, 700)
    tab.open((run / "report.html").as_uri() + "?keys")
    assert pressed(tab) == ["Both", "Texture"]
    for key, expected in (
        ("2", ["Mesh", "Texture"]), ("w", ["Mesh", "Texture", "Wireframe"]), ("n", ["Mesh", "Normals", "Wireframe"]),
        ("t", ["Mesh", "Texture", "Wireframe"]), ("t", ["Mesh", "Clay", "Wireframe"]),
        ("1", ["Both", "Clay", "Wireframe"]),
    ):  # fmt: skip
        tab.key(key)
        assert pressed(tab) == expected, key
    before = camera(tab)
    tab.key("ArrowLeft")
    assert (camera(tab) == before).all()  # the page has the arrows until the stage is in focus
    tab.evaluate("document.querySelector('#stage canvas').focus()")
    tab.key("ArrowLeft")
    assert (camera(tab) != before).any()
    tab.key("r")
    assert (camera(tab) == before).all()
    tab.key(" ")
    assert "Turntable" in pressed(tab)
    assert (camera(tab) != before).any()


def test_the_mouse_orbits_and_the_wheel_zooms_after_a_click(run, tab) -> None:
    tab.size(1000, 700)
    tab.open((run / "report.html").as_uri() + "?mouse")
    before = camera(tab)
    wheel = dict(type="mouseWheel", x=300, y=300, deltaX=0, deltaY=-120)
    tab.send("Input.dispatchMouseEvent", **wheel)
    tab.frame()
    assert (camera(tab) == before).all()
    for kind, x, down in (("mousePressed", 300, 1), ("mouseMoved", 380, 1), ("mouseReleased", 380, 0)):
        tab.send("Input.dispatchMouseEvent", type=kind, x=x, y=300, button="left", buttons=down, clickCount=1)
    turned = camera(tab)
    assert (turned != before).any()
    tab.key("r")
    assert (camera(tab) == before).all()
    tab.send("Input.dispatchMouseEvent", **wheel)
    tab.frame()
    assert ((camera(tab) < 150).any(-1)).sum() > ((before < 150).any(-1)).sum()  # nearer


def test_a_phone_stacks_the_panes_and_turns_by_touch(run, tab) -> None:
    tab.size(390, 844, touch=True, ratio=2.0)
    tab.open((run / "report.html").as_uri() + "?phone")
    tab.frame()
    assert tab.evaluate("document.querySelector('#stage').dataset.flow") == "column"
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    least = tab.evaluate("Math.min(...[...document.querySelectorAll('.bar button')].map((b) => b.offsetHeight))")
    assert least >= 44
    before = camera(tab)
    for kind, x in (("touchStart", 150), ("touchMove", 180), ("touchMove", 230)):
        tab.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": 250}])
    tab.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert (camera(tab) != before).any()
    tab.size(1000, 700)
    tab.frame()
    assert tab.evaluate("document.querySelector('#stage').dataset.flow") == "row"


def test_dark_and_light(run, tab) -> None:
    tab.size(600, 500)
    shades = []
    for scheme in ("light", "dark"):
        tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        tab.open((run / "report.html").as_uri() + "?dark")
        tab.frame()
        shades.append(tab.screenshot()[5, 5].mean())
    assert shades[0] > 230 and shades[1] < 40


def test_without_webgl_the_page_still_tells(run, tab) -> None:
    script = "HTMLCanvasElement.prototype.getContext = () => null"
    made = tab.send("Page.addScriptToEvaluateOnNewDocument", source=script)
    tab.send("Page.navigate", url=(run / "report.html").as_uri() + "?none")
    tab.until("location.search === '?none' && document.documentElement?.dataset.viewer === 'failed'")
    text = tab.evaluate("document.querySelector('.status').textContent")
    assert "cannot show the viewer" in text and "<td>faces</td>" in tab.evaluate("document.body.innerHTML")
    tab.send("Page.removeScriptToEvaluateOnNewDocument", identifier=made["identifier"])
    assert tab.complaints()
    tab.events.clear()
