"""Small priors and settings for tests of the loop: nothing is loaded, a step takes milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sds3d.config import load_preset
from sds3d.engine.record import Record
from sds3d.engine.settings import Settings, from_values
from sds3d.priors.base import Cond
from sds3d.priors.oracle import MixturePrior, finite_set
from sds3d.schedule import Schedule, cosine

SIZE = 16
SMALL: dict[str, Any] = {
    "views": 4,
    "splats.count": 150,
    "splats.cap": 250,
    "splats.refine_every": 3,
    "export.resolution": 24,
    "export.faces": 400,
    "export.texture": 64,
    "export.unwrap_seconds": 0,  # the fallback atlas: xatlas under a time limit depends on the machine's load
    "background": "white",
    "sds.cfg": 1.0,
    "vsd.cfg": 1.0,
}


def disc(colour: tuple[float, float, float], radius: float = 0.6) -> Tensor:
    """(3, SIZE, SIZE) in [-1, 1]: a disc on white, which is what a ball of that colour looks like from anywhere."""
    axis = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    inside = (axis[:, None] ** 2 + axis[None] ** 2 < radius**2).float()
    return (inside * torch.tensor(colour)[:, None, None] + (1 - inside)) * 2 - 1


def ball_prior() -> MixturePrior:
    """Knows two things: a red ball and a blue one."""
    return finite_set(torch.stack([disc((0.9, 0.1, 0.1)), disc((0.1, 0.1, 0.9))]), ("red", "blue"))


class NetworkPrior:
    """A red disc's exact denoiser plus a linear layer for a critic to adapt; camera-conditioned or not."""

    size, name, background = SIZE, "network", "white"
    device = torch.device("cpu")

    def __init__(self, camera: bool = True) -> None:
        self.schedule: Schedule = cosine()
        self.capabilities = frozenset({"lora", *(("camera",) if camera else ())})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = nn.Linear(4, 3)
            nn.init.normal_(layer.weight, std=0.05)
        self.network = nn.Sequential(layer).requires_grad_(False)
        self.network.lora_targets = ("0",)  # type: ignore[assignment]
        self.target = disc((0.9, 0.1, 0.1))
        self.texts: list[str] = []

    def encode(self, rgb: Tensor) -> Tensor:
        return rgb * 2 - 1

    def decode(self, x: Tensor) -> Tensor:
        return ((x + 1) / 2).clamp(0, 1)

    def text(self, prompts: list[str]) -> Cond:
        """One token per prompt: its length."""
        self.texts += prompts
        tokens = torch.tensor([[[float(len(p))]] for p in prompts])
        return Cond(tokens, torch.ones(len(prompts), 1, dtype=torch.bool))

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        alpha, sigma = self.schedule.alpha_sigma(t, x_t)
        features = torch.cat([x_t, sigma.expand(-1, 1, SIZE, SIZE)], 1).movedim(1, -1)
        return (x_t - alpha * self.target) / sigma + self.network(features).movedim(-1, 1)


def settings(**overrides: Any) -> Settings:
    """A small red ball; keys may be written with __ for a dot."""
    chosen = {key.replace("__", "."): value for key, value in overrides.items()}
    return from_values({**load_preset("default"), **SMALL, **chosen, "prompt": "a red ball"})


class Log:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []
        self.records: list[Record] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stage(self, name: str, seconds: float) -> None:
        self.stages.append(name)

    def step(self, record: Record) -> None:
        self.records.append(record)


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
