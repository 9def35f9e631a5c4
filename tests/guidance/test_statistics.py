"""The running mean: corrected for its start, kept as a tensor, deaf to what is not finite."""

from __future__ import annotations

import torch

from sds3d.guidance.statistics import running_mean


def test_weights_of_the_past() -> None:
    cache: dict = {}
    values = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 6.0]]), torch.tensor([[4.0, 0.0]])]
    means = [running_mean(cache, "a", v, 0.25) for v in values]
    assert torch.allclose(means[0], values[0]) and means[0].shape == (1, 2)
    assert torch.allclose(means[1], 0.2 * values[0] + 0.8 * values[1])
    assert torch.allclose(means[2], (values[0] + 4 * values[1] + 16 * values[2]) / 21)
    assert [k for k, v in cache.items() if isinstance(v, torch.Tensor)] == ["a"]


def test_without_memory_only_the_last_counts() -> None:
    cache: dict = {}
    for v in (torch.ones(2), torch.full((2,), 5.0)):
        assert torch.equal(running_mean(cache, "a", v, 0.0), v)


def test_what_is_not_finite_is_ignored() -> None:
    cache: dict = {}
    first = running_mean(cache, "a", torch.tensor([1.0, 2.0]), 0.5)
    assert torch.equal(running_mean(cache, "a", torch.tensor([float("nan"), 0.0]), 0.5), first)
    assert torch.equal(running_mean({}, "b", torch.tensor([float("inf")]), 0.5), torch.zeros(1))
