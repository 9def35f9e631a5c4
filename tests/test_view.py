"""Sheets, films and curves."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from analytic_scenes import Solid, sphere
from PIL import Image

from sds3d.errors import UserError
from sds3d.scenes.base import Frame
from sds3d.view.charts import flat, series
from sds3d.view.pictures import channel, tile, to_pixels
from sds3d.view.sheet import contact_sheet
from sds3d.view.turntable import turntable, write_film


def two_faced() -> Solid:
    """Red seen from the front, green from behind."""

    def color(p):
        return torch.where(p[..., 2:] > 0, torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0]))

    return Solid(sphere(0.7), color)


def test_contact_sheet_shows_each_side_in_its_place(tmp_path):
    path = contact_sheet(two_faced(), tmp_path / "views.png", size=48, views=4, elevations=(0.0, 30.0))
    sheet = np.asarray(Image.open(path))
    assert sheet.shape[1] == 4 * 48
    cell = sheet.shape[0] // 3  # rgb, depth, rgb from above
    centre = [sheet[cell - 24, 48 * i + 24] for i in range(4)]
    assert tuple(centre[0]) == (255, 0, 0) and tuple(centre[2]) == (0, 255, 0)
    assert tuple(sheet[cell - 2, 2]) == (255, 255, 255)  # white around
    depth = sheet[2 * cell - 24, 24].astype(int)
    assert np.ptp(depth) == 0 and depth[0] > 200  # grey, bright where near


def test_tile_places_pictures_and_captions():
    red, blue = np.full((30, 40, 3), (255, 0, 0), np.uint8), np.full((30, 40, 3), (0, 0, 255), np.uint8)
    plain = np.asarray(tile([red, blue, red], columns=2))
    assert plain.shape == (60, 80, 3)
    assert (plain[:30, :40] == red).all() and (plain[:30, 40:] == blue).all() and (plain[30:, 40:] == 255).all()
    captioned = np.asarray(tile([red, blue], ["a", "a caption far too long for its picture"]))
    head = captioned.shape[0] - 30
    assert 12 <= head <= 30 and (captioned[head:, 40:] == blue).all()
    left, right = (captioned[:head, :40] < 128).any(-1), (captioned[:head, 40:] < 128).any(-1)
    assert left.any() and right.sum() > left.sum()  # ink
    assert not right[:, 0].any()  # cut short, not spilling into its neighbour


def test_channels_of_a_frame():
    alpha = torch.zeros(1, 1, 4, 4)
    alpha[..., 1:3, 1:3] = 1
    depth = alpha * torch.tensor([[0, 1.0, 3.0, 0]])
    normal = torch.zeros(1, 3, 4, 4)
    normal[:, 1] = 1
    frame = Frame(alpha.expand(-1, 3, -1, -1), alpha, depth, normal)
    near, far = channel(frame, "depth")[0, 1, 1:3, 0].tolist()
    assert (near, far) == (pytest.approx(0.9 * 255, abs=1), pytest.approx(0.1 * 255, abs=1))
    assert channel(frame, "normal")[0, 1, 1].tolist() == [128, 255, 128]
    assert channel(frame, "alpha")[0, 0, 0].tolist() == [0, 0, 0]
    assert (channel(frame, "normal")[0, 0] == 255).all()
    assert to_pixels(torch.tensor([-1.0, torch.nan, 0.5, 2.0]).view(1, 1, 2, 2))[0, :, :, 0].tolist() == [
        [0, 0],
        [128, 255],
    ]


def ramp(count: int = 8, side: int = 33) -> np.ndarray:
    return np.stack([np.full((side, side, 3), 20 * i + 40, np.uint8) for i in range(count)])


def test_a_film_holds_every_picture_in_order(tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = write_film(tmp_path / "t.mp4", ramp(), fps=10)
    assert path == tmp_path / "t.mp4" and list(tmp_path.iterdir()) == [path]
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    assert meta["size"] == (32, 32) and meta["fps"] == 10 and meta["pix_fmt"].startswith("yuv420p")
    levels = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    assert levels == pytest.approx([20 * i + 40 for i in range(8)], abs=4)


def test_without_ffmpeg_it_is_a_gif(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    path = write_film(tmp_path / "t.mp4", ramp(), fps=10)
    assert path == tmp_path / "t.gif" and list(tmp_path.iterdir()) == [path]
    film = Image.open(path)
    assert film.n_frames == 8 and film.info["duration"] == 100
    film.seek(5)
    assert np.asarray(film.convert("RGB")).mean() == pytest.approx(140, abs=4)


def test_the_turntable_goes_all_around(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    film = Image.open(turntable(two_faced(), tmp_path / "t.mp4", count=4, size=32, elevation=0.0))
    assert film.n_frames == 4
    seen = []
    for i in range(4):
        film.seek(i)
        seen.append(np.asarray(film.convert("RGB"))[16, 16].astype(int))
    assert np.abs(seen[0] - (255, 0, 0)).max() < 12 and np.abs(seen[2] - (0, 255, 0)).max() < 12


def test_a_film_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write"):
        write_film(tmp_path / "file" / "t.gif", ramp(), 10)


def test_series_skip_what_is_not_a_curve():
    rows = [{"step": 5, "a": 1, "b": float("nan"), "c": True, "d": "x"}, {"step": 9, "a": 2.5, "b": 1.0, "c": False}]
    assert series(rows) == {"a": ([5.0, 9.0], [1.0, 2.5])}
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}
