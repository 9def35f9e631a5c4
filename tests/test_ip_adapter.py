"""IP-Adapters: eps against diffusers' own pipelines, what a picture becomes, and image-prompted guidance with them."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_helpers import TINY, sets
from family_pipelines import watch, weights, write_sdxl_folder
from PIL import Image
from prior_helpers import noise, write_sd_folder
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.engine import generate as engine
from sds3d.errors import UserError
from sds3d.priors import load_prior
from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.ip_adapter import anchored, attach, clip_pixels

PROMPT, SCALE = "a red car", 7.0
WRITERS = {"sd": write_sd_folder, "sdxl": write_sdxl_folder}
PIPELINES = {"sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}
PUBLISHED = {
    "image_embeds": "proj",
    ".ln0": ".0.norm1",
    ".ln1": ".0.norm2",
    ".attn.to_q": ".0.to_q",
    ".attn.to_out.0": ".0.to_out",
    ".ff.0": ".1.0",
    ".ff.1.net.0.proj": ".1.1",
    ".ff.1.net.2": ".1.3",
}
VECTOR, PATCH, PICTURE = 12, 16, 30  # widths of the encoder's vector and patches, pixels that it sees


def write_encoder(folder: Path) -> Path:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=PATCH,
        intermediate_size=20,
        projection_dim=VECTOR,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=PICTURE,
        patch_size=10,
    )
    with weights(7):
        CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def write_adapter(file: Path, model: Path, plus: bool) -> Path:
    """Random weights under the names of the published files."""
    from diffusers import UNet2DConditionModel
    from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection

    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    cross = unet.config.cross_attention_dim
    attends = [m for name, m in unet.named_modules() if name.endswith("attn2")]
    state: dict[str, Tensor] = {}
    for i, layer in enumerate(attends):
        for j, name in enumerate(("to_k_ip", "to_v_ip")):
            state[f"ip_adapter.{2 * i + 1}.{name}.weight"] = 0.3 * noise(layer.inner_dim, cross, seed=2 * i + j)
    with weights(8):
        if plus:
            made: Any = IPAdapterPlusImageProjection(PATCH, cross, 16, 4, 64, 1, num_queries=4)
        else:
            made = ImageProjection(VECTOR, cross, 4)
    inner = made.state_dict()
    for n in range(4 if plus else 0):
        k, v = (inner.pop(f"layers.{n}.attn.to_{letter}.weight") for letter in "kv")
        inner[f"layers.{n}.0.to_kv.weight"] = torch.cat([k, v])
    for key, value in inner.items():
        for ours, published in PUBLISHED.items():
            key = key.replace(ours, published)
        state[f"image_proj.{key}"] = value.contiguous()
    save_file(state, file)
    return file


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SDS3D_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    write_encoder(root / "image_encoder")
    return {name: write(root / name) for name, write in WRITERS.items()}


def load(model: Path, file: Path) -> DiffusionPrior:
    prior = load_prior(model, dtype=torch.float32)
    assert isinstance(prior, DiffusionPrior)
    attach(prior, file)
    return prior


def eps(prior: DiffusionPrior, x_t: Tensor, t: int, image: Tensor | None) -> Tensor:
    """Ours at one step with classifier-free guidance: the null branch sees no picture."""
    pos, null = prior.text([PROMPT]), prior.text([""])
    both = (
        Cond.cat([replace(pos, image=image), replace(null, image=prior.image(None))])
        if image is not None
        else (Cond.cat([pos, null]))
    )
    first, second = prior.predict(torch.cat([x_t, x_t]), torch.full((2,), t), both).chunk(2)
    return second + SCALE * (first - second)


@pytest.mark.parametrize(("family", "plus"), [("sd", False), ("sd", True), ("sdxl", False)])
@pytest.mark.filterwarnings("ignore:The configuration file of this scheduler")
def test_eps_equals_that_of_diffusers_pipeline(models: dict[str, Path], family: str, plus: bool) -> None:
    import diffusers
    from transformers import CLIPVisionModelWithProjection

    model = models[family]
    file = write_adapter(model.parent / f"{family}{plus}.safetensors", model, plus)
    prior, picture = load(model, file), noise(1, 3, PICTURE, PICTURE, seed=4).sigmoid()
    without = {"safety_checker": None} if family == "sd" else {}
    theirs = getattr(diffusers, PIPELINES[family]).from_pretrained(model, local_files_only=True, **without)
    theirs.scheduler = diffusers.DDIMScheduler.from_config(theirs.scheduler.config, clip_sample=False)
    theirs.load_ip_adapter(
        str(file.parent), subfolder="", weight_name=file.name, image_encoder_folder=None, low_cpu_mem_usage=False
    )
    encoder = CLIPVisionModelWithProjection.from_pretrained(model.parent / "image_encoder").eval()
    theirs.register_modules(image_encoder=encoder)
    pixels = clip_pixels(picture, PICTURE)
    image, none = theirs.encode_image(pixels, "cpu", 1, plus or None)
    embeds = [torch.cat([none, image]).unsqueeze(1)]
    size = prior.network.config.sample_size
    options = {"latents": noise(1, 4, size, size), "output_type": "latent", "ip_adapter_image_embeds": embeds}
    seen = watch(theirs, PROMPT, SCALE, **options)
    assert len(seen) == 3
    for call in seen:
        ours = eps(prior, call.sample, int(call.t), prior.image(picture))
        torch.testing.assert_close(ours, call.output, rtol=1e-5, atol=1e-5)
        assert (ours - eps(prior, call.sample, int(call.t), None)).abs().max() > 1e-3


def test_a_condition_without_a_picture_is_told_of_none(models: dict[str, Path]) -> None:
    prior = load(models["sd"], write_adapter(models["sd"].parent / "none.safetensors", models["sd"], False))
    x, t, cond = noise(1, 4, 16, 16), torch.tensor([500]), prior.text([PROMPT])
    told = prior.predict(x, t, replace(cond, image=prior.image(None)))
    assert torch.equal(prior.predict(x, t, cond), told) and "image" in prior.capabilities


def test_pixels_are_those_of_clips_processor() -> None:
    picture = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 50, 50)
    seen = clip_pixels(picture, 20)
    assert seen.shape == (1, 3, 20, 20)
    expected = (torch.tensor([0, 128, 255]) / 255 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor(
        [0.26862954, 0.26130258, 0.27577711]
    )
    torch.testing.assert_close(seen[0, :, 7, 7], expected)


def test_what_does_not_fit_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    file = write_adapter(models["sd"].parent / "for-sd.safetensors", models["sd"], False)
    with pytest.raises(UserError, match="made for another model"):
        load(models["sdxl"], file)
    alone = tmp_path / "x.safetensors"
    alone.write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="there is no image encoder"):
        load(models["sd"], alone)
    with pytest.raises(UserError, match="there is no IP-Adapter"):
        load(models["sd"], tmp_path / "y.safetensors")
    with pytest.raises(UserError, match="there is no IP-Adapter"):  # and not of an encoder beside it
        anchored(str(tmp_path / "y.safetensors"), "")
    save_file({"weight": torch.ones(1)}, tmp_path / "z.safetensors")
    with pytest.raises(UserError, match="is not an IP-Adapter"):
        load(models["sd"], tmp_path / "z.safetensors")
    with pytest.raises(UserError, match="takes no IP-Adapter"):
        attach(load_prior("embedded"), file)


# ---------------------------------------------------------------------------------------- the command line

SMALL = TINY | {"views": 1, "preview_every": 12}


def paint(file: Path) -> None:
    """A red square on white."""
    picture = Image.new("RGB", (40, 30), (255, 255, 255))
    picture.paste((200, 30, 30), (10, 10, 30, 20))
    picture.save(file)


def test_imagine_shows_the_picture_through_the_adapter(models: dict[str, Path], tmp_path: Path) -> None:
    model, picture = models["sd"], tmp_path / "red.png"
    file = write_adapter(model.parent / "imagine.safetensors", model, False)
    paint(picture)
    command = ["imagine", PROMPT, "--prior", str(model), "--steps", "2", "--views", "1", "--rows", "1"]
    shown, adapted = ["--image", str(picture)], ["--ip-adapter", str(file)]
    sheets = []
    for i, flags in enumerate([[], [*shown, *adapted], [*shown, *adapted, "--image-scale", "0.5"]]):
        result = CliRunner().invoke(app, [*command, *flags, "--out", str(tmp_path / str(i))])
        assert result.exit_code == 0, result.output
        sheets.append(Path(result.stdout.strip()).read_bytes())
    assert len(set(sheets)) == 3
    for flags, words in ((shown, "takes no image prompt"), (adapted, "--ip-adapter has no effect without a picture")):
        refused = CliRunner().invoke(app, [*command, *flags, "--out", str(tmp_path / "none")])
        assert refused.exit_code == 2 and words in refused.stderr and not (tmp_path / "none").exists()


def test_generate_and_resume(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "preview", lambda scene, path: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(engine, "present", lambda *arguments: None)  # pictures are tested elsewhere
    model = models["sd"]
    file, picture = write_adapter(model.parent / "cli.safetensors", model, False), tmp_path / "red.png"
    paint(picture)
    tiny = sets(SMALL)
    command = ["generate", PROMPT, "--prior", str(model), "--ip-adapter", str(file), "--image", str(picture), *tiny]
    refused = CliRunner().invoke(app, [*command, "--guidance", "sds", "--out", str(tmp_path)])
    assert refused.exit_code == 2 and "looks at no picture" in refused.stderr
    isd = ["--guidance", "isd", "--steps", "20", "--out", str(tmp_path / "runs")]
    stopped = CliRunner().invoke(app, [*command, *isd])
    assert stopped.exit_code == 130, stopped.output
    (run,) = (tmp_path / "runs").iterdir()
    resumed = CliRunner().invoke(app, ["resume", str(run)])
    assert resumed.exit_code == 0, resumed.output
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21)) and not any(line["skipped"] for line in lines)


def test_compare_shows_the_picture_to_those_that_look(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sds3d.bench.compare.DRAWS", 1)
    model, picture = models["sd"], tmp_path / "red.png"
    file = write_adapter(model.parent / "compare.safetensors", model, False)
    paint(picture)
    flags = ["--ip-adapter", str(file), "--image", str(picture), "--set", "views=1", "--set", "splats.count=40"]
    command = ["compare", PROMPT, "--prior", str(model), *flags, "--budget", "evals:3", "--out", str(tmp_path)]
    refused = CliRunner().invoke(app, [*command, "--guidance", "sds,csd"])
    assert refused.exit_code == 2 and "looks at no picture" in refused.stderr
    done = CliRunner().invoke(app, [*command, "--guidance", "sds,isd"])
    assert done.exit_code == 0, done.output
    (report,) = tmp_path.glob("*/compare.json")
    rows = json.loads(report.read_text())["rows"]
    assert [(row["guidance"], row["reason"]) for row in rows] == [("sds", ""), ("isd", "")]
