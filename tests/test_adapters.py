"""LoRAs and textual inversions from files, against closed forms and what diffusers' own pipelines make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from family_pipelines import write_if_folder, write_sdxl_folder
from prior_helpers import WIDTH, noise, write_sd_folder
from safetensors.torch import save_file
from torch import Tensor
from transformer_pipelines import case

from sds3d.errors import UserError
from sds3d.guidance.critic import CriticConfig, LoraCritic
from sds3d.priors import load_prior
from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior

PROMPT = "a red car"
TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
TO_K = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
CONV = "down_blocks.0.resnets.0.conv1"
RANK = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd_folder(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl_folder(tmp_path_factory.mktemp("models") / "sdxl")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SDS3D_CACHE", str(tmp_path / "cache"))


def load(folder: Path, *lora: str, words: tuple[str, ...] = ()) -> DiffusionPrior:
    loaded = load_prior(folder, dtype=torch.float32, lora=lora, textual_inversion=words)
    assert isinstance(loaded, DiffusionPrior)
    return loaded


def pipeline(folder: Path, kind: str = "StableDiffusionPipeline") -> Any:
    import diffusers

    without = {"safety_checker": None} if kind == "StableDiffusionPipeline" else {}
    loaded = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True, **without)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def down_up(rows: int, columns: int, seed: int) -> tuple[Tensor, Tensor]:
    """Factors (RANK, columns) and (rows, RANK) of an update."""
    return noise(RANK, columns, seed=seed), 0.3 * noise(rows, RANK, seed=seed + 1)


def kohya(file: Path, layers: dict[str, tuple[int, int]], alpha: float | None = 1.5) -> Path:
    """A LoRA under kohya's names for layers (name -> their rows and columns)."""
    state: dict[str, Tensor] = {}
    for seed, (name, (rows, columns)) in enumerate(layers.items()):
        down, up = down_up(rows, columns, 10 * seed)
        state |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        if alpha is not None:
            state[f"{name}.alpha"] = torch.tensor(alpha)
    save_file(state, file)
    return file


def eps(prior: DiffusionPrior, cond: Cond | None = None) -> Tensor:
    size = prior.network.config.sample_size
    cond = prior.text([PROMPT]) if cond is None else cond
    return prior.predict(noise(1, 4, size, size), torch.tensor([500]), cond)


# ---------------------------------------------------------------------------------------- LoRA


def test_a_lora_is_added_to_the_weights_by_its_weight_and_alpha(folder: Path, tmp_path: Path) -> None:
    name = "lora_unet_" + TO_K.replace(".", "_")
    file = kohya(tmp_path / "style.safetensors", {name: (16, WIDTH)})
    down, up = down_up(16, WIDTH, 0)
    before = load(folder).network.get_submodule(TO_K).weight
    for spec, weight in ((str(file), 1.0), (f"{file}:0.5", 0.5), (f"{file}:-2", -2.0)):
        after = load(folder, spec).network.get_submodule(TO_K).weight
        torch.testing.assert_close(after, before + weight * 1.5 / RANK * up @ down, rtol=1e-5, atol=1e-5)
    both = load(folder, str(file), f"{file}:0.5").network.get_submodule(TO_K).weight
    torch.testing.assert_close(both, before + 1.5 * 1.5 / RANK * up @ down, rtol=1e-5, atol=1e-5)


def test_a_lora_changes_the_prior_as_it_does_diffusers_pipeline(folder: Path, tmp_path: Path) -> None:
    text = "lora_te_text_model_encoder_layers_1_mlp_fc1"
    layers = {"lora_unet_" + TO_Q.replace(".", "_"): (16, 16), text: (37, WIDTH)}
    file = kohya(tmp_path / "style.safetensors", layers)
    theirs, ours, plain = pipeline(folder), load(folder, str(file)), load(folder)
    theirs.load_lora_weights(str(file))
    states = theirs.encode_prompt(PROMPT, "cpu", 1, False)[0]
    torch.testing.assert_close(ours.text([PROMPT]).tokens, states, rtol=1e-5, atol=1e-5)
    expected = theirs.unet(noise(1, 4, 16, 16), torch.tensor([500]), states).sample
    torch.testing.assert_close(eps(ours), expected, rtol=1e-5, atol=1e-5)
    assert (ours.text([PROMPT]).tokens - plain.text([PROMPT]).tokens).abs().max() > 1e-2
    assert (eps(ours, plain.text([PROMPT])) - eps(plain)).abs().max() > 1e-3


