"""Tensors to pictures, and pictures to sheets with captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.scenes.base import Frame, Scene

Pixels = NDArray[np.uint8]
INK, PAPER = (40, 40, 40), (255, 255, 255)


def to_pixels(images: Tensor) -> Pixels:
    """(B, 3 or 1, H, W) in [0, 1] -> (B, H, W, 3) uint8."""
    images = images.detach().cpu().float().nan_to_num(0.0).clamp(0, 1)
    return (images.expand(-1, 3, -1, -1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def frames(scene: Scene, cameras: Cameras, size: int, batch: int = 4) -> list[Frame]:
    """What the cameras see over white, one Frame per camera, on the CPU."""
    seen = []
    for i in range(0, len(cameras), batch):
        some = cameras[i : i + batch].to(scene.device)
        frame = scene.render(some, size, torch.ones(len(some), 3, device=scene.device))
        seen += [_one(frame, j) for j in range(len(some))]
    return seen


def _one(frame: Frame, i: int) -> Frame:
    normal = None if frame.normal is None else frame.normal[i : i + 1].cpu()
    return Frame(frame.rgb[i : i + 1].cpu(), frame.alpha[i : i + 1].cpu(), frame.depth[i : i + 1].cpu(), normal)


def channel(frame: Frame, name: str) -> Pixels:
    """(B, H, W, 3) of "rgb", "alpha", "depth" (near is bright) or "normal" (world axes)."""
    if name == "rgb":
        return to_pixels(frame.rgb)
    if name == "alpha":
        return to_pixels(frame.alpha)
    if name == "normal":
        assert frame.normal is not None
        return to_pixels((frame.normal + 1) / 2 * frame.alpha + 1 - frame.alpha)
    return to_pixels(_nearness(frame) * frame.alpha + 1 - frame.alpha)


def _nearness(frame: Frame) -> Tensor:
    """(B, 1, H, W) 0.9 at each view's nearest covered point, 0.1 at its farthest."""
    covered = frame.alpha > 0.5
    depth = frame.depth
    near = torch.where(covered, depth, torch.inf).amin((1, 2, 3), keepdim=True)
    far = torch.where(covered, depth, -torch.inf).amax((1, 2, 3), keepdim=True)
    return (0.9 - 0.8 * (depth - near) / (far - near).clamp_min(1e-6)).nan_to_num(0.5).clamp(0, 1)


def tile(images: Sequence[Pixels | Image.Image], captions: Sequence[str] = (), columns: int = 0) -> Image.Image:
    """Equal pictures in a grid, row by row, a caption above each (none where it is empty); `columns` 0 is one row."""
    pictures = [image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images]
    columns = columns or len(pictures)
    width, height = pictures[0].size
    lettering = max(11, min(20, width // 9))
    head = lettering + 6 if any(captions) else 0
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + head)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        x, y = i % columns * width, i // columns * (height + head)
        sheet.paste(picture, (x, y + head))
        if i < len(captions) and captions[i]:
            text, face = _fitted(captions[i], lettering, width - 4)
            draw.text((x + width / 2, y + head / 2), text, fill=INK, font=face, anchor="mm")
    return sheet


def _fitted(text: str, lettering: int, width: int) -> tuple[str, ImageFont.ImageFont | ImageFont.FreeTypeFont]:
    """The caption, cut short where it is wider than its picture."""
    face = ImageFont.load_default(lettering)
    if face.getlength(text) <= width:
        return text, face
    while text and face.getlength(text + "...") > width:
        text = text[:-1]
    return text + "...", face
