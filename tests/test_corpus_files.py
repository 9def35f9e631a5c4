"""The corpus reads its file formats, packages and licences."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corpus_files import TRIANGLE, Memory, deb, g3d, pmd, png, spm
from PIL import Image

from sds3d.embedded.corpus import dep5, fetch
from sds3d.embedded.corpus.g3d import load_g3d
from sds3d.embedded.corpus.obj import load_obj
from sds3d.embedded.corpus.pmd import load_pmd, rigid
from sds3d.embedded.corpus.spm import load_spm
from sds3d.embedded.corpus.sweethome import parse_properties, spdx
from sds3d.embedded.corpus.textures import load_texture
from sds3d.embedded.corpus.zeroad import Actors
from sds3d.errors import UserError


def test_obj_polygons_negative_indices_and_materials() -> None:
    files = {
        "m/a.obj": b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
        b"usemtl red\nf 1/1 2/2 3/3 4/4\nusemtl skin\nf -4 -3 -2\n",
        "m/a.mtl": b"newmtl red\nKd 1 0 0\nd 0.5\nnewmtl skin\nKd 0 0 0\nmap_Kd t.png\n",
        "m/t.png": png((10, 20, 30, 255)),
    }
    soup = load_obj(Memory(files).read, "m/a.obj", np.diag([1, 1, -1]).astype(np.float32))
    assert len(soup) == 3
    assert soup.corners[1].tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert soup.uv[0].tolist() == [[0, 0], [1, 0], [1, 1]]
    assert np.allclose(soup.normals, [0, 0, -1])  # no vn: flat normals, turned with the model
    red, skin = soup.materials[soup.material[0]], soup.materials[soup.material[2]]
    assert red.rgba == (1, 0, 0, 0.5) and red.texture is None
    assert skin.rgba == (1, 1, 1, 1)  # a black Kd under a texture would hide it
    assert skin.texture is not None and tuple(skin.texture[0, 0]) == (10, 20, 30, 255)


def test_pmd_geometry_and_attachment_points() -> None:
    mesh = load_pmd(pmd({"prop-hand": (1, 2, 3)}))
    assert np.array_equal(mesh.positions[mesh.faces[0]], TRIANGLE)
    assert mesh.points["prop-hand"][:3, 3].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="PMD"):
        load_pmd(b"nope" * 10)


def test_rigid_turns_about_y() -> None:
    half = np.sqrt(0.5)
    turned = rigid((0, 0, 5), (0, half, 0, half)) @ np.array([0, 0, 1, 1])  # 90 degrees: z goes to x
    assert np.allclose(turned, [1, 0, 5, 1])


def test_g3d_takes_the_first_frame_and_reads_alpha_by_use() -> None:
    files = Memory({"u/a.g3d": g3d("t.png", properties=1), "u/t.png": png((1, 2, 3, 100))})
    unit, scenery = load_g3d(files.read, "u/a.g3d"), load_g3d(files.read, "u/a.g3d", coloured=False)
    assert np.array_equal(unit.corners[0], TRIANGLE)
    textures = [s.materials[0].texture for s in (unit, scenery)]
    assert textures[0] is not None and textures[0][0, 0, 3] == 255  # a player's colour is not a hole
    assert textures[1] is not None and textures[1][0, 0, 3] == 100


@pytest.mark.parametrize(("colours", "mean"), [(False, [1, 1, 1]), (True, [1, 2 / 3, 2 / 3])])
def test_spm_vertices_with_and_without_colours(colours: bool, mean: list[float]) -> None:
    (buffer,) = load_spm(spm(colours))
    assert np.array_equal(buffer.positions[buffer.faces[0]], TRIANGLE)
    assert np.allclose(buffer.uv, [[0, 0], [1, 0], [0, 1]])
    assert buffer.texture == "a.png" and np.allclose(buffer.colour, mean)


def test_actor_puts_props_on_points_and_faces_front() -> None:
    actor = b"""<actor><group><variant name="only"><mesh>a.dae</mesh><props>
        <prop attachpoint="hand" actor="sword.xml"/><prop attachpoint="hand" actor="particle/fire.xml"/></props>
        </variant></group></actor>"""
    sword = b"<actor><group><variant frequency='1'><mesh>s.dae</mesh></variant></group></actor>"
    files = {
        "art/actors/man.xml": actor,
        "art/actors/sword.xml": sword,
        "art/meshes/a.dae.cached.pmd": pmd({"prop-hand": (0, 5, 2)}),
        "art/meshes/s.dae.cached.pmd": pmd(),
    }
    soup = Actors(Memory(files)).build("man.xml", turn=True)
    assert len(soup) == 2
    # mirrored in x (left-handed files), then turned by 180 degrees about y: x stays, z changes sign
    assert np.array_equal(soup.corners[0], TRIANGLE * np.array([1, 1, -1], np.float32))
    assert np.allclose(soup.corners[1], (TRIANGLE + (0, 5, 2)) * (1, 1, -1))


def test_textures_shrink_without_bleeding() -> None:
    image = Image.new("RGBA", (512, 512), (0, 0, 0, 0))
    image.paste((200, 100, 50, 255), (256, 0, 512, 512))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    texture = load_texture(buffer.getvalue(), limit=64)
    seen = texture[texture[..., 3] > 32]
    assert texture.shape == (64, 64, 4)
    assert (np.abs(seen[:, :3].astype(int) - (200, 100, 50)) <= 6).all()  # premultiplied rounding at low alpha


# packages and licences


def test_unpack_keeps_what_is_wanted(tmp_path: Path) -> None:
    deb(tmp_path / "p.deb", {"./usr/share/doc/copyright": b"c", "./usr/models/a": b"abc", "./usr/music/b": b"x"})
    fetch.unpack(tmp_path / "p.deb", tmp_path / "out", lambda p: "/models/" in p or p.endswith("copyright"))
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found == ["usr/models/a", "usr/share/doc/copyright"]
    assert (tmp_path / "out/usr/models/a").read_bytes() == b"abc"


def test_ensure_unpacks_once_and_refuses_other_bytes(tmp_path: Path) -> None:
    package = fetch.Package("toy", "1", "0" * 64, "t/toy", lambda path: True)
    deb(tmp_path / package.file, {"./a": b"1"})
    with pytest.raises(UserError, match="sha256"):
        fetch.ensure(package, tmp_path)
    package = replace(package, sha256=fetch.sha256(tmp_path / package.file))
    root = fetch.ensure(package, tmp_path)
    (tmp_path / package.file).unlink()  # not needed any more
    assert fetch.ensure(package, tmp_path) == root and (root / "a").read_bytes() == b"1"


def test_dep5_last_match_wins() -> None:
    text = (
        "Format: x\n\nFiles: *\nCopyright: 2001 Team\nLicense: GPL-3+\n\n"
        "Files: data/a/*\n data/b?.png\nCopyright: 2006-2015, Ann <a@b.c>\n 2016 Bob\nLicense: CC-BY-SA-4.0\n\n"
        "Files: data/a/x.png\nLicense: CC0\n Some text.\n"
    )
    stanzas = dep5.parse(text)
    licence = {p: s.licence if (s := dep5.stanza_of(stanzas, p)) else None for p in ("data/a/q/r", "data/b1.png", "z")}
    assert licence == {"data/a/q/r": "CC-BY-SA-4.0", "data/b1.png": "CC-BY-SA-4.0", "z": "GPL-3+"}
    exact = dep5.stanza_of(stanzas, "data/a/x.png")
    assert exact is not None and exact.licence == "CC0"
    assert stanzas[1].holders == ("Ann <a@b.c>", "Bob")


def test_sweethome_licences_and_properties() -> None:
    assert spdx("Public domain") == "CC0-1.0"
    assert spdx("Creative Commons Attribution 3.0 United States license") == "CC-BY-3.0-US"
    assert spdx("GNU GPL") is None
    assert parse_properties("# c\nname#1=Caf\\u00e9 = x\n\n")["name#1"] == "Caf\u00e9 = x"
