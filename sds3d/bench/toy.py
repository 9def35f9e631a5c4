"""`sds3d bench toy`: what every objective makes of points in the plane under a labelled mixture of eight Gaussians.

Each point is an "image" of two numbers and a scene of its own. The prompt means three neighbouring modes of the ring,
the negative and the source prompt the two opposite ones (OBJECTIVES 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sds3d.camera import orbit
from sds3d.config import apply
from sds3d.engine.conditions import Conditions
from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE, Context, Objective, distill_gradient
from sds3d.guidance.critic import OracleCritic
from sds3d.priors.oracle import MixturePrior
from sds3d.schedule import Times
from sds3d.streams import stream
from sds3d.view.pictures import tile

MODES, RADIUS, STD = 8, 0.6, 0.06
LABELS = ("cat", "cat", "cat", "bird", "dog", "dog", "fish", "fish")  # of the modes, around the ring
PROMPT, NEGATIVE, SOURCE = "cat", "dog", "dog"
POINTS, STEPS, CFG = 128, 500, 1.5
TIMES = Times("linear", jitter=0.2)  # falling noise, as in most runs
LR = (0.03, 0.003)  # Adam, at the start and at the end
KERNEL = 0.06  # width of the critic's kernel around each point
START = 0.5  # spread of the points before the first step
SIDE, SPAN = 180, 1.3  # of a picture: pixels, largest coordinate
GREY, GREEN, RED = (215, 215, 215), (140, 200, 150), (200, 60, 50)


@dataclass(frozen=True)
class Outcome:
    """Where the points of one objective ended. Distances in the plane, whose modes have a spread of STD."""

    guidance: str
    hit: float = 0.0  # share of the points within 3 STD of one of the prompt's modes
    covered: int = 0  # of the prompt's three modes, those with at least a tenth of the points
    spread: float = 0.0  # mean distance of the hitting points to their mode over its expectation: 1 is right, 0 a point
    bias: float = 0.0  # distance of the points' mean to the mean of the prompt's modes
    nfe: float = 0.0  # predictions per point and step
    reason: str = ""  # why it cannot run here

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def row(self) -> tuple[str, ...]:
        """For a table: objective, hit, modes, spread, bias, NFE."""
        if self.reason:
            return self.guidance, "", "", "", "", self.reason
        numbers = (f"{self.hit:.0%}", f"{self.covered} of 3", f"{self.spread:.2f}", f"{self.bias:.2f}")
        return (self.guidance, *numbers, f"{self.nfe:.1f}")


def ring_prior() -> MixturePrior:
    """Equal Gaussians on a circle in the plane, as pictures of one pixel in two channels."""
    angle = torch.arange(MODES) * (2 * math.pi / MODES)
    means = RADIUS * torch.stack([angle.cos(), angle.sin()], -1)
    return MixturePrior(means.view(MODES, 2, 1, 1), torch.full((MODES,), STD), labels=LABELS, name="oracle:ring")


def modes(prior: MixturePrior, label: str) -> Tensor:
    """(K, 2) of the modes with this label."""
    return prior.means[[i for i, name in enumerate(LABELS) if name == label]].flatten(1)


def toy_objective(name: str) -> Objective:
    """The objective at its defaults, but for a guidance scale of CFG where it has one."""
    kind = GUIDANCE[name]
    options: Any = kind()
    return apply(options, {"cfg": CFG}) if hasattr(options, "cfg") else options


def run(name: str, points: int = POINTS, steps: int = STEPS, seed: int = 0) -> tuple[Outcome, Tensor | None]:
    """The outcome and the points (N, 2), or the reason and None."""
    try:
        x, nfe = _descend(toy_objective(name), points, steps, seed)
    except UserError as error:
        return Outcome(name, reason=str(error)), None
    return judge(name, x, nfe), x


def _descend(objective: Objective, n: int, steps: int, seed: int) -> tuple[Tensor, float]:
    prior, generator = ring_prior(), stream(seed, "init")
    noise = torch.randn(n, 2, 1, 1, generator=generator)
    homes = modes(prior, SOURCE)
    source = homes[torch.arange(n) % len(homes)].view(n, 2, 1, 1) + STD * noise
    x = (source if objective.source else START * noise).clone().requires_grad_()
    reference = prior.decode(prior.means[1:2])  # the middle one of the prompt's modes, as a picture
    names = objective.needs() | ({"critic"} if objective.critic else frozenset())
    table = Conditions(prior, PROMPT, NEGATIVE, names, False, source=SOURCE, reference=reference)
    conds = table.at(orbit(n), torch.ones(n, 3))
    times, cache, count = TIMES, dict[str, Any](), 0
    adam = torch.optim.Adam([x], lr=LR[0])
    for step in range(steps):
        progress = step / steps
        adam.param_groups[0]["lr"] = LR[0] * (LR[1] / LR[0]) ** progress
        t = prior.schedule.timestep(times.sample(progress, n, stream(seed, "time", step)))
        context = Context(
            x.detach(),
            conds,
            prior,
            stream(seed, "noise", step),
            progress,
            particles(x.detach()) if objective.critic else None,
            seed=seed,
            step=step,
            x_src=source if objective.source else None,
            prompt=PROMPT,
            cache=cache,
        )
        x.grad, stats = distill_gradient(objective, context, t)
        count += stats.nfe + stats.critic_nfe
        adam.step()
    return x.detach().flatten(1), count / steps


def particles(x: Tensor) -> OracleCritic:
    """The critic that knows the points as they are: a Gaussian kernel around each."""
    return OracleCritic(MixturePrior(x, torch.full((len(x),), KERNEL)))


def judge(name: str, x: Tensor, nfe: float) -> Outcome:
    """Figures of the points x (N, 2)."""
    centres = modes(ring_prior(), PROMPT)
    distance, nearest = torch.cdist(x, centres).min(1)
    near = distance < 3 * STD
    counts = torch.bincount(nearest[near], minlength=len(centres))
    expected = STD * math.sqrt(math.pi / 2)  # mean distance of a 2-D Gaussian to its centre
    return Outcome(
        name,
        hit=float(near.float().mean()),
        covered=int((counts >= 0.1 * len(x)).sum()),
        spread=float(distance[near].mean()) / expected if bool(near.any()) else 0.0,
        bias=float((x.mean(0) - centres.mean(0)).norm()),
        nfe=nfe,
    )


def measure(
    guidance: Sequence[str] = (), points: int = POINTS, steps: int = STEPS, seed: int = 0
) -> Iterator[tuple[Outcome, Tensor | None]]:
    """All of `guidance`, by default all there is."""
    for name in guidance or GUIDANCE:
        yield run(name, points, steps, seed)


def picture(outcomes: Sequence[tuple[Outcome, Tensor | None]], columns: int = 7) -> Image.Image:
    """The points of every objective over the modes: green the prompt's, grey the others."""
    shown = [(outcome.guidance, x) for outcome, x in outcomes if x is not None]
    if not shown:
        raise UserError("there is nothing to draw: none of these objectives can run on the toy")
    return tile([_scatter(x) for _, x in shown], [name for name, _ in shown], min(columns, len(shown)))


def _scatter(x: Tensor) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)

    def dot(centre: Sequence[float], radius: float, fill: tuple[int, int, int]) -> None:
        u, v = ((1 + c / SPAN) / 2 * SIDE for c in (centre[0], -centre[1]))
        draw.ellipse([u - radius, v - radius, u + radius, v + radius], fill=fill)

    for label, mean in zip(LABELS, ring_prior().means.flatten(1).tolist(), strict=True):
        dot(mean, 2 * STD / SPAN * SIDE / 2, GREEN if label == PROMPT else GREY)
    for point in x.clamp(-SPAN, SPAN).tolist():
        dot(point, 1.5, RED)
    return image
