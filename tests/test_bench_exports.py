"""The bench of exports: what it reads from files, what passes, and that it goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from command_helpers import COARSE

from sds3d.bench.exports import Row, measure, read_back, report, welded
from sds3d.bench.gltf_check import Validator
from sds3d.export.files import write_glb
from sds3d.export.mesh import Mesh, topology
from sds3d.export.texture import paint, rasterise
from sds3d.export.unwrap import grid_atlas
from sds3d.prompts import load_list

GOOD = Row("a ball", "splats", 400, 1, True, True, 0, 0.97, 30.0, 0.001, "views", 0, {"asset.glb": 1000}, 2.0, "key")
SMALL = COARSE | {"size": 16, "steps": 2, "views": 2, "formats": ("ply",)}


class Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stage(self, name: str, seconds: float) -> None: ...

    def step(self, record: Any) -> None: ...


@pytest.fixture
def glb(tmp_path: Path) -> tuple[Path, Mesh]:
    shape = trimesh.creation.icosphere(2, 0.7)
    ball = Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32))
    atlas = grid_atlas(ball, 64)  # every face for itself
    texels = rasterise(ball, atlas)
    return write_glb(tmp_path / "ball.glb", paint(ball, atlas, texels, texels.normals * 0.5 + 0.5))[0], ball


def test_a_file_is_read_back_and_welded(glb):
    path, ball = glb
    mesh = read_back(path)
    assert len(mesh.vertices) == 3 * len(ball.faces) and topology(Mesh(mesh.vertices, mesh.faces)).components > 1
    whole = topology(welded(mesh))
    assert whole.components == 1 and whole.watertight and whole.manifold
    assert mesh.texture.shape == (128, 128, 3) and mesh.uv.min() >= 0 and mesh.uv.max() <= 1


def test_the_validator_counts_errors(glb):
    validator = Validator.find()
    if validator is None:
        pytest.skip("Node.js with the package gltf-validator is not installed")
    path, _ = glb
    assert validator.errors(path) == 0
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"NORMAL"', b'"NORMOL"'))  # an attribute that there is not
    assert validator.errors(path) > 0


@pytest.mark.parametrize(
    ("change", "passed"),
    [
        ({}, True),
        ({"errors": None}, True),  # nobody counted
        ({"errors": 1}, False),
        ({"faces": 0}, False),
        ({"manifold": False}, False),
        ({"watertight": False}, False),
        ({"silhouette_iou": 0.949}, False),
        ({"texture_psnr": 27.9}, False),
    ],
)
def test_what_passes(change, passed):
    row = replace(GOOD, **change)
    assert row.passed is passed
    assert ("passed" in row.row()) is passed


def test_the_report_counts_by_scene():
    rows = [GOOD, replace(GOOD, texture_psnr=20.0), replace(GOOD, scene="grid")]
    assert report(rows)["passed"] == {"splats": [1, 2], "grid": [1, 1]}
    assert [row["passed"] for row in report(rows)["rows"]] == [True, False, True]


def test_it_goes_on_where_it_was(tmp_path, glb):
    settings = {**SMALL, "prior": f"oracle:views:{glb[0]}"}

    def bench(force: bool = False) -> Row:
        folder = tmp_path / "bench"
        (row,) = measure(["a ball"], ["splats"], folder, torch.device("cpu"), Silent(), settings, force=force)
        return row

    first = bench()
    (stored,) = (tmp_path / "bench" / "rows").iterdir()
    (run,) = (tmp_path / "bench" / "runs").iterdir()
    made = (run / "result.json").stat().st_mtime_ns
    assert first.faces > 0 and first.bytes["asset.glb"] > 1000 and first.seconds > 0
    stored.write_text(json.dumps(asdict(replace(first, seconds=123.0))))
    assert bench() == replace(first, seconds=123.0)  # as it is stored
    assert bench(force=True).seconds != 123.0
    stored.write_text(json.dumps(asdict(replace(first, key="another scene", seconds=123.0))))
    assert bench().seconds != 123.0
    stored.write_text("{")
    assert bench().seconds != 123.0
    assert (run / "result.json").stat().st_mtime_ns == made  # a run that is complete is taken as it is


def test_twenty_prompts():
    assert len(set(load_list("exports"))) == 20
