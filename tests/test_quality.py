"""The quality bench: its figures by hand, its plan, its memory; nothing here asks the probe but the last test."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import NetworkPrior, ball_prior
from PIL import Image
from typer.testing import CliRunner

from sds3d.bench.contest import Bench, compare, make
from sds3d.bench.contestants import VIEWS, Distilled, Samples, contestants, ring, vary
from sds3d.bench.quality import Request, entrants
from sds3d.bench.quality_report import HEADER, markdown, publish, sheet, table_rows
from sds3d.bench.scores import Verdict, diversity, joint_rank, mean, recall, summarise
from sds3d.bench.shots import Album, Shot, fingerprint, key_of, photograph
from sds3d.bench.targets import LISTS, Target, Vocabulary, everything, load_targets, read, spread
from sds3d.cli.app import app
from sds3d.cli.inspect import bench_app
from sds3d.engine.interrupt import Flag, Interrupted
from sds3d.errors import UserError
from sds3d.probe.judge import WEIGHTS

NOUNS = ["cat", "chair", "palm tree", "tree", "rocket", "teapot", "mug", "french fries", "hamburger"]
WORDS = Vocabulary(NOUNS, {**{n: n for n in NOUNS}, "burger": "hamburger"}, {"cat", "chair", "rocket"})
AZIMUTHS = [0.0, 90.0, 180.0, 270.0]
SMALL = {"steps": 2, "views": 2, "splats.count": 60, "background": "white"}


def verdict(prompt: str = "a cat", seed: int = 0, **changes: Any) -> Verdict:
    base = Verdict(prompt, "objects", seed, [0, 0, 0, 0], None, None, 0.5, torch.eye(4), 2.0)
    return replace(base, **changes)


# --- figures


def test_recall_counts_views_below_k() -> None:
    assert recall([0, 1, 4, 5], 1) == 0.25 and recall([0, 1, 4, 5], 5) == 0.75


def test_two_nouns_fill_two_places() -> None:
    """First and second, in any order, is as good as it gets; a noun in sixth place is one too low for R@5."""
    ranks = joint_rank([torch.tensor([0, 1, 0, 5]), torch.tensor([1, 0, 5, 6])])
    assert ranks.tolist() == [0, 0, 4, 5]
    assert joint_rank([torch.tensor([3, 0])]).tolist() == [3, 0]


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    a, b, c = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[-1.0, 0.0]])
    assert diversity(torch.stack([a, b])) == pytest.approx(1)
    assert diversity(torch.stack([a, b, c])) == pytest.approx((1 + 2 + 1) / 3)  # order and length do not matter
    assert diversity(torch.stack([a, a])) == pytest.approx(0, abs=1e-12)
    assert diversity(a[None]) is None


def test_a_mean_has_its_standard_error() -> None:
    figure = mean([1.0, 2.0, 3.0, 4.0])
    assert figure is not None and (figure.value, figure.prompts) == (2.5, 4)
    assert figure.error == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)
    lonely = mean([3.0])
    assert lonely is not None and lonely.error is None and mean([]) is None


def test_janus_is_the_back_read_as_front() -> None:
    good, two_faced, shy = [5.0, 100.0, 170.0, 265.0], [0.0, 60.0, 20.0, 300.0], [0.0, 90.0, 90.0, 270.0]
    verdicts = [verdict(p, azimuths=a) for p, a in (("a", good), ("b", two_faced), ("c", shy), ("d", None))]
    figures = summarise(verdicts, AZIMUTHS)
    assert figures["janus"] is not None and figures["janus"].value == pytest.approx(1 / 3)
    assert figures["janus"].prompts == 3
    # errors: 5 10 10 5, 0 30 160 30, 0 0 90 0 -> sorted 0 0 0 0 5 5 10 10 30 30 90 160
    assert figures["azimuth"] is not None and figures["azimuth"].value == pytest.approx(7.5)


def test_angles_wrap_around() -> None:
    (figure,) = [summarise([verdict(azimuths=[358.0, 90, 180, 272])], AZIMUTHS)["azimuth"]]
    assert figure is not None and figure.value == pytest.approx(1.0)


def test_prompts_weigh_alike_however_many_seeds() -> None:
    verdicts = [verdict("a", s, ranks=[0] * 4) for s in range(3)] + [verdict("b", ranks=[9] * 4)]
    figures = summarise(verdicts, AZIMUTHS)
    assert figures["r1"] is not None and figures["r1"].value == 0.5
    assert figures["diversity"] is not None and figures["diversity"].value == pytest.approx(0)
    assert figures["colour"] is None and figures["janus"] is None


def test_what_failed_counts_as_not_recognised_and_nothing_else() -> None:
    broken = verdict("b", failed="not finite", colours=[True] * 4, azimuths=[0.0, 0.0, 0.0, 0.0])
    fine = verdict("a", colours=[True, False, False, False], azimuths=AZIMUTHS)
    figures = summarise([fine, broken], AZIMUTHS)
    assert figures["r5"] is not None and figures["r5"].value == 0.5
    assert figures["colour"] is not None and figures["colour"].value == 0.25
    assert figures["janus"] is not None and figures["janus"].value == 0.0


# --- prompts


def test_a_hundred_prompts() -> None:
    from sds3d.prompts import load_list

    prompts = [p for name in LISTS for p in load_list(name)]
    assert len(prompts) == len(set(prompts)) == 100


@pytest.mark.parametrize(
    ("prompt", "nouns", "colour"),
    [
        ("a black cat", ("cat",), "black"),
        ("a wooden chair", ("chair",), None),
        ("a green rocket with blue fins", ("rocket",), "green"),
        ("a tall palm tree", ("palm tree",), None),
        ("a cat on a red chair", ("cat", "chair"), None),
        ("a mug next to a teapot", ("mug", "teapot"), None),
        ("a mug and a teapot", ("mug", "teapot"), None),
        ("a red and white striped chair", ("chair",), None),
        ("a burger next to french fries", ("hamburger", "french fries"), None),
        ("a cat in a chair", ("cat",), None),  # a part, as "in a red dress"
        ("a cat on a zeppelin", ("cat",), None),
    ],
)
def test_what_a_prompt_asks_for(prompt: str, nouns: tuple[str, ...], colour: str | None) -> None:
    target = read(prompt, "x", WORDS)
    assert (target.nouns, target.colour) == (nouns, colour)
    assert target.faced == (len(nouns) == 1 and nouns[0] in WORDS.fronted)


def test_a_prompt_without_a_known_noun_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a cat\na red zeppelin\n")
    with pytest.raises(UserError, match="no noun in 'a red zeppelin'"):
        load_targets([str(tmp_path / "mine.txt")], WORDS)


def test_everything_is_all_nouns_and_all_colours() -> None:
    targets = everything(WORDS)
    assert [t.nouns[0] for t in targets if t.group == "nouns"] == NOUNS
    coloured = [t for t in targets if t.group == "colour words"]
    assert len(coloured) == 11 * 2  # chair and mug are known here
    assert Target("an orange mug", "colour words", ("mug",), "orange", False) in coloured


def test_spread_takes_from_the_whole_list() -> None:
    targets = everything(WORDS)
    some = spread(targets, 4)
    assert len(some) == 4 and some[0] == targets[0] and some[-1] in targets[-8:]
    assert spread(targets[:3], 10) == targets[:3]


# --- what is compared


def test_vary_combines_and_semicolons_keep_commas() -> None:
    assert vary([]) == [{}]
    assert vary(["a.b=1,2", "c=3"]) == [{"a.b": "1", "c": "3"}, {"a.b": "2", "c": "3"}]
    assert vary(["camera.elevation=-10,50; 0,30"]) == [{"camera.elevation": "-10,50"}, {"camera.elevation": "0,30"}]
    for wrong, words in (("steps", "KEY=VALUE"), ("steps=", "KEY=VALUE"), ("scene=grid", "--scene")):
        with pytest.raises(UserError, match=words):
            vary([wrong])


def test_options_go_where_they_belong() -> None:
    found = contestants(["sds", "csd"], ["splats"], {"sds.cfg": 2}, varied=vary(["splats.count=50,60"]))
    assert [c.label for c in found] == [f"{g} splats, splats.count={n}" for g in ("sds", "csd") for n in (50, 60)]
    assert found[0].settings("x", 0).guidance_options.cfg == 2
    both = contestants(["sds", "csd"], ["splats", "grid"], {}, varied=vary(["sds.cfg=1,2"]))
    assert len(both) == 2 * 2 + 2  # csd does not change with sds.cfg
    shared = {"critic.rank": 2, "negative": "ugly"}
    assert len(contestants(["vsd", "csd"], ["splats"], shared)) == 2
    with pytest.raises(UserError, match="guidance 'vsd' has no negative prompt"):
        contestants(["vsd"], ["splats"], shared)
    with pytest.raises(UserError, match="one scene is measured here"):
        contestants(["sds"], ["mesh"], {})
    with pytest.raises(UserError, match="did you mean 'splats.count'"):
        contestants(["sds"], ["splats"], {"splats.cont": 3})
    with pytest.raises(UserError, match="did you mean 'sds'"):
        contestants(["sdss"], ["splats"], {})


def test_a_result_is_known_by_all_that_decides_it() -> None:
    a, b = contestants(["sds"], ["splats"], SMALL, varied=vary(["sds.cfg=1,2"]))
    identities = [a.identity("x", 0), a.identity("y", 0), a.identity("x", 1), b.identity("x", 0)]
    identities += [Samples(2.0, 5).identity("x", 0), Samples(3.0, 5).identity("x", 0)]
    assert len({key_of(i) for i in identities}) == len(identities)
    assert key_of(a.identity("x", 0)) == key_of(a.identity("x", 0))


# --- making, and going on


def small_bench() -> Bench:
    target = Target("a red ball", "objects", ("ball",), "red", False)
    return Bench([Samples(1.0, 3), Distilled("sds", "splats", SMALL)], [target], 2, "0")


def test_results_are_kept_and_reused(tmp_path: Path) -> None:
    bench, album = small_bench(), Album(tmp_path)
    first = list(make(bench, ball_prior, album, Flag()))
    assert [tick.reused for tick, _, _ in first] == [0] * 4 and first[-1][0].left == 0
    assert all(shot.views.shape == (VIEWS, 16, 16, 3) for _, _, shot in first)

    def no_prior() -> Any:
        raise AssertionError("everything is there")

    again = list(make(bench, no_prior, album, Flag()))
    assert again[-1][0].reused == 4
    for (_, _, a), (_, _, b) in zip(first, again, strict=True):
        assert np.array_equal(a.views, b.views) and a.seconds == b.seconds
    remade = list(make(bench, ball_prior, album, Flag(), force=True))
    assert remade[-1][0].reused == 0
    for (_, _, a), (_, _, b) in zip(first, remade, strict=True):
        assert np.array_equal(a.views, b.views), "the same seed gave another picture"
    other = replace(bench, weights="1")
    assert next(iter(make(other, ball_prior, album, Flag())))[0].reused == 0, "another prior's results were taken"


def test_a_stop_keeps_what_is_made(tmp_path: Path) -> None:
    bench, album, stop = small_bench(), Album(tmp_path), Flag()
    with pytest.raises(Interrupted, match="1 of 4"):
        for _ in make(bench, ball_prior, album, stop):
            stop.asked = True
    assert len(list(tmp_path.iterdir())) == 1
    assert list(make(bench, ball_prior, album, Flag()))[-1][0].reused == 1


def test_a_result_without_finite_numbers_is_a_failure_not_an_end(tmp_path: Path) -> None:
    class Broken(NetworkPrior):
        def predict(self, x_t: torch.Tensor, t: torch.Tensor, cond: Any) -> torch.Tensor:
            return super().predict(x_t, t, cond) * float("nan")

    bench = replace(small_bench(), contestants=[Distilled("sds", "splats", {**SMALL, "steps": 20})], seeds=1)
    ((_, unit, shot),) = make(bench, Broken, Album(tmp_path), Flag())  # type: ignore[arg-type]
    assert shot.failed is not None and "not finite" in shot.failed
    kept = Album(tmp_path).get(bench.key(unit)[0])
    assert kept is not None and kept.failed == shot.failed


def test_a_damaged_picture_is_made_again(tmp_path: Path) -> None:
    album = Album(tmp_path)
    shot = photograph(torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)), 1.5)
    album.put("k", shot, {"prompt": "a café"})
    kept = album.get("k")
    assert kept is not None and np.array_equal(kept.views, shot.views) and kept.images.shape == (3, 3, 8, 8)
    album.path("k").write_bytes(album.path("k").read_bytes()[:60])
    assert album.get("k") is None and album.get("other") is None


def test_large_pictures_are_made_smaller() -> None:
    checker = (torch.arange(256)[:, None] + torch.arange(256)) % 2
    shot = photograph(checker.float().expand(1, 3, 256, 256), 0.0)
    assert shot.views.shape == (1, 128, 128, 3) and abs(int(shot.views[0, 5, 5, 0]) - 128) <= 1  # averaged, not picked


def test_a_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "unet" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"a" * 100)
    before = fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("words")
    assert fingerprint(tmp_path) == before
    weights.write_bytes(b"b" * 100)
    assert fingerprint(tmp_path) != before


# --- the report


def report() -> dict[str, Any]:
    bench = replace(small_bench(), seeds=1)
    ways = [c.label for c in bench.contestants]
    ring_angles = ring().azimuth.tolist()
    good = verdict(ranks=[0] * 6 + [9] * 2, embedding=torch.eye(8), azimuths=ring_angles, colours=[True, False] * 4)
    poor = verdict(ranks=[0] * 3 + [9] * 5, embedding=torch.eye(8), azimuths=[0.0] * 8)
    ceiling = {"r1": 0.8, "r5": 0.9, "colour": 0.95, "azimuth": 8.0, "janus": 0.02}
    made = compare(bench, {ways[0]: [good], ways[1]: [poor]}, ceiling)
    hardware = {"processor": "a processor", "threads": 2}
    return {**made, "command": "sds3d bench quality", "prior": "ball", "versions": {"sds3d": "1"}, "hardware": hardware}


def test_every_score_has_its_ceiling_beside_it() -> None:
    samples, scene = (dict(zip(HEADER, row, strict=True)) for row in table_rows(report()))
    assert samples["R@5"] == "75% / 90%" and scene["R@1"] == "38% / 80%"
    assert samples["Janus"] == "0% / 2%" and scene["Janus"] == "100% / 2%"
    assert samples["azimuth"] == "0° / 8°" and scene["azimuth"] == "90° / 8°"
    assert samples["colour"] == "50% / 95%" and samples["score"] == "0.50 / ?"
    assert (samples["of 2D"], scene["of 2D"]) == ("1.00", "0.50")
    assert scene["colour"] == scene["diversity"] == "-"


def test_rows_by_list_come_after_the_whole() -> None:
    bench = replace(small_bench(), contestants=[Samples(1.0, 3)])
    found = [verdict(), verdict("b", group="parts", ranks=[9] * 4)]
    rows = compare(bench, {bench.contestants[0].label: found}, {})["rows"]
    assert [(row["list"], row["r5"]["value"]) for row in rows] == [("all", 0.5), ("objects", 1.0), ("parts", 0.0)]


def test_a_long_table_is_over_all_prompts_only() -> None:
    many = [Samples(float(cfg), 3) for cfg in range(6)]
    found = {c.label: [verdict(), verdict("b", group="parts")] for c in many}
    made = compare(replace(small_bench(), contestants=many), found, {})
    assert len(made["rows"]) == 6 * 3 and len(table_rows(made)) == 6


def test_publishing_keeps_the_other_tables(tmp_path: Path) -> None:
    page = publish(tmp_path / "quality" / "one.json", report())
    publish(tmp_path / "quality" / "two.json", {**report(), "command": "sds3d bench quality --quick"})
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "quality.md" and "## one" in text and "## two" in text and "--quick" in text
    assert json.loads((tmp_path / "quality" / "one.json").read_text())["rows"] == report()["rows"]
    assert text == markdown({"one": report(), "two": {**report(), "command": "sds3d bench quality --quick"}})


def test_a_sheet_has_a_row_per_prompt_and_a_block_per_way() -> None:
    def shot(level: int) -> Shot:
        return Shot(np.full((2, 8, 8, 3), level, np.uint8), 1.0)

    targets = [Target(p, "x", ("y",), None, False) for p in ("a", "b", "not made")]
    drawn = sheet(targets, [("2D", {"a": shot(10), "b": shot(20)}), ("3D", {"a": shot(30)})])
    assert isinstance(drawn, Image.Image)
    pixels = np.asarray(drawn)
    assert drawn.size == (150 + 2 * (2 * 8 + 2), 20 + 2 * 8)
    assert [(pixels[20 + 4, x] == v).all() for x, v in ((154, 10), (162, 10), (172, 30))] == [True] * 3
    assert (pixels[20 + 12, 154] == 20).all() and (pixels[20 + 12, 172] == 255).all()


# --- the command


def run_command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", "quality", *arguments])


def test_help_has_examples() -> None:
    result = run_command("--help")
    assert result.exit_code == 0 and result.output.count("sds3d bench quality") >= 3


def test_the_examples_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []

    def look(request: Request, *_: Any) -> None:
        found.append(entrants(request))
        raise Interrupted

    monkeypatch.setattr("sds3d.bench.quality.bench", look)
    (command,) = (c for c in bench_app.registered_commands if c.name == "quality")
    for line in str(command.epilog).split("\n\n"):
        assert run_command(*shlex.split(line)[3:]).exit_code == 130, line
    assert [len(ways) for ways in found] == [3, 3, 4, 1]  # rows of the table; quick: 2D samples, splats, grid


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cfg", "2,x"], "not 'x'"),
        (["--cfg", ""], "--cfg takes numbers"),
        (["--guidance", ","], "name a guidance and a scene"),
        (["--samples-only", "--vary", "sds.cfg=1,2"], "vary --cfg"),
        (["--write", "table.md"], "docs/quality/NAME.json"),
        (["--probe", "/nowhere"], "no probe in /nowhere"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = run_command("--out", str(tmp_path), *arguments)
    assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_report_tells_the_command_that_made_it() -> None:
    assert Request().command == "sds3d bench quality"
    request = Request(guidances=("sds", "csd"), cfgs=(2.0, 3.5), sets={"steps": "9"}, vary=("sds.cfg=1,2",), seeds=2)
    words = "--guidance sds,csd --cfg 2,3.5 --seeds 2 --set steps=9 --vary sds.cfg=1,2"
    assert request.command == f"sds3d bench quality {words}"


@pytest.mark.skipif(not (WEIGHTS / "probe.json").is_file(), reason="the probe's weights are not in this checkout")
def test_the_bench_from_end_to_end(tmp_path: Path) -> None:
    """Few steps, so no scores to speak of; but the prior's own red chairs are red chairs to the probe."""
    (tmp_path / "two.txt").write_text("a red chair\na corgi\n")
    words = ["--prompts", str(tmp_path / "two.txt"), "--scene", "splats", "--sample-steps", "10", "--json"]
    words += ["--out", str(tmp_path / "out"), *(w for k, v in SMALL.items() for w in ("--set", f"{k}={v}"))]
    first = run_command(*words)
    assert first.exit_code == 0, first.output
    samples, scene = json.loads(first.stdout)["rows"]
    assert samples["r5"]["value"] >= 0.5 and samples["colour"]["value"] >= 0.5
    assert samples["azimuth"]["value"] < 45 and samples["r5_of_2d"] == 1.0
    assert scene["label"] == "cfd splats" and scene["failed"] == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"quality.json", "results", "sheet-cfd-splats-1.png"}
    again = run_command(*words)
    assert "(4 reused)" in again.stderr and json.loads(again.stdout)["rows"] == json.loads(first.stdout)["rows"]
