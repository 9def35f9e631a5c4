"""What is particular to each transformer family: parts that may be absent, sizes that are told, old files, mistakes."""

from __future__ import annotations

import copy
import io
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_helpers import noise, write_json
from transformer_pipelines import build, case, pixart
from transformer_references import pixart_eps

from sds3d.errors import UserError
from sds3d.priors import load_prior
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.families import flux, supported
from sds3d.priors.families.base import Components
from sds3d.priors.families.pixart import ALPHA
from sds3d.priors.gemma import INSTRUCTION

PROMPT = "a red chair"


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(case(name).folder, folder / name))


def edit(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text()) | changes)


def test_sd3_without_t5_has_zeros_in_its_place() -> None:
    short = case("sd3-without-t5").prior.text([PROMPT])
    whole = case("sd3").prior.text([PROMPT])
    assert short.tokens.shape == (1, 77, 64) and whole.tokens.shape == (1, 333, 80)
    torch.testing.assert_close(short.tokens, whole.tokens[:, :77, :64])  # the CLIPs are the same
    assert whole.tokens[:, :77, 64:].abs().max() == 0
    torch.testing.assert_close(short.pooled, whole.pooled)


@pytest.mark.parametrize(
    ("name", "most"), [("sd3", 256), ("sd3-without-t5", 77), ("flux-dev", 512), ("pixart-alpha", 120), ("sana", 300)]
)
def test_of_a_long_prompt_is_said_how_much_the_encoder_that_reads_most_sees(name: str, most: int) -> None:
    """CLIP's 77 tokens count only where there is no T5 beside it."""
    fits = most // 2 - 2 if name == "sana" else most - 3  # the tiny Gemma takes a token for every space
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        case(name).prior.text(["red " * fits])
        assert not [w for w in caught if "does not see its end" in str(w.message)]
        case(name).prior.text(["red " * (most + 1)])
    assert [str(w.message).partition("has ")[2] for w in caught if "see its end" in str(w.message)] == [
        f"more than {most} tokens: the prior does not see its end"
    ]


def test_flux_packs_patches_as_its_pipeline_does() -> None:
    pipeline = case("flux-dev").pipeline
    x = noise(2, 3, 4, 6)
    tokens = flux.pack(x)
    torch.testing.assert_close(tokens, pipeline._pack_latents(x, *x.shape), rtol=0, atol=0)
    torch.testing.assert_close(flux.unpack(tokens, 2, 3), x, rtol=0, atol=0)
    ids = pipeline._prepare_latent_image_ids(2, 2, 3, "cpu", torch.float32)
    torch.testing.assert_close(flux.positions(2, 3, torch.device("cpu")), ids, rtol=0, atol=0)


def test_flux_says_how_it_is_distilled_when_it_is_loaded() -> None:
    with pytest.warns(UserWarning, match="distilled from guidance: it is told guidance 1"):
        load_prior(case("flux-dev").folder)
    with pytest.warns(UserWarning, match="distilled to 1 to 4 steps"):
        load_prior(case("flux-schnell").folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_prior(case("sd3").folder)


def test_flux_is_told_the_guidance_that_its_pipeline_would_tell() -> None:
    """Another value changes the answer: the parity tests do see it."""
    model = case("flux-dev")
    z, t = model.noise(), torch.tensor([500, 500])
    cond = model.prior.text([PROMPT]).repeat(2)
    before = model.prior.predict(z, t, cond)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flux, "GUIDANCE", 3.5)
        assert (model.prior.predict(z, t, cond) - before).abs().max() > 1e-3


def test_pixart_with_sizes_is_told_them(tmp_path: Path) -> None:
    """The 1024 px PixArt-alpha: parity with its pipeline, which tells the network size and aspect ratio."""
    pipeline = build(pixart, tmp_path, sample_size=128, patch_size=16)
    components: Components = {**pipeline.components, "index": {"_class_name": "PixArtAlphaPipeline"}}
    components = {**components, "scheduler": dict(pipeline.scheduler.config)}
    prior = DiffusionPrior(components, ALPHA)
    z, t = noise(1, 4, 128, 128), torch.tensor([400])
    assert prior.network.use_additional_conditions and prior.size == 1024
    eps = prior.predict(z, t, prior.text([PROMPT]))
    torch.testing.assert_close(eps, pixart_eps(pipeline, z, 400, PROMPT, 1.0), rtol=1e-5, atol=1e-5)


