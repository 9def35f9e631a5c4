"""Everything that decides what a run makes, as one frozen value, and how it is put together.

Order of precedence: typed defaults < preset < command-line flags < --set. Options of scenes and objectives are keyed
by their names (`splats.count`, `sds.cfg`), so that one preset can hold values for all of them; `scene.X` and
`guidance.X` mean those of the chosen ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sds3d.config import apply, coerce, flatten, load_preset, read_yaml, to_dict, unknown_setting
from sds3d.engine.milestones import parse_milestones
from sds3d.engine.stages import parse_stages
from sds3d.errors import UserError, unknown
from sds3d.export import FORMATS, ExportConfig
from sds3d.files import digest
from sds3d.guidance import GUIDANCE, Objective
from sds3d.guidance.critic import CriticConfig
from sds3d.guidance.regions import Regions
from sds3d.guidance.wrapper import NamedWrapper
from sds3d.priors import ORACLE, PRIORS
from sds3d.priors.speed import Speed
from sds3d.prompts import clean
from sds3d.scenes import SCENES
from sds3d.scenes.init import locate
from sds3d.scenes.splats_config import SHAPES
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


def default_preset(prior: str) -> str:
    """The preset tuned for the embedded prior, its like and closed-form ones, or that for Stable Diffusion's size."""
    if prior == Settings.prior or prior.startswith(ORACLE):
        return "default"
    index = Path(prior).expanduser() / "model_index.json"
    like = index.is_file() and "sds3d.embedded" in index.read_text(encoding="utf-8", errors="replace")
    return "default" if like else "diffusers"


def _anchor(prior: str) -> str:
    """A folder's path made absolute, so that a run can be resumed from anywhere."""
    if prior.startswith(ORACLE):
        from sds3d.priors.oracle_source import anchored

        return anchored(prior)
    path = Path(prior).expanduser()
    return prior if prior in PRIORS or not path.exists() else str(path.resolve())


def resolve(prompt: str, overrides: Mapping[str, Any], preset: str | None = None) -> Settings:
    """Settings for `prompt` from a preset (by default the prior's) and the user's `overrides` by dotted key."""
    preset = preset or default_preset(str(overrides.get("prior", Settings.prior)))
    base = load_preset(preset)
    source = str(overrides.get("source", base.get("source", "")))
    base |= _taken_over(source) if source else {}
    chosen = _staged({**base, **overrides}, overrides)
    scene, guidance = str(chosen.get("scene", Settings.scene)), str(chosen.get("guidance", Settings.guidance))
    mine = _aliases(overrides, scene, guidance)
    if "prior" in mine:
        mine["prior"] = _anchor(str(mine["prior"]))
    names = [scene, *(stage.scene for stage in parse_stages(chosen["stages"]))]
    _refuse_unused(mine, names, guidance, str({**base, **mine}.get(f"{guidance}.base", _default_base(guidance))))
    if source and chosen["stages"]:
        raise UserError("--source edits one scene as it is: leave --stages out")
    if source and scene != base["scene"]:
        raise UserError(f"--source {source} is a scene of {base['scene']}, not of {scene}: leave --scene out")
    image = chosen.get("image")
    files: dict[str, Any] = {}
    if image:
        files |= {"image": str(_file(str(image))), "image_digest": digest(_file(str(image)))}
    files |= {key: base[key] for key in ("source", "source_digest") if source}
    files |= _changes(prompt, chosen) | _control(mine, str(chosen.get("control", ""))) | _ip_adapter(chosen)
    files |= _first_shape(mine, base, source)
    own = {key: chosen[key] for key in ("stages", "scene", "steps") if chosen["stages"]}
    settings = from_values({**base, **mine, **own, **files, "prompt": clean(prompt), "preset": preset})
    if settings.ip_adapter and "image" not in settings.objective.needs():
        raise UserError(f"--ip-adapter has no effect: guidance {guidance!r} looks at no picture; add --guidance isd")
    return settings


