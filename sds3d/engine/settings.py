"""Everything that decides what a run makes, as one frozen value; `resolve` puts it together from what a user says.

Options of scenes and objectives are keyed by their names (`splats.count`, `sds.cfg`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sds3d.config import apply, flatten, to_dict, unknown_setting
from sds3d.engine.milestones import parse_milestones
from sds3d.engine.stages import parse_stages
from sds3d.errors import UserError, unknown
from sds3d.export import FORMATS, ExportConfig
from sds3d.guidance import GUIDANCE, Objective
from sds3d.guidance.critic import CriticConfig
from sds3d.guidance.regions import Regions
from sds3d.guidance.wrapper import NamedWrapper
from sds3d.priors.speed import Speed
from sds3d.scenes import SCENES
from sds3d.schedule import Times

NEGATIVE = "oversaturated color, ugly, tiling, low quality, noisy"
# They count by their digests.
FILES = ("image", "source", "lora", "textual_inversion", "control", "ip_adapter", "image_encoder")
COSMETIC = ("preset", "checkpoint_every", "preview_every", "speed", *FILES)  # no part of the result's identity


@dataclass(frozen=True)
class TimeSettings(Times):
    """Which noise levels are asked, and how many draws a step makes."""

    per: Literal["view", "batch"] = "view"  # one draw per view, or one for all views of a step


@dataclass(frozen=True)
class CameraSettings:
    """Ranges that a step's cameras are drawn from; azimuth always covers the circle."""

    elevation: tuple[float, float] = (-10.0, 50.0)  # degrees
    fov: tuple[float, float] = (35.0, 45.0)  # degrees
    zoom: tuple[float, float] = (1.0, 1.0)  # multiplies the distance at which the unit ball fits

    def __post_init__(self) -> None:
        for name, low, high in (("elevation", -90, 90), ("fov", 1, 150), ("zoom", 0.1, 10)):
            a, b = getattr(self, name)
            if not low <= a <= b <= high:
                raise UserError(f"camera.{name} needs two rising values within {low} and {high}, not {a}, {b}")


