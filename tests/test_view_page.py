"""The viewer page as a file: what is in it, what is not, and how exact its Gaussians are."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import struct
from dataclasses import replace

import numpy as np
import pytest
from asset_files import Gltf, png
from view_helpers import ball, cloud, make_run, report

from sds3d.assets.gaussians import SH0, Gaussians
from sds3d.assets.load import load_mesh
from sds3d.export.files import write_glb, write_obj, write_stl
from sds3d.view import stage
from sds3d.view.glb import self_contained, to_glb
from sds3d.view.normals import normals, octahedral
from sds3d.view.packing import pack
from sds3d.view.page import SCRIPTS, Page, render, static
from sds3d.view.report import read_metrics
from sds3d.view.site import asset_page
from sds3d.view.stage import mesh_part, run_parts, splats_part


def unpack(data: bytes) -> Gaussians:
    """What static/splats.js reads, written down independently."""
    count, degree, *box = struct.unpack_from("<2I9f", data)
    low, extent, least, span, reach = np.array(box[:3]), np.array(box[3:6]), box[6], box[7], box[8]
    body = np.frombuffer(data, np.uint8, offset=44)
    terms = 3 * (degree + 1) ** 2 if degree else 0
    assert len(body) == (22 + terms) * count
    places = body[: 9 * count].reshape(count, 3, 3).astype(np.int64)
    share = (places[..., 0] + 256 * places[..., 1] + 65536 * places[..., 2]) / (2**24 - 1)
    scales = least + span * body[9 * count : 12 * count].reshape(count, 3) / 255
    quats = body[12 * count : 16 * count].view(np.int8).reshape(count, 4) / 127
    rgba = body[16 * count : 20 * count].reshape(count, 4) / 255
    sh = np.zeros((count, max(terms // 3, 1), 3))
    if degree:
        sh += body[22 * count :].view(np.int8).reshape(count, -1, 3) * reach / 127
    sh[:, 0] += (rgba[:, :3] - 0.5) / SH0
    return Gaussians(low + extent * share, scales, quats, rgba[:, 3], sh)


def opacity(splats: Gaussians) -> np.ndarray:
    return 1 / (1 + np.exp(-splats.opacities))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_packed_gaussians_are_what_they_were(degree) -> None:
    splats = cloud(degree=degree)
    splats.sh[0, 0] = 3.0  # a constant colour of 1.35, which harmonics may bring back
    back = unpack(pack(splats, 10**6))
    assert np.abs(back.means - splats.means).max() < 1e-6
    assert np.abs(back.scales - splats.scales).max() < 2.5 / 255 / 2 + 1e-4  # half a step of the log span
    unit = splats.quats / np.linalg.norm(splats.quats, axis=1, keepdims=True)
    assert np.abs(back.quats - unit).max() <= 0.5 / 127 + 1e-6
    assert np.abs(back.opacities - opacity(splats)).max() <= 0.5 / 255 + 1e-6
    if degree:
        step = np.abs(splats.sh - back.sh).max()
        assert step < 1.3 / 127 / 2  # 1.3: what the constant of number 0 has beyond white
    else:
        assert np.abs(back.sh - splats.sh)[1:].max() * SH0 <= 0.5 / 255 + 1e-6
    assert (
        np.abs(unpack(pack(splats, 10**6, harmonics=False)).sh[1:, 0] - splats.sh[1:, 0]).max() * SH0 < 0.5 / 255 + 1e-6
    )


def test_gaussians_face_across_their_surface() -> None:
    """Round ones on a sphere face away from its middle, flat ones keep their own normal."""
    generator = np.random.default_rng(1)
    means = generator.normal(size=(2000, 3))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    scales = np.full((2000, 3), -3.0)
    scales[:10, 0] = -5
    quats = generator.normal(size=(2000, 4))
    ball = Gaussians(*(a.astype(np.float32) for a in (means, scales, quats, scales[:, 0], means[:, None])))
    facing = normals(ball)
    angle = np.degrees(np.arccos(np.abs((facing * means).sum(1)[10:]).clip(max=1)))
    assert np.percentile(angle, 90) < 6 and angle.max() < 20
    w, x, y, z = (quats / np.linalg.norm(quats, axis=1, keepdims=True))[:10].T
    first = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], -1)  # the first axis, turned
    assert np.allclose(np.abs((facing[:10] * first).sum(1)), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(facing, axis=1), 1, atol=1e-6)


def test_directions_in_an_octahedron() -> None:
    directions = np.random.default_rng(2).normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions[:6] = np.concatenate([np.eye(3), -np.eye(3)])
    u, v = octahedral(directions).T / 127
    z = 1 - np.abs(u) - np.abs(v)
    fold = np.maximum(-z, 0)
    back = np.stack([u - np.where(u < 0, -fold, fold), v - np.where(v < 0, -fold, fold), z], -1)
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    assert np.degrees(np.arccos((back * directions).sum(1).clip(max=1))).max() < 1


def test_broken_and_invisible_gaussians_are_left_out_and_the_most_visible_kept() -> None:
    splats = cloud(6)
    splats.means[0, 1] = np.nan
    chances = np.array([0.5, 0.9, 0.001, 0.5, 0.5, 0.5])
    splats.opacities[:] = np.log(chances / (1 - chances))
    splats.scales[:] = np.log(0.02)
    splats.scales[3], splats.scales[5, 0] = np.log(0.2), -20  # number 5 is a thin plate: as wide as 4
    assert len(unpack(pack(splats, 10)).means) == 4
    assert np.allclose(unpack(pack(splats, 2)).means, splats.means[[1, 3]], atol=1e-6)
    splats.opacities[:] = -20
    assert len(unpack(pack(splats, 10)).means) == 0


def test_a_page_holds_so_many_gaussians_and_a_server_more(monkeypatch) -> None:
    monkeypatch.setattr(stage, "SPLATS_INSIDE", 50)
    monkeypatch.setattr(stage, "HARMONICS_INSIDE", 40 * (22 + 12))
    few, many = splats_part(cloud(40, degree=1), True), splats_part(cloud(60, degree=1), True)
    assert few.label == "40 Gaussians" and not few.note and len(few.data) == 44 + 40 * 34
    assert many.label == "50 of 60 Gaussians" and "do not change with the view" in many.note
    assert len(many.data) == 44 + 50 * 22
    served = splats_part(cloud(60, degree=1), False)
    assert served.label == "60 Gaussians" and not served.note and len(served.data) == 44 + 60 * 34


def test_a_run_that_lies_elsewhere_is_brought_home_with_its_splats(tmp_path) -> None:
    mesh, splats = ball(), cloud(30)
    shift = np.float32([5, 1, -2])
    far = replace(mesh, vertices=mesh.vertices * np.float32(10) + shift)
    run = make_run(tmp_path / "run", far, splats.placed(10.0, shift.astype(float)))
    shown, cloudy = run_parts(run / "asset.glb", run / "asset.ply", inside=True)
    assert shown is not None and cloudy is not None
    *centre, radius, _ = shown.placement
    middle = (far.vertices.min(0) + far.vertices.max(0)) / 2
    assert np.allclose(centre, middle, atol=1e-4)
    assert np.linalg.norm((far.vertices - centre) / radius, axis=1).max() == pytest.approx(1, abs=1e-4)
    where = (splats.means * 10 + shift - centre) / radius
    assert np.allclose(unpack(cloudy.data).means, where, atol=1e-5)


def test_a_mesh_of_another_format_becomes_a_glb_that_others_read(tmp_path) -> None:
    import trimesh

    mesh = ball()
    write_obj(tmp_path / "a.obj", mesh)
    part = mesh_part(load_mesh(tmp_path / "a.obj"), (tmp_path / "a.obj").read_bytes())
    assert part.data[:4] == b"glTF" and part.placement == (0, 0, 0, 1, 0)
    read = trimesh.load(io.BytesIO(part.data), file_type="glb", force="mesh", process=False)
    assert np.allclose(read.triangles, mesh.vertices[mesh.faces], atol=1e-5)
    picture = np.asarray(read.visual.material.baseColorTexture.convert("RGB"))
    u, v = mesh.uv[mesh.faces[100, 0]]
    found = read.visual.uv[read.faces[100, 0]]
    assert np.allclose(found, [u, v], atol=1e-5) and (picture == mesh.texture).all()


def test_a_mesh_too_large_for_a_page_gets_a_smaller_texture(tmp_path, monkeypatch) -> None:
    import trimesh

    path = write_glb(tmp_path / "a.glb", ball(side=256))[0]
    loaded, data = load_mesh(path), path.read_bytes()
    monkeypatch.setattr(stage, "MESH_INSIDE", len(data))
    monkeypatch.setattr(stage, "TEXELS_INSIDE", 64)
    assert mesh_part(loaded, data, inside=True).data == data
    monkeypatch.setattr(stage, "MESH_INSIDE", len(data) - 1)
    assert mesh_part(loaded, data, inside=False).data == data
    small = mesh_part(loaded, data, inside=True)
    read = trimesh.load(io.BytesIO(small.data), file_type="glb", force="mesh", process=False)
    assert read.visual.material.baseColorTexture.size == (64, 64) and len(read.faces) == len(loaded.faces)
    assert "sds3d view" in small.note


def test_a_mesh_of_one_colour_says_so_once(tmp_path) -> None:
    write_stl(tmp_path / "a.stl", ball())
    data = to_glb(load_mesh(tmp_path / "a.stl"))
    root = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    surface = root["materials"][0]["pbrMetallicRoughness"]
    assert surface["baseColorFactor"] == pytest.approx([0.6038, 0.6038, 0.6038, 1], abs=1e-4)  # sRGB 0.8
    assert "COLOR_0" not in root["meshes"][0]["primitives"][0]["attributes"]


def test_colours_of_vertices_are_linear_in_the_glb(tmp_path) -> None:
    path = tmp_path / "a.ply"
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\n"
        "property list uchar int vertex_indices\nend_header\n0 0 0 255 128 0\n1 0 0 0 20 0\n0 1 0 0 0 0\n3 0 1 2\n"
    )
    data = to_glb(load_mesh(path))
    size = struct.unpack_from("<I", data, 12)[0]
    root, binary = json.loads(data[20 : 20 + size]), data[28 + size :]
    record = root["accessors"][root["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    start = root["bufferViews"][record["bufferView"]]["byteOffset"]
    colors = np.frombuffer(binary, "<u2", 12, start).reshape(3, 4) / 65535
    assert record["normalized"] and np.allclose(colors[0], [1, 0.21586, 0, 1], atol=1e-4)  # 128: IEC 61966-2-1
    assert np.allclose(colors[1, 1], 0.006995, atol=1e-5)


def test_what_names_other_files_or_cannot_be_drawn_is_not_sent_as_it_is(tmp_path) -> None:
    data = write_glb(tmp_path / "a.glb", ball())[0].read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    root = json.loads(data[20 : 20 + size])

    def changed(**values: object) -> bytes:
        text = json.dumps({**root, **values}).encode()
        text += b" " * (-len(text) % 4)
        length = len(data) - size + len(text)
        return data[:8] + struct.pack("<2I", length, len(text)) + data[16:20] + text + data[20 + size :]

    assert self_contained(data) and self_contained(changed(extensionsRequired=["KHR_texture_transform"]))
    assert not self_contained(changed(extensionsRequired=["KHR_draco_mesh_compression"]))
    assert not self_contained(changed(images=[{"uri": "https://example.org/a.png"}]))
    assert not self_contained(b"v 0 0 0")
    for odd in ({"images": [5]}, {"images": [{"uri": 7}]}, {"images": 5}, {"extensionsRequired": [[]]}):
        assert not self_contained(changed(**odd))
    binary = data[:12] + data[20 + size :] + data[12 : 20 + size]  # the second chunk first
    gltf = Gltf()
    gltf.scene(gltf.add("nodes", mesh=gltf.mesh()))
    gltf.root["images"] = [5, {"uri": 7}]  # which nothing uses
    for name, content in (("binary.glb", binary), ("images.glb", gltf.glb())):
        (tmp_path / name).write_bytes(content)
        page = asset_page(tmp_path / name)
        assert page.mesh and self_contained(page.mesh.data) and page.mesh.data != content and not page.notes


def test_what_the_viewer_leaves_out_is_said(tmp_path) -> None:
    """It draws transparency and both sides always, metal where it takes the file as it is."""
    gltf = Gltf()
    picture = np.full((4, 4, 4), 255, np.uint8)
    picture[:2, :, 3] = 0
    leaf = gltf.material(png(picture))
    gltf.root["materials"][leaf] |= {"alphaMode": "MASK", "doubleSided": True}
    gltf.root["materials"][leaf]["pbrMetallicRoughness"]["metallicFactor"] = 1
    uv = gltf.array([[0, 0], [1, 0], [0, 1]])
    gltf.scene(gltf.add("nodes", mesh=gltf.mesh(material=leaf, TEXCOORD_0=uv)))
    for name, content, note in (("a.glb", gltf.glb(), ()), ("a.gltf", gltf.text(), ["Not shown: metal."])):
        (tmp_path / name).write_bytes(content)
        assert load_mesh(tmp_path / name).notes == ("metal", "faces seen from both sides", "transparency")
        assert list(asset_page(tmp_path / name).notes) == list(note)


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


def test_metrics_that_are_still_being_written(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]


def test_metrics_of_very_many_steps_are_thinned_over_the_whole_run(tmp_path) -> None:
    """50,001 rows, at most 20,000 kept: every fourth. A row of more than a million characters ends what is read."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {i}}}\n' for i in range(50_001)) + '{"step": "' + 4_000_000 * "x" + '"}')
    assert [row["step"] for row in read_metrics(path)] == list(range(0, 50_001, 4))
