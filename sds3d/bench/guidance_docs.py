"""docs/guidance.md: what every objective is, by its own docstring, and what was measured of it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sds3d.bench.guidance_use import USE
from sds3d.config import fields, flatten, load_preset
from sds3d.errors import UserError
from sds3d.files import write_bytes
from sds3d.guidance import GUIDANCE, SDS, Distillation

Measured = dict[str, dict[str, Any]]  # bench -> objective -> its numbers
PRESET = "default"
CHOICE = re.compile(r"[^.]*\bengine choices?\b", re.IGNORECASE)

HEAD = """# Guidance objectives

This page is written by `sds3d bench docs` from the objectives' docstrings and from `docs/guidance.json`; edit those.

All of them are chosen by `--guidance NAME`, and their options by `--set NAME.OPTION=VALUE`. In the formulas `x` is the
encoded render, `n` noise, `x_t = alpha_t x + sigma_t n` a noisy state, `lambda_t = sigma_t / alpha_t`, `e_pos`,
`e_null` and `e_neg` the prior's predictions of the noise for the prompt, the empty and the negative prompt,
`e^s = e_null + s (e_pos - e_null)` guidance with scale `s`, `e_psi` a critic, `w(t)` the weight, `g` the gradient on
`x`. Scales are in this convention, where `s = 1` is the plain prompt; some papers count from 0.

All but the wrappers around others also take the options {shared}; see `sds3d list settings`. Perp-Neg, regions and
masks go with any of them.

Defaults are the published ones where there are any. The preset `{preset}`, for the embedded prior, has its own scales,
shown in brackets: published scales are far too strong for it.

"""
LEGEND = """## How the numbers were made

- **Cost**: predictions of networks for each view and step, counted in `sds3d bench toy`; a critic's training is extra.
- **Ring** (`sds3d bench toy`): points in the plane under a mixture of eight Gaussians, three of which are the prompt's.
  Hit: share of the points within three standard deviations of one of the three. Modes: how many of the three have a
  tenth of the points. Spread: 1 is the mixture's own, 0 a single point. Bias: distance of the means, on a ring of
  radius 0.6. The noise level falls in a line and the guidance scale is 1.5, where there is one: objectives without a
  term that holds on to the data (csd) leave the ring.
- **Compare** (`sds3d compare`): the same prompt, seeds, cameras and number of network evaluations for all. Variance is
  the trace of the gradient's covariance over its squared mean at a picture of the prior's own (`sds3d bench variance`).
  R@1 and R@5: the probe's first, or first five, nouns hold the prompt's. Janus: views from behind taken for the front.
