"""What a second stage would be worth: pairs of renders, their scores, a learner."""

import pytest
import torch

from sds3d.bench.upscale import (
    HEADER,
    Pairs,
    Upscaler,
    bicubic,
    draw_pairs,
    outlines,
    scores,
    table_rows,
    train_upscaler,
)
from sds3d.embedded.corpus.catalogue import procedural_entries
from sds3d.streams import stream


@pytest.fixture(scope="module")
def pairs():
    entries = [e for e in procedural_entries(None) if e.noun in ("mug", "rocket")][::40]
    return draw_pairs(entries, 2)


def test_both_sizes_show_the_same_views(pairs):
    small, large, inside = pairs.over_white(torch.arange(len(pairs.source)))
    halved = torch.nn.functional.avg_pool2d(large, 2)
    assert (halved - small).abs().mean() < 0.01  # both are box-filtered: what differs is where they are sampled
    assert (large[~inside.expand_as(large)] == 1).all() and 0.02 < inside.float().mean() < 0.9
    assert (halved[0] - small[1]).abs().mean() > 0.03  # another view


def test_untrained_it_enlarges_as_bicubic_does():
    small = torch.rand(1, 3, 64, 64, generator=stream(0, "small"))
    assert torch.equal(Upscaler(8)(small), bicubic(small))


def test_scores_of_known_errors(pairs):
    _, large, inside = pairs.over_white(torch.arange(len(pairs.source)))
    truth = iter(large.split(1))
    off = scores(pairs, lambda small: next(truth) * 0.9)["all"]  # off by a tenth of itself
    want = -10 * (0.1 * large).square().mean((1, 2, 3)).log10().mean()
    assert off["psnr"] == pytest.approx(float(want), abs=1e-3) and off["views"] == len(pairs.source)
    on = [float(-10 * (0.1 * x[:, m]).square().mean().log10()) for x, m in zip(large, inside[:, 0], strict=True)]
    assert off["inside"] == pytest.approx(sum(on) / len(on), abs=1e-3) and 0.8 < off["ssim"] < 1


def test_a_flat_square_is_wrong_on_its_outline_only():
    """Its edge lies in the middle of a small pixel, so bicubic enlargement blurs it; stripes inside are no outline."""
    square = torch.zeros(1, 128, 128, 4, dtype=torch.uint8)
    square[:, 31:97, 31:97] = torch.tensor([200, 0, 0, 255], dtype=torch.uint8)
    striped = square.clone()
    striped[:, 41:87:3, 41:87, :3] = 0
    premultiplied = [torch.cat([x[..., :3] * (x[..., 3:] / 255), x[..., 3:].float()], -1) for x in (square, striped)]
    small = [torch.nn.functional.avg_pool2d(x.movedim(-1, 1), 2).movedim(1, -1) for x in premultiplied]
    small = [torch.cat([x[..., :3] * 255 / x[..., 3:].clamp(min=1), x[..., 3:]], -1).round().byte() for x in small]
    plain, inner = (Pairs(a, b, ["made"]) for a, b in zip(small, (square, striped), strict=True))
    assert outlines(plain)["all"] > 0.99 and outlines(inner)["all"] < 0.6


def test_it_learns_what_bicubic_misses(pairs):
    net, seen = train_upscaler(pairs, 0.05, print)
    plain, learned = scores(pairs, bicubic), scores(pairs, net)
    assert seen >= 8 and learned["all"]["psnr"] > plain["all"]["psnr"] + 0.1  # dB, on what it saw
    rows = table_rows({"bicubic": plain, "learned": learned, "on_outlines": outlines(pairs)})
    assert [row[0] for row in rows] == ["all", "procedural"] and len(rows[0]) == len(HEADER)
