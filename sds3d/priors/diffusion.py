"""Any frozen text-to-image diffusion model as a Prior: in pixels or latents, whatever its network predicts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors import adapters, precision, text_cache
from sds3d.priors.base import Cond
from sds3d.priors.codec import Latents
from sds3d.priors.families import Family
from sds3d.priors.families.base import TextEncoder, frozen
from sds3d.priors.folder import family_of, inspect, load_components, read_json
from sds3d.priors.speed import in_batches

# Network, condition -> what is called in the network's place for that condition, with the same arguments.
Around = Callable[[Any, Cond], Any]


class DiffusionPrior:
    """The components of one model folder (`folder.load_components`) behind the Prior protocol, as its family wants.

    `predict` does not switch gradients off: the network's own parameters are frozen, so there is no graph unless x_t or
    an adapter injected into `network` asks for one.
    """

    def __init__(
        self,
        components: Mapping[str, Any],
        family: Family,
        device: torch.device | str = "cpu",
        name: str = "prior",
        texts: Callable[[Sequence[str]], list[Cond]] | None = None,
    ) -> None:
        """`texts` stands for the text encoders, which then need not be among the components."""
        self.device, self.name, self.family = torch.device(device), name, family
        self.network: Any = frozen(components[family.network], self.device)
        family.prepare(self.network)
        self.views_per_object = family.views
        self.dtype = _widest(self.network)
        self.noising = family.noising(components).to(self.device)
        self.schedule = self.noising.schedule
        vae = components.get("vae")
        self.codec = family.codec(self.network, None if vae is None else frozen(vae, self.device))
        self.size = self.codec.size
        self.around: list[Around] = []  # from the innermost
        self.batch, self.largest = 0, 0  # most rows in a forward (0: all), and the most there were
        self.replays = False  # whether CUDA graphs are replayed, which write each answer over the last one
        self._texts = texts or one_by_one(family.encode_text(components, self.device))
        self._states: dict[str, Cond] = {}  # by prompt
        self.capabilities = family.capabilities(self.network) | {"lora"}
        if note := family.note(self.network):
            warnings.warn(note, stacklevel=2)
        self.encode_image: Callable[[Tensor | None], Tensor] | None = None  # as Prior.image
        if family.encode_image and "image" in self.capabilities:
            self.encode_image = family.encode_image(components, self.device)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        checkpointing: bool = False,
        name: str | None = None,
        lora: Sequence[str] = (),
        textual_inversion: Sequence[str] = (),
    ) -> DiffusionPrior:
        """From a model folder or a single file; `dtype` None picks the precision, `checkpointing` saves the memory of a
        VAE's graph, `lora` and `textual_inversion` are files as in `adapters`."""
        device, folder = torch.device(device), Path(folder).expanduser()
        family = family_of(folder)
        dtypes, parts = precisions(folder, family, device, dtype), inspect(folder)
        changes = adapters.open_all(lora, textual_inversion, family, parts)
        texts, leave_out = text_cache.of_folder(folder, parts, family, dtypes, device, changes) or (None, ())
        components = load_components(folder, dtypes, leave_out)
        for change in changes:
            change.apply(components)
        prior = cls(components, family, device, name or folder.name, texts)
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
        """States of the prompts. Each is encoded once and alone: its states never depend on the others."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._states]
        self._states |= {prompt: cond.to(self.device) for prompt, cond in zip(new, self._texts(new), strict=True)}
        return Cond.cat([self._states[prompt] for prompt in prompts])

    def image(self, rgb: Tensor | None) -> Tensor:
        """Tokens (B, M, D) of image prompts (B, 3, H, W) sRGB in [0, 1]; None is the trained "no image" (1, M, D)."""
        if self.encode_image is None:
            raise UserError(
                f"prior {self.name!r} takes no image prompt: give Stable Diffusion (1.x, 2.x, XL) one's adapter with "
                "--ip-adapter, or do without a picture"
            )
        return self.encode_image(rgb)

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """eps (B, C, h, w) float32 of one batched forward, or of several where `batch` says so; t (B,) integer
        timesteps. Where `views_per_object` says so, B is a multiple of it: the views of one object after another's."""
        if len(x_t) % self.views_per_object:
            raise UserError(
                f"prior {self.name!r} looks at {self.views_per_object} views of an object together and was shown "
                f"{len(x_t)}: choose another prior for this"
            )
        self.largest = max(self.largest, len(x_t))
        return in_batches(self._predict, x_t, t, cond, self.batch)

    def _predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        t = t.to(self.device)
        x, times = self.noising.inputs(x_t, t)
        cond, network = cond.to(self.device, self.dtype), self.network
        for around in self.around:
            network = around(network, cond)
        if self.replays:
            torch.compiler.cudagraph_mark_step_begin()
        output = self.family.forward(network, x.to(self.dtype), times, cond)
        return self.noising.eps(output.clone() if self.replays else output, x_t, t)


def one_by_one(encode: TextEncoder) -> Callable[[Sequence[str]], list[Cond]]:
    """An encoder that stays in memory, asked for one prompt at a time."""
    return lambda prompts: [encode([prompt]) for prompt in prompts]


def precisions(folder: Path, family: Family, device: torch.device, dtype: torch.dtype | None) -> dict[str, torch.dtype]:
    """By component: `dtype`, or what suits the device; not float16 where it overflows."""
    parts = inspect(folder)
    size = next(part.parameters for part in parts if part.name == family.network)
    names = [part.name for part in parts]
    picked = dict.fromkeys(("unet", "text_encoder", "vae"), dtype) if dtype else precision.pick(device, size)
    fits = {name: family.float16 for name in names}
    if "vae" in names:
        vae = next(part.folder for part in parts if part.name == "vae")
        fits["vae"] = not read_json(vae / "config.json", vae).get("force_upcast", False)
    return {name: precision.of_component(name, picked, fits[name]) for name in names}


def _widest(network: torch.nn.Module) -> torch.dtype:
    """The type a network takes its input in: if it stores some tensors wider than others, it casts by itself."""
    types = {t.dtype for t in network.state_dict().values() if t.is_floating_point()}
    return max(types, key=lambda dtype: torch.finfo(dtype).bits)
