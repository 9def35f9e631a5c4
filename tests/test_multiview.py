"""MVDream's layout from tiny random weights: joint attention, cameras, names of tensors, and what a run gives it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from command_helpers import TINY, sets
from family_pipelines import clip_config, ring_angles, save, weights, write_mvdream_folder
from ldm_checkpoint import State, unet, write_checkpoint
from prior_helpers import SD_INDEX, noise, write_json
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from sds3d.camera import sample_cameras
from sds3d.cli.app import app
from sds3d.engine import generate as engine
from sds3d.engine import sample
from sds3d.engine.distill import distill, draw_background, draw_times, prepare
from sds3d.engine.forecast import forecast
from sds3d.engine.resolve import resolve
from sds3d.errors import UserError
from sds3d.guidance import Context, distill_gradient
from sds3d.guidance.critic import CriticConfig, LoraCritic
from sds3d.guidance.sds import SDS
from sds3d.priors import load_prior, single_file
from sds3d.priors.base import Cond, views_per_object
from sds3d.priors.clip_words import clip_tokenizer
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.multiview import poses
from sds3d.priors.single_file import LAYOUTS
from sds3d.priors.speed import Speed, configure, relieve
from sds3d.streams import stream

PROMPT, SCALE, CPU = "a red car", 7.0, torch.device("cpu")
# The network of `write_mvdream_folder` as MVDream's own config has it.
THEIRS = {
    "_class_name": "MultiViewUNetModel",
    "image_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "channel_mult": [1, 1],
    "num_res_blocks": 1,
    "attention_resolutions": [1],
    "num_head_channels": 16,
    "context_dim": 32,
    "transformer_depth": 1,
    "camera_dim": 16,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mvdream_folder(tmp_path_factory.mktemp("mvdream"))


@pytest.fixture(scope="module")
def prior(folder: Path) -> DiffusionPrior:
    return DiffusionPrior.load(folder, dtype=torch.float32)


def look_at(azimuth: float, elevation: float) -> Tensor:
    """(4, 4) camera to world, OpenGL's axes, z up, front along x, distance 1."""
    a, e = torch.deg2rad(torch.tensor([azimuth, elevation]))
    eye = torch.stack([e.cos() * a.cos(), e.cos() * a.sin(), e.sin()])
    right = F.normalize(torch.linalg.cross(-eye, torch.tensor([0.0, 0, 1])), dim=0)
    up = torch.linalg.cross(right, -eye)
    rows = torch.stack([right, up, eye, eye], 1)
    return torch.cat([rows, torch.tensor([[0.0, 0, 0, 1]])])


class Reference:
    """diffusers' plain UNet, its self-attention and its camera written out, for one object at a time."""

    def __init__(self, folder: Path) -> None:
        from diffusers import UNet2DConditionModel

        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        for name, module in self.unet.named_modules():
            if name.endswith("attn1"):
                module.forward = lambda x, attn=module, **_: self.attend(attn, x)
        mlp = self.unet.class_embedding
        mlp.forward = lambda m: F.linear(F.silu(F.linear(m, *mlp.linear_1.parameters())), *mlp.linear_2.parameters())

    @staticmethod
    def attend(attn: Any, x: Tensor) -> Tensor:
        tokens = torch.cat(list(x))  # (4 L, C)
        q, k, v = (layer(tokens).unflatten(-1, (attn.heads, -1)).transpose(0, 1) for layer in attn_layers(attn))
        mixed = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        return attn.to_out[0](mixed.transpose(0, 1).flatten(1)).unflatten(0, x.shape[:2])

    @torch.no_grad()
    def eps(self, x_t: Tensor, t: int, tokens: Tensor, angles: Tensor) -> Tensor:
        """Of four views."""
        camera = torch.stack([look_at(*angle[:2].tolist()).flatten() for angle in angles])
        return self.unet(x_t, t, tokens.expand(4, -1, -1), class_labels=camera).sample


def attn_layers(attn: Any) -> tuple[Any, Any, Any]:
    return attn.to_q, attn.to_k, attn.to_v


