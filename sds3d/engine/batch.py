"""Many runs, one prior: it is loaded once, runs that are complete stay, and one that fails does not end the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sds3d.engine import run as runs
from sds3d.engine.generate import Listener, generate
from sds3d.engine.interrupt import Interrupted
from sds3d.engine.remarks import noting_warnings
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.errors import UserError
from sds3d.priors import load_prior
from sds3d.priors.base import Prior


def wanted(prompts: Sequence[str], seeds: int, overrides: Mapping[str, Any], preset: str | None) -> list[Settings]:
    """The settings of every prompt with so many seeds, from that of `overrides` on. UserError for the first that make
    no sense, before any run begins."""
    first = resolve(prompts[0], overrides, preset).seed
    return [resolve(p, {**overrides, "seed": seed}, preset) for p in prompts for seed in range(first, first + seeds)]


def batch(asked: Sequence[Settings], root: Path, device: torch.device, force: bool, listener: Listener) -> list[Path]:
    """The run folders of `asked`, which have the same prior, under `root`; without those that another process is at.

    Raises Interrupted after a polite stop, and UserError at the end where runs could not be made.
    """
    prior: Prior | None = None
    made: list[Path] = []
    failed: list[str] = []
    for i, settings in enumerate(asked, 1):
        listener.note(f"[{i}/{len(asked)}]")
        try:
            if prior is None and (force or not runs.place(settings, root).complete):
                with noting_warnings(listener.note):
                    prior = load_prior(settings.prior, device, **settings.changes)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)  # each run tells its own
            made.append(generate(settings, root, device, force, listener, prior=prior))
        except (Interrupted, KeyboardInterrupt) as error:
            raise Interrupted(f"{str(error) or 'stopped'}; all of them go on with the same sds3d batch") from None
        except runs.Busy as error:
            listener.note(f"  left out: {error}")
        except UserError as error:
            failed.append(settings.prompt)
            listener.note(f"  not made: {error}")
    if failed:
        raise UserError(f"{len(failed)} of {len(asked)} runs were not made, the first of {failed[0]!r}: see above")
    return made
