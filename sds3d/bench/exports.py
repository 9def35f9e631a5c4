"""Are exports what an artist can use? Runs of fixed prompts, exported anew, and the .glb read back from the disk."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sds3d.bench.gltf_check import Validator
from sds3d.camera import ring
from sds3d.engine import run as runs
from sds3d.engine.generate import Listener, generate
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.engine.setup import saved_scene
from sds3d.export import export_asset
from sds3d.export.mesh import Mesh, TexturedMesh, topology
from sds3d.export.qa import likeness
from sds3d.export.slivers import THINNEST, slenderness
from sds3d.export.views import look
from sds3d.files import digest, write_bytes

IOU, PSNR = 0.95, 28.0  # what is asked of silhouettes and of textures (dB)
HELD_OUT, SIZE = (15.0, 40.0), 128  # elevations and pixels of the views that decide, half-way between the fitted ones
HEADER = ("scene", "prompt", "faces", "parts", "closed", "manifold", "IoU", "PSNR", "seams", "errors", "MB", "s", "")


@dataclass(frozen=True)
class Row:
    """One export."""

    prompt: str
    scene: str
    faces: int
    parts: int
    watertight: bool
    manifold: bool
    slivers: int  # faces thinner than slivers.THINNEST
    silhouette_iou: float
    texture_psnr: float  # dB
    seam_gap: float  # of 1
    baked_from: str
    errors: int | None  # of the Khronos validator; None where it is not installed
    bytes: dict[str, int]  # file name: size
    seconds: float  # of the export alone
    key: str  # of what was measured, and how

    @property
    def passed(self) -> bool:
        good = self.faces > 0 and self.watertight and self.manifold and not self.errors
        return good and self.silhouette_iou >= IOU and self.texture_psnr >= PSNR

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}

    def row(self) -> tuple[str, ...]:
        """For a table under HEADER."""
        return (
            self.scene,
            self.prompt,
            str(self.faces),
            str(self.parts),
            "yes" if self.watertight else "no",
            "yes" if self.manifold else "no",
            f"{self.silhouette_iou:.3f}",
            f"{self.texture_psnr:.1f}",
            f"{255 * self.seam_gap:.1f}",
            "-" if self.errors is None else str(self.errors),
            f"{sum(self.bytes.values()) / 1e6:.1f}",
            f"{self.seconds:.1f}",
            "passed" if self.passed else "",
        )


def measure(
    prompts: Sequence[str],
    scenes: Sequence[str],
    out: Path,
    device: torch.device,
    listener: Listener,
    overrides: Mapping[str, Any] | None = None,
    preset: str | None = None,
    force: bool = False,
) -> Iterator[Row]:
    """A row for every prompt on every scene. Runs lie in out/runs and are taken as they are where complete; rows that
    were measured on the same scene with the same settings of the export lie in out/rows and are read (unless `force`).
    """
    validator = Validator.find()
    if validator is None:
        listener.note("  glTF errors are not counted: that needs Node.js, and npm install gltf-validator")
    for prompt in prompts:
        for scene in scenes:
            settings = resolve(prompt, {"scene": scene, **(overrides or {})}, preset)
            folder = generate(settings, out / "runs", device, False, listener)
            path = out / "rows" / f"{folder.name}.json"
            key = _key(folder, settings, validator)
            row = None if force else _read(path, key)
            if row is None:
                row = _measured(folder, settings, out / "assets" / folder.name, device, validator, key)
                write_bytes(path, json.dumps(asdict(row), indent=1).encode())
            yield row


def _key(folder: Path, settings: Settings, validator: Validator | None) -> str:
    from sds3d import __version__

    scene = digest(folder / "checkpoint.safetensors")
    return f"{scene} {__version__} {settings.export} {'validated' if validator else 'not validated'}"


def _read(path: Path, key: str) -> Row | None:
    try:
        row = Row(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return row if row.key == key else None


def _measured(
    folder: Path, settings: Settings, out: Path, device: torch.device, validator: Validator | None, key: str
) -> Row:
    run = runs.load(folder)
    scene, _ = saved_scene(run.settings, run.checkpoint, device)
    began = time.perf_counter()
    exported = export_asset(scene, out, ("glb", "ply"), settings.export, prompt=settings.prompt)
    seconds = time.perf_counter() - began
    glb = out / exported["files"]["glb"][0]
    mesh = read_back(glb)
    shape, like = topology(welded(mesh)), likeness(mesh, look(scene, ring(8, HELD_OUT, start=22.5), SIZE))
    return Row(
        prompt=settings.prompt,
        scene=settings.scene,
        faces=len(mesh.faces),
        parts=shape.components,
        watertight=shape.watertight,
        manifold=shape.manifold,
        slivers=int((slenderness(mesh.vertices[mesh.faces]) < THINNEST).sum()),
        silhouette_iou=like.iou,
        texture_psnr=like.psnr,
        seam_gap=exported["qa"]["seam_gap"],
        baked_from=exported["qa"]["baked_from"],
        errors=validator.errors(glb) if validator else None,
        bytes={name: (out / name).stat().st_size for names in exported["files"].values() for name in names},
        seconds=round(seconds, 2),
        key=key,
    )


def read_back(glb: Path) -> TexturedMesh:
    """The mesh as a reader that is not ours finds it in the file."""
    import trimesh

    loaded: Any = trimesh.load(glb, force="mesh", process=False)
    return TexturedMesh(
        np.asarray(loaded.vertices, np.float32),
        np.asarray(loaded.faces, np.int32),
        np.asarray(loaded.vertex_normals, np.float32),
        np.asarray(loaded.visual.uv, np.float32),
        np.asarray(loaded.visual.material.baseColorTexture.convert("RGB")),
    )


def welded(mesh: TexturedMesh) -> Mesh:
    """With vertices at the same place, which are doubled along seams of the texture, as one."""
    vertices, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return Mesh(vertices, index.ravel()[mesh.faces].astype(np.int32))


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """What is published: the rows, and how many of each scene pass."""
    scenes = list(dict.fromkeys(row.scene for row in rows))
    return {
        "asked": {"silhouette_iou": IOU, "texture_psnr": PSNR, "errors": 0},
        "passed": {s: [sum(r.passed for r in rows if r.scene == s), sum(r.scene == s for r in rows)] for s in scenes},
        "rows": [row.as_dict() for row in rows],
    }
