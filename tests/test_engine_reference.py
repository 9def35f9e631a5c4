"""The reference picture: from a file, or drawn by the prior; kept with the run, part of its identity."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_helpers import SIZE, Log, NetworkPrior, ball_prior, disc, settings
from PIL import Image

from sds3d.camera import orbit
from sds3d.engine import generate as engine
from sds3d.engine.distill import distill, prepare
from sds3d.engine.reference import reference_image
from sds3d.engine.resolve import resolve
from sds3d.errors import UserError
from sds3d.picture import read_picture, square


def painted(path: Path, width: int, height: int, colour: tuple[int, ...]) -> Path:
    mode = "RGBA" if len(colour) == 4 else "RGB"
    Image.new(mode, (width, height), colour).save(path)
    return path


def test_a_file_is_cut_square_over_white_at_the_priors_size(tmp_path: Path) -> None:
    wide = Image.new("RGBA", (90, 30), (255, 0, 0, 255))
    wide.paste((0, 0, 255, 51), (30, 0, 60, 30))  # the middle third is blue at a fifth of opacity
    wide.save(tmp_path / "wide.png")
    seen = np.asarray(square(read_picture(tmp_path / "wide.png"), SIZE))
    assert seen.shape == (SIZE, SIZE, 3)
    assert (np.abs(seen[:, 3:-3].astype(int) - (204, 204, 255)) <= 1).all()


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    half = Image.new("RGB", (32, 32), (0, 0, 0))
    half.paste((255, 255, 255), (0, 0, 32, 16))  # white above
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    half.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    seen = np.asarray(square(read_picture(tmp_path / "photo.jpg"), SIZE))
    assert seen[:6].max() < 20 and seen[-6:].min() > 235


def test_the_picture_is_kept_and_a_resumed_run_sees_the_same(tmp_path: Path) -> None:
    prior = ball_prior()
    drawn = reference_image(prior, "a red ball", "", 3, tmp_path)
    assert drawn.shape == (1, 3, SIZE, SIZE) and (tmp_path / "reference.png").is_file()
    again = reference_image(NetworkPrior(), "something else", "", 4, tmp_path)  # type: ignore[arg-type]
    assert torch.equal(drawn, again)
    ideal = (disc((0.9, 0.1, 0.1)) + 1) / 2
    assert (drawn[0] - ideal).square().mean().sqrt() < 0.02  # what this prior knows of "red", in eight bits
    assert torch.equal(reference_image(prior, "a red ball", "", 3, None), drawn)


def test_a_file_wins_over_drawing_and_needs_no_folder(tmp_path: Path) -> None:
    half = Image.new("RGB", (2 * SIZE, 2 * SIZE), (0, 255, 0))
    half.paste((255, 255, 255), (0, SIZE, 2 * SIZE, 2 * SIZE))  # white below
    half.save(tmp_path / "green.png")
    seen = reference_image(ball_prior(), "a red ball", str(tmp_path / "green.png"), 0, None)
    assert torch.equal(seen[0, :, 2, 2], torch.tensor([0.0, 1.0, 0.0])) and (seen[0, :, -2, 2] == 1).all()


@pytest.mark.parametrize("alpha", [0, 255])
def test_a_picture_of_one_colour_has_no_object(tmp_path: Path, alpha: int) -> None:
    empty = painted(tmp_path / "empty.png", 60, 30, (20, 200, 20, alpha))
    with pytest.raises(UserError, match="no object in its middle square"):
        reference_image(ball_prior(), "a red ball", str(empty), 0, None)
    noisy = Image.effect_noise((60, 30), 1.0).convert("RGB")  # what a camera makes of a wall
    noisy.save(tmp_path / "wall.jpg", quality=90)
    with pytest.raises(UserError, match="no object in its middle square"):
        reference_image(ball_prior(), "a red ball", str(tmp_path / "wall.jpg"), 0, None)


def test_the_hash_follows_the_content_of_the_picture_not_its_name(tmp_path: Path) -> None:
    first = painted(tmp_path / "first.png", 20, 20, (9, 9, 9))
    copy = tmp_path / "copy.png"
    copy.write_bytes(first.read_bytes())
    other = painted(tmp_path / "other.png", 20, 20, (9, 9, 8))
    made = [resolve("x", {"image": str(path), "guidance": "isd"}) for path in (first, copy, other)]
    assert made[0].hash == made[1].hash != made[2].hash
    assert made[0].hash != resolve("x", {"guidance": "isd"}).hash and made[0].image == str(first.resolve())


def test_a_picture_that_nobody_looks_at_is_refused(tmp_path: Path) -> None:
    picture = str(painted(tmp_path / "green.png", 20, 20, (0, 255, 0)))
    with pytest.raises(
        UserError, match="--image has no effect: guidance 'sds' looks at no picture; add --guidance isd"
    ):
        resolve("x", {"image": picture, "guidance": "sds"})


@pytest.mark.parametrize("damage", ["missing", "text", "folder", "large", "cut"])
def test_what_is_no_picture_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "picture"
    if damage == "text":
        path.write_text("not a picture")
    elif damage == "folder":
        path.mkdir()
    elif damage != "missing":
        Image.effect_noise((64, 64), 50).save(path, "png")
        data = bytearray(path.read_bytes())
        if damage == "large":  # by its header
            data[16:24] = struct.pack(">II", 8200, 8200)
            data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        path.write_bytes(data if damage == "large" else data[: len(data) // 2])
    with pytest.raises(UserError, match="picture") as caught:
        resolve("x", {"image": str(path), "guidance": "isd"})
        read_picture(path)
    assert "\n" not in str(caught.value)


def test_image_prompted_guidance_follows_the_picture(tmp_path: Path) -> None:
    """The same empty-handed prompt, two references: each run keeps its picture and goes its own way."""
    colours = {"red": (0.9, 0.1, 0.1), "blue": (0.1, 0.1, 0.9)}
    means = {}
    for name, colour in colours.items():
        pixels = ((disc(colour) + 1) / 2 * 255).round().byte().movedim(0, -1).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        chosen = settings(guidance="isd", steps=20, image=str(tmp_path / f"{name}.png"), guidance_weight=0.02)
        (tmp_path / name).mkdir()
        prior = ball_prior()
        object.__setattr__(prior, "labels", ())  # it does not read
        made = prepare(chosen, prior, folder=tmp_path / name)
        assert not any(record.skipped for record in distill(made))
        assert (tmp_path / name / "reference.png").is_file()
        view = made.scene.render(orbit(1), SIZE, torch.ones(1, 3)).rgb
        means[name] = view[0, :, 4:12, 4:12].mean((1, 2))
    assert means["red"][0] - means["red"][2] > means["blue"][0] - means["blue"][2] + 0.1


def test_a_prior_without_image_prompts_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(NetworkPrior):
        def image(self, rgb: object) -> object:
            raise UserError("prior 'network' takes no image prompt")

    monkeypatch.setattr(engine, "load_prior", lambda name, device: Blind())
    with pytest.raises(UserError, match="takes no image prompt"):
        engine.generate(settings(guidance="isd", steps=1), tmp_path, torch.device("cpu"), False, Log())
    assert not list(tmp_path.iterdir())
