"""Does Blender show an exported .glb as we show the scene? Not run by pytest, since bpy wants a Python of its own:

    python -m venv bpyvenv && bpyvenv/bin/pip install "bpy>=4.2,<5"        # Python 3.11; 350 MB
    python tests/blender/check.py outputs/RUN ... --bpy bpyvenv/bin/python

For each run: its scene from two of the turntable's cameras, and the .glb in Blender, unlit, from the same ones. On the
object, that is on pixels that both cover by more than half, its own colours must agree to 22 dB, and the silhouettes
(IoU) to 0.95. Pictures (scene over white, Blender unlit, Blender lit) go to --out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sds3d.camera import Cameras, orbit
from sds3d.engine import run as runs
from sds3d.engine.setup import saved_scene
from sds3d.scenes.base import Scene

ASKED, OVERLAP = 22.0, 0.95  # dB, IoU
SIZE, ELEVATION = 256, 15.0
VIEWS = (0, 3)  # of eight around
WORKER = Path(__file__).with_name("render_glb.py")
Picture = NDArray[np.float32]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--bpy", required=True, type=Path, help="a Python that has bpy")
    parser.add_argument("--out", type=Path, default=Path("outputs/blender"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cameras = orbit(8, ELEVATION)[torch.tensor(VIEWS)]
    return 0 if all([check(folder, cameras, options.bpy, options.out) for folder in options.runs]) else 1


def check(folder: Path, cameras: Cameras, python: Path, out: Path) -> bool:
    """Does the run pass? Prints the figures and writes its pictures."""
    run = runs.load(folder)
    scene, _ = saved_scene(run.settings, run.checkpoint, torch.device("cpu"))
    ours, own, covered = frames(scene, cameras)
    glb = folder / "asset.glb"
    flat, solid = in_blender(glb, cameras, python)
    lit, _ = in_blender(glb, cameras, python, "lit")
    both, either = covered & solid, covered | solid
    psnr, iou = decibels((own - flat)[both]), both.sum() / either.sum()
    sheet = np.concatenate([np.concatenate(list(some), 1) for some in (ours, flat, lit)], 0)
    Image.fromarray((sheet * 255).round().astype(np.uint8)).save(out / f"{folder.name}.png")
    passed = psnr >= ASKED and iou >= OVERLAP
    print(f"{folder.name}: {psnr:.1f} dB, IoU {iou:.3f}{'' if passed else ', FAILED'}", flush=True)
    return bool(passed)


def decibels(error: Picture) -> float:
    return float(-10 * np.log10(max(float((error**2).mean()), 1e-10)))


@torch.no_grad()
def frames(scene: Scene, cameras: Cameras) -> tuple[Picture, Picture, NDArray[np.bool_]]:
    """(B, H, H, 3) over white, as straight colours, and what is covered."""
    frame = scene.render(cameras, SIZE, torch.ones(len(cameras), 3))
    rgb, alpha = (part.permute(0, 2, 3, 1).clamp(0, 1).numpy() for part in (frame.rgb, frame.alpha))
    own = ((rgb - 1 + alpha) / np.maximum(alpha, 1e-3)).clip(0, 1)
    return rgb, own, alpha[..., 0] > 0.5


def in_blender(glb: Path, cameras: Cameras, python: Path, *kind: str) -> tuple[Picture, NDArray[np.bool_]]:
    """(B, H, H, 3) over white, and what is covered."""
    places = [
        {"position": position, "fov": fov}
        for position, fov in zip(cameras.positions.tolist(), cameras.fov.tolist(), strict=True)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch, "cameras.json")
        listed.write_text(json.dumps(places), encoding="utf-8")
        command = [
            str(python),
            str(WORKER),
            str(glb.resolve()),
            str(listed),
            str(SIZE),
            str(Path(scratch, "view")),
            *kind,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        pictures = [
            np.asarray(Image.open(Path(scratch, f"view-{i}.png")), np.float32) / 255 for i in range(len(places))
        ]
    rgba = np.stack(pictures)
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:], rgba[..., 3] > 0.5


if __name__ == "__main__":
    sys.exit(main())
