"""Checkpoints in one file: the same prior as from the folder they were made of, and one line for what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from family_pipelines import clip_config, save, weights, write_sdxl_folder
from ldm_checkpoint import State, write_checkpoint
from prior_helpers import noise, write_sd_folder
from safetensors.torch import save_file

from sds3d.errors import UserError
from sds3d.priors import load_prior, single_file
from sds3d.priors.clip_words import clip_tokenizer
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.folder import load_components
from sds3d.priors.single_file import LAYOUTS

WORDS = 49408  # CLIP's


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models in diffusers' format with CLIP's whole vocabulary, by layout."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    root = tmp_path_factory.mktemp("layouts")
    write_sd_folder(root / "sd1")
    write_sd_folder(root / "sd2", use_linear_projection=True)
    write_sdxl_folder(root / "sdxl")
    with weights(4):
        save(root / "sd1", text_encoder=CLIPTextModel(clip_config(layers=2, words=WORDS)))
        save(root / "sd2", text_encoder=CLIPTextModel(clip_config(layers=2, words=WORDS, hidden_act="gelu")))
        save(root / "sdxl", text_encoder=CLIPTextModel(clip_config(words=WORDS)))
        second = CLIPTextModelWithProjection(clip_config(16, projection=24, words=WORDS, hidden_act="gelu"))
        save(root / "sdxl", text_encoder_2=second)
    for layout in ("sd1", "sd2", "sdxl"):
        for tokenizer in (LAYOUTS / layout).glob("tokenizer*"):
            clip_tokenizer(tokenizer / "tokenizer_config.json").save_pretrained(root / layout / tokenizer.name)
    return root


@pytest.fixture
def layouts(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sizes of the tiny models in the place of the real ones."""
    monkeypatch.setattr(single_file, "LAYOUTS", folders)
    return folders