def test_pixart_masks_the_padding() -> None:
    model = case("pixart-alpha")
    cond = model.prior.text([PROMPT])
    assert cond.mask.sum() == 4 and model.prior.text([""]).mask.sum() == 1  # three words and the end
    z, t = model.noise(1), torch.tensor([500])
    noisy = cond.tokens + 5 * ~cond.mask[..., None]
    changed = type(cond)(noisy, cond.mask)
    torch.testing.assert_close(model.prior.predict(z, t, changed), model.prior.predict(z, t, cond), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_weights_in_shards_are_found(variant: str | None, tmp_path: Path) -> None:
    """As large models come; in half precision alone under other names."""
    folder, model = copy_of("sana", tmp_path), case("sana")
    shutil.rmtree(folder / "transformer")
    dtype = torch.float16 if variant else torch.float32
    network = copy.deepcopy(model.pipeline.transformer).to(dtype)
    network.save_pretrained(folder / "transformer", variant=variant, max_shard_size="20KB")
    shards = sorted((folder / "transformer").glob("*-of-*"))
    assert len(shards) > 1
    z, t = model.noise(1), torch.tensor([500])
    loaded = load_prior(folder, dtype=torch.float32)
    expected = model.prior.predict(z, t, model.prior.text([PROMPT]))
    torch.testing.assert_close(
        loaded.predict(z, t, loaded.text([PROMPT])), expected, rtol=0, atol=1e-2 if variant else 1e-6
    )
    shards[0].unlink()
    with pytest.raises(UserError, match="not all shards of its weights"):
        load_prior(folder)


@pytest.mark.parametrize(("name", "tokens"), [("pixart-alpha", 120), ("pixart-sigma", 300)])
def test_pixarts_differ_in_the_number_of_tokens(name: str, tokens: int) -> None:
    assert case(name).prior.text([PROMPT]).tokens.shape[1] == tokens


def test_a_pixart_file_of_2023_is_read(tmp_path: Path) -> None:
    """Its network was called Transformer2DModel."""
    folder = copy_of("pixart-alpha", tmp_path)
    edit(folder / "model_index.json", transformer=["diffusers", "Transformer2DModel"])
    edit(folder / "transformer" / "config.json", _class_name="Transformer2DModel")
    model, old = case("pixart-alpha"), load_prior(folder, dtype=torch.float32)
    z, t = model.noise(1), torch.tensor([500])
    torch.testing.assert_close(
        old.predict(z, t, old.text([PROMPT])), model.prior.predict(z, t, model.prior.text([PROMPT])), rtol=0, atol=0
    )


def test_a_sentencepiece_vocabulary_alone_is_read(tmp_path: Path) -> None:
    """As PixArt's folders have it."""
    import sentencepiece

    folder, model = copy_of("pixart-alpha", tmp_path), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a red chair", "a blue ball, side view"]),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "tokenizer" / "spiece.model").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode(PROMPT)
    assert load_prior(folder, dtype=torch.float32).text([PROMPT]).mask.sum() == len(pieces) + 1  # and the end


def test_sanas_instruction_is_that_of_its_pipeline() -> None:
    import inspect

    theirs = inspect.signature(case("sana").pipeline.__call__).parameters["complex_human_instruction"].default
    assert "\n".join(theirs) == INSTRUCTION


def test_sanas_encoder_run_twice_gives_the_same_gradient() -> None:
    model = case("sana")
    saving = DiffusionPrior.load(model.folder, dtype=torch.float32, checkpointing=True)
    gradients = []
    for prior in (model.prior, saving):
        rgb = noise(1, 3, prior.size, prior.size).sigmoid().requires_grad_()
        (prior.encode(rgb) * model.noise(1)).sum().backward()
        gradients.append(rgb.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-6)
    assert saving.codec.checkpointing  # type: ignore[attr-defined]


def test_every_family_is_named_to_who_brings_another() -> None:
    for name in ("Stable Diffusion 3", "FLUX.1", "PixArt", "Sana"):
        assert supported().count(name) == 1


def _without(part: str) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "model_index.json", **{part: [None, None]})


def _scheduler(folder: Path) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", _class_name="DDIMScheduler", beta_schedule="linear")


FAULTS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "sd3 without a CLIP": ("sd3", _without("text_encoder_2"), "has no text_encoder_2"),
    "sd3 with half of T5": ("sd3", _without("tokenizer_3"), "one of text_encoder_3 and tokenizer_3 alone"),
    "sd3 with a scheduler of no flow": ("sd3", _scheduler, "DDIMScheduler is none of a flow"),
    "flux without T5": ("flux-dev", _without("text_encoder_2"), "has no text_encoder_2"),
    "flux without its VAE": ("flux-dev", _without("vae"), "has no vae"),
    "flux for inpainting": (
        "flux-dev",
        lambda folder: edit(folder / "transformer" / "config.json", in_channels=96, out_channels=16),
        "cannot load transformer",
    ),
    "pixart with a CLIP": (
        "pixart-alpha",
        lambda folder: edit(folder / "model_index.json", text_encoder=["transformers", "CLIPTextModel"]),
        "has a text_encoder of class CLIPTextModel",
    ),
    "another model's Transformer2DModel": (
        "pixart-alpha",
        lambda folder: (
            edit(folder / "model_index.json", transformer=["diffusers", "Transformer2DModel"]),
            edit(folder / "transformer" / "config.json", norm_type="ada_norm_zero"),
        ),
        "has a transformer of a kind",
    ),
    "sana sprint": (
        "sana",
        lambda folder: edit(folder / "transformer" / "config.json", guidance_embeds=True),
        "Sana Sprint",
    ),
    "sana without Gemma": ("sana", _without("text_encoder"), "has no text_encoder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_is_one_clear_line(tmp_path: Path, fault: str) -> None:
    name, breaking, message = FAULTS[fault]
    folder = copy_of(name, tmp_path)
    breaking(folder)
    with pytest.raises(UserError) as error:
        load_prior(folder, dtype=torch.float32).text([PROMPT])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_flux_for_inpainting_is_refused_with_the_way_out() -> None:
    from types import SimpleNamespace

    network, vae = (
        SimpleNamespace(config=SimpleNamespace(**c)) for c in ({"in_channels": 384}, {"latent_channels": 16})
    )
    with pytest.raises(UserError, match="takes 384 channels instead of 64"):
        flux.codec(network, vae)
