"""ControlNets: what they are shown of a scene, against closed forms, and eps against diffusers' own pipelines."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from command_helpers import TINY, sets
from family_pipelines import watch, weights, write_sdxl_folder
from prior_helpers import noise, write_json, write_sd_folder
from torch import Tensor
from typer.testing import CliRunner, Result

from sds3d.camera import Cameras, orbit
from sds3d.cli.app import app
from sds3d.engine import generate as engine
from sds3d.engine.hints import FLOOR, depth_hint, normal_hint
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.engine.setup import check_changes, check_prior
from sds3d.errors import UserError
from sds3d.priors import load_prior
from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.scenes.base import Frame

PROMPT, SCALE, STRENGTH = "a red car", 7.0, 0.7
WRITERS = {"sd": write_sd_folder, "sdxl": write_sdxl_folder}
PIPELINES = {"sd": "StableDiffusionControlNetPipeline", "sdxl": "StableDiffusionXLControlNetPipeline"}


def write_control(folder: Path, model: Path, **options: Any) -> Path:
    """A ControlNet for the model's UNet that does something: its closing layers are not zero. A picture pixel of it is
    half a latent for the tiny SD, an eighth for the tiny SDXL, as their VAEs have it."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    halvings = 1 if unet.config.sample_size == 16 else 3
    with weights(9):
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8,) * (halvings + 1), **options)
        for module in (net.controlnet_cond_embedding.conv_out, net.controlnet_mid_block, *net.controlnet_down_blocks):
            torch.nn.init.normal_(module.weight, std=0.3)
    net.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SDS3D_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """(model, its ControlNet) by family."""
    root = tmp_path_factory.mktemp("models")
    written = {name: write(root / name) for name, write in WRITERS.items()}
    return {name: (model, write_control(root / f"{name}-control", model)) for name, model in written.items()}


def load(model: Path, control: Path | str, scale: float = STRENGTH) -> DiffusionPrior:
    loaded = load_prior(model, dtype=torch.float32, control=str(control), control_scale=scale)
    assert isinstance(loaded, DiffusionPrior)
    return loaded


# ---------------------------------------------------------------------------------------- eps


def pipeline(model: Path, control: Path, family: str) -> Any:
    import diffusers

    without = {"safety_checker": None} if family == "sd" else {}
    net = diffusers.ControlNetModel.from_pretrained(control)
    loaded = getattr(diffusers, PIPELINES[family]).from_pretrained(
        model, controlnet=net, local_files_only=True, **without
    )
    loaded.scheduler = diffusers.DDIMScheduler.from_config(loaded.scheduler.config, clip_sample=False)
    return loaded


def eps(prior: DiffusionPrior, x_t: Tensor, t: int, hint: Tensor | None) -> Tensor:
    """Ours at one step with classifier-free guidance, both branches in one batch."""
    both = Cond.cat([prior.text([PROMPT]), prior.text([""])])
    both = both if hint is None else Cond(both.tokens, both.mask, pooled=both.pooled, control=hint.repeat(2, 1, 1, 1))
    pos, null = prior.predict(torch.cat([x_t, x_t]), torch.full((2,), t), both).chunk(2)
    return null + SCALE * (pos - null)


@pytest.mark.parametrize("family", PIPELINES)
@pytest.mark.filterwarnings("ignore:The configuration file of this scheduler")
def test_eps_equals_that_of_diffusers_pipeline(models: dict[str, tuple[Path, Path]], family: str) -> None:
    model, control = models[family]
    prior = load(model, control)
    size = prior.network.config.sample_size
    hint = noise(1, 3, prior.size, prior.size, seed=3).sigmoid()
    options = {"image": hint, "latents": noise(1, 4, size, size), "output_type": "latent"}
    calls = watch(pipeline(model, control, family), PROMPT, SCALE, controlnet_conditioning_scale=STRENGTH, **options)
    assert len(calls) == 3
    for seen in calls:
        ours = eps(prior, seen.sample, int(seen.t), hint)
        torch.testing.assert_close(ours, seen.output, rtol=1e-5, atol=1e-5)
        assert (ours - eps(prior, seen.sample, int(seen.t), None)).abs().max() > 1e-2


