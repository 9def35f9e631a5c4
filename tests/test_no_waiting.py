"""The host asks nothing of the device in the loop. "meta" stands for the device: its tensors have no content, so that
asking for a number, or for how many are not zero, fails; copies to it are watched."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_helpers import write_sd_folder
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sds3d import transfer
from sds3d.camera import Cameras
from sds3d.engine import record
from sds3d.engine.distill import Distiller, prepare, steps
from sds3d.engine.resolve import resolve
from sds3d.engine.symbolic import META, symbolic_prior
from sds3d.priors.folder import inspect
from sds3d.render import splats_torch
from sds3d.render.projection import Raster

aten = torch.ops.aten


class Waiting(AssertionError):
    pass


class Watched(TorchDispatchMode):
    """Refuses copies from the host for which the host would wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket is aten._to_copy and out.is_meta:
            given = [v for v in tree_leaves(args) if isinstance(v, Tensor)]
            if not given[0].is_meta and not kwargs.get("non_blocking"):
                raise Waiting(f"a copy of {tuple(given[0].shape)} to the device")
        return out


def blobs(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, cameras: Cameras, size: int,
    absgrad: bool, dilation: float,
) -> Raster:  # fmt: skip
    """In the place of the torch backend, which picks the Gaussians to draw on the host: all of them, transparent."""
    seen = means @ cameras.world_to_camera()[:, :3, :3].mT  # (B, N, 3)
    means2d = seen[..., :2] * size
    means2d.retain_grad()
    pixel = torch.arange(size, device=means.device)
    gap = means2d[..., None, None] - torch.stack(torch.meshgrid(pixel, pixel, indexing="xy"))  # (B, N, 2, H, W)
    weight = torch.exp(-gap.square().sum(2)) * (opacities / len(means))[:, None, None]
    sums = torch.einsum("bnhw,bnc->bchw", weight, torch.cat([colors.expand_as(seen), seen[..., 2:]], -1))
    return Raster(sums, 1 - weight.sum(1, keepdim=True), means2d, torch.ones_like(means2d))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distiller:
    folder = write_sd_folder(tmp_path / "tiny")
    prior = symbolic_prior(folder, inspect(folder), {})
    monkeypatch.setattr(splats_torch, "rasterize", blobs)
    monkeypatch.setattr(transfer.Numbers, "ready", False)  # they never come
    monkeypatch.setattr(record, "BEHIND", 100)
    adam = sys.modules["torch.optim.adam"]  # whose fused kernel knows the shapes, and not the device
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)
    options = {"guidance": "sds", "views": 3, "steps": 100, "size": 32, "splats.count": 20, "splats.refine_every": 100}
    made = prepare(resolve("a ball", {**options, "prior": "sd15"}), prior)
    assert made.scene.device == META
    return made


def test_a_step_asks_nothing_of_the_device(run: Distiller) -> None:
    run.settings = replace(run.settings, control="x")  # the hint is drawn, and no network looks at it
    with Watched():
        made = [step for step, _ in zip(steps(run), range(2), strict=False)]
    assert [step.step for step in made] == [1, 2] and not any(step.ready for step in made)
    with pytest.raises(NotImplementedError, match="meta"):
        made[0].record()


@pytest.mark.parametrize("way", ["copy", "number", "count"])
def test_asking_is_noticed(run: Distiller, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = {"copy": lambda x: torch.rand(3).to(x), "number": lambda x: x.mean().item(), "count": lambda x: x[x > 0]}
    kept = run.prior.encode
    monkeypatch.setattr(run.prior, "encode", lambda rgb: (ask[way](rgb), kept(rgb))[1])
    with Watched(), pytest.raises((Waiting, RuntimeError)):
        next(steps(run))
