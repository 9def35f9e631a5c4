"""The judge's part of `sds3d prior rivals`: pictures of every network, their figures, and the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sds3d.bench.contest import Unit, judge
from sds3d.bench.contestants import Samples
from sds3d.bench.rivals import Contest, budget, costs, restored, trained
from sds3d.bench.scores import summarise
from sds3d.bench.shots import Album, Shot, fingerprint, key_of, photograph
from sds3d.bench.targets import Target
from sds3d.camera import orbit
from sds3d.embedded.conditions import Conditioned
from sds3d.embedded.model import EigenDenoiser
from sds3d.engine.sample import imagine
from sds3d.priors import find_folder
from sds3d.priors.base import Prior
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.families.embedded import FAMILY
from sds3d.priors.folder import load_components
from sds3d.probe.judge import Probe

SHIPPED = "shipped"  # the weights that come with sds3d, for comparison
STEPS, CFG, ETA = 25, 2.0, 1.0  # of the samples
VIEWS, ELEVATION, START = 2, 15.0, 45.0  # and where they are seen from: the front's left, the back's right
SAMPLING: dict[str, Any] = dict(views=VIEWS, steps=STEPS, cfg=CFG, eta=ETA, elevation=ELEVATION, start=START)
HEADER = ("network", "M", "ms", "images", "R@1", "R@5", "colour", "azimuth", "dB at 100", "500", "900")
Note = Callable[[str], None]


@dataclass(frozen=True)
class Gallery:
    """What every network is asked to draw, who judges it, and where the pictures are kept."""

    targets: Sequence[Target]
    probe: Probe
    album: Album


def hold(contest: Contest, gallery: Gallery, note: Note) -> dict[str, Any]:
    """Train and judge every kind, and judge the shipped weights beside them; what is there is not done again."""
    cost = costs(contest)
    folder = find_folder("embedded")
    shipped = EigenDenoiser.from_pretrained(folder / "unet")
    row = judged(contest, gallery, SHIPPED, shipped, {"weights": fingerprint(folder)}, note)
    rows = [row | {"latency_ms": None, "images": None}]
    for name, entrant in contest.entrants.items():
        recipe = budget(contest, name, cost)
        net = trained(contest, name, recipe, lambda record: note(progress(record)))
        images = {stage: getattr(recipe, f"{stage}_images") for stage in entrant.shares}
        identity = {"corpus": cost["corpus"], "minutes": contest.minutes, "images": images}
        row = judged(contest, gallery, name, net, identity, note)
        rows.append(row | {"latency_ms": cost["latency_ms"][name], "images": images})
    return {
        "prompts": len(gallery.targets),
        "sampling": SAMPLING,
        **cost,
        "rows": rows,
        "ceiling": gallery.probe.ceiling,
    }


def judged(
    contest: Contest, gallery: Gallery, name: str, net: Conditioned, identity: Mapping[str, Any], note: Note
) -> dict[str, Any]:
    """A row: what the network holds, what it restores and what the probe finds in its samples."""
    size = sum(p.numel() for p in net.parameters())
    found = figures(prior_of(net, name), gallery, {**identity, "name": name}, note)
    row = {"name": name, "parameters": size, "restored": restored(contest, net), **found}
    note("  ".join(cells({**row, "latency_ms": None, "images": None})))
    return row


def progress(record: Mapping[str, Any]) -> str:
    return (
        f"{record['kind']}: {record['stage']} {record['step']}/{record['total']}, held-out loss {record['heldout']:.4f}"
    )


def prior_of(net: Conditioned, name: str) -> Prior:
    """The embedded prior with another network in its seat."""
    components = load_components(find_folder("embedded"), leave_out=("unet",))
    return DiffusionPrior({**components, "unet": net}, FAMILY, name=name)


def figures(prior: Prior, gallery: Gallery, identity: Mapping[str, Any], note: Note) -> dict[str, Any]:
    """What the probe finds in the samples of a prior."""
    verdicts = []
    for i, target in enumerate(gallery.targets, 1):
        unit = Unit(Samples(CFG, STEPS, ETA), target, 0)
        verdicts.append(judge(gallery.probe, unit, drawn(prior, unit, gallery.album, identity)))
        if i % 10 == 0 or i == len(gallery.targets):
            note(f"{prior.name}: {i}/{len(gallery.targets)} prompts judged")
    found = summarise(verdicts, orbit(VIEWS, ELEVATION, start=START).azimuth.tolist())
    return {name: None if figure is None else asdict(figure) for name, figure in found.items()}


def drawn(prior: Prior, unit: Unit, album: Album, identity: Mapping[str, Any]) -> Shot:
    """VIEWS samples of a prompt, from the album where it has them."""
    facts = {
        **identity,
        "prompt": unit.target.prompt,
        "seed": unit.seed,
        "sampling": [VIEWS, STEPS, CFG, ETA, ELEVATION],
    }
    key = key_of(facts)
    shot = album.get(key)
    if shot is None:
        started = time.perf_counter()
        images = imagine(prior, unit.target.prompt, rows=1, seed=unit.seed, **SAMPLING)[0]
        shot = photograph(images, time.perf_counter() - started)
        album.put(key, shot, facts)
    return shot


def table_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table under HEADER; the probe's own figures stand in the last row."""
    own = {name: None if value is None else {"value": value} for name, value in report["ceiling"].items()}
    return [*map(cells, report["rows"]), ("renders", "", "", "", *_scores(own), "", "", "")]


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    images = "-" if row["images"] is None else " + ".join(f"{n:,}" for n in row["images"].values())
    latency = "-" if row["latency_ms"] is None else f"{row['latency_ms']:.1f}"
    decibels = [f"{row['restored'][level]:.1f}" for level in ("100", "500", "900")]
    return (row["name"], f"{row['parameters'] / 1e6:.1f}", latency, images, *_scores(row), *decibels)


def _scores(row: Mapping[str, Any]) -> list[str]:
    shares = ["-" if row[name] is None else f"{row[name]['value']:.0%}" for name in ("r1", "r5", "colour")]
    return [*shares, "-" if row["azimuth"] is None else f"{row['azimuth']['value']:.0f}°"]
