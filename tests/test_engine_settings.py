"""Settings: precedence, names, aliases, identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from sds3d.config import preset_names, read_yaml, write_yaml
from sds3d.engine.catalogue import LISTS, rows
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings, from_values
from sds3d.errors import UserError
from sds3d.guidance import CSD, GUIDANCE
from sds3d.guidance.regions import Regions
from sds3d.guidance.rewardsds import RewardSDS
from sds3d.scenes import SCENES


def test_flags_beat_presets_and_presets_beat_defaults(tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("steps: 7\nviews: 3\ngrid: {hidden: 16}\nvsd: {cfg: 2}\n")
    made = resolve("x", {"steps": "9"}, str(preset))
    assert (made.steps, made.views, made.seed) == (9, 3, Settings.seed)
    grid = resolve("x", {"scene": "grid", "guidance": "vsd"}, str(preset))
    assert grid.scene_options.hidden == 16 and grid.guidance_options.cfg == 2


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("guidance", GUIDANCE)
def test_every_preset_fits_every_choice(preset: str, scene: str, guidance: str) -> None:
    made = resolve("x", {"scene": scene, "guidance": guidance}, preset)
    assert isinstance(made.scene_options, SCENES[scene].config)
    assert isinstance(made.guidance_options, GUIDANCE[guidance])


def test_a_diffusers_folder_takes_the_preset_for_it(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"unet": ["sds3d.embedded.model", "EigenDenoiser"]}')
    assert resolve("x", {"prior": str(tmp_path)}).preset == "default"
    (tmp_path / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DConditionModel"]}')
    assert resolve("x", {"prior": str(tmp_path)}).preset == "diffusers"
    (tmp_path / "model_index.json").write_text('{"unet": ["mv_unet", "MultiViewUNetModel"]}')
    made = resolve("x", {"prior": str(tmp_path)})
    assert (made.preset, made.guidance, made.prior) == ("mvdream", "mvdream_recon", str(tmp_path))
    assert resolve("x", {}).preset == "default"
    assert resolve("x", {"prior": "sd15"}).preset == "diffusers"
    assert resolve("x", {"prior": "sd15"}, "fast").preset == "fast"


def test_folders_of_priors_are_anchored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("x", {"prior": "model"}).prior == str(tmp_path / "model")
    assert resolve("x", {"prior": "embedded"}).prior == "embedded"


def test_scene_and_guidance_stand_for_the_chosen_ones() -> None:
    made = resolve("x", {"scene": "grid", "scene.hidden": "8", "guidance.cfg": "3"})
    assert made.scene_options.hidden == 8 and made.guidance_options.cfg == 3


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("stepz", "3", "did you mean 'steps'"),
        ("splats.cuont", "3", "did you mean 'splats.count'"),
        ("cfd.cgf", "3", "did you mean 'cfd.cfg'"),
        ("time.policy", "sqrrt", "did you mean 'sqrt'"),
        ("grid.hidden", "3", "no effect: the scene is 'splats'"),
        ("vsd.cfg", "3", "no effect: the guidance is 'cfd'"),
        ("negative", "ugly", "guidance 'cfd' has no negative prompt"),
        ("critic.rank", "2", "guidance 'cfd' has no critic"),
        ("region_mix", "mean", "there are no regions"),
        ("source_prompt", "a chair", "no run is edited"),
        ("time.hi_end", "0.4", "time.policy is not band or two_stage"),
        ("time.levels", "0.9,0.5,0.4,0.3", "time.policy is not piecewise"),
        ("splats.mcmc.noise", "3", "splats.strategy is not mcmc"),
        ("scene.default.gradient", "3", "splats.strategy is not default"),
        ("splats.box", "1,1,1", "splats.init is not box"),
        ("prompt", "a chair", "give it as the first argument"),
        ("preset", "fast", "choose one with --preset"),
        ("splats.init_digest", "0", "it is taken from the file's content"),
        ("scene_options.count", "3", "unknown setting"),
        ("scene", "splat", "did you mean 'splats'"),
        ("guidance", "sdss", "did you mean 'sds'"),
        ("formats", "glb,fbx", "unknown format 'fbx'"),
        ("steps", "0", "steps must be at least 1"),
        ("time.hi", "1.5", "time.lo and time.hi"),
        ("camera.fov", "50,40", "camera.fov"),
        ("random_background", "2", "between 0 and 1"),
        ("background", "black", "choose from auto, grey, random, white"),
    ],
)
def test_mistakes_are_one_line_that_helps(key: str, value: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve("x", {key: value})
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_what_has_an_effect_is_not_refused() -> None:
    """As the mistakes above, with what makes them count; a choice of the default is no mistake either."""
    resolve("x", {"guidance": "csd", "negative": "ugly", "splats.strategy": "mcmc", "splats.mcmc.noise": 3})
    resolve("x", {"guidance": "vsd", "critic.rank": 2, "splats.init": "box", "splats.box": "1,1,1"})
    resolve("x", {"guidance": "rewardvsd", "critic.rank": 2, "time.policy": "band", "time.hi_end": 0.4})
    resolve("x", {"region_masks": "y>0", "region_mix": "mean", "stages": "splats:3,mesh:2", "splats.radius": 0.5})
    resolve("x", {"critic.rank": "8", "splats.box": "0.5,0.5,0.5", "time.lo_end": 0.02})
    resolve("x", {"negative": "ugly"}, shared=True)


def test_config_yaml_brings_the_settings_back(tmp_path: Path) -> None:
    for choice in ({}, {"scene": "grid", "guidance": "vsd", "seed": "5", "view_prompts": "yes", "formats": "glb"}):
        made = resolve('a "quoted" 日本 🪑', choice)
        path = tmp_path / "config.yaml"
        path.write_text(write_yaml(made.as_dict()), encoding="utf-8")
        assert from_values(read_yaml(path)) == made


def test_the_hash_sees_what_decides_the_result_and_nothing_else() -> None:
    plain = resolve("a red chair", {})
    for change in ({"seed": 1}, {"splats.count": 2999}, {"cfd.cfg": 4.5}, {"scene": "grid"}, {"time.lo": 0.123}):
        assert resolve("a red chair", change).hash != plain.hash
    assert resolve("a blue chair", {}).hash != plain.hash
    assert resolve(" a  red chair\n", {"checkpoint_every": 7, "preview_every": 3}).hash == plain.hash
    assert len(plain.hash) == 8


@pytest.mark.parametrize("kind", LISTS)
def test_every_list_has_rows_with_words(kind: str) -> None:
    listed = rows(kind)
    assert listed and all(name and text is not None for name, text in listed)
    assert len({name for name, _ in listed}) == len(listed)


def test_every_listed_setting_can_be_set() -> None:
    for key, value in rows("settings"):
        head = key.partition(".")[0]
        choice = {"scene": head} if head in SCENES else {"guidance": head} if head in GUIDANCE else {}
        if key != "prior":
            resolve("x", choice | {key: value})


def test_options_of_a_wrapped_objective_stay_under_its_name_and_survive_a_resume() -> None:
    made = resolve(
        "a mug", {"guidance": "rewardsds", "guidance.base": "csd", "csd.anneal": "0.7", "guidance.count": "3"}
    )
    objective = made.objective
    assert isinstance(objective, RewardSDS) and objective.count == 3
    assert isinstance(objective.inner, CSD) and objective.inner.anneal == 0.7
    assert objective.weight == "lambda"  # of the preset's csd
    again = from_values(made.as_dict())
    assert again == made and again.objective.inner == objective.inner  # type: ignore[attr-defined]
    assert made.hash != resolve("a mug", {"guidance": "rewardsds", "guidance.base": "csd", "guidance.count": "3"}).hash
    with pytest.raises(UserError, match="sds.cfg has no effect"):
        resolve("a mug", {"guidance": "rewardsds", "guidance.base": "csd", "sds.cfg": "3"})


def test_regions_want_a_mask_each_and_a_mask_alone_needs_no_prompt() -> None:
    masks = {"region_masks": "y>0.2 x<0,rest"}
    objective = resolve("a mug", {"regions": ("red", "blue"), **masks}).objective
    assert isinstance(objective, Regions) and objective.masks == ("y>0.2 x<0", "rest")
    assert objective.needs() == {"pos", "null", "region:0", "region:1"}
    assert resolve("a mug", {"region_masks": "y>0"}).objective.needs() == {"pos", "null"}
    with pytest.raises(UserError, match="1 regions want as many region_masks, not 2"):
        resolve("a mug", {"regions": ("red",), **masks})
