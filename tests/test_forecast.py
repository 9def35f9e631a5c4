"""Memory and time told before anything is loaded: counted exactly where it can be, and held against real runs."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_helpers import SMALL, settings
from hub_server import Hub, point_to, serving
from prior_helpers import write_sd_folder
from torch import nn
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.engine import forecast as forecasts
from sds3d.engine import throughput
from sds3d.engine.evaluations import count
from sds3d.engine.forecast import Forecast, duration, forecast, missing, rows, scene_cost, table
from sds3d.engine.symbolic import encoding_cost, prediction_cost, symbolic_prior
from sds3d.engine.tally import Cost, FusedAttention, Tally
from sds3d.engine.throughput import Rates, best
from sds3d.errors import UserError
from sds3d.priors import find_folder, load_prior
from sds3d.priors.folder import inspect

CPU = torch.device("cpu")
KB = 1024


# ---------------------------------------------------------------------------------------- counting


def test_products_are_counted_by_their_formula() -> None:
    x, layer, conv = torch.rand(6, 10), nn.Linear(10, 4, bias=False), nn.Conv2d(3, 5, 3, padding=1, bias=False)
    with Tally() as tally:
        layer(x)
        conv(torch.rand(2, 3, 8, 8))
    assert tally.cost.flops == {"matmul": 2 * 6 * 10 * 4, "conv": 2 * 2 * 8 * 8 * 5 * 3 * 9}
    x.requires_grad_()
    with Tally() as tally:
        layer.requires_grad_(False)(x).sum().backward()
    assert tally.cost.flops["matmul"] == 2 * 2 * 6 * 10 * 4  # the value and the gradient of x, none of the weights


def test_the_peak_is_what_is_alive_at_once() -> None:
    with Tally() as tally:
        a = torch.zeros(KB, dtype=torch.uint8)
        b = a + 1
        del a
        c = b.view(2, -1).t()  # no memory of its own
        d = c.contiguous()
        del b, c, d
        torch.zeros(KB, dtype=torch.uint8)
    assert tally.cost.peak == 2 * KB and tally.alive == 0


def test_what_was_there_before_takes_no_memory() -> None:
    weight = torch.rand(64, 64)
    with Tally() as tally:
        view = weight.t()[:32].detach()
        assert tally.cost.peak == 0 and tally.cost.moved == 0
        view + 1
    assert tally.cost.peak == 32 * 64 * 4 and tally.cost.moved == 2 * 32 * 64 * 4


def test_a_graph_stays_in_memory_until_its_gradient() -> None:
    x = torch.rand(256, requires_grad=True)
    with Tally() as tally:
        y = x
        for _ in range(5):
            y = y.exp()  # exp keeps its result
        assert tally.alive == 5 * KB
        y.sum().backward()
    assert tally.cost.peak >= 6 * KB


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_is_fused(device: str) -> None:
    """2 of 2 S^2 D flops a head, and no matrix of S^2; the gradient costs 2.5 times the value."""
    q = torch.rand(2, 4, 512, 8, device=device, requires_grad=True)
    with Tally() as tally, FusedAttention(tally):
        out = nn.functional.scaled_dot_product_attention(q, q, q)
        assert tally.cost.flops["attention"] == 2 * 2 * 2 * 4 * 512**2 * 8 and tally.cost.peak == out.nbytes == q.nbytes
        torch.autograd.grad(out.sum(), q)
    assert tally.cost.flops["attention"] == 3.5 * 2 * 2 * 2 * 4 * 512**2 * 8
    assert tally.cost.peak < 512**2 * 4


def test_costs_add_up() -> None:
    a = Cost(Counter(conv=10), 100, 2, 50, {"conv": (5, "a", ())})
    b = Cost(Counter(conv=1, matmul=7), 10, 1, 70, {"conv": (1, "b", ())})
    total = a * 3 + b
    assert (total.flops, total.moved, total.operations, total.peak) == ({"conv": 31, "matmul": 7}, 310, 7, 70)
    assert total.largest == {"conv": (5, "a", ())}


# ---------------------------------------------------------------------------------------- priors without weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd_folder(tmp_path_factory.mktemp("models") / "tiny")


def symbolic(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    parts = inspect(folder)
    return symbolic_prior(folder, parts, {part.name: dtype for part in parts})


def test_a_symbolic_prior_has_the_shapes_of_the_real_one_and_no_content(folder: Path) -> None:
    light, real = symbolic(folder), load_prior(folder, dtype=torch.float32)
    shapes = {name: p.shape for name, p in real.network.named_parameters()}  # type: ignore[union-attr]
    assert shapes == {name: p.shape for name, p in light.network.named_parameters()}
    assert all(p.is_meta for p in [*light.network.parameters(), *light.codec.vae.parameters()])
    assert (light.size, light.capabilities) == (real.size, real.capabilities)


@pytest.mark.parametrize("name", ["tiny", "embedded"])
def test_the_cost_of_a_prediction_is_that_of_a_real_one(name: str, folder: Path) -> None:
    """The same counter around the real call: the products to the last one, the peak of memory to a third."""
    home = folder if name == "tiny" else find_folder("embedded")
    real = load_prior(home, dtype=torch.float32)
    cond = real.text([""]).repeat(3)
    if "camera" in real.capabilities:
        cond = cond.with_camera(torch.zeros(3, 3)).with_background(torch.zeros(3))
    x = torch.rand(3, *real.encode(torch.rand(1, 3, real.size, real.size)).shape[1:])
    with torch.no_grad(), Tally() as tally:
        real.predict(x, torch.zeros(3, dtype=torch.long), cond)
    cost = prediction_cost(symbolic(home), 3)
    for kind in ("conv", "matmul"):
        assert cost.flops[kind] == tally.cost.flops[kind] > 0
    assert cost.peak == pytest.approx(tally.cost.peak, rel=0.35)


def test_the_cost_of_encoding_counts_the_gradient_and_grows_with_the_views(folder: Path) -> None:
    prior = symbolic(folder)
    (one, held), (two, _) = encoding_cost(prior, 1, 32), encoding_cost(prior, 2, 32)
    assert two.flops["conv"] == 2 * one.flops["conv"]
    assert two.peak == pytest.approx(2 * one.peak, rel=0.05)
    rgb = torch.rand(1, 3, 32, 32, device="meta")
    with torch.no_grad(), Tally() as tally, FusedAttention(tally):
        prior.encode(rgb)
    assert one.flops["conv"] == pytest.approx(2 * tally.cost.flops["conv"], rel=0.05)  # x only: no weights' gradient
    assert one.peak >= held > tally.cost.peak and one.peak > 2 * tally.cost.peak


def test_half_precision_halves_the_memory_of_a_step(folder: Path) -> None:
    full, half = (prediction_cost(symbolic(folder, dtype), 4).peak for dtype in (torch.float32, torch.bfloat16))
    assert half < 0.75 * full  # the state itself and eps stay in float32


# ---------------------------------------------------------------------------------------- evaluations


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [("sds", (2, 2)), ("vsd", (3 + 1, 2))],  # vsd's critic answers once and is trained on one batch
)
def test_evaluations_are_those_of_the_guidance(guidance: str, expected: tuple[float, int]) -> None:
    chosen = settings(guidance=guidance, views=3, **{f"{guidance}__cfg": 7.5})
    evaluations, batch = count(chosen, frozenset({"lora"}))
    assert (evaluations / 3, batch / 3) == expected


def test_what_a_guidance_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--source RUN"):
        count(settings(guidance="dds"), frozenset())


# ---------------------------------------------------------------------------------------- speed


def test_time_is_work_and_handling() -> None:
    cost = Cost(Counter(conv=100, matmul=30), moved=50, operations=4, peak=0)
    rates = Rates({"conv": 10.0, "matmul": 3.0}, bandwidth=5.0, overhead=0.5, overlapping=False)
    assert rates.seconds(cost) == 10 + 10 + 10 + 2
    from dataclasses import replace

    assert replace(rates, overlapping=True).seconds(cost) == 30
    assert replace(rates, overlapping=True, overhead=20).seconds(cost) == 80


def test_the_best_time_counts_and_the_first_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.accumulate([0, 5, 0, 3, 0, 4])
    monkeypatch.setattr(throughput, "CLOCK", lambda: next(ticks))
    calls: list[int] = []
    assert best(lambda: calls.append(1), CPU, seconds=10) == 3 and len(calls) == 4


def test_the_forecast_of_the_embedded_prior_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor time of a prediction within a factor of three of what was foretold, on any machine and load."""
    monkeypatch.setattr(throughput, "CLOCK", time.process_time)
    found = forecast("embedded", CPU, {"views": 4})
    prior = load_prior("embedded")
    cond = prior.text([""]).repeat(found.rows).with_camera(torch.zeros(found.rows, 3))
    cond = cond.with_background(torch.zeros(found.rows))
    x, t = torch.rand(found.rows, 3, 64, 64), torch.zeros(found.rows, dtype=torch.long)
    with torch.no_grad():
        real = best(lambda: prior.predict(x, t, cond), CPU) * found.evaluations / found.rows
    assert 1 / 3 < found.prior_seconds / real < 3
    weights = sum(p.nbytes for p in prior.network.state_dict().values())  # type: ignore[union-attr]
    assert found.weights == pytest.approx(weights, rel=0.3)  # some of its tensors are kept wider
    assert found.family == "embedded" and found.steps == 450 and found.views == 4 and found.size == 64


