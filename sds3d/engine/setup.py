"""The parts of a run that its settings describe: scene, critic, source, conditions, background."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sds3d.engine import checkpoint
from sds3d.engine.conditions import Conditions
from sds3d.engine.reference import reference_image
from sds3d.engine.scene_critic import SceneCritic
from sds3d.engine.settings import Settings
from sds3d.engine.stages import stage_at, stage_settings
from sds3d.errors import UserError
from sds3d.files import digest
from sds3d.guidance.critic import LoraCritic
from sds3d.priors.base import Prior, views_per_object
from sds3d.scenes import SCENES
from sds3d.scenes.base import Scene
from sds3d.scenes.splats_config import SHAPES
from sds3d.scenes.texture_config import TextureConfig
from sds3d.streams import stream


def create_scene(settings: Settings, device: torch.device, saved: bool = False) -> Scene:
    """The scene at its beginning; for one that is `saved` and to be loaded, without the file that it began with."""
    options: Any = settings.scene_options
    if saved and hasattr(options, "init_digest"):
        options = replace(options, init=SHAPES[0], init_digest="")
    return SCENES[settings.scene].create(options, device, stream(settings.seed, "init"))


def saved_scene(settings: Settings, path: Path, device: torch.device) -> tuple[Scene, dict[str, Any]]:
    """The scene that the checkpoint at `path` holds, a run of `settings`, and the checkpoint's header."""
    tensors, header = checkpoint.load(path)
    scene = create_scene(stage_settings(settings, stage_at(settings, int(header["step"]))), device, saved=True)
    scene.load_state_dict(checkpoint.part(tensors, "scene"))
    return scene, header


def create_critic(settings: Settings, prior: Prior, scene: Scene) -> LoraCritic | SceneCritic:
    """Adapters on the prior's network; where there is none, the exact critic of the scene."""
    if prior.network is None:
        return SceneCritic(scene, prior, settings.size or prior.size)
    return LoraCritic(prior, settings.critic, stream(settings.seed, "critic-init"))


def check_source(settings: Settings) -> None:
    """UserError when the guidance edits a finished run and there is none, or the scene an asset and none is named."""
    if settings.objective.source and not settings.source:
        raise UserError(f"guidance {settings.guidance!r} edits a finished run: give its folder with --source RUN")
    if isinstance(settings.scene_options, TextureConfig):
        settings.scene_options.check()


def check_changes(settings: Settings) -> None:
    """UserError when a file that changes the prior is not what it was when the run began."""
    if settings.changes:
        from sds3d.priors import adapters, control, ip_adapter

        adapters.check(vars(settings))
        if settings.control:
            control.check(settings.control, settings.control_digest)
        if settings.ip_adapter:
            ip_adapter.check(settings.ip_adapter, settings.image_encoder, settings.ip_adapter_digest)


def check_prior(settings: Settings, prior: Prior) -> None:
    """UserError when the settings have something for the prior that was not put around it."""
    if settings.control and "control" not in prior.capabilities:
        raise UserError(f"prior {prior.name!r} was loaded without the ControlNet: leave control out here")
    if settings.ip_adapter and "image" not in prior.capabilities:
        raise UserError(f"prior {prior.name!r} was loaded without the IP-Adapter: leave ip_adapter out here")
    together = views_per_object(prior)
    looks = f"prior {prior.name!r} looks at {together} views of an object together"
    if settings.views % together:
        raise UserError(f"{looks}: give a multiple of {together}, as in --set views={together}, not {settings.views}")
    if together > 1 and any(name.startswith("view:") for name in settings.objective.needs()):
        raise UserError(f"{looks}, all with their own cameras: leave perp_neg out, it wants the same view of each")


def load_source(settings: Settings, device: torch.device) -> Scene:
    """The scene of the finished run that this one edits. UserError when it has changed or does not fit."""
    path = Path(settings.source) / "checkpoint.safetensors"
    if digest(path) != settings.source_digest:
        raise UserError(f"{path} is not what this run started from: start again with sds3d generate")
    try:
        return saved_scene(settings, path, device)[0]
    except (KeyError, ValueError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit a scene of these settings ({reason}): leave scene.X out") from error


def prepare_conditions(settings: Settings, prior: Prior, names: frozenset[str], folder: Path | None) -> Conditions:
    """The conditions called `names`, with the run's reference picture where one of them shows it."""
    reference = None
    if "image" in names:
        prior.image(None)  # a prior without image prompts says so before a picture is drawn
        reference = reference_image(prior, settings.prompt, settings.image, settings.seed, folder)
    return Conditions(
        prior,
        settings.prompt,
        settings.negative,
        names,
        settings.view_prompts,
        settings.camera_guidance,
        source=settings.source_prompt,
        regions=settings.regions,
        reference=reference,
        interpolate=settings.view_interpolation,
    )


def background_policy(settings: Settings, prior: Prior) -> str:
    """The background setting, with "auto" settled: greys for priors that are told the grey, white for closed-form ones,
    whose pictures have it, else random colours. UserError for a learned one that the prior would have to be told."""
    if getattr(settings.scene_options, "background", "") == "learned" and "background" in prior.capabilities:
        raise UserError(f"grid.background=learned: prior {prior.name!r} is told the background's grey; leave it out")
    if settings.background != "auto":
        return settings.background
    if "background" in prior.capabilities:
        return "grey"
    return "white" if prior.network is None else "random"
