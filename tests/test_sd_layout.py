"""A Stable Diffusion folder with tiny random weights through the same code path as a real one, and all that can be
wrong with such a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from prior_helpers import SD_INDEX, SD_SCHEDULER, WIDTH, noise, write_json, write_sd_folder
from safetensors.torch import load_file, save_file
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors import load_prior
from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.folder import load_components

UNET = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd_folder(tmp_path_factory.mktemp("models") / "tiny-sd")


@pytest.fixture(scope="module")
def prior(folder: Path) -> DiffusionPrior:
    return DiffusionPrior.load(folder, dtype=torch.float32)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def predict(prior: DiffusionPrior, x: Tensor, t: list[int], prompts: list[str]) -> Tensor:
    return prior.predict(x, torch.tensor(t), prior.text(prompts))


def test_load_prior_reads_the_layout(folder: Path) -> None:
    loaded = load_prior(folder, dtype=torch.float32)
    assert (loaded.name, loaded.size, loaded.capabilities) == ("tiny-sd", 32, {"lora"})
    assert loaded.schedule.steps == 1000
    assert loaded.network is not None
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_epsilon_is_the_network_output(prior: DiffusionPrior) -> None:
    x, cond = noise(2, 4, 16, 16), prior.text(["a red car", ""])
    direct = prior.network(x, torch.tensor([20, 900]), encoder_hidden_states=cond.tokens).sample
    eps = prior.predict(x, torch.tensor([20, 900]), cond)
    assert eps.dtype == torch.float32
    torch.testing.assert_close(eps, direct, rtol=0, atol=0)


def test_v_prediction_is_converted(copy: Path) -> None:
    write_json(copy / "scheduler" / "scheduler_config.json", SD_SCHEDULER | {"prediction_type": "v_prediction"})
    prior = DiffusionPrior.load(copy, dtype=torch.float32)
    x, t, cond = noise(2, 4, 16, 16), torch.tensor([20, 900]), prior.text(["a red car", ""])
    v = prior.network(x, t, encoder_hidden_states=cond.tokens).sample
    bar = prior.schedule.alphas_cumprod[t].view(-1, 1, 1, 1)
    expected = (bar.sqrt() * v.double() + (1 - bar).sqrt() * x.double()).float()
    torch.testing.assert_close(prior.predict(x, t, cond), expected, rtol=1e-5, atol=1e-6)


def test_one_batch_equals_separate_calls(prior: DiffusionPrior) -> None:
    x = noise(1, 4, 16, 16)
    pair = Cond.cat([prior.text(["a red car"]), prior.text([""])])
    together = prior.predict(x.repeat(2, 1, 1, 1), torch.tensor([500, 500]), pair)
    apart = torch.cat([predict(prior, x, [500], [prompt]) for prompt in ("a red car", "")])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3  # the text is listened to


def test_text_is_clips_last_hidden_state(prior: DiffusionPrior, folder: Path) -> None:
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    model = CLIPTextModel.from_pretrained(folder / "text_encoder")
    ids = tokenizer(["red car"], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    cond = prior.text(["red car"])
    assert cond.tokens.shape == (1, 77, WIDTH) and cond.tokens.dtype == torch.float32 and bool(cond.mask.all())
    torch.testing.assert_close(cond.tokens, model(ids).last_hidden_state, rtol=1e-5, atol=1e-5)


def test_long_prompt_is_cut_with_a_warning(prior: DiffusionPrior) -> None:
    with pytest.warns(UserWarning, match="more than 77 tokens"):
        long = prior.text(["red " * 100])
    torch.testing.assert_close(long.tokens, prior.text(["red " * 75]).tokens)


def test_encode_is_the_scaled_mean_and_decode_its_inverse(prior: DiffusionPrior) -> None:
    vae = prior.codec.vae  # type: ignore[attr-defined]
    rgb = noise(2, 3, 32, 32).sigmoid()
    mean = vae.encode(rgb * 2 - 1).latent_dist.mean
    x = prior.encode(rgb)
    assert x.shape == (2, 4, 16, 16) and x.dtype == torch.float32
    torch.testing.assert_close(x, mean * 0.18215)
    torch.testing.assert_close(prior.decode(x), (vae.decode(mean).sample / 2 + 0.5).clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_encode_is_differentiable_with_and_without_checkpointing(prior: DiffusionPrior, folder: Path) -> None:
    rgb, weight, direction = noise(1, 3, 48, 48).sigmoid(), noise(1, 4, 16, 16, seed=1), noise(1, 3, 48, 48, seed=2)
    saving = DiffusionPrior.load(folder, dtype=torch.float32, checkpointing=True)
    gradients = []
    for model in (prior, saving):
        image = rgb.clone().requires_grad_()
        (model.encode(image) * weight).sum().backward()
        assert image.grad is not None
        gradients.append(image.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-6)
    step = 1e-2
    up, down = ((prior.encode(rgb + s * step * direction) * weight).sum() for s in (1, -1))
    torch.testing.assert_close((gradients[0] * direction).sum(), (up - down) / (2 * step), rtol=2e-2, atol=1e-3)


def test_half_precision_weights_alone_are_found(copy: Path, prior: DiffusionPrior) -> None:
    (copy / UNET).unlink()
    weights = {k: v.half() for k, v in load_file(prior_file(prior_folder=copy, like=prior)).items()}
    save_file(weights, copy / "unet" / "diffusion_pytorch_model.fp16.safetensors", metadata={"format": "pt"})
    x = noise(1, 4, 16, 16)
    loaded = DiffusionPrior.load(copy, dtype=torch.float32)
    torch.testing.assert_close(predict(loaded, x, [500], [""]), predict(prior, x, [500], [""]), rtol=1e-2, atol=1e-2)


def prior_file(prior_folder: Path, like: DiffusionPrior) -> Path:
    """The full-precision weights of `like`, written beside the folder."""
    path = prior_folder.parent / "unet.safetensors"
    save_file({k: v.contiguous() for k, v in like.network.state_dict().items()}, path)
    return path


def test_bfloat16_stays_near_float32(folder: Path, prior: DiffusionPrior) -> None:
    low = DiffusionPrior.load(folder, dtype=torch.bfloat16)
    x = noise(1, 4, 16, 16)
    eps = predict(low, x, [500], ["red"])
    assert low.dtype == torch.bfloat16 and eps.dtype == torch.float32
    assert (eps - predict(prior, x, [500], ["red"])).abs().mean() < 0.05


# What can be wrong with a folder: how to break it, and a part of the one line that the user reads.


def _index(**change: object) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / "model_index.json", SD_INDEX | change)


def _cut(folder: Path) -> None:
    data = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(data[: len(data) // 2])


def _pickled(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet" / "diffusion_pytorch_model.bin")


def _lose_a_tensor(folder: Path) -> None:
    weights = load_file(folder / UNET)
    weights.pop("conv_in.weight")
    save_file(weights, folder / UNET, metadata={"format": "pt"})


def _lose_a_text_tensor(folder: Path) -> None:
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    weights.pop(next(k for k in weights if k.endswith("token_embedding.weight")))
    save_file(weights, folder / "text_encoder" / "model.safetensors", metadata={"format": "pt"})


def _other_shape(folder: Path) -> None:
    config = json.loads((folder / "unet" / "config.json").read_text())
    write_json(folder / "unet" / "config.json", config | {"block_out_channels": [16, 32]})


def _scheduler(**values: object) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / "scheduler" / "scheduler_config.json", values)


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "no model_index.json"),
    "index not json": (lambda f: (f / "model_index.json").write_text("{"), "not readable JSON"),
    "index not an object": (lambda f: (f / "model_index.json").write_text("[]"), "JSON object"),
    "vae folder missing": (lambda f: shutil.rmtree(f / "vae"), "lacks the folder vae"),
    "config missing": (lambda f: (f / "unet" / "config.json").unlink(), "lacks unet/config.json"),
    "scheduler missing": (lambda f: shutil.rmtree(f / "scheduler"), "scheduler_config.json"),
    "text encoder not listed": (_index(text_encoder=[None, None]), "no text_encoder"),
    "weights missing": (lambda f: (f / UNET).unlink(), "no weights"),
    "weights cut short": (_cut, "broken or cut short"),
    "weights are garbage": (lambda f: (f / UNET).write_bytes(b"not a tensor in sight"), "broken or cut short"),
    "weights empty": (lambda f: (f / UNET).write_bytes(b""), "broken or cut short"),
    "weights pickled": (_pickled, "save_pretrained"),
    "a tensor missing": (_lose_a_tensor, "lack 1 of the model's tensors, for one conv_in.weight"),
    "a text tensor missing": (_lose_a_text_tensor, "lack 1 of the model's tensors"),
    "tensors of another shape": (_other_shape, "cannot load unet"),
    "tokenizer incomplete": (lambda f: (f / "tokenizer" / "merges.txt").unlink(), "lacks tokenizer/merges.txt"),
    "foreign library": (_index(unet=["my_code", "Net"]), "only diffusers, transformers, sds3d are allowed"),
    "look-alike library": (_index(unet=["diffusers_evil", "Net"]), "only diffusers, transformers, sds3d are allowed"),
    "unlisted class": (_index(unet=["diffusers", "StableDiffusionPipeline"]), "class StableDiffusionPipeline"),
    "two text encoders": (_index(text_encoder_2=["transformers", "CLIPTextModel"]), "has text_encoder_2"),
    "a transformer": (_index(unet=None, transformer=["diffusers", "AnyTransformer"]), "has a transformer of class Any"),
    "odd noise": (_scheduler(_class_name="EDMEulerScheduler"), "EDMEulerScheduler"),
    "odd prediction": (_scheduler(**SD_SCHEDULER, prediction_type="vprediction"), "did you mean 'v_prediction'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_folder_is_one_clear_line(copy: Path, fault: str) -> None:
    breaking, message = FAULTS[fault]
    breaking(copy)
    with pytest.raises(UserError) as error:
        load_prior(copy, dtype=torch.float32).text([""])
    assert message in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400 + len(str(copy)) * 3


def test_an_inpainting_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes 9 channels instead of 4"):
        load_prior(write_sd_folder(tmp_path / "inpaint", in_channels=9), dtype=torch.float32)


def test_a_network_that_wants_image_embeddings_is_refused(tmp_path: Path) -> None:
    folder = write_sd_folder(
        tmp_path / "unclip", class_embed_type="projection", projection_class_embeddings_input_dim=8
    )
    with pytest.raises(UserError, match=r"more than text \(class_embed_type\)"):
        load_prior(folder, dtype=torch.float32)


def test_components_are_only_what_is_needed(folder: Path) -> None:
    components = load_components(folder)
    assert set(components) == {"unet", "vae", "text_encoder", "tokenizer", "scheduler", "index"}
    assert components["scheduler"]["beta_schedule"] == "scaled_linear"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(folder: Path, prior: DiffusionPrior) -> None:
    there = DiffusionPrior.load(folder, "cuda", dtype=torch.float16)
    x, rgb = noise(2, 4, 16, 16), noise(2, 3, 32, 32).sigmoid()
    eps = there.predict(x.cuda(), torch.tensor([20, 900]).cuda(), there.text(["red", ""]))
    assert eps.is_cuda and eps.dtype == torch.float32
    torch.testing.assert_close(eps.cpu(), predict(prior, x, [20, 900], ["red", ""]), rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(there.encode(rgb.cuda()).cpu(), prior.encode(rgb), rtol=2e-2, atol=2e-2)