@pytest.mark.parametrize("layout", ["sd1", "sd2", "sdxl"])
def test_a_single_file_is_the_same_prior_as_its_folder(layouts: Path, tmp_path: Path, layout: str) -> None:
    write_checkpoint(layouts / layout, tmp_path / "model.safetensors", layout)
    ours = load_prior(tmp_path / "model.safetensors", dtype=torch.float32)
    theirs = load_prior(layouts / layout, dtype=torch.float32)
    assert isinstance(ours, DiffusionPrior) and ours.name == "model.safetensors" and ours.size == theirs.size
    prompts, size = ["A red  Café, 12 cars!", ""], ours.network.config.sample_size
    cond = ours.text(prompts)
    torch.testing.assert_close(cond.tokens, theirs.text(prompts).tokens, rtol=1e-5, atol=1e-6)
    x, t = noise(2, 4, size, size), torch.tensor([20, 900])
    expected = theirs.predict(x, t, theirs.text(prompts))
    torch.testing.assert_close(ours.predict(x, t, cond), expected, rtol=1e-5, atol=1e-6)
    rgb = noise(1, 3, ours.size, ours.size).sigmoid()
    torch.testing.assert_close(ours.encode(rgb), theirs.encode(rgb), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.decode(ours.encode(rgb)), theirs.decode(theirs.encode(rgb)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "metadata", "extra", "beside", "expected"),
    [
        ("sd1", {}, {}, "", "epsilon"),
        ("sd1", {}, {}, "model: {params: {parameterization: v}}", "v_prediction"),
        ("sd2", {}, {}, "", "epsilon"),
        ("sd2", {}, {single_file.SPREAD: torch.linspace(-1, 1, 8)}, "", "v_prediction"),
        ("sd2", {}, {single_file.SPREAD: torch.linspace(-1, 1, 8)}, "model: {}", "epsilon"),
        ("sd2", {"modelspec.prediction_type": "v"}, {}, "", "v_prediction"),
        ("sdxl", {}, {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, "", "v_prediction"),
    ],
)
def test_what_the_network_predicts(
    layouts: Path, tmp_path: Path, layout: str, metadata: dict[str, str], extra: State, beside: str, expected: str
) -> None:
    file = tmp_path / "model.safetensors"
    state = write_checkpoint(layouts / layout, file, layout)
    save_file({k: v.contiguous() for k, v in (state | extra).items()}, file, metadata)
    if beside:
        file.with_suffix(".yaml").write_text(beside)
    components = load_components(file, leave_out=("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    assert components["scheduler"]["prediction_type"] == expected
    assert components["scheduler"]["rescale_betas_zero_snr"] == ("ztsnr" in extra)
    large = layout == "sd2" and expected == "v_prediction"  # 768 pixels
    assert components["unet"].config.sample_size == (96 if large else 8 if layout == "sdxl" else 16)


def test_the_layouts_have_the_sizes_of_the_real_models() -> None:
    from accelerate import init_empty_weights
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def count(model: torch.nn.Module) -> int:
        return sum(p.numel() for p in model.parameters())

    with init_empty_weights():
        unets = [
            count(UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(LAYOUTS / layout / "unet")))
            for layout in ("sd1", "sd2", "sdxl")
        ]
        small, middle = (
            count(CLIPTextModel(CLIPTextConfig.from_pretrained(LAYOUTS / layout / "text_encoder")))
            for layout in ("sd1", "sd2")
        )
        large = count(CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(LAYOUTS / "sdxl" / "text_encoder_2")))
    assert unets == [859_520_964, 865_910_724, 2_567_463_684]  # as their model cards have them
    assert (small, middle, large) == (123_060_480, 340_387_840, 694_659_840)


def test_the_tokenizer_is_clips() -> None:
    tokenizer = clip_tokenizer(LAYOUTS / "sd1" / "tokenizer" / "tokenizer_config.json")
    assert len(tokenizer) == WORDS
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = clip_tokenizer(LAYOUTS / "sd2" / "tokenizer" / "tokenizer_config.json")
    assert padded("hi", padding="max_length", max_length=5).input_ids == [49406, 1883, 49407, 0, 0]


def _without(prefix: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if not key.startswith(prefix)}


FIRST = "model.diffusion_model.input_blocks.0.0.weight"
FAULTS: dict[str, tuple[Callable[[State], State], str]] = {
    "inpainting": (lambda s: s | {FIRST: torch.zeros(16, 9, 3, 3)}, "takes 9 channels instead of 4"),
    "image prompts": (
        lambda s: s | {"model.diffusion_model.label_emb.0.0.weight": torch.zeros(2, 2)},
        "wants more than text",
    ),
    "no text encoder": (_without("cond_stage_model."), "holds no text encoder"),
    "refiner": (
        lambda s: _without("cond_stage_model.")(s) | {"conditioner.embedders.0.model.ln_final.weight": torch.ones(1)},
        "is a refiner",
    ),
    "no vae": (_without("first_stage_model."), "holds no VAE"),
    "a tensor missing": (_without("model.diffusion_model.out.2.weight"), "lacks tensors of the model"),
    "a text tensor missing": (
        _without("cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.bias"),
        "lacks tensors of the model",
    ),
    "another size": (lambda s: s | {"model.diffusion_model.out.2.weight": torch.zeros(4, 8, 3, 3)}, "cannot load unet"),
    "a lora": (
        lambda s: {"lora_unet_down.lora_up.weight": torch.zeros(1)},
        "give a model as the prior and this as --lo",
    ),
    "an embedding": (lambda s: {"emb_params": torch.zeros(1, 4)}, "this as --textual-inversion"),
    "flux": (lambda s: {f"double_blocks.{i}.x": torch.zeros(1) for i in range(9)}, "no checkpoint of Stable Diffusion"),
}


@pytest.fixture(scope="module")
def state(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> State:
    return write_checkpoint(folders / "sd1", tmp_path_factory.mktemp("one") / "sd1.safetensors", "sd1")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("layouts")
def test_a_file_that_is_no_model_is_one_clear_line(state: State, tmp_path: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    save_file({k: v.contiguous() for k, v in change(dict(state)).items()}, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as error:
        load_prior(tmp_path / "model.safetensors", dtype=torch.float32).text([""])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_broken_and_pickled_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="broken or cut short"):
        load_prior(tmp_path / "model.safetensors")
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(UserError, match="pickled weights can run code"):
        load_prior(tmp_path / "model.ckpt")