- **Recovery** (`sds3d bench oracle`): PSNR on views that no step used, from the exact score of a known object's views.
- **Mutants** (`sds3d bench mutants`): wrong signs, dropped factors and swapped conditions that its test notices.
"""


def page(measured: Path) -> str:
    """The whole page. `measured` is what `collected` writes; without the file the page has no numbers."""
    numbers = read(measured)
    preset = flatten(load_preset(PRESET))
    rows = [f"| [`{name}`](#{name}) | {kind.summary} |" for name, kind in GUIDANCE.items()]
    table = "\n".join(["| objective | what it does |", "|---|---|", *rows])
    sections = [section(name, preset, numbers) for name in GUIDANCE]
    made = [f"- {line}" for line in numbers.get("made", {}).values()]
    shared = ", ".join(f"`{key}`" for key in _shared())
    return (
        HEAD.format(preset=PRESET, shared=shared)
        + "\n\n".join([table, *sections, LEGEND + "\n".join(made)]).rstrip()
        + "\n"
    )


def section(name: str, preset: Mapping[str, Any], numbers: Measured) -> str:
    """One objective: formula, what its docstring says, options, use, engine choices, numbers."""
    text = inspect.getdoc(GUIDANCE[name]) or ""
    if not text or name not in USE:
        raise UserError(f"guidance {name!r} lacks a docstring or a sentence in bench/guidance_use.py: write it")
    first, *rest = re.split(r"\n\s*\n", text)
    body = [" ".join(part.split()) for part in rest if not part.startswith("Args:")]
    choices = [" ".join(match.split()) for match in _sentences(" ".join(body)) if CHOICE.search(match)]
    lines = [f"## {name}", "", f"{GUIDANCE[name].summary}.".replace("..", "."), "", f"`{' '.join(first.split())}`", ""]
    lines += [paragraph + "\n" for paragraph in body]
    lines.append(f"- **Options**: {options(name, preset)}")
    lines.append(f"- **Use it**: {USE[name]}")
    lines.append(f"- **Engine choice**: {' '.join(choices) if choices else 'none; the formula is the published one.'}")
    return "\n".join([*lines, *(f"- **{title}**: {text}" for title, text in measurements(name, numbers))])


def options(name: str, preset: Mapping[str, Any]) -> str:
    """Its options with their defaults, and in brackets what the preset puts there; of the shared ones, those at which
    it or the preset has a value of its own."""
    shared, shown = _shared(), []
    for key, value in fields(GUIDANCE[name]()):
        own = preset.get(f"{name}.{key}", value)
        if key in shared and value == own == shared[key]:
            continue
        shown.append(f"`{key}` {_show(value)}" + ("" if own == value else f" ({_show(own)})"))
    return ", ".join(shown) + "." if shown else "none of its own."


def measurements(name: str, numbers: Measured) -> list[tuple[str, str]]:
    """(title, sentence) of everything measured of the objective."""
    found = []
    if row := numbers.get("toy", {}).get(name):
        if row["reason"]:
            found.append(("Ring", f"cannot run there: {row['reason']}."))
        else:
            found.append(("Cost", f"{row['nfe']:.1f} predictions a view and step."))
            text = f"hit {row['hit']:.0%}, modes {row['covered']} of 3, spread {row['spread']:.2f}"
            found.append(("Ring", f"{text}, bias {row['bias']:.2f}."))
    if row := numbers.get("compare", {}).get(name):
        found.append(("Compare", _compared(row)))
    recovered = [r for key, r in numbers.get("oracle", {}).items() if key.partition(":")[2] == name]
    if recovered:
        found.append(("Recovery", ", ".join(f"{r['scene']} {r['psnr']:.1f} dB" for r in recovered if r["psnr"]) + "."))
    if row := numbers.get("mutants", {}).get(name):
        same = f", {row['equivalent']} change nothing" if row["equivalent"] else ""
        found.append(("Mutants", f"{row['killed']} of {row['mutants']} noticed{same}."))
    return found


def _compared(row: Mapping[str, Any]) -> str:
    if row["reason"]:
        return f"cannot run there: {row['reason']}."
    seen = row["likeness"]
    shares = [f"{k} {seen[v]:.0%}" for k, v in COLUMNS.items() if seen[v] is not None]
    cost = f"{row['steps']} steps, {row['evaluations']:.0f} evaluations, {row['seconds']:.0f} s"
    spread = [] if row["variance"] is None else [f"variance {row['variance']:.2g}"]
    return ", ".join([cost, *spread, *shares]) + "."


COLUMNS = {"R@1": "r1", "R@5": "r5", "colour": "colour", "Janus": "janus"}


def read(measured: Path) -> Measured:
    """The collected numbers; none where there is no file. Errors: UserError where it is not ours."""
    if not measured.is_file():
        return {}
    try:
        numbers = json.loads(measured.read_text(encoding="utf-8"))
        assert isinstance(numbers, dict)
    except (ValueError, AssertionError):
        raise UserError(f"{measured} does not hold collected numbers: make it again with --collect") from None
    return numbers


def collect(measured: Path, sources: Sequence[Path]) -> Path:
    """Take the JSON of benches (compare, toy, oracle, mutants) into the file `measured`, newer numbers over older."""
    numbers = read(measured)
    for source in sources:
        try:
            data = json.loads(source.read_text(encoding="utf-8"))
            kind, rows, made = _recognise(data)
        except (ValueError, KeyError, TypeError, IndexError):
            raise UserError(f"{source} is not the JSON of compare, toy, oracle or mutants") from None
        numbers.setdefault(kind, {}).update(rows)
        if made:
            numbers.setdefault("made", {})[kind] = made
    text = json.dumps(numbers, indent=1, sort_keys=True)
    return write_bytes(measured, text.encode() + b"\n")


def _recognise(data: Any) -> tuple[str, dict[str, Any], str]:
    """(bench, rows by objective, how they were made)."""
    if isinstance(data, dict):
        budget, seeds = data["budget"], len(data["seeds"])
        made = (
            f'Compare: "{data["prompt"]}", {data["scene"]}, prior {Path(data["prior"]).name}, {seeds} '
            f"seed{'s' * (seeds > 1)}, {budget['amount']:.0f} {budget['unit']} for each run, "
            f"on {data['hardware']['processor']}."
        )
        return "compare", {row["guidance"]: row for row in data["rows"]}, made
    if "hit" in data[0]:
        return "toy", {row["guidance"]: row for row in data}, ""
    if "psnr" in data[0] and "scene" in data[0]:
        return "oracle", {f"{row['scene']}:{row['guidance']}": row for row in data}, ""
    return "mutants", {row["name"]: row for row in data if "mutants" in row and row["name"] in GUIDANCE}, ""


def _shared() -> dict[str, Any]:
    """The options that every objective of its own has, with their defaults."""
    return {key: value for key, value in fields(SDS()) if key in Distillation.__dataclass_fields__}


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.])\s+(?=[A-Z])", text)


def _show(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else "none" if value == "" else str(value)
