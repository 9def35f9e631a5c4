"""The real command on the embedded prior, few steps; the asset is opened again and looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from asset_files import ply_vertices
from PIL import Image

STEPS = 150


def sds3d(*arguments: str) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "sds3d", *arguments], capture_output=True, text=True, env=environment, timeout=600
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("out")
    sds3d("generate", "a red chair", "--steps", str(STEPS), "--out", str(root))
    (folder,) = root.iterdir()
    return folder


def test_the_folder_is_complete(run: Path) -> None:
    names = {p.name for p in run.iterdir()}
    wanted = {"config.yaml", "metrics.jsonl", "checkpoint.safetensors", "views.png", "asset.glb", "asset.ply"}
    assert wanted | {"report.html", "result.json"} <= names and {"turntable.mp4", "turntable.gif"} & names
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1)) and not any(line["skipped"] for line in lines)


def test_the_mesh_is_one_textured_object_of_its_size(run: Path) -> None:
    scene = trimesh.load(run / "asset.glb")
    (mesh,) = scene.geometry.values()
    assert 100 < len(mesh.faces) <= 10_000
    assert np.abs(mesh.vertices).max() < 1.3 and np.ptp(mesh.vertices, axis=0).max() > 0.4
    texture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"), float)
    assert texture.std() > 5, "the texture is one colour"
    quality = json.loads((run / "result.json").read_text())["qa"]
    assert quality["faces"] == len(mesh.faces)


def test_the_gaussians_can_be_read(run: Path) -> None:
    rows = ply_vertices(run / "asset.ply")
    assert len(rows) > 500
    values = np.stack([rows[name] for name in rows.dtype.names])
    assert np.isfinite(values).all() and {"x", "opacity", "scale_0", "rot_3", "f_dc_0"} <= set(rows.dtype.names)


def test_red_is_seen_in_every_view(run: Path) -> None:
    """A short run of "a red chair": where the sheet's first row is covered, it is more red than green or blue."""
    sheet = np.asarray(Image.open(run / "views.png").convert("RGB"), float)
    width = sheet.shape[1] // 8
    for i in range(8):
        view = sheet[: width + 20, i * width : (i + 1) * width].reshape(-1, 3)
        coloured = view[(view.max(1) - view.min(1)) > 40]
        assert len(coloured) > 50, f"view {i} shows nothing"
        red, green, blue = coloured.mean(0)
        assert red > green + 20 and red > blue + 20, f"view {i}: {red:.0f} {green:.0f} {blue:.0f}"


def test_imagine_draws_a_sheet(tmp_path: Path) -> None:
    printed = sds3d("imagine", "a red chair", "--steps", "8", "--rows", "1", "--views", "4", "--out", str(tmp_path))
    sheet = np.asarray(Image.open(printed.strip().splitlines()[-1]).convert("RGB"), float)
    assert sheet.shape[1] == 4 * 128 and sheet.std() > 10


def test_bench_step_accounts_for_the_whole_step() -> None:
    costs = json.loads(sds3d("bench", "step", "--steps", "3", "--warmup", "2", "--json"))
    assert {cost["scene"] for cost in costs} == {"splats", "grid", "mesh"}
    for cost in costs:
        parts = ("prior", "renderer", "optimiser", "rest")
        assert sum(cost["share"][p] for p in parts) == pytest.approx(1)
        assert sum(cost["ms"][p] for p in parts) == pytest.approx(cost["ms"]["total"])
        assert all(cost["ms"][p] > 0 for p in parts)
