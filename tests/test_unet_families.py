"""UNet families from tiny random weights: our eps against what diffusers' own pipelines compute, SDS through it, and
the command line."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from command_helpers import TINY, sets
from family_pipelines import SDXL_INDEX, WRITERS, watch, write_if_folder
from prior_helpers import noise, write_json
from torch import Tensor
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.engine import generate as engine
from sds3d.errors import UserError
from sds3d.guidance import Context, distill_gradient, surrogate
from sds3d.guidance.critic import CriticConfig, LoraCritic
from sds3d.guidance.sds import SDS
from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior

PROMPT, SCALE = "a red car", 7.0
PIPELINES = {"sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline", "deepfloyd": "IFPipeline"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: write(root / name) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def priors(folders: dict[str, Path]) -> dict[str, DiffusionPrior]:
    return {name: DiffusionPrior.load(folder, dtype=torch.float32) for name, folder in folders.items()}


def pipeline(folder: Path, family: str) -> Any:
    """diffusers' own, with the deterministic scheduler where the family's can be replaced."""
    import diffusers

    without = {"safety_checker": None} if family == "sd" else {}
    loaded = getattr(diffusers, PIPELINES[family]).from_pretrained(folder, local_files_only=True, **without)
    if family != "deepfloyd":
        loaded.scheduler = diffusers.DDIMScheduler.from_config(loaded.scheduler.config, clip_sample=False)
    return loaded


def shape(prior: DiffusionPrior) -> tuple[int, ...]:
    config = prior.network.config
    return config.in_channels, config.sample_size, config.sample_size


def guided(prior: DiffusionPrior, x_t: Tensor, t: int) -> Tensor:
    """Our eps at one step with classifier-free guidance, in one batch."""
    both = Cond.cat([prior.text([PROMPT]), prior.text([""])])
    pos, null = prior.predict(torch.cat([x_t, x_t]), torch.full((2,), t), both).chunk(2)
    return null + SCALE * (pos - null)


# ---------------------------------------------------------------------------------------- eps


@pytest.mark.parametrize(
    ("family", "prediction_type"), [*((family, "epsilon") for family in PIPELINES), ("sd", "v_prediction")]
)
@pytest.mark.filterwarnings("ignore:The configuration file of this scheduler")
def test_eps_equals_that_of_diffusers_pipeline(
    folders: dict[str, Path], tmp_path: Path, family: str, prediction_type: str
) -> None:
    folder = Path(shutil.copytree(folders[family], tmp_path / "model"))
    config = folder / "scheduler" / "scheduler_config.json"
    write_json(config, json.loads(config.read_text()) | {"prediction_type": prediction_type})
    prior = DiffusionPrior.load(folder, dtype=torch.float32)
    options: dict[str, Any] = {"latents": noise(1, *shape(prior)), "output_type": "latent"}
    if family == "deepfloyd":
        generator = torch.Generator().manual_seed(0)
        options = {"generator": generator, "output_type": "pt", "clean_caption": False}
    calls = watch(pipeline(folder, family), PROMPT, SCALE, **options)
    assert len(calls) == 3
    for seen in calls:
        t = int(seen.t)
        alpha, sigma = prior.schedule.alpha_sigma(torch.tensor([t]), seen.sample)
        output = seen.output[:, : shape(prior)[0]]  # DeepFloyd's has the learned variance as well
        eps = output if prediction_type == "epsilon" else alpha * output + sigma * seen.sample
        torch.testing.assert_close(guided(prior, seen.sample, t), eps, rtol=1e-5, atol=1e-5)


def test_deepfloyds_network_gives_a_variance_that_is_cut_off(priors: dict[str, DiffusionPrior]) -> None:
    prior, x = priors["deepfloyd"], noise(2, 3, 16, 16)
    assert prior.network.config.out_channels == 6 and prior.size == 16 and "vae" not in vars(prior.codec)
    assert prior.predict(x, torch.tensor([20, 900]), prior.text([PROMPT, ""])).shape == x.shape


def test_sdxls_empty_prompt_is_zeros_only_where_the_model_says_so(
    folders: dict[str, Path], priors: dict[str, DiffusionPrior], tmp_path: Path
) -> None:
    null = priors["sdxl"].text([""])
    assert null.pooled is not None and not null.tokens.any() and not null.pooled.any()
    copy = Path(shutil.copytree(folders["sdxl"], tmp_path / "copy"))
    write_json(copy / "model_index.json", SDXL_INDEX | {"force_zeros_for_empty_prompt": False})
    states = DiffusionPrior.load(copy, dtype=torch.float32).text([""])
    expected = pipeline(copy, "sdxl").encode_prompt("", do_classifier_free_guidance=False)
    torch.testing.assert_close(states.tokens, expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(states.pooled, expected[2], rtol=1e-5, atol=1e-5)


def test_a_vae_that_overflows_in_float16_is_widened_unless_it_is_the_fixed_one(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folders["sdxl"], tmp_path / "copy"))
    config = json.loads((copy / "vae" / "config.json").read_text())
    for native, upcast, expected in (
        (False, True, torch.float32),
        (True, True, torch.bfloat16),
        (False, False, torch.float16),
    ):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda native=native: native)
        write_json(copy / "vae" / "config.json", config | {"force_upcast": upcast})
        prior = DiffusionPrior.load(copy, dtype=torch.float16)
        assert prior.codec.vae.dtype == expected and prior.dtype == torch.float16  # type: ignore[attr-defined]


def test_stages_that_cannot_begin_a_picture_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    upscaler = write_if_folder(tmp_path / "if2", in_channels=6)
    with pytest.raises(UserError, match="use stage I"):
        DiffusionPrior.load(upscaler)
    write_json(tmp_path / "xl" / "model_index.json", SDXL_INDEX | {"requires_aesthetics_score": True})
    shutil.copytree(folders["sdxl"] / "unet", tmp_path / "xl" / "unet")
    with pytest.raises(UserError, match="use the base model"):
        DiffusionPrior.load(tmp_path / "xl")


# ---------------------------------------------------------------------------------------- SDS and its critic


def reference(theirs: Any, family: str, rgb: Tensor, t: Tensor, n: Tensor) -> Tensor:
    """SDS's gradient on an image, written with diffusers' parts alone."""
    pos, null, *vectors = theirs.encode_prompt(
        PROMPT, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    x = rgb * 2 - 1
    if family != "deepfloyd":
        x = theirs.vae.encode(x).latent_dist.mean * theirs.vae.config.scaling_factor
    added: dict[str, Any] = {}
    if family == "sdxl":
        size = tuple(rgb.shape[-2:])
        ids = theirs._get_add_time_ids(size, (0, 0), size, torch.float32, 24).repeat(4, 1)
        added = {"added_cond_kwargs": {"text_embeds": torch.cat(vectors).repeat_interleave(2, 0), "time_ids": ids}}
    with torch.no_grad():
        z = theirs.scheduler.add_noise(x, n, t).repeat(2, 1, 1, 1)
        states = torch.cat([pos, null]).repeat_interleave(2, 0)
        e_pos, e_null = theirs.unet(z, t.repeat(2), states, **added).sample[:, : x.shape[1]].chunk(2)
        w = (1 - theirs.scheduler.alphas_cumprod[t]).view(-1, 1, 1, 1)
        g = w * (e_null + SCALE * (e_pos - e_null) - n)
    return torch.autograd.grad((g * x).sum() / len(x), rgb)[0]


@pytest.mark.parametrize("family", PIPELINES)
@pytest.mark.filterwarnings("ignore:The configuration file of this scheduler")
def test_sds_equals_a_reference(folders: dict[str, Path], priors: dict[str, DiffusionPrior], family: str) -> None:
    prior, t = priors[family], torch.tensor([150, 800])
    rgb = noise(2, 3, prior.size, prior.size).sigmoid().requires_grad_()
    x = prior.encode(rgb)
    conds = {"pos": prior.text([PROMPT]), "null": prior.text([""])}
    context = Context(x.detach(), conds, prior, torch.Generator().manual_seed(5))
    g, _ = distill_gradient(SDS(cfg=SCALE), context, t)
    (ours,) = torch.autograd.grad(surrogate(x, g), rgb)
    n = noise(*x.shape, seed=5)
    theirs = reference(pipeline(folders[family], family), family, rgb, t, n)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("family", PIPELINES)
def test_a_critic_that_is_off_changes_nothing(folders: dict[str, Path], family: str) -> None:
    prior = DiffusionPrior.load(folders[family], dtype=torch.float32)
    x, t = noise(2, *shape(prior)), torch.tensor([100, 700])
    cond = prior.text([PROMPT, ""]).with_camera(torch.tensor([[0.0, 10, 40], [90, 20, 45]]))
    before = prior.predict(x, t, cond)
    critic = LoraCritic(prior, CriticConfig(rank=2, lr=1e-2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(critic.predict(x, t, cond), before, rtol=1e-5, atol=1e-5)  # it starts as the prior
    for step in range(2):
        critic.train_step(x, cond, torch.Generator().manual_seed(step))
    assert torch.equal(prior.predict(x, t, cond), before)
    assert (critic.predict(x, t, cond) - before).abs().max() > 1e-4
    critic.remove()
    assert torch.equal(prior.predict(x, t, cond), before)


# ---------------------------------------------------------------------------------------- the command line

SMALL = TINY | {"steps": 20, "views": 1, "preview_every": 12}


@pytest.mark.parametrize("family", PIPELINES)
def test_generate_and_resume(
    folders: dict[str, Path], family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "preview", lambda scene, path: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(engine, "present", lambda *arguments: None)  # pictures are tested elsewhere
    tiny = sets(SMALL)
    command = ["generate", PROMPT, "--scene", "splats", "--guidance", "sds", "--prior", str(folders[family]), *tiny]
    stopped = CliRunner().invoke(app, [*command, "--out", str(tmp_path)])
    assert stopped.exit_code == 130, stopped.output
    (run,) = tmp_path.iterdir()
    resumed = CliRunner().invoke(app, ["resume", str(run)])
    assert resumed.exit_code == 0, resumed.output
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == {"done": 20, "from": 12}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21)) and not any(line["skipped"] for line in lines)
