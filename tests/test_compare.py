"""`sds3d compare` and the benches of objectives: equal budgets, honest tables, the page in step with the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_helpers import SIZE, ball_prior, disc
from PIL import Image
from typer.testing import CliRunner

from sds3d.bench import compare as bench
from sds3d.bench import guidance_docs, toy
from sds3d.bench.budget import Budget, Trial, evaluations, parse_budget, summary
from sds3d.bench.likeness import pixel_diversity
from sds3d.cli.bench_guidance import app, bench_app
from sds3d.config import fields
from sds3d.engine.record import Record
from sds3d.engine.resolve import resolve
from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE

TINY = {"views": 2, "splats.count": 60, "steps": 6, "negative": "blue"}
DOCS = Path(__file__).resolve().parents[1] / "docs"


def sds3d(*arguments: str, of: Any = app) -> Any:
    return CliRunner().invoke(of, list(arguments))


class Silent:
    def note(self, text: str) -> None:
        """Nobody listens."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[bench.Row], Path]]:
    contest = bench.Contest("a red ball", ball_prior(), TINY, None, (0, 1), Budget("evals", 48))
    yield bench.compare(contest, ["sds", "nfsd", "dds", "vsd"], tmp_path_factory.mktemp("out"), Silent())


def test_every_objective_spends_the_same_evaluations(rows: tuple[list[bench.Row], Path]) -> None:
    """48 evaluations at 2 views: sds makes 2 predictions, 12 steps; vsd 3 and one to train its critic, 6 steps."""
    by_name = {row.guidance: row for row in rows[0]}
    assert by_name["sds"].steps == 12 and by_name["vsd"].steps == 6
    for name in ("sds", "vsd"):
        assert by_name[name].evaluations == 48
    assert 48 * 0.7 < by_name["nfsd"].evaluations <= 48 * 1.3  # two or three predictions, by the level
    assert "--source" in by_name["dds"].reason and by_name["dds"].steps == 0


def test_gradients_are_levelled_to_those_of_sds(rows: tuple[list[bench.Row], Path]) -> None:
    by_name = {row.guidance: row for row in rows[0]}
    base = resolve("x", {"views": 2}).guidance_weight
    assert by_name["sds"].guidance_weight == pytest.approx(base, rel=1e-5)
    assert by_name["nfsd"].guidance_weight != pytest.approx(base, rel=1e-5)


def test_sheet_and_json_hold_every_row(rows: tuple[list[bench.Row], Path]) -> None:
    sheet = Image.open(rows[1] / "sheet.png")
    assert sheet.width == 8 * bench.SIZE and sheet.height > 3 * bench.SIZE
    report = json.loads((rows[1] / "compare.json").read_text())
    assert [row["guidance"] for row in report["rows"]] == ["sds", "nfsd", "dds", "vsd"]
    assert report["budget"] == {"unit": "evals", "amount": 48} and report["seeds"] == [0, 1]
    assert report["rows"][0]["likeness"]["diversity"] > 0


def test_options_of_one_objective_do_not_reach_the_others() -> None:
    contest = bench.Contest("x", ball_prior(), {"sds.cfg": 2.0, "csd.anneal": 1.0}, None, (0,))
    assert contest.settings("sds").guidance_options.cfg == 2.0
    assert contest.settings("csd").guidance_options.anneal == 1.0


def test_budgets() -> None:
    assert parse_budget("evals:7200") == Budget("evals", 7200) and parse_budget("seconds:2.5").amount == 2.5
    assert Budget("seconds", 10).steps(Trial(100, 0.5, 1)) == 20 and Budget("evals", 10).steps(Trial(100, 1, 1)) == 1
    for wrong in ("7200", "evals", "evals:-1", "minutes:3", "evals:nan", "seconds:inf"):
        with pytest.raises(UserError, match="evals:N or seconds:S"):
            parse_budget(wrong)


def record(nfe: int, critic: int, loss: float | None, ms: float) -> Record:
    stats = {"nfe": nfe, "critic_nfe": critic, "gradient": 2.0 * nfe}
    return Record(1, 9, 0.5, 1.0, 0.0, loss, 0.3, False, stats, {"total": ms})


def test_evaluations_count_views_critic_and_its_training() -> None:
    made = resolve("x", {"views": 3, "guidance": "vsd", "critic.steps": 2})
    assert evaluations(record(2, 0, None, 1), made) == 6
    assert evaluations(record(2, 1, 0.1, 1), made) == 3 * (2 + 1 + 2)
    assert summary([record(2, 0, None, 900), record(3, 0, None, 10), record(3, 0, None, 10)], made) == Trial(
        8.0, 0.01, 6.0
    )


