"""Runs to look at, and the viewer's screenshots beside the renderer's own pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from asset_files import ply
from PIL import Image

from sds3d.assets.gaussians import SH0, Gaussians
from sds3d.assets.placement import HALF_TURN
from sds3d.camera import Cameras, fit_distance
from sds3d.export.files import write_glb
from sds3d.export.mesh import TexturedMesh
from sds3d.export.texture import textured_soup
from sds3d.render.harmonics import basis
from sds3d.render.mesh import render_soup
from sds3d.render.splats import render_splats
from sds3d.view.report import write_report

if TYPE_CHECKING:
    from browser import Tab

FOV = 40.0


Picture = tuple[np.ndarray, np.ndarray]  # (size, size, 3) uint8 over white, (size, size) alpha in [0, 1]


@dataclass(frozen=True)
class Match:
    iou: float  # of what covers more than half a pixel
    psnr: float  # dB over white, where either picture shows the object


def match(shot: Picture, expected: Picture) -> Match:
    covered, wanted = shot[1] > 0.5, expected[1] > 0.5
    both = covered | wanted
    error = (shot[0].astype(float) - expected[0])[both] / 255
    return Match(float((covered & wanted).sum() / both.sum()), float(-10 * np.log10(np.mean(error**2) + 1e-12)))


def camera(azimuth: float, elevation: float) -> Cameras:
    fov = torch.tensor([FOV])
    return Cameras(torch.tensor([azimuth]), torch.tensor([elevation]), fov, fit_distance(fov))


def draw_mesh(mesh: TexturedMesh, azimuth: float, elevation: float, size: int) -> Picture:
    """A mesh, unlit."""
    unlit = dict(ambient=1.0, diffuse=0.0, headlight=0.0)
    drawn = render_soup(textured_soup(mesh), camera(azimuth, elevation), size, supersample=4, **unlit)[0][0]
    alpha = drawn[..., 3:].astype(float) / 255
    return (drawn[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8), alpha[..., 0]


@torch.no_grad()
def draw_splats(splats: Gaussians, azimuth: float, elevation: float, size: int) -> Picture:
    """Gaussians."""
    cameras = camera(azimuth, elevation)
    means, scales, quats, opacities, sh = (torch.from_numpy(getattr(splats, part.name)) for part in fields(splats))
    directions = torch.nn.functional.normalize(means - cameras.positions, dim=-1)
    colors = (0.5 + (basis(directions, splats.degree)[..., None] * sh).sum(1)).clamp_min(0)
    parts = (means, quats, scales.exp(), opacities.sigmoid(), colors)
    frame = render_splats(*parts, cameras, size, torch.ones(1, 3))
    rgb = (frame.rgb[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return rgb, frame.alpha[0, 0].numpy()


def shoot(tab: Tab, url: str, show: str, azimuth: float, elevation: float, size: int, more: str = "") -> Picture:
    """One pane without anything around it; its alpha is what a white and a black background differ by."""
    tab.size(size, size)
    shots = []
    for ground in ("white", "black"):
        tab.open(f"{url}#bare=1&ground={ground}&show={show}&azimuth={azimuth}&elevation={elevation}{more}")
        tab.frame()
        shots.append(tab.screenshot())
    white, black = shots
    return white, 1 - (white.astype(float) - black).mean(-1) / 255


def ball(side: int = 64) -> TexturedMesh:
    """An egg with a lump, so that no view is another's mirror image, in soft colours that no view repeats."""
    import trimesh

    sphere = trimesh.creation.uv_sphere(radius=1.0, count=[24, 32])
    p = np.asarray(sphere.vertices)
    lump = 1 + 0.35 * np.exp(-8 * ((p - [0.6, 0.7, 0.3]) ** 2).sum(1))
    shape = trimesh.Trimesh(p * lump[:, None] * [0.5, 0.7, 0.6], sphere.faces, process=False)
    uv = np.stack([0.5 + 0.4 * p[:, 0], 0.5 + 0.4 * p[:, 1]], -1)
    y, x = np.mgrid[0:side, 0:side] / side
    texture = (np.stack([0.1 + 0.3 * x, 0.35 - 0.3 * y, 0.1 + 0.25 * (x + y) / 2], -1) * 255).astype(np.uint8)
    arrays = (np.asarray(a, np.float32) for a in (shape.vertices, shape.vertex_normals, uv))
    vertices, normals, coordinates = arrays
    return TexturedMesh(vertices, np.asarray(shape.faces, np.int32), normals, coordinates, texture)


def cloud(count: int = 400, degree: int = 0) -> Gaussians:
    """Gaussians of every shape, turn and opacity in a slanted slab."""
    generator = np.random.default_rng(0)
    means = generator.uniform(-1, 1, (count, 3)) * [0.35, 0.6, 0.5]
    means[:, 0] += 0.4 * means[:, 1]
    opacities = generator.uniform(0.1, 1, count).clip(max=0.99)
    sh = generator.normal(size=(count, (degree + 1) ** 2, 3)) * 0.1
    sh[:, 0] = (generator.uniform(0, 0.45, (count, 3)) - 0.5) / SH0
    parts = (means, generator.uniform(-4.5, -2, (count, 3)), generator.normal(size=(count, 4)))
    return Gaussians(*(part.astype(np.float32) for part in (*parts, np.log(opacities / (1 - opacities)), sh)))


def write_ply(path: Path, splats: Gaussians) -> Path:
    """A .ply of 3D Gaussian Splatting: +Y is down."""
    turned = splats.turned(HALF_TURN)
    columns = {
        **dict(zip("xyz", turned.means.T, strict=True)),
        **{f"f_dc_{i}": c for i, c in enumerate(turned.sh[:, 0].T)},
        **{f"f_rest_{i}": c for i, c in enumerate(turned.sh[:, 1:].transpose(0, 2, 1).reshape(len(turned), -1).T)},
        "opacity": turned.opacities,
        **{f"scale_{i}": s for i, s in enumerate(turned.scales.T)},
        **{f"rot_{i}": q for i, q in enumerate(turned.quats.T)},
    }
    rows = np.rec.fromarrays(list(columns.values()), dtype=[(name, "<f4") for name in columns])
    path.write_bytes(ply("<", vertex=np.asarray(rows)))
    return path


def make_run(folder: Path, mesh: TexturedMesh | None = None, splats: Gaussians | None = None) -> Path:
    """A finished run's folder without its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"prompt": "a <b>red</b> egg", "scene": "splats", "guidance": "cfd", "prior": "embedded", "seed": 0}
    result = {
        "prompt": settings["prompt"], "settings": settings, "qa": {"faces": 1200, "watertight": True}, "line": "",
        "seconds": {"total": 4.5}, "export_seconds": {"surface": 1.0}, "hardware": {"device": "cpu"},
        "memory": {"process_mb": 400.0}, "versions": {"sds3d": "0.1.0"},
    }  # fmt: skip
    rows = [{"step": i, "loss": 1 / (i + 1), "same": 3, "name": "x", "ms": {"total": i * 1.0}} for i in range(600)]
    (folder / "config.yaml").write_text("prompt: a red egg\nsteps: 900\n")
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Image.new("RGB", (4, 4)).save(folder / "views.png")
    write_glb(folder / "asset.glb", mesh or ball())
    write_ply(folder / "asset.ply", splats or cloud())
    return folder


def report(folder: Path) -> Path:
    """report.html written into it."""
    return write_report(folder, folder / "metrics.jsonl", json.loads((folder / "result.json").read_text()))