def test_without_a_hint_or_at_scale_zero_the_prior_is_as_it_was(models: dict[str, tuple[Path, Path]]) -> None:
    model, control = models["sd"]
    x, hint = noise(1, 4, 16, 16), torch.ones(1, 3, 32, 32)
    plain = load_prior(model, dtype=torch.float32)
    assert isinstance(plain, DiffusionPrior)
    before = eps(plain, x, 500, None)
    assert torch.equal(eps(load(model, control), x, 500, None), before)
    torch.testing.assert_close(eps(load(model, control, 0.0), x, 500, hint), before, rtol=1e-5, atol=1e-5)
    assert load(model, control).capabilities == plain.capabilities | {"control"}


def test_a_hint_of_another_size_is_fitted(models: dict[str, tuple[Path, Path]]) -> None:
    prior, x = load(*models["sd"]), noise(1, 4, 16, 16)
    flat = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)
    a, b = (eps(prior, x, 500, flat.expand(1, 3, n, n)) for n in (32, 50))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------------------------- what it is shown


def ball(cameras: Cameras, size: int = 48, radius: float = 0.6) -> Frame:
    """A ball at the origin, drawn in closed form."""
    origins, directions = (v.view(len(cameras), size, size, 3) for v in cameras.rays(size))
    along = -(origins * directions).sum(-1)
    gap = radius**2 - (origins.square().sum(-1) - along**2)
    hit = gap > 0
    points = origins + directions * (along - gap.clamp_min(0).sqrt())[..., None]
    depth = ((points - origins) * cameras.forward[:, None, None]).sum(-1) * hit
    normal = (points / radius * hit[..., None]).permute(0, 3, 1, 2)
    alpha = hit[:, None].float()
    return Frame(alpha.expand(-1, 3, -1, -1), alpha, depth[:, None], normal)


CAMERAS = orbit(3, elevation=30.0)


def test_depth_is_white_where_near_and_black_where_there_is_nothing() -> None:
    frame = ball(CAMERAS)
    hint = depth_hint(CAMERAS, frame)
    assert hint.shape == (3, 3, 48, 48) and torch.equal(hint[:, 0], hint[:, 2])
    inside = hint[0, 0][frame.alpha[0, 0] > 0]
    assert float(inside.max()) == pytest.approx(1) and float(inside.min()) == pytest.approx(FLOOR)
    assert not hint[0, 0][frame.alpha[0, 0] == 0].any()
    assert hint[0, 0, 23, 23] > hint[0, 0, 23, 14] > 0  # the ball's middle is nearest
    rank = frame.depth[0, 0][frame.alpha[0, 0] > 0]
    inverse = 1 / rank
    expected = FLOOR + (1 - FLOOR) * (inverse - inverse.min()) / (inverse.max() - inverse.min())
    torch.testing.assert_close(inside, expected, rtol=1e-5, atol=1e-5)


def test_depth_of_nothing_and_of_a_plane_is_finite() -> None:
    empty = torch.zeros(3, 1, 8, 8)
    assert not depth_hint(CAMERAS, Frame(empty.expand(-1, 3, -1, -1), empty, empty)).any()
    full = torch.ones(3, 1, 8, 8)
    assert torch.equal(depth_hint(CAMERAS, Frame(full.expand(-1, 3, -1, -1), full, 2 * full)), full.expand(-1, 3, 8, 8))


def test_normals_are_red_to_the_left_green_up_and_blue_to_the_camera() -> None:
    frame = ball(CAMERAS)
    hint = normal_hint(CAMERAS, frame)
    facing = torch.tensor([0.5, 0.5, 1.0])
    for view in range(3):
        torch.testing.assert_close(hint[view, :, 24, 24], facing, rtol=0, atol=0.06)
        torch.testing.assert_close(hint[view, :, 0, 0], facing)
        columns = frame.alpha[view, 0, 24].nonzero().flatten()
        rows = frame.alpha[view, 0, :, 24].nonzero().flatten()
        assert hint[view, 0, 24, columns[0]] > 0.9 and hint[view, 0, 24, columns[-1]] < 0.1
        assert hint[view, 1, rows[0], 24] > 0.9 and hint[view, 1, rows[-1], 24] < 0.1
    unit = (hint * 2 - 1).norm(dim=1)
    torch.testing.assert_close(unit, torch.ones_like(unit), rtol=0, atol=1e-5)