@dataclass(frozen=True)
class Settings:
    """A run's settings: what `sds3d list settings` shows and config.yaml holds. UserError for values out of range."""

    prompt: str = ""
    negative: str = NEGATIVE  # what csd and nfsd push away from
    image: str = ""  # file of the reference picture for image-prompted guidance; empty: the prior draws one
    image_digest: str = ""  # of its content, filled in
    source: str = ""  # folder of the finished run to start from and edit
    source_prompt: str = ""  # what that run shows; its prompt unless given
    source_digest: str = ""  # of its scene, filled in
    regions: tuple[str, ...] = ()  # prompts of parts of the object, each with its mask
    region_masks: tuple[str, ...] = ()  # such as "y>0.2 x<0" or "rest" (guidance.regions); one alone: a plain mask
    region_mix: Literal["sum", "mean"] = "sum"
    seed: int = 0
    preset: str = "default"
    prior: str = "embedded"
    lora: tuple[str, ...] = ()  # files that change the prior, FILE or FILE:WEIGHT
    lora_digests: tuple[str, ...] = ()  # of their content, filled in
    textual_inversion: tuple[str, ...] = ()  # files with a new word for the prior, FILE or FILE:WORD
    textual_inversion_digests: tuple[str, ...] = ()  # of their content, filled in
    control: str = ""  # folder of a ControlNet that sees the scene's geometry
    control_digest: str = ""  # of its content, filled in
    control_kind: Literal["depth", "normal"] = "depth"  # what it sees
    control_scale: float = 1.0  # of its corrections to the prior
    ip_adapter: str = ""  # file of an IP-Adapter, by which the prior sees the reference picture
    image_encoder: str = ""  # folder of its image encoder; empty: image_encoder beside the file
    ip_adapter_digest: str = ""  # of the content of both, filled in
    guidance: str = "sds"
    scene: str = "splats"  # with stages: that of the last one
    stages: tuple[str, ...] = ()  # SCENE:STEPS or SCENE:STEPS@STRENGTH, each from where the one before it has ended
    strength: float = 1.0  # share of the noise levels, from the lowest, that a run goes through
    steps: int = 400
    views: int = 8  # cameras per step, one batch
    size: int = 0  # pixels of a rendered view; 0 takes what the prior sees
    milestones: tuple[str, ...] = ()  # SHARE:PIXELS, such as 0:128,0.5:512: smaller views earlier in the run
    background: Literal["auto", "white", "grey", "random"] = "auto"  # auto asks the prior
    random_background: float = 0.5  # share of the views that are not on white, where the policy is grey or random
    view_prompts: bool | None = None  # "..., side view"; None: only for priors without camera conditioning
    view_interpolation: bool = True  # the words' states blend as the camera moves; false: the nearest of four
    camera_guidance: bool = False  # does the null condition forget the camera, so that guidance pushes it too?
    guidance_weight: float = 1.0  # of the distillation loss against the scene's regularisers
    checkpoint_every: int = 100
    preview_every: int = 100
    formats: tuple[str, ...] = ("glb", "ply")
    time: TimeSettings = field(default_factory=TimeSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    critic: CriticConfig = field(default_factory=CriticConfig)
    speed: Speed = field(default_factory=Speed)
    export: ExportConfig = field(default_factory=ExportConfig)
    scene_options: Any = None
    guidance_options: Any = None
    base_options: Any = None  # of the objective that the guidance wraps, where it does
    stage_options: Any = None  # of the scenes of the stages before the last, by name

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("views", 1), ("size", 0), ("checkpoint_every", 1), ("preview_every", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.milestones and self.size:
            raise UserError("milestones say the size of the views: leave size out")
        parse_milestones(self.milestones)
        if self.guidance not in GUIDANCE:
            raise unknown("guidance", self.guidance, GUIDANCE)
        if self.scene not in SCENES:
            raise unknown("scene", self.scene, SCENES)
        for name in self.formats:
            if name not in FORMATS:
                raise unknown("format", name, FORMATS)
        if self.regions and len(self.regions) != len(self.region_masks):
            raise UserError(
                f"{len(self.regions)} regions want as many region_masks, not {len(self.region_masks)}: "
                "give them in the same order, as --set 'region_masks=y>0.2,rest'"
            )
        if not 0 < self.strength <= 1:
            raise UserError(f"strength is a share above 0 and up to 1, not {self.strength}")
        if not 0 <= self.random_background <= 1:
            raise UserError(f"random_background is a share between 0 and 1, not {self.random_background}")

    @property
    def whole_steps(self) -> float:
        """Steps of a run at this pace through all noise levels."""
        return self.steps / self.time.share(self.strength)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, with the options under the chosen names: what config.yaml holds."""
        values = to_dict(self)
        values[self.scene] = values.pop("scene_options") or {}
        values[self.guidance] = values.pop("guidance_options") or {}
        base = values.pop("base_options")
        values.pop("stage_options")
        values |= {name: to_dict(options) for name, options in (self.stage_options or {}).items()}
        return values if base is None else values | {self.guidance_options.base: base}

    @property
    def changes(self) -> dict[str, Any]:
        """What `load_prior` is told besides the prior's name: the files that change it, where there are any."""
        given: dict[str, Any] = {"lora": self.lora, "textual_inversion": self.textual_inversion}
        if self.control:
            given |= {"control": self.control, "control_scale": self.control_scale}
        if self.ip_adapter:
            given |= {"ip_adapter": self.ip_adapter, "image_encoder": self.image_encoder}
        return {key: files for key, files in given.items() if files}

    @property
    def objective(self) -> Objective:
        """The chosen guidance, over its base where it wraps one, in regions where there are any."""
        chosen: Objective = self.guidance_options
        if self.base_options is not None:
            chosen = replace(self.guidance_options, over=self.base_options)
        if not self.region_masks:
            return chosen
        return Regions(chosen, self.region_masks, bool(self.regions), self.region_mix)

    @property
    def hash(self) -> str:
        """Eight hex digits of everything that decides the result."""
        values = {k: v for k, v in self.as_dict().items() if k not in COSMETIC}
        text = json.dumps(values, sort_keys=True, ensure_ascii=True)
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def from_values(values: Mapping[str, Any]) -> Settings:
    """Settings from nested or dotted values; options of scenes and objectives not chosen are checked and left out."""
    plain, by_name = _split(flatten(values))
    settings = apply(Settings(), plain)
    options = {name: apply(_options(name), inner, f"{name}.") for name, inner in by_name.items()}
    return apply_options(settings, options)


def apply_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """The settings with the options of the chosen scene and guidance, or their defaults."""
    scene, guidance = (options.get(n) or _options(n) for n in (settings.scene, settings.guidance))
    base = options.get(guidance.base) or _options(guidance.base) if isinstance(guidance, NamedWrapper) else None
    earlier = {s.scene: options.get(s.scene) or _options(s.scene) for s in parse_stages(settings.stages)[:-1]}
    return replace(
        settings, scene_options=scene, guidance_options=guidance, base_options=base, stage_options=earlier or None
    )


def _options(name: str) -> Any:
    return SCENES[name].config() if name in SCENES else GUIDANCE[name]()


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """(settings proper, options by scene or guidance name)."""
    plain: dict[str, Any] = {}
    by_name: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        head, _, rest = key.partition(".")
        if rest and (head in SCENES or head in GUIDANCE):
            by_name.setdefault(head, {})[rest] = value
        elif head in ("scene_options", "guidance_options", "base_options", "stage_options"):
            raise unknown_setting(key, ("scene", "guidance"))
        else:
            plain[key] = value
    return plain, by_name