def test_a_lora_for_sdxl_under_its_original_names(sdxl: Path, tmp_path: Path) -> None:
    """input_blocks_2_1 is down_blocks.0.attentions.0's only where blocks have two layers, as SDXL's have."""
    folder = write_sdxl_folder(tmp_path / "two", layers_per_block=2)
    layers = {
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q": (16, 16),
        "lora_te2_text_model_encoder_layers_0_self_attn_out_proj": (16, 16),
    }
    file = kohya(tmp_path / "style.safetensors", layers, alpha=None)
    ours, theirs = load(folder, str(file)), pipeline(folder, "StableDiffusionXLPipeline")
    theirs.load_lora_weights(str(file))
    states, _, pooled, _ = theirs.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    cond = ours.text([PROMPT])
    torch.testing.assert_close(cond.tokens, states, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cond.pooled, pooled, rtol=1e-5, atol=1e-5)
    added = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
    expected = theirs.unet(noise(1, 4, 8, 8), torch.tensor([500]), states, added_cond_kwargs=added).sample
    torch.testing.assert_close(eps(ours), expected, rtol=1e-5, atol=1e-5)
    assert (eps(ours) - eps(load(folder), cond)).abs().max() > 1e-4


def test_a_lora_of_diffusers_with_peft_metadata(folder: Path, tmp_path: Path) -> None:
    import json

    down, up = down_up(16, 16, 3)
    state = {f"unet.{TO_Q}.lora_A.weight": down, f"unet.{TO_Q}.lora_B.weight": up}
    metadata = {"unet.r": RANK, "unet.lora_alpha": 12, "unet.target_modules": [TO_Q]}
    save_file(state, tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(metadata), "format": "pt"})
    before = load(folder).network.get_submodule(TO_Q).weight
    after = load(folder, str(tmp_path / "a.safetensors")).network.get_submodule(TO_Q).weight
    torch.testing.assert_close(after, before + 4 * up @ down, rtol=1e-5, atol=1e-5)


def test_convolutions_are_merged_too(folder: Path, tmp_path: Path) -> None:
    down, up = noise(RANK, 16, 3, 3), 0.3 * noise(16, RANK, 1, 1, seed=1)
    name = "lora_unet_" + CONV.replace(".", "_")
    save_file({f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}, tmp_path / "c.safetensors")
    before = load(folder).network.get_submodule(CONV).weight
    after = load(folder, str(tmp_path / "c.safetensors")).network.get_submodule(CONV).weight
    update = torch.einsum("or,rixy->oixy", up[:, :, 0, 0], down)
    torch.testing.assert_close(after, before + update, rtol=1e-5, atol=1e-5)


def test_a_critic_learns_on_top_of_a_lora(folder: Path, tmp_path: Path) -> None:
    file = kohya(tmp_path / "style.safetensors", {"lora_unet_" + TO_Q.replace(".", "_"): (16, 16)})
    prior = load(folder, str(file))
    before, x, cond = eps(prior), noise(2, 4, 16, 16), prior.text([PROMPT, ""])
    critic = LoraCritic(prior, CriticConfig(rank=2, lr=1e-2), torch.Generator().manual_seed(0))
    for step in range(2):
        critic.train_step(x, cond, torch.Generator().manual_seed(step))
    assert torch.equal(eps(prior), before)
    t = torch.tensor([500, 500])
    assert (critic.predict(x, t, cond) - prior.predict(x, t, cond)).abs().max() > 1e-4


def test_stored_texts_of_another_lora_are_not_taken(folder: Path, tmp_path: Path) -> None:
    layers = {"lora_te_text_model_encoder_layers_1_mlp_fc1": (37, WIDTH)}
    file = kohya(tmp_path / "style.safetensors", layers)
    plain, full, half = (load(folder, *spec).text([PROMPT]).tokens for spec in ((), (str(file),), (f"{file}:0.5",)))
    assert not torch.equal(plain, full) and not torch.equal(full, half)
    assert torch.equal(load(folder, str(file)).text([PROMPT]).tokens, full)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"lora_unet_" + TO_Q.replace(".", "_"): (64, 64)}, "does not fit unet"),
        ({"lora_unet_down_blocks_7_attentions_0_transformer_blocks_0_attn2_to_q": (16, 16)}, "another model"),
    ],
)
def test_a_lora_for_another_model_is_refused(
    folder: Path, tmp_path: Path, layers: dict[str, tuple[int, int]], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(folder, str(kohya(tmp_path / "other.safetensors", layers)))
    assert "\n" not in str(error.value)


def test_a_lora_that_fits_only_in_part_says_so(folder: Path, tmp_path: Path) -> None:
    names = (TO_Q, "down_blocks.7.attentions.0.transformer_blocks.0.attn2.to_q")
    state: dict[str, Tensor] = {}
    for name in names:
        down, up = down_up(16, 16, 0)
        state |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    save_file(state, tmp_path / "part.safetensors")
    with pytest.warns(UserWarning, match="fits 1 layers of unet, was made for 2"):
        load(folder, str(tmp_path / "part.safetensors"))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"transformer.blocks.0.lora_A.weight": torch.ones(2, 2)}, "changes nothing in this prior"),
        ({"model.layers.0.weight": torch.ones(2, 2)}, "is not a LoRA that can be read"),
        (
            {"lora_unet_x.hada_w1_a": torch.ones(2, 2), "lora_unet_x.alpha": torch.ones(())},
            "does not fit|changes nothing",
        ),
        ({"lora_unet_x.dora_scale": torch.ones(2), "lora_unet_x.lora_up.weight": torch.ones(2, 2)}, "is a DoRA"),
    ],
)
def test_what_is_no_lora_for_this_prior(folder: Path, tmp_path: Path, state: dict[str, Tensor], message: str) -> None:
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=message):
        load(folder, str(tmp_path / "x.safetensors"))


