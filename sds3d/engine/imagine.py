"""`sds3d imagine`: a sheet of what the prior itself draws, by view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from sds3d.camera import view_name
from sds3d.engine.sample import imagine
from sds3d.picture import pixels, read_object, square
from sds3d.priors import load_prior
from sds3d.priors.adapters import check_words
from sds3d.prompts import slug
from sds3d.view.pictures import tile, to_pixels
from sds3d.view.sheet import write_png

SMALLEST = 128  # pixels; smaller samples are enlarged by a whole factor


def imagine_sheet(
    prompt: str,
    prior: str,
    out: Path,
    device: torch.device,
    views: int = 8,
    rows: int = 2,
    seed: int = 0,
    steps: int = 50,
    cfg: float = 5.0,
    eta: float = 0.0,
    elevation: float = 15.0,
    lora: Sequence[str] = (),
    textual_inversion: Sequence[str] = (),
    camera_cfg: float = 0.0,
    ip_adapter: str = "",
    image: Path | None = None,
    image_scale: float = 1.0,
) -> Path:
    """Write out/imagine-SLUG-SEED.png, -like-NAME before the seed where the prior looks at a picture: `rows` samples
    seen from `views` azimuths.

    Raises UserError for a picture that cannot be read, shows nothing, or that the prior does not take.
    """
    check_words(textual_inversion, [prompt])
    picture = None if image is None else read_object(image.expanduser())
    loaded = load_prior(prior, device, lora=lora, textual_inversion=textual_inversion, ip_adapter=ip_adapter)
    samples = imagine(
        loaded,
        prompt,
        views,
        rows,
        seed,
        steps,
        cfg,
        eta,
        elevation,
        camera_cfg=camera_cfg,
        reference=None if picture is None else pixels(square(picture, loaded.size)).to(device)[None],
        image_scale=image_scale,
    )
    images = samples.flatten(0, 1)  # (rows * views, 3, H, W)
    factor = max(1, SMALLEST // images.shape[-1])
    images = images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    azimuths = [i * 360.0 / views for i in range(views)]
    captions = [f"{view_name(a, elevation)} {a:.0f}°" for a in azimuths] + [""] * (views * (rows - 1))
    like = "" if image is None else f"-like-{slug(image.stem)}"
    path = out / f"imagine-{slug(prompt)}{like}-{seed}.png"
    return write_png(path, tile(list(to_pixels(images)), captions, columns=views))