def test_the_scene_counts_with_its_views_and_pixels() -> None:
    small, more = (scene_cost(settings(views=views), 32, CPU) for views in (1, 4))
    held = small[1] - (more[1] - small[1]) / 3  # parameters, gradients, moments: the same for any number of views
    assert held > 0 and more[1] > small[1] > held
    assert scene_cost(settings(views=1), 512, CPU)[1] > 10 * small[1]


# ---------------------------------------------------------------------------------------- what people see


EXAMPLE = Forecast("x", "sd", {"unet": 10**9}, {"unet": "float16"}, 2 * 10**9, 10**9, 3 * 10**9, 10**8, 10**8, 8, 8,
                   1.5, 0.4, 0.1, 1000, 4, 512)  # fmt: skip


def test_memory_is_the_larger_of_the_two_moments() -> None:
    from dataclasses import replace

    assert EXAMPLE.memory == pytest.approx(5.2e9) and EXAMPLE.seconds == 500
    assert replace(EXAMPLE, encoders=10**10).memory == pytest.approx(12.1e9)


def test_too_little_memory_is_a_problem_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, status in ((10**9, "problem"), (10**11, "ok")):
        monkeypatch.setattr(forecasts, "available_memory", lambda free=free: free)
        found = {row.name: row for row in table(EXAMPLE, CPU)}
        assert found["memory"].status == status and ("lower views" in found["memory"].remedy) == (status == "problem")
    assert "estimate" in found["note"].detail and "8 min" in found["asset"].detail


