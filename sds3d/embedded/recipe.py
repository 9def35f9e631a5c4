"""How the embedded prior is trained, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sds3d.config import apply, parse_sets
from sds3d.errors import UserError, unknown

STAGES = ("eigen", "detail")
SHARES = ("decay", "drop", "picture", "ema")


@dataclass(frozen=True)
class Recipe:
    """Images seen in each stage and the optimiser's numbers; see RECIPES."""

    eigen_images: int = 9_000_000
    detail_images: int = 300_000
    eigen_batch: int = 1024
    detail_batch: int = 64
    eigen_lr: float = 7e-4
    detail_lr: float = 2e-3
    warmup: int = 200
    decay: float = 0.35  # share of a stage in which the learning rate falls to zero
    drop: float = 0.1  # each of text and camera is hidden this often
    picture: float = 0.2  # share of the images that come with another view of their object
    ema: float = 0.9985
    seed: int = 0
    validate: int = 100  # steps between looks at the held-out objects
    checkpoint: int = 250


RECIPES = {
    "cpu": Recipe(),
    "gpu": Recipe(
        24_000_000, 4_000_000, 4096, 512, eigen_lr=1e-3, detail_lr=2e-3, warmup=500, validate=250, checkpoint=1000
    ),
    "tiny": Recipe(4096, 512, 256, 32, warmup=4, validate=8, checkpoint=8),
}


def changed(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """The recipe with ["eigen_lr=6e-4", ...] put in. UserError for unknown keys and impossible values."""
    values = parse_sets(assignments)
    names = [field.name for field in fields(recipe)]
    for key in values:
        if key not in names:
            raise unknown("recipe setting", key, names)
    made = apply(recipe, values)
    for key in values:
        value = getattr(made, key)
        if key in SHARES and not 0 <= value <= 1:
            raise UserError(f"{key} takes a share from 0 to 1, not {value:g}")
        if key not in (*SHARES, "seed") and value <= 0:
            raise UserError(f"{key} must be above 0, not {value:g}")
    return made


def learning_rate(step: int, total: int, recipe: Recipe, peak: float) -> float:
    """Warm-up, plateau, linear fall: a run may be cut short by lowering its total."""
    return peak * min(1.0, (step + 1) / recipe.warmup, (total - step) / max(1, recipe.decay * total))


def steps_of(recipe: Recipe, stage: str) -> int:
    return max(1, getattr(recipe, f"{stage}_images") // getattr(recipe, f"{stage}_batch"))
