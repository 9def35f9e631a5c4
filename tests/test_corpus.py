"""The training corpus: words, variants, and a small build."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.embedded.corpus import names_glest, names_sweethome, names_zeroad
from sds3d.embedded.corpus.attribution import attribution, people
from sds3d.embedded.corpus.balance import plan
from sds3d.embedded.corpus.build import CHUNK, build_corpus
from sds3d.embedded.corpus.captions import FRAMES, framed, plain_captions, variant_captions
from sds3d.embedded.corpus.catalogue import HELDOUT, Entry, catalogue, held_out, thin
from sds3d.embedded.corpus.colours import colour_names, colour_phrase
from sds3d.embedded.corpus.fronts import TURNS, WITH, WITHOUT, faced, has_front
from sds3d.embedded.corpus.names import COLOURS, clean, head_noun, with_article
from sds3d.embedded.corpus.procedural import GENERATORS
from sds3d.embedded.corpus.render import LEAST_SYMMETRY, Job, other_colours, photograph, probe, symmetry
from sds3d.embedded.corpus.shards import SHARD
from sds3d.embedded.corpus.sheet import corpus_sheet
from sds3d.embedded.corpus.supertuxkart import spdx
from sds3d.embedded.corpus.variants import main_materials, normalise, recolour, rematerial
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
    castles = [f"t/units/castle/{f}.g3d" for f in ("models/castle", "destruction_models/farm_destruction")]
    assert min(castles, key=names_glest.rank) == castles[0]  # "cast" in its name is not its action
    ship = names_zeroad.describe("structures/romans/trireme.xml")
    assert ship is not None and ship.turn  # its ram points along -Z
    assert names_zeroad.describe("props/units/shields/round_back.xml") is None  # slung on a back


# fronts


@pytest.mark.parametrize(("degrees", "azimuth"), [(90, 270), (-90, 90), (180, 180)])
def test_models_are_turned_so_that_their_front_looks_along_z(
    degrees: float, azimuth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TURNS, "sweethome:x", degrees)
    soup = box()
    nose = np.array([np.sin(np.radians(azimuth)), 0.5, np.cos(np.radians(azimuth))], np.float32)
    soup.corners[0, 0] = soup.normals[0] = nose
    turned = faced(soup, "sweethome:x")
    np.testing.assert_allclose(turned.corners[0, 0], (0, 0.5, 1), atol=1e-6)
    np.testing.assert_allclose(turned.normals[0], np.broadcast_to((0, 0.5, 1), turned.normals[0].shape), atol=1e-6)
    assert faced(soup, "sweethome:y") is soup


def test_fronts_follow_the_noun_before_the_category() -> None:
    assert not WITH & WITHOUT
    assert all(has_front(noun, "kitchen") for noun in ("refrigerator", "oven", "wheelchair"))
    assert not any(has_front(noun, "furniture") for noun in ("bottle", "ring", "soap", "puzzle cube", "rug", "table"))
    assert not any(has_front(noun, "prop") for noun in ("rock", "obelisk", "bones"))
    assert has_front("kart", "vehicle") and has_front("sofa", "furniture") and not has_front("tree", "plant")


def test_captions_name_the_noun_and_the_colour() -> None:
    thing = replace(entry(name="oak armchair", noun="armchair"), also=("seat",))
    captions = plain_captions(thing, "brown")
    assert {"an armchair", "an oak armchair", "a chair", "a brown armchair", "a brown chair"} <= set(captions)
    red = variant_captions(replace(thing, also=("wooden seat", "green seat")), "recolour", "red")
    assert all(c.startswith("a red ") or c.endswith(" painted red") for c in red)
    assert not any("wooden" in c or "green" in c for c in red)  # what the variant no longer is
    assert variant_captions(entry(name="white horse", noun="horse"), "material", "wooden") == [
        "a horse made of wood", "a wooden horse",
    ]  # fmt: skip


def test_the_plain_word_is_for_what_people_mean_by_it() -> None:
    old = replace(entry("zeroad", name="roman house", noun="house"), category="building", also=("house", "old house"))
    assert plain_captions(old, None) == ["a roman house", "an ancient house", "an old house"]
    dead = replace(entry("megaglest", name="dead tree", noun="tree"), category="plant")
    assert plain_captions(dead, "brown") == ["a dead tree", "a brown dead tree"]
    assert "a house" in plain_captions(entry(name="red house", noun="house"), None)


def test_frames_keep_the_words() -> None:
    assert [framed("an orange ufo", f) for f in FRAMES[::3]] == ["a photo of an orange ufo", "orange ufo"]


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


def test_a_generated_noun_is_repainted_in_every_colour() -> None:
    rng = np.random.default_rng(0)
    for own in (None, "red"):
        backpacks = [entry("procedural", f"backpack/{i:02d}-s3", "backpack", "backpack") for i in range(11)]
        seen = {name for backpack in backpacks for name in other_colours(backpack, own, rng)}
        assert seen == set(COLOURS) - {own}
    assert other_colours(replace(backpacks[0], category="composition"), None, rng) == []


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
    entries = [entry(id=str(i)) for i in range(5000)]
    flags = [e.heldout for e in held_out(entries)]
    assert flags == [e.heldout for e in held_out([replace(e, name="renamed") for e in entries])]
    assert abs(np.mean(flags) - HELDOUT) < 0.01  # three standard deviations are 0.008


def test_a_noun_is_never_held_out_whole() -> None:
    lonely = [entry(id=str(i), noun=f"noun {i}") for i in range(500)]
    assert not any(e.heldout for e in held_out(lonely))
    held = next(e for e in held_out([entry(id=str(i)) for i in range(500)]) if e.heldout)
    alone, beside = replace(held, heldout=False), entry(id=f"not {held.id}", noun=held.noun)
    assert not held_out([alone])[0].heldout
    assert [e.heldout for e in held_out([alone, beside])] == [True, False]


def test_images_per_noun_grow_as_the_square_root_of_its_objects_between_two_bounds() -> None:
    entries = [
        entry(id=f"{noun}{i}", noun=noun) for noun, n in (("anvil", 1), ("sofa", 16), ("tree", 100)) for i in range(n)
    ]
    images: Counter[str] = Counter()
    for job in plan(entries, 40):
        images[next(e.noun for e in entries if e.key == job.key)] += job.images
    assert images["anvil"] == 150 and images["sofa"] == pytest.approx(600, rel=0.02) and images["tree"] == 1200
    assert Job("x", 60).split(3) == (30, 10) and Job("x", 20).split(0)[0] == 20


def test_another_seed_makes_other_objects(tmp_path: Path) -> None:
    first, other = (catalogue(tmp_path, ["procedural"], seed) for seed in (0, 1))
    assert len(first) == len(other) > 6000
    assert not {e.key for e in first} & {e.key for e in other}
    mugs = [next(e for e in entries if e.key.startswith("procedural:mug/07")) for entries in (first, other)]
    assert mugs[0].load()[0].corners.tobytes() != mugs[1].load()[0].corners.tobytes()


def test_rare_nouns_get_more_views_and_crowds_are_thinned() -> None:
    crowd = [entry("zeroad", f"s{i}", "roman soldier", "soldier") for i in range(100)]
    kept = thin([*crowd, entry(id="only", noun="anvil")])
    assert len(kept) == 41
    views = {j.key: j.images for j in plan(kept, 40)}
    assert views["sweethome:only"] > 40 > views[next(k for k in views if k.startswith("zeroad"))]


def test_attribution_lists_authors_by_licence() -> None:
    record = {"id": "sweethome:chair1", "source": "sweethome", "licence": "CC-BY-3.0", "author": "Ann"}
    text = attribution([record], [{"name": "p", "version": "1", "sha256": "f"}])
    assert "CC-BY-3.0" in text and "- Ann: chair1" in text and "p 1 (Debian), sha256 f" in text
    ours = [{"id": f"procedural:mug/{i}", "source": "procedural", "licence": "CC0-1.0", "author": "us"} for i in (1, 2)]
    assert "- us: 2 objects\n" in attribution(ours, [])


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("???? Ann Lee; Bo; Ann Lee <ann@lee.org>", "Ann Lee; Bo"),
        ('Copyright 2015 Julian "XG" Sch <a@b.ch>; © 2009-2012, Cy', 'Julian "XG" Sch; Cy'),
        ('"Jungle" <j@j.nl>; 3dModeling', "Jungle; 3dModeling"),
        ("Dee <d@e.com | dee.art.com>", "Dee"),
        ("", "unknown"),
    ],
)
def test_credits_are_names_without_addresses_and_years(line: str, names: str) -> None:
    assert people(line) == names


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ("CC-BY-SA-4.0 and CC-BY-SA-3.0", "CC-BY-SA-4.0"),
        ("CC-BY-SA-3.0 or CC-BY-3.0", "CC-BY-3.0"),
        ("CC-BY-SA-3.0 or GPL-3", "CC-BY-SA-3.0"),
        ("CC0 and GPL-3", None),
        ("public-domain", "public-domain"),
        ("GPL-3+", None),
    ],
)
def test_licences_that_are_combined(said: str, used: str | None) -> None:
    assert spdx(said) == used


def test_unknown_source_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'procedural'"):
        catalogue(tmp_path, ["procedurel"])


def test_handles_and_neighbours_tell_left_from_right() -> None:
    rng = np.random.default_rng(0)
    alike = [symmetry(normalise(GENERATORS[noun](rng)[1])) for noun in ("corgi", "chair", "car", "apple")]
    handed = [symmetry(normalise(GENERATORS[noun](rng)[1])) for noun in ("mug", "teapot")]
    assert min(alike) > LEAST_SYMMETRY > max(handed)


def test_small_build_is_complete_and_repeatable(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    options: dict[str, Any] = dict(sources=["procedural"], views=2, limit=3, processes=1)
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
    for flag in ("heldout", "handed"):
        assert (index[flag] == np.array([o[flag] for o in objects])[index["object"]]).all()
    assert index["weight"].dtype == np.float32 and index["weight"].mean() == pytest.approx(1, abs=1e-5)
    assert images[0].nbytes * SHARD + 1024 < 2**26  # a full shard with its header
    assert (images[images[..., 3] == 0] == (255, 255, 255, 0)).all()
    assert (images[..., 3] > 128).mean((1, 2)).min() > 0.02
    for owner, record in enumerate(objects):
        assert any(record["noun"] in captions[c] for c in index["caption"][index["object"] == owner].ravel())
    assert corpus_sheet(tmp_path / "a", tmp_path / "sheet.png", rows=1, columns=3).stat().st_size > 1000
    assert not list(tmp_path.glob("*.partial*"))
    shown = CliRunner().invoke(app, ["prior", "corpus", "--out", str(tmp_path / "a"), "--sheet"])
    assert shown.exit_code == 0 and "drawing" not in shown.output
    assert [p.name for p in (tmp_path / "a/sheets").iterdir()] == ["procedural.png"]


def test_interrupted_build_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = dict(sources=["procedural"], views=1, limit=CHUNK + 1, processes=1)
    whole = build_corpus(tmp_path / "a", tmp_path, **options)
    drawn: list[str] = []

    def counting(entry: Entry, *rest: Any) -> Any:
        drawn.append(entry.key)
        return photograph(entry, *rest)

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sds3d.embedded.corpus.build.photograph", counting)
    with pytest.raises(KeyboardInterrupt):
        build_corpus(tmp_path / "b", tmp_path, progress=stop, **options)
    assert len(drawn) == CHUNK and not (tmp_path / "b").exists()
    assert build_corpus(tmp_path / "b", tmp_path, **options)["hash"] == whole["hash"]
    assert len(drawn) == CHUNK + 1  # only the missing chunk was drawn