def test_pixel_diversity() -> None:
    views = torch.stack([torch.zeros(8, 3, 4, 4), torch.full((8, 3, 4, 4), 0.5), torch.full((8, 3, 4, 4), 1.0)])
    assert pixel_diversity(views) == pytest.approx((0.5 + 1.0 + 0.5) / 3) and pixel_diversity(views[:1]) is None


def test_the_default_preset_gives_every_objective_a_scale_for_the_embedded_prior() -> None:
    """Published scales of 7.5 to 101 are far too strong for it, and without the clamp its pixels saturate."""
    for name, kind in GUIDANCE.items():
        made = dict(fields(resolve("x", {"guidance": name}).guidance_options))
        scales = [v for k, v in made.items() if k in ("cfg", "cfg_end", "image_cfg", "scale") and name != "isd"]
        assert all(v <= 5 for v in scales), f"{name}: {made}"
        if "clamp" in dict(fields(kind())):
            assert made["clamp"] == 1.0, name


def test_the_page_is_in_step_with_the_code_and_the_numbers() -> None:
    written = (DOCS / "guidance.md").read_text(encoding="utf-8")
    assert written == guidance_docs.page(DOCS / "guidance.json"), "write it anew: sds3d bench docs"
    assert all(f"\n## {name}\n" in written for name in GUIDANCE)


def test_numbers_are_collected_and_shown(rows: tuple[list[bench.Row], Path], tmp_path: Path) -> None:
    seen = [toy.Outcome("sds", 0.9, 2, 0.5, 0.1, 2.0), toy.Outcome("csd", reason="no ring")]
    (tmp_path / "toy.json").write_text(json.dumps([o.as_dict() for o in seen]))
    kept = tmp_path / "kept.json"
    guidance_docs.collect(kept, [rows[1] / "compare.json", tmp_path / "toy.json"])
    page = guidance_docs.page(kept)
    assert "hit 90%, modes 2 of 3, spread 0.50, bias 0.10." in page and "cannot run there: no ring." in page
    assert "12 steps, 48 evaluations" in page and '"a red ball", splats' in page
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(UserError, match="is not the JSON of"):
        guidance_docs.collect(kept, [tmp_path / "other.json"])
    kept.write_text("[")
    with pytest.raises(UserError, match="does not hold collected numbers"):
        guidance_docs.page(kept)


@pytest.mark.parametrize("command", ["toy", "oracle", "janus", "variance", "mutants", "docs"])
def test_benches_have_help_with_an_example(command: str) -> None:
    result = sds3d(command, "--help", of=bench_app)
    assert result.exit_code == 0 and f"sds3d bench {command}" in result.output


def test_compare_from_the_command_line_on_a_folder_of_pictures(tmp_path: Path) -> None:
    for name, colour in (("red blob", (0.9, 0.1, 0.1)), ("blue blob", (0.1, 0.1, 0.9))):
        pixels = ((disc(colour) + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).resize((4 * SIZE, 4 * SIZE)).save(tmp_path / f"{name}.png")
    small = [word for k, v in {**TINY, "size": 32}.items() if k != "negative" for word in ("--set", f"{k}={v}")]
    command = ["compare", "a red blob", "--guidance", "sds,dds", "--prior", f"oracle:images:{tmp_path}", *small]
    result = sds3d(*command, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "cannot: guidance 'dds'" in result.output and "diversity is by pixels" in result.output
    assert (tmp_path / "compare-a-red-blob" / "sheet.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x"], "--guidance a,b,c or --all"),
        (["x", "--all", "--guidance", "sds"], "--guidance a,b,c or --all"),
        (["x", "--guidance", "sds,vsdd"], "did you mean 'vsd'"),
        (["x", "--guidance", "sds", "--budget", "7"], "evals:N or seconds:S"),
        ([" ", "--all"], "the prompt is empty"),
        (["x", "--guidance", "sds,vsd", "--set", "seed=3"], "use --seeds"),
        (["x", "--guidance", "sds,vsd", "--set", "negative=blue"], "guidance 'sds' has no negative prompt"),
        (["x", "--guidance", "sds", "--scene", "mesh"], "one scene is measured here, not the stages splats:360"),
    ],
)
def test_mistakes_in_compare(arguments: list[str], words: str) -> None:
    result = sds3d("compare", *arguments)
    assert result.exit_code == 2 and words in result.stderr