def test_missing_pickled_and_misplaced_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no LoRA"):
        load(folder, str(tmp_path / "none.safetensors"))
    (tmp_path / "x.pt").write_bytes(b"x")
    with pytest.raises(UserError, match="can run code"):
        load(folder, words=(str(tmp_path / "x.pt"),))
    with pytest.raises(UserError, match="closed form"):
        load_prior("oracle:toy", lora=["x.safetensors"])
    file = kohya(tmp_path / "style.safetensors", {"lora_unet_" + TO_Q.replace(".", "_"): (16, 16)})
    with pytest.raises(UserError, match="no LoRAs for sds3d's own"):
        load_prior("embedded", lora=[str(file)])


# ---------------------------------------------------------------------------------------- textual inversion


def vectors(file: Path, count: int, key: str = "emb_params", width: int = WIDTH) -> Path:
    save_file({key: noise(count, width, seed=4)}, file)
    return file


@pytest.mark.parametrize("count", [1, 3])
def test_a_word_from_a_file_is_read_as_in_diffusers_pipeline(folder: Path, tmp_path: Path, count: int) -> None:
    file = vectors(tmp_path / "corgi.safetensors", count, "<corgi>")
    theirs, ours = pipeline(folder), load(folder, words=(str(file),))
    theirs.load_textual_inversion(str(file))
    prompt = "a red <corgi> car"
    expected = theirs.encode_prompt(prompt, "cpu", 1, False)[0]
    torch.testing.assert_close(ours.text([prompt]).tokens, expected, rtol=1e-5, atol=1e-5)
    assert (ours.text([prompt]).tokens - load(folder).text([prompt]).tokens).abs().max() > 1e-2


def test_the_word_is_the_files_name_or_what_the_user_says(folder: Path, tmp_path: Path) -> None:
    file = vectors(tmp_path / "zzcorgi.safetensors", 2)
    named, renamed, plain = load(folder, words=(str(file),)), load(folder, words=(f"{file}:zzdog",)), load(folder)
    a, b = named.text(["a zzcorgi"]).tokens, renamed.text(["a zzdog"]).tokens
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert torch.equal(renamed.text(["a zzcorgi"]).tokens, plain.text(["a zzcorgi"]).tokens)
    assert torch.equal(named.text(["A ZZCORGI"]).tokens, a)  # CLIP reads no capitals


def test_sdxl_takes_a_vector_for_each_encoder(sdxl: Path, tmp_path: Path) -> None:
    file = tmp_path / "zzcorgi.safetensors"
    save_file({"clip_l": noise(2, WIDTH), "clip_g": noise(2, 16)}, file)
    prior, cond = load(sdxl, words=(str(file),)), load(sdxl).text(["a zzcorgi"])
    changed = (prior.text(["a zzcorgi"]).tokens - cond.tokens).abs().amax((0, 1))
    assert changed[:WIDTH].max() > 1e-2 and changed[WIDTH:].max() > 1e-2
    with pytest.raises(UserError, match=r"for 1 text encoder\(s\) where this prior has 2"):
        load(sdxl, words=(str(vectors(tmp_path / "one.safetensors", 1)),))


@pytest.mark.parametrize(
    ("spec", "width", "message"),
    [("x.safetensors", 8, "vectors of 8 numbers"), ("x.safetensors:red</w>", WIDTH, "has a meaning already")],
)
def test_words_that_do_not_fit(folder: Path, tmp_path: Path, spec: str, width: int, message: str) -> None:
    vectors(tmp_path / "x.safetensors", 1, width=width)
    with pytest.raises(UserError, match=message):
        load(folder, words=(str(tmp_path / spec),)).text([""])


def test_priors_without_clip_take_no_words(tmp_path: Path) -> None:
    folder = write_if_folder(tmp_path / "if")
    with pytest.raises(UserError, match="does not have"):
        load(folder, words=(str(vectors(tmp_path / "x.safetensors", 1)),))


# ---------------------------------------------------------------------------------------- transformers


@pytest.mark.parametrize("name", ["sd3", "flux-dev", "sana"])
def test_loras_for_transformers_are_merged(name: str, tmp_path: Path) -> None:
    model, layer = case(name), "transformer_blocks.0.attn.to_q" if name != "sana" else "transformer_blocks.0.attn1.to_q"
    before = model.prior.network.get_submodule(layer).weight
    down, up = down_up(*before.shape, seed=6)
    state = {f"transformer.{layer}.lora_A.weight": down, f"transformer.{layer}.lora_B.weight": up}
    save_file(state, tmp_path / "style.safetensors", {"format": "pt"})
    after = load(model.folder, f"{tmp_path / 'style.safetensors'}:0.5").network.get_submodule(layer).weight
    torch.testing.assert_close(after, before + 0.5 * up @ down, rtol=1e-5, atol=1e-5)