# ---------------------------------------------------------------------------------------- eps


def test_eps_equals_an_independent_reference_with_guidance(folder: Path, prior: DiffusionPrior) -> None:
    theirs, x, angles = Reference(folder), noise(8, 4, 8, 8), ring_angles(2)
    t = torch.tensor([200] * 4 + [800] * 4)
    pos, null = (prior.text([text]).repeat(8).with_camera(angles) for text in (PROMPT, ""))
    e_pos, e_null = prior.predict(torch.cat([x, x]), torch.cat([t, t]), Cond.cat([pos, null])).chunk(2)
    expected = []
    for rows, level in ((slice(0, 4), 200), (slice(4, 8), 800)):
        a, b = (theirs.eps(x[rows], level, cond.tokens[:1], angles[rows]) for cond in (pos, null))
        expected.append(b + SCALE * (a - b))
    torch.testing.assert_close(e_null + SCALE * (e_pos - e_null), torch.cat(expected), rtol=1e-5, atol=1e-5)
    c = Context(x, {"pos": pos, "null": null}, prior, torch.Generator().manual_seed(0))
    g, _ = distill_gradient(SDS(cfg=SCALE), c, t)
    n = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    alpha, sigma = prior.schedule.alpha_sigma(t, x)
    z = alpha * x + sigma * n
    for rows, level in ((slice(0, 4), 200), (slice(4, 8), 800)):
        a, b = (theirs.eps(z[rows], level, cond.tokens[:1], angles[rows]) for cond in (pos, null))
        torch.testing.assert_close(g[rows], (sigma**2)[rows] * (b + SCALE * (a - b) - n[rows]), rtol=1e-5, atol=2e-5)


def test_views_of_an_object_see_each_other_and_no_others(prior: DiffusionPrior) -> None:
    x, t, angles = noise(8, 4, 8, 8), torch.full((8,), 500), ring_angles(2)
    cond = prior.text([PROMPT]).repeat(8).with_camera(angles)
    e = prior.predict(x, t, cond)
    order = torch.tensor([2, 0, 3, 1, 4, 5, 6, 7])
    torch.testing.assert_close(prior.predict(x[order], t, cond.select(order)), e[order], rtol=1e-5, atol=1e-5)
    swapped = torch.tensor([4, 5, 6, 7, 0, 1, 2, 3])
    torch.testing.assert_close(prior.predict(x[swapped], t, cond.select(swapped)), e[swapped], rtol=1e-5, atol=1e-5)
    changed = x.clone()
    changed[0] += 1
    moved = (prior.predict(changed, t, cond) - e).abs().flatten(1).amax(1)
    assert moved[:4].min() > 1e-4 and moved[4:].max() < 1e-6
    turned = prior.predict(x, t, cond.with_camera(torch.cat([ring_angles(1, 40.0), angles[4:]])))
    assert (turned - e)[:4].abs().max() > 1e-4 and torch.equal(turned[4:], e[4:])
    with pytest.raises(UserError, match="looks at 4 views of an object together and was shown 6"):
        prior.predict(x[:6], t[:6], cond.select(torch.arange(6)))


def test_a_view_without_a_camera_is_told_nothing(folder: Path, prior: DiffusionPrior) -> None:
    x, t, cond = noise(4, 4, 8, 8), torch.full((4,), 500), prior.text([PROMPT]).repeat(4)
    theirs = Reference(folder)
    theirs.unet.class_embedding.forward = lambda m: m.new_zeros(4, theirs.unet.class_embedding.linear_2.out_features)
    expected = theirs.eps(x, 500, cond.tokens[:1], ring_angles(1))
    for unseen in (cond, cond.with_camera(torch.full((4, 3), float("nan")))):
        torch.testing.assert_close(prior.predict(x, t, unseen), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (90, 15), (200, -10), (305, 60)])
