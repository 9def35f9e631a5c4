"""The viewer page as a file: what is in it, what is not, and how exact its Gaussians are."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from view_helpers import ball, cloud, make_run, report

from sds3d.errors import UserError
from sds3d.export.files import write_glb, write_splat_ply
from sds3d.export.splats import Splats
from sds3d.view.packing import pack
from sds3d.view.page import SCRIPTS, Page, render, static
from sds3d.view.report import glb_faces, read_metrics
from sds3d.view.stage import read_splat_ply, splats_part


def unpack(data: bytes) -> Splats:
    """What static/splats.js reads, written down independently."""
    count, *box = struct.unpack_from("<I8f", data)
    low, extent, least, span = np.array(box[:3]), np.array(box[3:6]), box[6], box[7]
    body = np.frombuffer(data, np.uint8, offset=36)
    assert len(body) == 20 * count
    places = body[: 9 * count].reshape(count, 3, 3).astype(np.int64)
    share = (places[..., 0] + 256 * places[..., 1] + 65536 * places[..., 2]) / (2**24 - 1)
    sizes = np.exp(least + span * body[9 * count : 12 * count].reshape(count, 3) / 255)
    quats = body[12 * count : 16 * count].view(np.int8).reshape(count, 4) / 127
    rgba = body[16 * count :].reshape(count, 4) / 255
    parts = (low + extent * share, sizes, quats, rgba[:, 3], rgba[:, :3])
    return Splats(*(torch.from_numpy(part).float() for part in parts))


def test_packed_gaussians_are_what_they_were() -> None:
    splats = cloud()
    back = unpack(pack(splats, 10**6))
    assert (back.means - splats.means).abs().max() < 1e-6
    assert ((back.scales / splats.scales).log().abs()).max() < 2.5 / 255 / 2 + 1e-4  # half a step of the log span
    assert (back.quats - splats.quats).abs().max() <= 0.5 / 127 + 1e-6
    assert (back.colors - splats.colors).abs().max() <= 0.5 / 255 + 1e-6
    assert (back.opacities - splats.opacities).abs().max() <= 0.5 / 255 + 1e-6


def test_broken_and_invisible_gaussians_are_left_out_and_the_most_visible_kept() -> None:
    splats = cloud(6)
    means, opacities = splats.means.clone(), torch.tensor([0.5, 0.9, 0.001, 0.5, 0.5, 0.5])
    means[0, 1] = torch.nan
    scales = torch.full((6, 3), 0.02)
    scales[3], scales[5, 0] = 0.2, 1e-9  # number 5 is a thin plate: as wide as 4
    splats = replace(splats, means=means, opacities=opacities, scales=scales)
    assert len(unpack(pack(splats, 10)).means) == 4
    kept = unpack(pack(splats, 2))
    assert torch.allclose(kept.means, means[[1, 3]], atol=1e-6)
    assert splats_part(splats, 2).label == "2 of 6 Gaussians"
    assert len(unpack(pack(replace(splats, opacities=opacities * 0), 10)).means) == 0


def test_a_splat_ply_comes_back(tmp_path) -> None:
    splats = cloud(50)
    back = read_splat_ply(write_splat_ply(tmp_path / "a.ply", splats)[0])
    assert torch.allclose(back.means, splats.means) and torch.allclose(back.colors, splats.colors, atol=1e-6)
    assert torch.allclose((back.quats * splats.quats).sum(1).abs(), torch.ones(50), atol=1e-6)
    assert torch.allclose(back.scales, splats.scales, rtol=1e-5)
    assert torch.allclose(back.opacities, splats.opacities, atol=1e-5)


def test_the_report_is_one_escaped_file(tmp_path) -> None:
    page = report(make_run(tmp_path / "run")).read_text(encoding="utf-8")
    assert "a &lt;b&gt;red&lt;/b&gt; egg" in page and "<b>red" not in page
    markup = re.sub(r"(<(script|style)\b[^>]*>).*?</\2>", r"\1", page, flags=re.S)
    assert {u.partition(",")[0] for u in re.findall(r'(?:src|href|data-source)="([^"]*)"', markup)} == {
        "data:", "data:image/png;base64", "#",
    }  # fmt: skip
    assert "http:" not in markup and "https:" not in markup and "style=" not in markup
    curves = re.findall(r"<path d=\"M([^\"]*)\"/>.*?>([a-z.]+)</text>", page)
    assert [name for _, name in curves] == ["loss", "ms.total"]
    assert all(len(points.split("L")) <= 240 for points, _ in curves)
    assert "<td>faces</td><td>1200</td>" in page and "<td>watertight</td><td>yes</td>" in page
    mesh, splats = re.findall(r'data-part="(?:mesh|splats)"[^>]*>([^<]*)</script>', page)
    assert base64.b64decode(mesh) == (tmp_path / "run" / "asset.glb").read_bytes()
    assert len(unpack(base64.b64decode(splats)).means) == 400


def test_only_our_scripts_may_run_and_nothing_may_be_fetched(tmp_path) -> None:
    page = report(make_run(tmp_path / "run")).read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["connect-src"] == "blob:" and rules["img-src"] == "data: blob:"
    for kind, tag in (("script-src", "<script>"), ("style-src", "<style>")):
        blocks = re.findall(rf"{tag}(.*?)</{tag[1:]}", page, re.S)
        digests = {f"'sha256-{base64.b64encode(hashlib.sha256(b.encode()).digest()).decode()}'" for b in blocks}
        assert digests == set(rules[kind].split()) and blocks


def test_scripts_can_stand_inside_a_page_and_ask_nobody() -> None:
    for name in (*SCRIPTS, "page.css"):
        text = static(name).lower()
        assert "</script" not in text and "</style" not in text and "<!--" not in text
        if name != "three.min.js":
            assert "http" not in text and "import(" not in text and "@import" not in text and "eval(" not in text
    notice = static("THIRD_PARTY.md")
    version = re.search(r"three\.js ([\d.]+), MIT", static("three.min.js"))
    assert version is not None and f"three@{version[1]}" in notice and "MIT License" in notice


def test_a_page_without_an_asset_has_no_scripts() -> None:
    page = render(Page("words", metrics=[{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}])).decode()
    assert "<script" not in page and "stage" not in page.partition("</style>")[2] and "<svg" in page


def test_faces_of_a_glb(tmp_path) -> None:
    mesh = ball()
    data = write_glb(tmp_path / "a.glb", mesh)[0].read_bytes()
    assert glb_faces(data) == len(mesh.faces)
    for broken in (
        b"",
        data[:30],
        b"x" * 100,
        data.replace(b'"POSITION"', b'"NOTHING!"').replace(b'"indices"', b'"x"'),
    ):
        with pytest.raises(UserError, match="cannot be read"):
            glb_faces(broken)


def test_metrics_that_are_still_being_written(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
