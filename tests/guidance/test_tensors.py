"""Per-view algebra."""

from __future__ import annotations

import torch
from objective_lab import close, images

from sds3d.guidance.base import q_sample
from sds3d.guidance.tensors import denoised, inner, norm, ratio, required_noise
from sds3d.schedule import cosine


def test_the_true_noise_gives_the_image_back() -> None:
    x, n = images(2), images(2, seed=1)
    state = q_sample(x, torch.tensor([200, 800]), n, cosine())
    assert close(denoised(state, n), x) and required_noise(state) is n


def test_products_are_per_view() -> None:
    a, b = images(2), images(2, seed=1)
    assert inner(a, b).shape == (2, 1, 1, 1)
    assert close(inner(a, b)[1].squeeze(), torch.dot(a[1].flatten(), b[1].flatten()))
    assert close(norm(a).flatten(), a.flatten(1).norm(dim=1))


def test_ratio_is_zero_where_there_is_nothing_to_divide_by() -> None:
    found = ratio(torch.tensor([6.0, 5.0, 0.0]), torch.tensor([2.0, 0.0, 0.0]))
    assert found.tolist() == [3.0, 0.0, 0.0]