def test_cameras_are_turned_into_mvdreams_world(azimuth: float, elevation: float) -> None:
    ours = poses(torch.tensor([[azimuth, elevation, 33.0]])).view(4, 4)
    torch.testing.assert_close(ours, look_at(azimuth, elevation), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------- names of tensors


def published(folder: Path, home: Path, **settings: Any) -> Path:
    """The model of `folder` as MVDream's folders on the hub have it."""
    state = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        (home / part).symlink_to(folder / part)
    ldm = {key.removeprefix("model.diffusion_model."): value for key, value in unet(state, 1).items()}
    assert "camera_embed.2.bias" in ldm and "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight" in ldm
    (home / "unet").mkdir()
    save_file({k: v.contiguous() for k, v in ldm.items()}, home / "unet" / "diffusion_pytorch_model.safetensors")
    write_json(home / "unet" / "config.json", THEIRS | settings)
    (home / "unet" / "mv_unet.py").write_text("raise SystemExit('code of a model folder was run')\n")
    pipeline = {"_class_name": "MVDreamPipeline", "unet": ["mv_unet", "MultiViewUNetModel"]}
    write_json(home / "model_index.json", SD_INDEX | pipeline | {"image_encoder": [None, None]})
    return home


def test_published_names_are_read(folder: Path, prior: DiffusionPrior, tmp_path: Path) -> None:
    home = published(folder, tmp_path)
    theirs = load_prior(home, dtype=torch.float32)
    assert isinstance(theirs, DiffusionPrior) and theirs.family.name == "mvdream" and theirs.size == prior.size
    ours = prior.network.state_dict()
    assert ours.keys() == theirs.network.state_dict().keys()
    assert all(torch.equal(value, ours[key]) for key, value in theirs.network.state_dict().items())
    x, t, cond = noise(4, 4, 8, 8), torch.full((4,), 300), prior.text([PROMPT]).repeat(4).with_camera(ring_angles(1))
    assert torch.equal(theirs.predict(x, t, cond), prior.predict(x, t, cond))
    half = DiffusionPrior.load(home, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    weights_file = home / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights_file)
    save_file({k: v for k, v in state.items() if k != "time_embed.0.bias"}, weights_file)
    with pytest.raises(UserError, match=r"lack 1 of the model's tensors, for one time_embedding.linear_1.bias"):
        load_prior(home)


def test_a_whole_checkpoint_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import CLIPTextModel

    home = write_mvdream_folder(tmp_path / "mvdream")
    with weights(4):
        save(home, text_encoder=CLIPTextModel(clip_config(layers=2, words=49408, hidden_act="gelu")))
    clip_tokenizer(LAYOUTS / "mvdream" / "tokenizer" / "tokenizer_config.json").save_pretrained(home / "tokenizer")
    monkeypatch.setattr(single_file, "LAYOUTS", tmp_path)
    file = tmp_path / "one.safetensors"
    state: State = write_checkpoint(home, file, "sd2")
    ours, theirs = load_prior(file, dtype=torch.float32), load_prior(home, dtype=torch.float32)
    assert views_per_object(ours) == 4
    x, t, cond = noise(4, 4, 8, 8), torch.full((4,), 300), ours.text([PROMPT]).repeat(4).with_camera(ring_angles(1))
    torch.testing.assert_close(ours.predict(x, t, cond), theirs.predict(x, t, cond), rtol=1e-5, atol=1e-6)
    save_file(state | {"model.diffusion_model.image_embed.latents": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="wants more than text"):
        load_prior(file)


def test_relatives_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    home = published(folder, tmp_path, ip_dim=16)
    with pytest.raises(UserError, match="this is ImageDream") as error:
        load_prior(home)
    assert "\n" not in str(error.value)
    config = {key: value for key, value in THEIRS.items() if key != "context_dim"}
    write_json(home / "unet" / "config.json", config)
    with pytest.raises(UserError, match="does not describe an MVDream"):
        load_prior(home)
    write_json(home / "model_index.json", SD_INDEX | {"unet": ["mv_unet", "OtherUNet"]})
    with pytest.raises(UserError, match="only diffusers, transformers, sds3d are allowed"):
        load_prior(home)


def test_the_layout_has_the_size_of_the_published_network() -> None:
    from sds3d.priors.mv_unet import unet_config

    theirs = THEIRS | {
        "image_size": 32, "model_channels": 320, "channel_mult": [1, 2, 4, 4], "num_res_blocks": 2,
        "attention_resolutions": [4, 2, 1], "num_head_channels": 64, "context_dim": 1024,
    }  # fmt: skip
    config = json.loads((LAYOUTS / "mvdream" / "unet" / "config.json").read_text())
    made = unet_config(theirs)
    assert made | {"_class_name": config["_class_name"]} == config | {"transformer_layers_per_block": 1}


# ---------------------------------------------------------------------------------------- what a run gives it

SMALL = TINY | {"steps": 20, "views": 4, "preview_every": 12}


def test_cameras_come_in_groups() -> None:
    cameras = sample_cameras(12, stream(0, "camera"), zoom=(0.8, 1.2), group=4)
    steps = cameras.azimuth.view(3, 4).diff(dim=1)
    torch.testing.assert_close(steps, torch.full_like(steps, 90.0), rtol=1e-5, atol=1e-4)
    for values in (cameras.elevation, cameras.fov, cameras.distance):
        assert (values.view(3, 4) == values.view(3, 4)[:, :1]).all() and len(values.unique()) == 3
    first = torch.stack(
        [sample_cameras(8, stream(0, "camera", i), group=4).azimuth.view(2, 4)[:, 0] for i in range(50)]
    )
    assert ((first % 90 / 45).long().sort(1).values == torch.tensor([0, 1])).float().mean() > 0.5  # stratified
    settings = resolve("x", {"views": 8, "random_background": "1"})
    for drawn in (draw_times(settings, 0.5, 3, 4)[:, None], draw_background(settings, 3, "random", 4)):
        assert (drawn.view(2, 4, -1) == drawn.view(2, 4, -1)[:, :1]).all() and not torch.equal(drawn[0], drawn[4])


def test_batches_do_not_tear_objects_apart(prior: DiffusionPrior, monkeypatch: pytest.MonkeyPatch) -> None:
    x, t = noise(12, 4, 8, 8), torch.arange(12) // 4 * 300
    cond = prior.text([PROMPT]).repeat(12).with_camera(ring_angles(3))
    whole = prior.predict(x, t, cond)
    monkeypatch.setattr(prior, "batch", 0)
    configure(prior, Speed(batch=4))
    torch.testing.assert_close(prior.predict(x, t, cond), whole, rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="speed.batch must be a multiple of 4, not 6"):
        configure(prior, Speed(batch=6))
    monkeypatch.setattr(prior.codec, "checkpointing", True)
    monkeypatch.setattr(prior, "largest", 24)
    configure(prior, Speed())
    for most in (12, 4):
        assert str(most) in (relieve(prior) or "") and prior.batch == most


def test_a_critic_is_trained_on_whole_objects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = DiffusionPrior.load(folder, dtype=torch.float32)
    critic = LoraCritic(prior, CriticConfig(rank=2, lr=1e-2, camera_dropout=0.5), stream(0, "critic-init"))
    assert critic.camera is None  # it is told the camera as the prior is
    seen: list[tuple[Tensor, Cond]] = []
    predict = prior.predict
    monkeypatch.setattr(prior, "predict", lambda x, t, cond: seen.append((t, cond)) or predict(x, t, cond))
    x, cond = noise(8, 4, 8, 8), prior.text([PROMPT]).repeat(8).with_camera(ring_angles(2))
    losses = [critic.train_step(x, cond, stream(0, "critic", i % 2)) for i in range(6)]
    assert sum(losses[-2:]) < sum(losses[:2])
    told = torch.stack([~cond.camera.isnan().any(-1) for _, cond in seen])  # type: ignore[union-attr]
    for values in (torch.stack([t for t, _ in seen]), told):
        assert (values.view(6, 2, 4) == values.view(6, 2, 4)[..., :1]).all() and len(values.unique()) > 1
    critic.remove()


@pytest.mark.parametrize("guidance", ["vsd", "rewardsds"])
def test_objectives_run_through_it(prior: DiffusionPrior, guidance: str) -> None:
    more = {"rewardsds.reward": f"{__name__}:brightness", "rewardsds.steps": 2, "rewardsds.count": 2}
    settings = resolve(
        "x", SMALL | {"steps": 2, "views": 8, "guidance": guidance} | (more if "r" in guidance[0] else {})
    )
    run = prepare(settings, prior)
    try:
        records = list(distill(run))
    finally:
        run.close()
    assert not any(record.skipped for record in records) and records[0].stats["gradient"] > 0


def brightness(images: Tensor, prompt: str) -> Tensor:
    return images.mean((1, 2, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": 6}, "give a multiple of 4, as in --set views=4, not 6"),
        ({"sds.perp_neg": 1.0, "guidance": "sds"}, "leave perp_neg out"),
        ({"guidance": "lmc_sds"}, "lmc_sds learns from single views"),
    ],
)
def test_what_it_cannot_do_is_one_line(prior: DiffusionPrior, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        next(distill(prepare(resolve("x", SMALL | settings), prior)))
    assert "\n" not in str(error.value)


def test_imagine_draws_objects_and_puts_their_views_in_order(
    prior: DiffusionPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    noises: list[Tensor] = []

    def drawn(prior: Any, cond: Cond, null: Cond, noise: Tensor, *arguments: Any) -> Tensor:
        assert cond.camera is not None and null.camera is not None and torch.equal(cond.camera, null.camera)
        assert (cond.camera[:, 0].view(-1, 4).diff(dim=1) == 90).all()
        noises.append(noise)
        return cond.camera[:, 0].view(-1, 1, 1, 1)

    monkeypatch.setattr(sample, "sample", drawn)
    monkeypatch.setattr(prior.codec, "decode", lambda x: x, raising=False)
    pictures = sample.imagine(prior, PROMPT, views=8, rows=2)
    assert pictures.flatten().tolist() == [45.0 * i for i in range(8)] * 2
    assert len(noises[0].flatten(1).unique(dim=0)) == 16
    with pytest.raises(UserError, match="draws 4 views of an object together: give a multiple as --views"):
        sample.imagine(prior, PROMPT, views=6)


def test_generate_is_interrupted_and_resumes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "preview", lambda scene, path: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(engine, "present", lambda *arguments: None)  # pictures are tested elsewhere
    tiny = sets(SMALL)
    command = ["generate", PROMPT, "--preset", "mvdream", "--prior", str(folder), "--out", str(tmp_path), *tiny]
    wrong = CliRunner().invoke(app, [*command, "--set", "views=3"])
    assert wrong.exit_code == 2 and "give a multiple of 4, as in --set views=4, not 3" in " ".join(wrong.output.split())
    stopped = CliRunner().invoke(app, command)
    assert stopped.exit_code == 130, stopped.output
    (run,) = (found for found in tmp_path.iterdir() if (found / "checkpoint.safetensors").exists())
    resumed = CliRunner().invoke(app, ["resume", str(run)])
    assert resumed.exit_code == 0, resumed.output
    steps = json.loads((run / "result.json").read_text())["steps"]
    assert steps["done"] == 20 and 12 <= steps["from"] < 20
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21)) and not any(line["skipped"] for line in lines)


def test_the_forecast_counts_it(folder: Path, tmp_path: Path) -> None:
    home = published(folder, tmp_path)
    ours, theirs = (forecast(str(f), CPU, {"views": "8", "splats.count": "80"}) for f in (folder, home))
    assert (ours.family, ours.rows) == ("mvdream", 16) and ours.tflops == theirs.tflops > 0
    with pytest.raises(UserError, match="give a multiple of 4"):
        forecast(str(folder), CPU, {"views": "6"})
