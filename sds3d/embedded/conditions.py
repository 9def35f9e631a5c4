"""What every network in the embedded prior's seat is told, and how: text, camera, background, picture, noise level."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from sds3d.embedded.detail import POOL
from sds3d.schedule import cosine

SIZE = 64  # pixels of an image
GRID = SIZE // POOL  # pixels of an eigen-image


def harmonics(camera: Tensor) -> Tensor:
    """(B, 3) azimuth, elevation, fov in degrees, NaN where unknown -> (B, 13) smooth periodic features."""
    known = ~camera.isnan().any(-1, keepdim=True)
    azimuth, elevation, fov = torch.where(known, camera, torch.zeros_like(camera)).unbind(-1)
    a, e = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    waves = [f(n * a) for n in (1, 2, 3, 4) for f in (torch.sin, torch.cos)]
    return torch.stack([*waves, 2 * e.sin(), e.cos(), (2 * e).sin(), (2 * e).cos(), (fov - 40) / 10], -1) * known


def view_features(camera: Tensor, background: Tensor) -> Tensor:
    """camera (B, 3), background (B,) grey in [0, 1] -> (B, 16): harmonics, whether there is a camera, brightness."""
    known = ~camera.isnan().any(-1, keepdim=True)
    grey = background[:, None]
    return torch.cat([harmonics(camera), known.float(), 2 * grey - 1, torch.cos(2 * math.pi * grey)], -1)


class TokenPool(nn.Module):
    """A few learned softmax queries over the token states; all-zero weights are the plain mean."""

    def __init__(self, width: int, queries: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.score = nn.Linear(width, queries)
        self.merge = nn.Sequential(nn.Linear(queries * width, 768), nn.SiLU(), nn.Linear(768, out))
        nn.init.zeros_(self.score.bias)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        states = self.norm(tokens)  # (B, T, D)
        scores = self.score(states).float().masked_fill(~mask[..., None], -1e4)  # (B, T, Q)
        pooled = torch.einsum("btq,btd->bqd", scores.softmax(1).to(states.dtype), states)
        return self.merge(pooled.flatten(1))


class Conditioned(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The seam of the embedded prior: x0 of 64x64 images in [-1, 1] from text tokens, a camera or none, the
    background's grey level, and another picture of the object or none. Kinds say how, in `denoise`.

    The mean image is affine in the background, which is known. The corpus's principal components hold pictures of the
    object, and whatever else a kind does with them.
    """

    mean: Tensor
    backdrop: Tensor
    basis: Tensor
    variance: Tensor
    levels: Tensor
    camera_conditioned = True
    background_conditioned = True
    image_conditioned = True

    def __init__(self, components: int, cond_width: int, text_width: int, queries: int, image_width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3 * GRID * GRID))  # over black
        self.register_buffer("backdrop", torch.zeros(3 * GRID * GRID))  # what a white background adds to it
        self.register_buffer("basis", torch.zeros(3 * GRID * GRID, components))  # orthonormal columns
        self.register_buffer("variance", torch.ones(components))  # of the coefficients
        bar = cosine().alphas_cumprod
        self.register_buffer("levels", torch.stack([bar.sqrt(), (1 - bar).sqrt()], -1).float(), persistent=False)
        self.text = TokenPool(text_width, queries, cond_width)
        self.view = nn.Sequential(nn.Linear(16, cond_width), nn.SiLU(), nn.Linear(cond_width, cond_width))
        self.time = nn.Linear(64, cond_width)
        self.picture = nn.Sequential(nn.Linear(image_width, cond_width), nn.SiLU(), nn.Linear(cond_width, cond_width))
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(cond_width, cond_width), nn.SiLU())
        for parameter in self.picture[-1].parameters():
            nn.init.zeros_(parameter)

    def denoise(self, x: Tensor, t: Tensor, c: Tensor, background: Tensor) -> Tensor:
        """x0 (B, 3, 64, 64) from the noisy x (B, 3, 64, 64), t (B,), the condition (B, cond) and grey (B,)."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Any:  # type: ignore[override]
        """The network of a component folder, whose matrices are stored as int8; keyword arguments as in diffusers.
        `torch_dtype` casts the layers, not the basis; options of hub downloads do not apply."""
        from sds3d.embedded.folder import load_weights

        config = json.loads((Path(folder) / "config.json").read_text())
        network = cls(**{k: v for k, v in config.items() if not k.startswith("_")})
        network.load_state_dict(load_weights(Path(folder)))
        for module in network.children():
            module.to(options.get("torch_dtype") or torch.float32)
        network.eval()
        info: dict[str, list[str]] = {"missing_keys": []}  # loading is strict
        return (network, info) if options.get("output_loading_info") else network

    def centre(self, background: Tensor) -> Tensor:
        """(B,) grey -> (B, 3072) mean image."""
        return self.mean + background[:, None] * self.backdrop

    def project(self, x: Tensor, background: Tensor, alpha: Tensor | float = 1.0) -> Tensor:
        """(B, 3, 64, 64), whose signal is scaled by alpha -> (B, K) coefficients; unit noise stays unit noise."""
        return self.coefficients(F.avg_pool2d(x, POOL), background, alpha)

    def coefficients(self, small: Tensor, background: Tensor, alpha: Tensor | float = 1.0) -> Tensor:
        """`project` for images (B, 3, 32, 32) that are already small."""
        return (small.flatten(1) - alpha * self.centre(background)) @ self.basis * POOL

    def image(self, z: Tensor, background: Tensor) -> Tensor:
        """(B, K) coefficients -> (B, 3, 32, 32)."""
        return (self.centre(background) + z @ self.basis.T / POOL).view(-1, 3, GRID, GRID)

    def encode_image(self, rgb: Tensor) -> Tensor:
        """(B, 3, 64, 64) sRGB in [0, 1] over white -> (B, 1, image_width) picture tokens: its first coefficients,
        whitened. All zeros, the mean image, is what the network was trained to take for "no picture"."""
        return self.picture_tokens(F.avg_pool2d(rgb * 2 - 1, POOL))

    def picture_tokens(self, small: Tensor) -> Tensor:
        """`encode_image` for images (B, 3, 32, 32) in [-1, 1]."""
        z = self.coefficients(small, small.new_ones(len(small))) / self.variance.sqrt()
        return z[:, None, : self.config["image_width"]]

    def condition(
        self, t: Tensor, tokens: Tensor, mask: Tensor, camera: Tensor, background: Tensor, image: Tensor
    ) -> Tensor:
        """(B, cond) embedding of everything that is not the noisy image; image (B, 1, image_width)."""
        frequency = torch.exp(torch.linspace(0, math.log(200), 32, device=t.device))
        phase = (t.float() / len(self.levels))[:, None] * frequency
        view = view_features(camera, background)
        noise = torch.cat([phase.sin(), phase.cos()], -1)
        dtype = self.time.weight.dtype
        told = self.view(view.to(dtype)) + self.time(noise.to(dtype)) + self.picture(image[:, 0].to(dtype))
        return self.mix(self.text(tokens.to(dtype), mask) + told)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None = None,
        camera: Tensor | None = None,
        background: Tensor | None = None,
        image: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """sample (B, 3, 64, 64), timestep (B,) integers, tokens (B, T, 384), mask (B, T) bool, camera (B, 3) degrees,
        NaN = unknown, background (B,) grey, white if not given, image (B, 1, image_width) from `encode_image`
        -> (x0 (B, 3, 64, 64),)."""
        batch = len(sample)
        if encoder_attention_mask is None:
            encoder_attention_mask = sample.new_ones(encoder_hidden_states.shape[:2], dtype=torch.bool)
        x = sample.float()
        camera = x.new_full((batch, 3), float("nan")) if camera is None else camera
        background = x.new_ones(batch) if background is None else background.nan_to_num(1.0)
        image = x.new_zeros(batch, 1, self.config["image_width"]) if image is None else image
        mask = encoder_attention_mask.bool()
        c = self.condition(timestep, encoder_hidden_states, mask, camera, background, image)
        return (self.denoise(x, timestep, c, background),)
