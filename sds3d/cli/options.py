"""Options that several commands have: single ones as defaults of parameters, groups as parameters of their own.

A group is a dataclass whose fields are options. A command that takes one gets its options in that place:
`def imagine(model: Model)` has --prior, --lora and --textual-inversion, and reads `model.prior`.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import typer

OUTPUTS = Path("outputs")
DEVICE = typer.Option("auto", "--device", help="auto, cpu, cuda or cuda:N.")
THREADS = typer.Option(None, "--threads", min=1, help="CPU threads; all cores by default.")
OFFLINE = typer.Option(False, "--offline", help="Ask nothing of the network: only what is on this machine.")
PRIOR = typer.Option(
    None,
    "--prior",
    "-p",
    help="A name from [bold]list priors[/bold], a diffusers model folder, or owner/name on the hub.",
)
LORA = typer.Option([], "--lora", metavar="FILE[:WEIGHT]", help="A LoRA for the prior; may be repeated.")
WORDS = typer.Option(
    [],
    "--textual-inversion",
    metavar="FILE[:WORD]",
    help="A new word for the prompt; may be repeated.",
)
CONTROL = typer.Option(
    None, "--control", file_okay=False, help="A ControlNet's folder, for the prior to see the scene's depth or normals."
)
IP_ADAPTER = typer.Option(
    None,
    "--ip-adapter",
    dir_okay=False,
    help="An IP-Adapter's file, for a prior that looks at pictures only with one.",
)
IMAGE = typer.Option(None, "--image", help="Reference picture for image-prompted guidance.", dir_okay=False)
GUIDANCE = typer.Option(None, "--guidance", "-g", help="A name from [bold]list guidance[/bold].")
PRESET = typer.Option(None, "--preset", help="A name from [bold]list presets[/bold], or a YAML file of your own.")
SEED = typer.Option(None, "--seed", "-s", help="Another seed makes another object.")
STEPS = typer.Option(None, "--steps", help="Optimisation steps.")
SETS = typer.Option(
    [], "--set", metavar="KEY=VALUE", help="Any setting, see [bold]list settings[/bold]; may be repeated."
)
OUT = typer.Option(OUTPUTS, "--out", "-o", help="Folder that the run's folder is made in.")
FORCE = typer.Option(False, "--force", help="Start over what is already there.")
JSON = typer.Option(False, "--json", help="Machine-readable.")


@dataclass(frozen=True)
class Model:
    """A prior, and files that change its weights and its words."""

    prior: str | None = PRIOR
    lora: list[str] = LORA
    textual_inversion: list[str] = WORDS

    def settings(self) -> dict[str, Any]:
        """By key, what was given."""
        return given(prior=self.prior, lora=self.lora or None, textual_inversion=self.textual_inversion or None)


@dataclass(frozen=True)
class Sight:
    """What the prior is shown besides a picture to judge, and through which networks."""

    control: Path | None = CONTROL
    ip_adapter: Path | None = IP_ADAPTER
    image: Path | None = IMAGE

    def settings(self) -> dict[str, Any]:
        """By key, what was given."""
        return given(control=self.control, ip_adapter=self.ip_adapter, image=self.image)


@dataclass(frozen=True)
class Job:
    """How a run is made, and where."""

    guidance: str | None = GUIDANCE
    preset: str | None = PRESET
    seed: int | None = SEED
    steps: int | None = STEPS
    sets: list[str] = SETS
    out: Path = OUT
    force: bool = FORCE

    def settings(self) -> dict[str, Any]:
        """By key, what was given."""
        from sds3d.config import parse_sets

        return given(guidance=self.guidance, seed=self.seed, steps=self.steps) | parse_sets(self.sets)


def given(**values: Any) -> dict[str, Any]:
    """Those that a user gave."""
    return {key: value for key, value in values.items() if value is not None}


def ungrouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with every parameter that is a group replaced by the group's options, as typer reads commands."""

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        return _call(command, values)

    parameters = list(_flat(command))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _flat(maker: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """The parameters of a command or a group, those of groups in it in their places."""
    hints = get_type_hints(maker)
    for name, parameter in inspect.signature(maker).parameters.items():
        if is_dataclass(hints[name]):
            yield from _flat(hints[name])  # type: ignore[arg-type]
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])


def _call(maker: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """`maker` of its own among the values, and of the groups made of theirs."""
    kinds = get_type_hints(maker)
    names = inspect.signature(maker).parameters
    return maker(**{n: _call(kinds[n], values) if is_dataclass(kinds[n]) else values[n] for n in names})


def use_threads(threads: int | None) -> None:
    """Before torch and numba are imported: they read these once."""
    if threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(threads)


def go_offline(wanted: bool) -> None:
    """Before huggingface_hub is imported: it reads this once. The environment's own choice stands."""
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"
