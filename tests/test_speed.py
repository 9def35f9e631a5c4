"""Running a prior faster or smaller must not change what it says."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from sds3d.bench.random_priors import ARCHITECTURES, LAYOUTS, random_prior
from sds3d.cli.app import app
from sds3d.engine.distill import distill, prepare
from sds3d.engine.resolve import resolve
from sds3d.engine.tally import Tally
from sds3d.errors import UserError
from sds3d.priors.base import Cond, Prior
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.oracle import gaussian
from sds3d.priors.speed import Speed, configure, in_batches, networks, relieve, vae, with_relief
from sds3d.streams import stream

CPU = torch.device("cpu")
SMALL = {"steps": 2, "views": 4, "splats.count": 60, "guidance": "sds", "sds.cfg": 1.5}


def rows(n: int) -> tuple[Tensor, Tensor, Cond]:
    tokens = torch.arange(n).float().view(n, 1, 1)
    return torch.arange(n).float().view(n, 1, 1, 1), torch.arange(n), Cond(tokens, torch.ones(n, 1, dtype=torch.bool))


@pytest.mark.parametrize("most", [0, 1, 3, 7, 100])
def test_batches_keep_rows_together(most: int) -> None:
    sizes = []

    def forward(x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        sizes.append(len(x))
        return x + 10 * t.view(-1, 1, 1, 1) + 100 * cond.tokens[..., None]

    x, t, cond = rows(7)
    assert torch.equal(in_batches(forward, x, t, cond, most), 111 * x)
    assert sum(sizes) == 7 and max(sizes) == min(7, most or 7)


@pytest.fixture(scope="module")
def sd():
    return random_prior("sd15-random", CPU)


class Scarce(torch.nn.Module):
    """The network with room for so many rows."""

    def __init__(self, network: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.network, self.room, self.config = network, room, network.config

    def forward(self, x: Tensor, *arguments: object, **keywords: object) -> object:
        if len(x) > self.room:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return self.network(x, *arguments, **keywords)


def test_a_step_that_runs_out_of_memory_goes_on_with_less() -> None:
    settings = resolve("a ball", {**SMALL, "prior": "sd15"})
    plain, scarce = (random_prior("sd15-random", CPU) for _ in range(2))
    for prior in (plain, scarce):
        torch.nn.Module.float(prior.network), torch.nn.Module.float(prior.codec.vae)
        prior.dtype = torch.float32
    scarce.network = Scarce(scarce.network, 3)
    expected, seen = (list(distill(prepare(settings, prior))) for prior in (plain, scarce))
    assert scarce.batch == 2 and scarce.codec.checkpointing  # 8 rows: the VAE first, then 4, then 2
    assert [len(record.notes) for record in seen] == [3, 0] and "at most 2" in seen[0].notes[-1]
    for a, b in zip(expected, seen, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-3) and a.alpha == pytest.approx(b.alpha, rel=1e-5)


def test_memory_that_one_row_does_not_fit_is_said() -> None:
    sd = random_prior("sd15-random", CPU)
    sd.largest, told = 4, list[str]()

    def hopeless() -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        with_relief(sd, hopeless, told.append)
    assert sd.batch == 1 and len(told) == 4 and relieve(sd) is None
    assert "vae_checkpointing" in told[0] and "vae_slicing" in told[-1] and sd.codec.slicing


def test_switches_that_a_prior_has_not_are_refused() -> None:
    oracle = gaussian(torch.zeros(3, 8, 8), 1.0)
    configure(oracle, Speed())
    with pytest.raises(UserError, match="no network"):
        configure(oracle, Speed(batch=2))
    with pytest.raises(UserError, match="no network"):
        configure(oracle, Speed(float32=True))
    with pytest.raises(UserError, match="speed.batch"):
        Speed(batch=-1)
    with pytest.raises(UserError, match="reduce-overhead is for CUDA"):
        configure(random_prior("sd15-random", CPU), Speed(compile="reduce-overhead"))


def test_a_prior_in_half_precision_computes_in_float32_when_told_to() -> None:
    """With the weights that it has: the same as one whose networks were converted before it was made."""
    image = torch.rand(1, 3, 64, 64, generator=stream(0, "image"))
    answers = []
    for half in (False, True):
        prior = random_prior("sd15-random", CPU)
        for module in (*networks(prior), *vae(prior)):
            torch.nn.Module.to(module, torch.bfloat16)
            if not half:
                torch.nn.Module.to(module, torch.float32)
        prior.dtype = torch.bfloat16 if half else torch.float32
        configure(prior, Speed(float32=half))
        x = prior.encode(image)
        answers.append(torch.cat([x, prior.predict(x, torch.tensor([500]), prior.text(["a ball"]))]))
        assert {p.dtype for module in (*networks(prior), *vae(prior)) for p in module.parameters()} == {torch.float32}
    assert torch.equal(*answers)


@pytest.mark.parametrize(
    ("said", "meant"), [("true", "default"), ("off", "off"), (False, "off"), ("max-autotune",) * 2]
)
def test_ways_to_compile(said: object, meant: str) -> None:
    assert resolve("a ball", {"speed.compile": said}).speed.compile == meant


def test_a_network_is_compiled_once_and_in_the_mode_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, modes = random_prior("sd15-random", CPU), list[object]()
    monkeypatch.setattr(torch, "compile", lambda call, mode: modes.append(mode) or call)
    for _ in range(2):
        configure(prior, Speed(compile="max-autotune"))
    assert modes == ["max-autotune"] and not prior.replays


def encoded(prior: Prior, image: Tensor) -> tuple[Tensor, Tensor, int, int]:
    """Latents, the gradient of their squares, bytes that wait for it and bytes at the peak."""
    rgb = image.clone().requires_grad_()
    with Tally() as tally:
        x = prior.encode(rgb)
        held = tally.alive
        (gradient,) = torch.autograd.grad(x.square().sum(), rgb)
    return x.detach(), gradient, held, tally.cost.peak


def in_float32(prior: DiffusionPrior) -> DiffusionPrior:
    torch.nn.Module.float(prior.codec.vae)  # type: ignore[attr-defined]
    return prior


def test_the_encoder_takes_less_memory_and_says_the_same() -> None:
    """Per view and block, then per view alone. Shares of the graph of three views in one go."""
    prior = in_float32(random_prior("sd15-random", CPU))
    image = torch.rand(3, 3, prior.size, prior.size, generator=stream(0, "image"))
    x, gradient, held, peak = encoded(prior, image)
    for speed, most_held, most in ((Speed(vae_checkpointing=True), 0.35, 0.55), (Speed(vae_slicing=True), 0.05, 0.35)):
        configure(prior, speed)
        latents, slope, less_held, less = encoded(prior, image)
        torch.testing.assert_close(latents, x, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(slope, gradient, rtol=1e-4, atol=1e-5)
        assert less_held < most_held * held and less < most * peak


MILLIONS = {"sd15-random": 859.5, "sdxl-random": 2567.5, "mvdream-random": 867.6, "sd3-random": 2028.3}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_random_priors_are_of_the_true_size(name: str) -> None:
    found = ARCHITECTURES[name]
    config = dict(found.config) or json.loads((LAYOUTS / found.layout / "unet/config.json").read_text())
    module, cls = found.family.classes[found.family.network][found.network], found.network[1]
    with torch.device("meta"):
        plain = {k: v for k, v in config.items() if not k.startswith("_")}
        network = getattr(importlib.import_module(module), cls).from_config(plain)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_random_priors_predict(name: str) -> None:
    prior = random_prior(name, CPU)
    x = prior.encode(torch.rand(4, 3, prior.size, prior.size, generator=stream(0, "image")))
    eps = prior.predict(x, torch.tensor([300, 900] * 2), prior.text(["a", "b"] * 2))
    assert eps.shape == x.shape and eps.isfinite().all() and (eps[0] != eps[1]).any()


def test_bench_compares_with_the_prior_alone(tmp_path: Path) -> None:
    kept = tmp_path / "step.json"
    words = ["bench", "step", "--prior", "sd15-random", "--scene", "splats", "--guidance", "sds", "--steps", "2"]
    done = CliRunner().invoke(app, [*words, "--warmup", "1", "--each-off", "--set", "views=2", "--write", str(kept)])
    assert done.exit_code == 0, done.output
    assert done.stdout.split()[:4] == ["scene", "part", "median", "ms"] and done.stdout.count("median") == 1
    costs = json.loads(kept.read_text())
    assert [cost["variant"] for cost in costs] == ["", "one by one", "VAE's blocks twice", "views encoded twice"]
    for cost in costs:
        assert cost["ratio"] == pytest.approx(cost["ms"]["total"] / cost["prior_only"])
        assert cost["images_per_second"] == pytest.approx(2e3 / cost["ms"]["total"])


def test_bench_knows_its_own_names() -> None:
    refused = CliRunner().invoke(app, ["bench", "step", "--prior", "sd15-randm"])
    assert refused.exit_code == 2 and "did you mean 'sd15-random'" in refused.stderr