def test_normals_from_depth_are_those_of_the_surface() -> None:
    frame = ball(CAMERAS)
    without = Frame(frame.rgb, frame.alpha, frame.depth)
    error = (normal_hint(CAMERAS, without) - normal_hint(CAMERAS, frame)).abs().amax(1)
    inner = ball(CAMERAS, radius=0.45).alpha[:, 0] > 0
    assert float(error[inner].max()) < 0.08


# ---------------------------------------------------------------------------------------- what is refused


def test_another_models_controlnet_is_refused(models: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="made for another model"):
        load(models["sd"][0], models["sdxl"][1])
    with pytest.raises(UserError, match="closed form"):
        load_prior("oracle:toy", control="x")
    with pytest.raises(UserError, match="takes no ControlNet"):
        load_prior("embedded", control=str(models["sd"][1]))
    with pytest.raises(UserError, match="there is no ControlNet"):
        load(models["sd"][0], tmp_path / "none")
    with pytest.raises(UserError, match="not a ControlNetModel"):
        load(models["sd"][0], models["sd"][0] / "unet")
    wide = write_control(tmp_path / "wide", models["sd"][0], conditioning_channels=4)
    with pytest.raises(UserError, match="depth or normals"):
        load(models["sd"][0], wide)


def test_pickled_weights_are_refused(models: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", json.loads((models["sd"][1] / "config.json").read_text()))
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="can run code .* import ControlNetModel"):
        load(models["sd"][0], tmp_path)


def settings(model: Path, **overrides: object) -> Settings:
    return resolve(PROMPT, {"prior": str(model), **overrides})


def test_settings_count_the_content_and_refuse_what_does_nothing(
    models: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    model, control = models["sd"]
    here = settings(model, control=str(control))
    there = settings(model, control=str(write_control(tmp_path / "same", model)))
    others = [settings(model), settings(model, control=str(control), control_kind="normal")]
    assert here.hash == there.hash and here.hash not in {other.hash for other in others}
    assert here.changes == {"control": str(control.resolve()), "control_scale": 1.0}
    with pytest.raises(UserError, match="control_kind has no effect"):
        settings(model, control_kind="normal")
    with pytest.raises(UserError, match="without the ControlNet"):
        check_prior(here, load_prior(model))
    (tmp_path / "same" / "config.json").write_text((control / "config.json").read_text().replace('"rgb"', '"bgr"'))
    with pytest.raises(UserError, match="not what this run started with"):
        check_changes(there)


# ---------------------------------------------------------------------------------------- the command line

SMALL = TINY | {"views": 1, "preview_every": 12}


def sds3d(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def gradients(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert not any(line["skipped"] for line in lines)
    return [line["stats"]["gradient"] for line in lines]


def test_generate_and_resume(
    models: dict[str, tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "preview", lambda scene, path: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(engine, "present", lambda *arguments: None)  # pictures are tested elsewhere
    model, control = models["sd"]
    tiny = sets(SMALL)
    command = ["generate", PROMPT, "--scene", "splats", "--guidance", "sds", "--prior", str(model), *tiny]
    stopped = sds3d(*command, "--control", str(control), "--steps", "20", "--out", str(tmp_path / "a"))
    assert stopped.exit_code == 130, stopped.output
    (run,) = (tmp_path / "a").iterdir()
    resumed = sds3d("resume", str(run))
    assert resumed.exit_code == 0, resumed.output
    steered = gradients(run)
    assert len(steered) == 20
    firsts = [steered[0]]
    for i, more in enumerate([[], ["--control", str(control), "--set", "control_kind=normal"]]):
        result = sds3d(*command, *more, "--steps", "1", "--out", str(tmp_path / str(i)))
        assert result.exit_code == 0, result.output
        (run,) = (tmp_path / str(i)).iterdir()
        firsts.append(gradients(run)[0])
    assert min(abs(a - b) for i, a in enumerate(firsts) for b in firsts[:i]) > 1e-4 * abs(firsts[0])


def test_bench_step_measures_through_it(models: dict[str, tuple[Path, Path]]) -> None:
    model, control = models["sd"]
    words = ["bench", "step", "--scene", "splats", "--guidance", "sds", "--steps", "1", "--warmup", "0"]
    words += ["--set", "views=1", "--set", "splats.count=60", "--control", str(control)]
    done = sds3d(*words, "--prior", str(model), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["prior_only"] > 0
    refused = sds3d(*words, "--prior", "sd15-random")
    assert refused.exit_code == 2 and "made for another model than 'sd15-random'" in refused.stderr
