"""The training corpus: file formats, words, variants, and a small build."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_files import TRIANGLE, Memory, deb, g3d, pmd, png, spm
from PIL import Image

from sds3d.embedded.corpus import dep5, fetch, names_glest, names_sweethome, names_zeroad
from sds3d.embedded.corpus.attribution import attribution
from sds3d.embedded.corpus.build import build_corpus, plan
from sds3d.embedded.corpus.captions import plain_captions, variant_captions
from sds3d.embedded.corpus.catalogue import HELDOUT, Entry, catalogue, thin
from sds3d.embedded.corpus.colours import colour_names, colour_phrase
from sds3d.embedded.corpus.g3d import load_g3d
from sds3d.embedded.corpus.names import COLOURS, clean, head_noun, with_article
from sds3d.embedded.corpus.obj import load_obj
from sds3d.embedded.corpus.pmd import load_pmd, rigid
from sds3d.embedded.corpus.render import probe
from sds3d.embedded.corpus.sheet import corpus_sheet
from sds3d.embedded.corpus.spm import load_spm
from sds3d.embedded.corpus.sweethome import parse_properties, spdx
from sds3d.embedded.corpus.textures import load_texture
from sds3d.embedded.corpus.variants import main_materials, normalise, recolour, rematerial
from sds3d.embedded.corpus.zeroad import Actors
from sds3d.errors import UserError
from sds3d.render.mesh import Material, Soup, face_normals


def entry(source: str = "sweethome", id: str = "x", name: str = "oak chair", noun: str = "chair") -> Entry:
    return Entry(source, id, name, noun, "furniture", "CC0-1.0", "A. Uthor", lambda: (box(), ()))


def box(material: Material | None = None) -> Soup:
    """Twelve triangles of a unit cube off the origin."""
    quads = []
    for axis in range(3):
        for side in (0.0, 1.0):
            square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
            quads.append(np.insert(square, axis, side, axis=1) + 2)
    corners = np.concatenate([np.stack([q[[0, 1, 2]], q[[0, 2, 3]]]) for q in quads])
    uv = np.tile(np.array([[0, 0], [1, 0], [1, 1]], np.float32), (12, 1, 1))
    return Soup(corners, face_normals(corners), uv, np.zeros(12, np.int32), [material or Material((0.8, 0.1, 0.1, 1))])


# file formats


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


# words


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("house", "a house"),
        ("orange ufo", "an orange ufo"),
        ("ufo", "a ufo"),
        ("unicorn", "a unicorn"),
        ("umbrella", "an umbrella"),
        ("hour glass", "an hour glass"),
        ("european house", "a european house"),
        ("red and white striped sunglasses", "red and white striped sunglasses"),
        ("bush with red flowers", "a bush with red flowers"),
    ],
)
def test_articles(phrase: str, expected: str) -> None:
    assert with_article(phrase) == expected


def test_head_nouns_and_cleaning() -> None:
    assert head_noun("round table with a red cloth") == "table"
    assert head_noun("old coconut palm tree") == "palm tree"
    assert head_noun("bowl of apples") == "bowl"
    assert clean("Sofa 3 seats (brown)") == "sofa"


def test_names_of_each_source() -> None:
    assert names_sweethome.describe("VW new beetle", "Vehicles") == ("car", "car", "vehicle")
    assert names_sweethome.describe("Square type A plug", "Miscellaneous") is None
    house = names_zeroad.describe("structures/romans/house.xml")
    assert house is not None and (house.name, house.noun, house.turn) == ("roman house", "house", False)
    horse = names_zeroad.describe("fauna/horse_pure_white.xml")
    assert horse is not None and (horse.name, horse.noun, horse.turn) == ("white horse", "horse", True)
    rider = names_zeroad.describe("units/romans/cavalry_swordsman_a_m.xml")
    assert rider is not None and "horse rider" in rider.also
    assert names_zeroad.describe("units/romans/cavalry_swordsman_a_r.xml") is None  # a rider without a horse
    models = ["t/units/cat/models/cat_attack.g3d", "t/units/cat/models/cat_stand.g3d", "t/units/cat/models/x.g3d"]
    assert min(models, key=names_glest.rank) == models[1]


def test_captions_name_the_noun_and_the_colour() -> None:
    thing = replace(entry(name="oak armchair", noun="armchair"), also=("seat",))
    captions = plain_captions(thing, "brown")
    assert {"an armchair", "an oak armchair", "a chair", "a brown armchair", "a brown chair"} <= set(captions)
    red = variant_captions(replace(thing, also=("wooden seat", "green seat")), "red")
    assert all(c.startswith("a red ") for c in red)
    assert not any("wooden" in c or "green" in c for c in red)  # what the variant no longer is
    assert variant_captions(entry(name="white horse", noun="horse"), "wooden") == ["a wooden horse"]


# colours and variants


def test_basic_colours_are_called_by_their_names() -> None:
    assert colour_names(np.array(list(COLOURS.values()))).tolist() == list(COLOURS)
    assert colour_phrase([("red", 0.7), ("white", 0.3)]) == "red"
    assert colour_phrase([("red", 0.45), ("white", 0.4)]) == "red and white"
    assert colour_phrase([("red", 0.4), ("white", 0.2)]) is None


def test_normalise_fits_the_unit_ball() -> None:
    soup = box()
    soup.corners[0] = np.nan
    fitted = normalise(soup)
    assert len(fitted) == 11
    assert np.isclose(np.linalg.norm(fitted.corners, axis=-1).max(), 1, atol=1e-6)
    assert np.allclose(fitted.corners.reshape(-1, 3).min(0), -fitted.corners.reshape(-1, 3).max(0))


@pytest.mark.parametrize("name", list(COLOURS))
def test_recoloured_objects_show_their_colour(name: str) -> None:
    texture = np.full((8, 8, 4), 255, np.uint8)
    texture[::2, :, :3] = (120, 200, 90)  # some pattern in another colour
    texture[1::2, :, :3] = (80, 150, 60)
    painted = recolour(normalise(box(Material((1, 1, 1, 1), texture))), np.array(COLOURS[name]))
    shares, _ = probe(painted)
    assert shares[0][0] == name and shares[0][1] > 0.7


def test_main_materials_are_the_large_opaque_ones() -> None:
    soup = box()
    soup.materials = [Material((1, 0, 0, 1)), Material((0, 1, 0, 1)), Material((0, 0, 1, 0.1))]
    soup.material = np.array([0] * 4 + [1] * 2 + [2] * 6, np.int32)
    assert main_materials(soup, 0.5) == [0]
    assert main_materials(soup, 0.9) == [0, 1]


def test_rematerial_maps_every_face_by_its_own_plane() -> None:
    texture = np.full((4, 4, 4), 255, np.uint8)
    soup = rematerial(normalise(box()), texture)
    assert soup.materials[0].texture is texture
    extent = np.ptp(soup.uv, axis=1)  # no face is mapped edge-on
    assert (extent > 0.5).all()


# the build


def test_split_is_stable_and_about_the_right_size() -> None:
    flags = [entry(id=str(i)).heldout for i in range(5000)]
    assert flags == [entry(id=str(i), name="renamed").heldout for i in range(5000)]
    assert abs(np.mean(flags) - HELDOUT) < 0.01  # three standard deviations are 0.008


def test_rare_nouns_get_more_views_and_crowds_are_thinned() -> None:
    crowd = [entry("zeroad", f"s{i}", "roman soldier", "soldier") for i in range(100)]
    kept = thin([*crowd, entry(id="only", noun="anvil")])
    assert len(kept) == 41
    views = {j.key: j.views for j in plan(kept, 40)}
    assert views["sweethome:only"] > 40 > views[next(k for k in views if k.startswith("zeroad"))]


def test_attribution_lists_authors_by_licence() -> None:
    record = {"id": "sweethome:chair1", "source": "sweethome", "licence": "CC-BY-3.0", "author": "Ann"}
    text = attribution([record], [{"name": "p", "version": "1", "sha256": "f"}])
    assert "CC-BY-3.0" in text and "- Ann: chair1" in text and "p 1 (Debian), sha256 f" in text


def test_unknown_source_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'procedural'"):
        catalogue(tmp_path, ["procedurel"])


def test_small_build_is_complete_and_repeatable(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    options: dict[str, Any] = dict(sources=["procedural"], views=4, limit=3, processes=1)
    first = build_corpus(
        tmp_path / "a", tmp_path, progress=lambda done, total, what: seen.append((done, total, what)), **options
    )
    second = build_corpus(tmp_path / "b", tmp_path, **options)
    other = build_corpus(tmp_path / "c", tmp_path, seed=1, **options)
    assert first["hash"] == second["hash"] != other["hash"]
    assert seen[-1][:2] == (1, 1)
    index = np.load(tmp_path / "a/index.npz")
    captions = json.loads((tmp_path / "a/captions.json").read_text())
    objects = [json.loads(line) for line in (tmp_path / "a/objects.jsonl").read_text().splitlines()]
    images = np.load(tmp_path / "a/images_000.npy")
    assert len(images) == len(index["row"]) == first["images"] and images.shape[1:] == (64, 64, 4)
    assert len(objects) == 3 and sum(o["images"] for o in objects) == first["images"]
    assert index["caption"].shape == (len(images), 4) and index["caption"].max() == len(captions) - 1
    assert (index["heldout"] == np.array([o["heldout"] for o in objects])[index["object"]]).all()
    assert (images[images[..., 3] == 0] == (255, 255, 255, 0)).all()
    assert (images[..., 3] > 128).mean((1, 2)).min() > 0.02
    for owner, record in enumerate(objects):
        assert any(record["noun"] in captions[c] for c in index["caption"][index["object"] == owner].ravel())
    assert corpus_sheet(tmp_path / "a", tmp_path / "sheet.png", rows=1, columns=3).stat().st_size > 1000
    assert not list(tmp_path.glob("*.partial*"))
