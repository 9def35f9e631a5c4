"""Any frozen text-to-image diffusion model as a Prior: in pixels or latents, whatever its network predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors import precision
from sds3d.priors.base import Cond
from sds3d.priors.codec import Codec, Latents, Pixels, factor
from sds3d.priors.folder import inspect, load_components
from sds3d.priors.noise import prediction_type_of, schedule_of, to_eps
from sds3d.schedule import Schedule

PIXEL_SIZE = 64  # of pixel-space networks that do not say
# What a network may be told of a view, as in Cond: it declares `<name>_conditioned = True` and takes `<name>`.
VIEW = ("camera", "background", "image")
# UNet2DConditionModel's settings for inputs other than text: image embeddings, labels, sizes.
MORE_INPUTS = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim_type")


class DiffusionPrior:
    """The components of one model folder (`folder.load_components`) behind the Prior protocol.

    `predict` does not switch gradients off: the network's own parameters are frozen, so there is no graph unless x_t or
    an adapter injected into `network` asks for one.
    """

    def __init__(self, components: Mapping[str, Any], device: torch.device | str = "cpu", name: str = "prior") -> None:
        self.device, self.name = torch.device(device), name
        self.network: Any = _frozen(components["unet"], self.device)
        self.dtype = _widest(self.network)
        schedule = schedule_of(components["scheduler"])
        self.schedule = Schedule(schedule.alphas_cumprod.to(self.device))
        self.prediction_type = prediction_type_of(components["scheduler"])
        self.codec = _codec(self.network, components.get("vae"), self.device)
        self.size = self.codec.size
        self._encoder = _text_encoder(components, self.device)
        self._states: dict[str, tuple[Tensor, Tensor]] = {}  # by prompt
        self._views = tuple(v for v in VIEW if getattr(self.network, f"{v}_conditioned", False))
        self.capabilities = frozenset({"lora", *self._views})

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        checkpointing: bool = False,
        name: str | None = None,
    ) -> DiffusionPrior:
        """From a model folder; `dtype` None picks the precision, `checkpointing` saves the memory of a VAE's graph."""
        device, folder = torch.device(device), Path(folder).expanduser()
        size = next(part.parameters for part in inspect(folder) if part.name == "unet")
        dtypes = dict.fromkeys(("unet", "text_encoder", "vae"), dtype) if dtype else precision.pick(device, size)
        prior = cls(load_components(folder, dtypes), device, name or folder.name)
        if checkpointing and isinstance(prior.codec, Latents):
            prior.codec.checkpoint()
        return prior

    def encode(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB in [0, 1] -> x (B, C, h, w) float32, differentiable."""
        return self.codec.encode(rgb)

    def decode(self, x: Tensor) -> Tensor:
        """x (B, C, h, w) -> (B, 3, H, W) sRGB in [0, 1]."""
        return self.codec.decode(x)

    def text(self, prompts: list[str]) -> Cond:
        """Token states (B, T, D). Each prompt is encoded once and alone: its states never depend on the others."""
        for prompt in prompts:
            if prompt not in self._states:
                tokens, mask = self._encoder([prompt])
                self._states[prompt] = tokens.to(self.device), mask.to(self.device)
        tokens, masks = zip(*(self._states[prompt] for prompt in prompts), strict=True)
        return Cond(torch.cat(tokens), torch.cat(masks))

    def image(self, rgb: Tensor | None) -> Tensor:
        """Tokens (B, M, D) of image prompts (B, 3, H, W) sRGB in [0, 1], from the network's own encoder; None is the
        trained "no image" (1, M, D)."""
        if "image" not in self.capabilities:
            raise UserError(f"prior {self.name!r} takes no image prompt: choose another guidance or another prior")
        given = torch.ones(1, 3, self.size, self.size) if rgb is None else rgb
        small = torch.nn.functional.interpolate(given, (self.size, self.size), mode="area")
        tokens: Tensor = self.network.encode_image(small.to(self.device))
        return torch.zeros_like(tokens) if rgb is None else tokens

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """eps (B, C, h, w) float32 of one batched forward; t (B,) integer timesteps."""
        extra: dict[str, Tensor] = {}
        if not self._encoder.attends_padding:
            extra["encoder_attention_mask"] = cond.mask
        extra.update({v: given for v in self._views if (given := getattr(cond, v)) is not None})
        t = t.to(self.device)
        output = self.network(
            x_t.to(self.dtype), t, encoder_hidden_states=cond.tokens.to(self.dtype), return_dict=False, **extra
        )[0]
        alpha, sigma = self.schedule.alpha_sigma(t, x_t)
        return to_eps(output, x_t, alpha, sigma, self.prediction_type)


def _codec(network: Any, vae: Any, device: torch.device) -> Codec:
    """Latents if there is a VAE, else pixels; UserError for networks that want more than a noisy picture."""
    given, channels = network.config.get("in_channels", 3), 3 if vae is None else vae.config.latent_channels
    if given != channels:
        raise UserError(
            f"this model's network takes {given} channels instead of {channels}: it is made for inpainting, editing or "
            "upscaling; use a text-to-image model"
        )
    wants = [key for key in MORE_INPUTS if network.config.get(key) is not None]
    if wants:
        raise UserError(f"this model's network wants more than text ({wants[0]}); use a plain text-to-image model")
    if vae is None:
        return Pixels(int(network.config.get("sample_size", PIXEL_SIZE)))
    return Latents(_frozen(vae, device), int(network.config.sample_size) * factor(vae))


def _text_encoder(components: Mapping[str, Any], device: torch.device) -> Any:
    """Something that turns prompts into (token states, mask) and says whether its padding is attended to."""
    encoder = components["text_encoder"]
    if "tokenizer" not in components:
        return encoder
    from sds3d.priors.clip import ClipText

    return ClipText(components["tokenizer"], _frozen(encoder, device))


def _frozen(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """In eval mode on the device. (diffusers' own `to` imports peft and transformers first, which takes a second.)"""
    return torch.nn.Module.to(module, device).eval().requires_grad_(False)


def _widest(network: torch.nn.Module) -> torch.dtype:
    """The type a network takes its input in: if it keeps some tensors wider than others, it casts by itself."""
    types = {t.dtype for t in [*network.parameters(), *network.buffers()] if t.is_floating_point()}
    return max(types, key=lambda dtype: torch.finfo(dtype).bits)
