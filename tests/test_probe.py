"""The probe: words, subjects, roughening, losses, ranks, training, reports. Its shipped weights: test_probe_weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.embedded.corpus.catalogue import Entry
from sds3d.errors import UserError
from sds3d.probe import report
from sds3d.probe.album import COLOUR_NAMES, Look, Pictures
from sds3d.probe.angles import angular_error, janus
from sds3d.probe.augment import augment, moved, over, premultiplied, roughened
from sds3d.probe.ceiling import measure
from sds3d.probe.judge import Probe, degrees, ranks
from sds3d.probe.make import save_probe
from sds3d.probe.model import ProbeNet, fit, mean_states
from sds3d.probe.subjects import FEW, _of_noun, credits, generate, generated
from sds3d.probe.train import Lesson, Recipe, caption_loss, fresh, learning_rate, lesson, train
from sds3d.probe.words import aliases, find_colour, find_noun, find_nouns, related
from sds3d.streams import stream

ROOT = Path(__file__).parents[1]
SMALL = {"widths": (8, 8, 16, 16), "blocks": (0, 0, 1), "hidden": 32, "dimension": 16}
RECIPE = Recipe(images=32 * 32, batch=32, lr=6e-3, warmup=4, decay=0.8, report=8)


# --- words -----------------------------------------------------------------------------------------------------------


def test_related_nouns_are_other_words_and_kinds() -> None:
    nouns = ["armchair", "chair", "coffee table", "couch", "sofa", "table", "tablet"]
    pairs = related(nouns, {"couch": ("sofa",), "sofa": ("couch",), "armchair": ("chair", "seat")})
    assert [(nouns[i], nouns[j]) for i, j in pairs] == [
        ("armchair", "chair"),
        ("coffee table", "table"),
        ("couch", "sofa"),
    ]


def test_an_alias_belongs_to_one_noun_only() -> None:
    also = {"rabbit": ("bunny",), "ship": ("boat",), "ferry": ("boat",), "sofa": ("couch",)}
    assert aliases(["rabbit", "ship", "ferry", "sofa", "couch"], also) == {"bunny": "rabbit"}


@pytest.mark.parametrize(
    ("prompt", "noun"),
    [
        ("a red coffee table", "coffee table"),
        ("a cat with a party hat", "cat"),
        ("A Bunny wearing a red scarf", "rabbit"),
        ("two chairs", "chair"),
        ("a cup of coffee", "cup of coffee"),
        ("something on a table", "table"),
    ],
)
def test_a_prompt_is_about_the_longest_noun_of_its_first_phrase(prompt: str, noun: str) -> None:
    names = ("cat", "chair", "coffee table", "cup of coffee", "party hat", "rabbit", "scarf", "table")
    assert find_noun(prompt, {**{n: n for n in names}, "bunny": "rabbit"}) == noun


def test_all_nouns_of_a_composition_and_none() -> None:
    known = {n: n for n in ("cat", "chair", "car")}
    assert find_nouns("a cat on a chair", known) == ["cat", "chair"]
    with pytest.raises(UserError, match="knows no noun in 'a scarf'"):
        find_noun("a scarf", known)


@pytest.mark.parametrize(
    ("prompt", "colour"),
    [("a red chair", "red"), ("a grey cat", "gray"), ("a green robot with blue arms", "green"), ("a mug", None),
     ("a red and white mug", None), ("a blue cup on a red table", "blue"), ("a covered wagon", None)],
)  # fmt: skip
def test_the_colour_of_a_prompt(prompt: str, colour: str | None) -> None:
    assert find_colour(prompt, COLOUR_NAMES[:-1]) == colour


# --- subjects --------------------------------------------------------------------------------------------------------


def test_generated_objects_are_new_for_every_seed_and_unlike_the_corpus() -> None:
    from sds3d.embedded.corpus.catalogue import procedural_entries

    mine = [generate("mug", seed, i)[0].corners for seed in (7, 8) for i in range(2)]
    corpus = [e.load()[0].corners for e in procedural_entries(Path()) if e.noun == "mug"]
    for i, a in enumerate(mine):
        assert not any(a.shape == b.shape and np.allclose(a, b) for b in [*mine[:i], *corpus])
    again = generate("mug", 7, 0)[0].corners
    np.testing.assert_array_equal(mine[0], again)
    keys = [s.entry.key for s in generated(7)]
    assert len(set(keys)) == len(keys)


def entry(i: int, noun: str = "xylophone") -> Entry:
    def never() -> None:
        raise AssertionError("nothing is loaded while subjects are chosen")

    return Entry("sweethome", f"{noun}{i}", noun, noun, "toy", "CC0-1.0", "me", never)  # type: ignore[arg-type]


def test_objects_of_the_prior_are_borrowed_only_where_there_are_too_few_others() -> None:
    many = [entry(i) for i in range(8)]
    plenty = _of_noun("xylophone", many, {many[0].key, many[1].key}, 7)
    assert not any(s.shared for s in plenty)
    scarce = _of_noun("xylophone", many, {e.key for e in many[1:]}, 7)
    assert sum(s.shared for s in scarce) >= FEW and any(not s.shared for s in scarce)


def test_ceiling_objects_are_not_learnt_from_unless_there_is_only_one() -> None:
    for n in (2, 5, 12):
        chosen = _of_noun("xylophone", [entry(i) for i in range(n)], set(), 7)
        learnt, kept = ({s.entry.key for s in chosen if s.ceiling == c} for c in (False, True))
        assert learnt and kept and not learnt & kept and not any(s.seen for s in chosen)
    (one, again) = _of_noun("xylophone", [entry(0)], set(), 7)
    assert not one.ceiling and again.ceiling and again.seen and one.entry is again.entry


def test_whoever_made_a_model_is_named_once() -> None:
    chosen = _of_noun("xylophone", [entry(0)], set(), 7) + [s for s in generated(7) if s.entry.noun == "mug"]
    text = credits(chosen)
    assert text.count("- me: xylophone0\n") == 1 and "- this project: 17 objects\n" in text
    assert "sweethome3d-furniture" in text and "0ad-data" not in text


def test_a_generated_noun_does_not_borrow() -> None:
    objects = [entry(i, "mug") for i in range(4)]
    assert _of_noun("mug", objects, {e.key for e in objects}, 7) == []


# --- pictures --------------------------------------------------------------------------------------------------------


def test_transparent_pixels_take_the_backdrop() -> None:
    rgba = torch.zeros(1, 2, 2, 4, dtype=torch.uint8)
    rgba[0, 0, 0] = torch.tensor([255, 0, 0, 255])
    rgba[0, 0, 1] = torch.tensor([0, 255, 0, 0])  # its colour must not show
    seen = over(premultiplied(rgba), torch.tensor([0.25]))
    assert seen[0, :, 0, 0].tolist() == [1, 0, 0] and seen[0, :, 0, 1].tolist() == [0.25] * 3


def test_mirroring_moves_the_left_to_the_right() -> None:
    picture = torch.zeros(2, 4, 64, 64)
    picture[:, :, :, :24] = 1
    seen = moved(picture, torch.tensor([False, True]), stream(0, "t"))
    left, right = seen[..., 16:24].mean((1, 2, 3)), seen[..., 40:48].mean((1, 2, 3))
    assert left[0] > 0.8 > 0.2 > right[0] and right[1] > 0.8 > 0.2 > left[1]


def test_roughening_keeps_hues_and_differs_between_pictures() -> None:
    flat = torch.tensor([0.6, 0.3, 0.15]).view(1, 3, 1, 1).expand(16, 3, 32, 32)
    means = roughened(flat, stream(0, "t")).mean((2, 3))
    torch.testing.assert_close(means / means[:, :1], (flat.mean((2, 3)) / 0.6), atol=0.02, rtol=0)
    assert means[:, 0].std() > 0.02


def test_pictures_of_any_size_fit() -> None:
    ramp = torch.linspace(0, 1, 200).expand(2, 3, 200, 200)
    assert fit(ramp).shape == (2, 3, 64, 64)
    torch.testing.assert_close(fit(ramp)[0, 0, 0], torch.linspace(0, 1, 64), atol=0.01, rtol=0)
    assert fit(torch.full((1, 3, 16, 16), 1.5)).unique().tolist() == [1.0]


# --- network and losses ----------------------------------------------------------------------------------------------


def test_padding_does_not_change_a_sentence() -> None:
    states, mask = torch.randn(1, 4, 384, generator=stream(0, "t")), torch.tensor([[True, True, False, False]])
    torch.testing.assert_close(mean_states(states, mask), mean_states(states[:, :2], mask[:, :2]))


def test_whitening_spreads_sentences_that_lie_close() -> None:
    near = torch.nn.functional.normalize(torch.ones(384) + 0.3 * torch.randn(64, 384, generator=stream(0, "t")), dim=-1)
    net = ProbeNet(**SMALL)
    net.whiten(near)
    before, after = (x @ x.T - torch.eye(64) for x in (near, net.sentences(near).detach()))
    assert before.mean() > 0.8 and abs(float(after.mean())) < 0.05


def test_rank_counts_the_better_rivals_only() -> None:
    rivals = ~torch.eye(4, dtype=torch.bool)
    rivals[0, 1] = rivals[1, 0] = False
    similar = torch.tensor([[0.1, 0.9, 0.5, 0.0], [0.1, 0.9, 0.5, 0.0]])
    assert ranks(similar, torch.tensor([0, 3]), rivals).tolist() == [1, 3]


def test_angles() -> None:
    angle = torch.tensor([10.0, 100.0, 190.0, 350.0])
    direction = torch.stack([torch.deg2rad(angle).sin(), torch.deg2rad(angle).cos()], -1)
    torch.testing.assert_close(degrees(direction), angle, atol=1e-3, rtol=0)
    assert angular_error(torch.tensor([350.0]), torch.tensor([10.0])).item() == 20
    assert janus(torch.tensor([5.0, 170.0, 0.0]), torch.tensor([180.0, 190.0, 10.0])) == 0.5
    assert janus(angle[:1], angle[:1]) is None


COLOURS = {"red": (220, 30, 30), "blue": (30, 40, 220)}
SHAPES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "ball": lambda x, y: x**2 + y**2 < 400,
    "bar": lambda x, y: (x.abs() < 6) & (y.abs() < 28),
    "frame": lambda x, y: (torch.maximum(x.abs(), y.abs()) < 26) & (torch.maximum(x.abs(), y.abs()) > 16),
}


def drawings(copies: int = 6) -> Pictures:
    """Coloured shapes with a grey dot towards the side they are seen from; the last copies are for the ceiling."""
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    images, azimuths, owners, looks = [], [], [], []
    for shape, inside in SHAPES.items():
        for colour, rgb in COLOURS.items():
            for copy in range(copies):
                kept = copy == copies - 1
                captions = [f"a {colour} {shape}", f"a {shape}"]
                looks.append(Look(f"{shape}{copy}", shape, captions, colour, True, kept, False, False, True))
                for azimuth in (0.0, 90.0, 180.0, 270.0):
                    angle = np.deg2rad(azimuth)
                    rgba = torch.zeros(64, 64, 4, dtype=torch.uint8)
                    rgba[inside(x, y)] = torch.tensor([*rgb, 255], dtype=torch.uint8)
                    dot = (x - 24 * np.sin(angle)) ** 2 + (y - 24 * np.cos(angle)) ** 2 < 36
                    rgba[dot] = torch.tensor([120, 120, 120, 255], dtype=torch.uint8)
                    images.append(rgba.numpy())
                    azimuths.append(azimuth)
                    owners.append(len(looks) - 1)
    return Pictures(np.stack(images), torch.tensor(azimuths), torch.tensor(owners), looks, {"seed": 0})


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return drawings()


@pytest.fixture(scope="module")
def labels(pictures: Pictures) -> Lesson:
    nouns = sorted(SHAPES)
    captions = sorted({c for look in pictures.looks for c in look.captions})
    vectors = torch.nn.functional.normalize(torch.randn(len(captions), 384, generator=stream(0, "words")), dim=-1)
    return lesson(pictures, nouns, [], dict(zip(captions, vectors, strict=True)), [f"a {n}" for n in nouns])


def test_labels(pictures: Pictures, labels: Lesson) -> None:
    assert len(labels.rows) == 5 * 4 * 6 and not any(pictures.looks[i].ceiling for i in pictures.look[labels.rows])
    assert [sorted(SHAPES)[n] for n in labels.noun.tolist()] == [look.noun for look in pictures.looks]
    assert torch.allclose(labels.weight, labels.weight[0])  # as many pictures of every noun


def test_captions_that_fit_several_pictures_do_not_count_against_them(labels: Lesson) -> None:
    net = fresh(RECIPE, labels, **SMALL)
    embedding = torch.nn.functional.normalize(torch.randn(4, 16, generator=stream(0, "t")), dim=-1)
    same = torch.tensor([0, 1, 2, 3])  # copies of one red ball
    other = torch.tensor([0, 6, 12, 18])
    scale = torch.tensor(5.0)
    assert caption_loss(net, embedding, labels, same, scale, stream(0, "t")).item() == pytest.approx(0, abs=1e-6)
    assert caption_loss(net, embedding, labels, other, scale, stream(0, "t")).item() > 0.1


def test_learning_rate_warms_up_and_ends_at_zero() -> None:
    recipe = Recipe(lr=1.0, warmup=10, decay=0.5)
    rates = [learning_rate(step, 100, recipe) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[50] == 1 and rates[75] == 0.5 and rates[100] == 0


def test_the_azimuth_loss_knows_which_pictures_are_mirrored(pictures: Pictures) -> None:
    """Seen from 90 degrees the dot is on the right, in a mirrored picture on the left."""
    rows = pictures.rows(lambda look: look.noun == "bar")
    side = torch.from_numpy(pictures.rgba[rows[pictures.azimuth[rows] == 90].numpy()])
    seen, mirrored = augment(side, stream(1, "t"))
    dark = (seen - seen[:, :, :4, :4].mean((2, 3), keepdim=True)).abs().sum(1)  # away from the backdrop
    left, right = dark[:, 26:38, 2:16].sum((1, 2)), dark[:, 26:38, 48:62].sum((1, 2))
    assert torch.equal(left > right, mirrored) and 0 < int(mirrored.sum()) < len(side)


@pytest.fixture(scope="module")
def trained(
    pictures: Pictures, labels: Lesson, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ProbeNet, list[dict]]:
    net = fresh(RECIPE, labels, **SMALL)
    return net, list(train(net, labels, RECIPE, tmp_path_factory.mktemp("probe") / "train.pt"))


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    labels: Lesson, trained: tuple[ProbeNet, list[dict]], tmp_path: Path
) -> None:
    first = train(fresh(RECIPE, labels, **SMALL), labels, RECIPE, tmp_path / "train.pt")
    next(first), next(first)  # the checkpoint of step 16 is there
    net = fresh(RECIPE, labels, **SMALL)
    records = list(train(net, labels, RECIPE, tmp_path / "train.pt"))
    assert [r["step"] for r in records] == [24, 32] and records[-1]["noun"] == trained[1][-1]["noun"]
    for a, b in zip(net.parameters(), trained[0].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.fixture(scope="module")
def folder(trained: tuple[ProbeNet, list[dict]], labels: Lesson, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights")
    words = {"nouns": sorted(SHAPES), "colours": list(COLOUR_NAMES), "related": [], "aliases": {"sphere": "ball"}}
    save_probe(trained[0], labels.nouns, {"network": trained[0].shape, **words, "shared": []}, out)
    return out


@pytest.fixture(scope="module")
def probe(folder: Path) -> Probe:
    from sds3d.probe import load_probe

    return load_probe(folder=folder)


def test_a_small_probe_learns_shapes_colours_and_sides(probe: Probe, pictures: Pictures) -> None:
    found = measure(probe, pictures)
    ceiling = found["ceiling"]
    assert ceiling["nouns"] == 3 and ceiling["images"] == 24
    assert ceiling["r1"] > 0.8 and ceiling["colour"] > 0.75 and ceiling["groups"]["all"]["azimuth"] < 60  # chance is 90
    assert ceiling["groups"]["other views of one it learnt"]["r1"] is None  # there are none
    assert set(found["by_noun"]) == set(SHAPES)


def test_what_the_probe_answers(probe: Probe, pictures: Pictures) -> None:
    rows = pictures.rows(lambda look: look.noun == "ball" and look.colour == "blue")
    images = over(premultiplied(torch.from_numpy(pictures.rgba[rows.numpy()])), torch.ones(len(rows)))
    torch.testing.assert_close(probe.embed(images).norm(dim=-1), torch.ones(len(rows)))
    assert torch.equal(probe.rank(images, "sphere"), probe.rank(images, "ball"))
    assert (probe.rank(images, "ball") == 0).float().mean() > 0.8
    assert [names[0] for names in probe.top(images, 1)].count("ball") > 0.8 * len(rows)
    assert {probe.colours[i] for i in probe.colour(images).tolist()} == {"blue"}
    azimuth = probe.azimuth(images)
    assert azimuth.shape == (len(rows),) and bool(((azimuth >= 0) & (azimuth < 360)).all())
    with pytest.raises(UserError, match="did you mean 'ball'"):
        probe.rank(images, "bal")
    with pytest.raises(ValueError, match="looks at"):
        probe.embed(images[0])


# --- reports and command line ----------------------------------------------------------------------------------------


def sds3d(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", [(), ("judge",), ("train",), ("ceiling",)])
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    code, text, _ = sds3d("probe", *command, "--help")
    assert code == 0 and text.count("sds3d probe") >= 2


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for arguments, line in (
        ((str(tmp_path / "nothing.png"),), "give a run folder or a picture"),
        ((str(tmp_path / "text.png"),), 'say what text.png should show: --prompt "a red chair"'),
        ((str(tmp_path / "text.png"), "--prompt", "a cat"), "cannot read the picture"),
        ((str(tmp_path),), "has no config.yaml"),
        (("ceiling", "--probe", str(tmp_path)), "make one with sds3d probe train"),
        (("train", "--recipe", "huge"), "unknown recipe 'huge'"),
    ):
        code, _, error = sds3d("probe", *arguments)
        assert code == 2 and line in error and len(error.strip().splitlines()) == 1, error


def test_an_album_of_another_seed_is_not_taken(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "part_000.npz", images=np.zeros((1, 64, 64, 4), np.uint8), azimuth=np.zeros(1, np.float32),
        counts=np.zeros(0, np.int64), looks=np.array("[]"),
    )  # fmt: skip
    (tmp_path / "manifest.json").write_text('{"seed": 7, "limit": null}')
    code, _, error = sds3d("probe", "train", "--album", str(tmp_path), "--out", str(tmp_path / "out"), "--seed", "8")
    assert code == 2 and "was drawn with seed 7" in error


def test_cells() -> None:
    assert report.cell(0.875, 0.9) == "88% / 90%"
    assert report.cell(12.3, None, "degrees") == "12°" and report.cell(None, 0.5) == "-"


def test_the_probe_stays_out_of_training_and_generation() -> None:
    """Only its command and the bench load it, and one objective that is asked for by name."""
    users = {
        path.relative_to(ROOT / "sds3d").as_posix()
        for path in (ROOT / "sds3d").rglob("*.py")
        if "sds3d.probe" in path.read_text(encoding="utf-8")
    }
    outside = {u for u in users if not u.startswith(("probe/", "bench/", "cli/"))}
    assert "cli/probe.py" in users and outside <= {"guidance/rewardsds.py"}
