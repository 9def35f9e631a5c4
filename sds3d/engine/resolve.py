"""From what a user says to a run's `Settings`.

Order of precedence: typed defaults < preset < command-line flags < --set. Options of scenes and objectives are keyed
by their names (`splats.count`, `sds.cfg`), so that one preset can hold values for all of them; `scene.X` and
`guidance.X` mean those of the chosen ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sds3d.assets.load import holds_mesh
from sds3d.config import coerce, flatten, load_preset, read_yaml, to_dict
from sds3d.engine.settings import Settings, from_values
from sds3d.engine.stages import opening, parse_stages
from sds3d.engine.unused import OF_RUN, RULES, refuse_filled, refuse_idle
from sds3d.errors import UserError
from sds3d.export.config import refuse_unused
from sds3d.files import digest
from sds3d.guidance import GUIDANCE
from sds3d.guidance.wrapper import NamedWrapper
from sds3d.priors import ORACLE, PRIORS
from sds3d.prompts import clean
from sds3d.scenes import SCENES
from sds3d.scenes.first_file import locate
from sds3d.scenes.mesh import INITS
from sds3d.scenes.splats_config import SHAPES


def resolve(prompt: str, overrides: Mapping[str, Any], preset: str | None = None, shared: bool = False) -> Settings:
    """Settings for `prompt` from a preset (by default the prior's) and the user's `overrides` by dotted key, which are
    `shared` where other objectives take them, too: then this one need not read what only some do."""
    refuse_filled(overrides)
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
    files |= _first_shapes(mine, base, source, names[2:])
    files |= _asset(str({**base, **mine}.get("texture.asset", ""))) if scene == "texture" and not source else {}
    own = {key: chosen[key] for key in ("stages", "scene", "steps") if chosen["stages"]}
    settings = from_values({**base, **mine, **own, **files, "prompt": clean(prompt), "preset": preset})
    asset = settings.scene_options.asset if scene == "texture" else ""
    if scene == "mesh" or (asset and holds_mesh(asset)):
        refuse_unused(settings.export, mine, given=bool(asset))
    pictured = "--ip-adapter" if settings.ip_adapter else "--image" if settings.image else ""
    if pictured and "image" not in settings.objective.needs():
        raise UserError(f"{pictured} has no effect: guidance {guidance!r} looks at no picture; add --guidance isd")
    refuse_idle(settings, mine, OF_RUN if shared else RULES)
    return settings


def default_preset(prior: str) -> str:
    """The preset tuned for the embedded prior, its like and closed-form ones, MVDream's, or that for Stable Diffusion's
    size."""
    if prior == Settings.prior or prior.startswith(ORACLE):
        return "default"
    index = Path(prior).expanduser() / "model_index.json"
    names = index.read_text(encoding="utf-8", errors="replace") if index.is_file() else ""
    if prior == "mvdream" or "MultiViewUNetModel" in names:
        return "mvdream"
    return "default" if "sds3d.embedded" in names else "diffusers"


def _anchor(prior: str) -> str:
    """A folder's path made absolute, so that a run can be resumed from anywhere."""
    if prior.startswith(ORACLE):
        from sds3d.priors.oracle_source import anchored

        return anchored(prior)
    path = Path(prior).expanduser()
    return prior if prior in PRIORS or not path.exists() else str(path.resolve())


def _staged(chosen: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`chosen` with its stages as a tuple, which decide on the scene and the steps."""
    texts = coerce(chosen.get("stages", ()), tuple[str, ...], "stages")
    if not texts:
        return _opened(chosen)
    if both := {"scene", "steps"} & overrides.keys():
        raise UserError(f"--stages says which scenes and how many steps: leave {' and '.join(sorted(both))} out")
    last = parse_stages(texts)[-1]
    return {**chosen, "stages": texts, "scene": last.scene, "steps": last.last}


def _opened(chosen: dict[str, Any]) -> dict[str, Any]:
    """`chosen`, which has no stages; a mesh from nothing gets the one that it begins as."""
    steps = coerce(chosen.get("steps", Settings.steps), int, "steps")
    init = str(chosen.get("mesh.init", chosen.get("scene.init", INITS[0])))
    opened = chosen.get("scene") == "mesh" and init in SCENES and not chosen.get("source")
    return {**chosen, "steps": steps, "stages": opening(init, "mesh", steps) if opened else ()}


def _first_shapes(
    mine: Mapping[str, Any], base: Mapping[str, Any], source: str, later: Sequence[str]
) -> dict[str, Any]:
    """The files that splats and meshes begin as, absolute, and the digests of their contents; a run that edits another
    and `later` stages need none."""
    files: dict[str, Any] = {}
    for scene, names in (("splats", SHAPES), ("mesh", INITS)):
        key = f"{scene}.init"
        init = str({**base, **mine}.get(key, names[0]))
        if source or scene in later:
            if key in mine and init not in SCENES:
                begins = "--source begins with that run's scene" if source else f"{scene} begins as the stage before it"
                raise UserError(f"{begins}: leave {key} out")
            files |= {key: SHAPES[0], f"{key}_digest": ""} if source else {}
        elif init not in names:
            path = locate(init, key, names)
            files |= {key: str(path), f"{key}_digest": digest(path)}
    return files


def _asset(asset: str) -> dict[str, str]:
    """The file that a texture scene is, absolute, and the digest of its content; nothing where none is named."""
    return {"texture.asset": str(_file(asset)), "texture.asset_digest": digest(_file(asset))} if asset else {}


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