@pytest.mark.parametrize(("seconds", "text"), [(3.2, "3 s"), (119, "119 s"), (600, "10 min"), (7300, "2.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_prior_that_is_not_here(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Hub({"some/model": folder})) as hub:
        point_to(hub.url, tmp_path, monkeypatch)
        row = missing("some/model")
        assert "some/model: 0.6 MB to fetch, 11 files" in row.detail and row.remedy == "sds3d download some/model"
        assert not [path for path in hub.fetched() if path.endswith(".safetensors")]
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        (row,) = rows("sdxl", CPU)
        assert "about 14 GB" in row.detail and "OpenRAIL++" in row.detail and row.remedy == "sds3d download sdxl"
    (row,) = rows("oracle:gaussian:x.png:1", CPU)
    assert "nothing to load" in row.detail


def doctor(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_the_command(folder: Path) -> None:
    sets = [word for key, value in SMALL.items() if key.startswith("splats") for word in ("--set", f"{key}={value}")]
    told = doctor("--prior", str(folder), "--guidance", "sds", "--set", "views=2", *sets, "--json", "--device", "cpu")
    assert told.exit_code == 0, told.output
    found = {row["name"]: row["detail"] for row in json.loads(told.stdout)}
    assert "family sd" in found["prior"] and "4 evaluations" in found["step"] and "5000 steps" in found["asset"]
    assert "2 views of 32 pixels" in found["step"] and "estimate" in found["note"]
    for arguments, words in ((["--scene", "grid"], "--prior"), (["--prior", "./none"], "no model folder")):
        refused = doctor(*arguments)
        assert refused.exit_code == 2 and words in refused.stderr and len(refused.stderr.splitlines()) == 1