def _staged(chosen: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`chosen` with its stages as a tuple, which decide on the scene and the steps."""
    texts = coerce(chosen.get("stages", ()), tuple[str, ...], "stages")
    if not texts:
        return {**chosen, "stages": ()}
    if both := {"scene", "steps"} & overrides.keys():
        raise UserError(f"--stages says which scenes and how many steps: leave {' and '.join(sorted(both))} out")
    last = parse_stages(texts)[-1]
    return {**chosen, "stages": texts, "scene": last.scene, "steps": last.last}


def _first_shape(mine: Mapping[str, Any], base: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The file that splats begin as, absolute, and the digest of its content; a run that edits another needs none."""
    if source:
        if "splats.init" in mine:
            raise UserError("--source begins with that run's scene: leave splats.init out")
        return {"splats.init": SHAPES[0], "splats.init_digest": ""}
    init = str({**base, **mine}.get("splats.init", SHAPES[0]))
    return {} if init in SHAPES else {"splats.init": str(locate(init)), "splats.init_digest": digest(locate(init))}


def _changes(prompt: str, chosen: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The settings of the files that change the prior."""
    lora, words = (coerce(chosen.get(key, ()), tuple[str, ...], key) for key in ("lora", "textual_inversion"))
    if not lora and not words:
        return {}
    from sds3d.priors import adapters

    regions = coerce(chosen.get("regions", ()), tuple[str, ...], "regions")
    adapters.check_words(words, (prompt, str(chosen.get("negative", "")), *regions))
    return adapters.anchored(lora, words)


def _control(mine: Mapping[str, Any], folder: str) -> dict[str, str]:
    """The settings of the ControlNet in the folder, if there is to be one."""
    if folder:
        from sds3d.priors import control

        return control.anchored(folder)
    defaults = {"control_kind": Settings.control_kind, "control_scale": str(Settings.control_scale)}
    if unused := {key for key, value in defaults.items() if str(mine.get(key, value)) != value}:
        raise UserError(f"{' and '.join(sorted(unused))} has no effect without a ControlNet: give one with --control")
    return {}


def _ip_adapter(chosen: Mapping[str, Any]) -> dict[str, str]:
    """The settings of the IP-Adapter, if there is to be one."""
    file, encoder = str(chosen.get("ip_adapter", "")), str(chosen.get("image_encoder", ""))
    if file:
        from sds3d.priors import ip_adapter

        return ip_adapter.anchored(file, encoder)
    if encoder:
        raise UserError("image_encoder has no effect without an IP-Adapter: give one with --ip-adapter")
    return {}


def _file(path: str) -> Path:
    """Absolute, so that a run can be resumed from anywhere."""
    return Path(path).expanduser().resolve()


def _taken_over(source: str) -> dict[str, Any]:
    """What a run takes over from the finished run in the folder `source` that it edits, by dotted key."""
    folder = _file(source)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"--source {source} is not a run folder: it has no config.yaml")
    if not (folder / "result.json").is_file():
        raise UserError(f"--source {source} is not finished: complete it with sds3d resume {source}")
    theirs = from_values(read_yaml(folder / "config.yaml"))
    scene = {f"{theirs.scene}.{key}": value for key, value in flatten(to_dict(theirs.scene_options)).items()}
    return {
        "scene": theirs.scene,
        **scene,
        "source": str(folder),
        "source_prompt": theirs.prompt,
        "source_digest": digest(folder / "checkpoint.safetensors"),
    }


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


def _aliases(values: Mapping[str, Any], scene: str, guidance: str) -> dict[str, Any]:
    names = {"scene": scene, "guidance": guidance}
    renamed = {}
    for key, value in values.items():
        head, dot, rest = key.partition(".")
        renamed[f"{names.get(head, head)}.{rest}" if dot else key] = value
    return renamed


def _default_base(guidance: str) -> str:
    """The objective that this guidance wraps, or its own name."""
    kind = GUIDANCE.get(guidance)
    return kind.base if kind is not None and issubclass(kind, NamedWrapper) else guidance


def _refuse_unused(values: Mapping[str, Any], scenes: Sequence[str], guidance: str, base: str) -> None:
    """An option of something not chosen is a mistake when the user wrote it (and fine in a preset)."""
    for key in values:
        head, dot, _ = key.partition(".")
        for kind, names, used in (("scene", SCENES, scenes), ("guidance", GUIDANCE, (guidance, base))):
            if dot and head in names and head not in used and used[0] in names:
                raise UserError(f"{key} has no effect: the {kind} is {used[0]!r}; add --{kind} {head} or leave it out")
