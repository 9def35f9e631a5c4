"""What there is to choose from, for `sds3d list`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sds3d.config import data_folder, fields, load_preset, preset_names
from sds3d.engine.settings import Settings
from sds3d.engine.unused import choosable
from sds3d.guidance import GUIDANCE
from sds3d.priors import list_priors
from sds3d.prompts import list_names, load_list
from sds3d.scenes import SCENES

Row = tuple[str, str]


def _guidance() -> list[Row]:
    return [(name, objective.summary) for name, objective in GUIDANCE.items()]


def _scenes() -> list[Row]:
    return [(name, kind.summary) for name, kind in SCENES.items()]


def _priors() -> list[Row]:
    return [(p.name, p.summary + ("" if p.available else " (not on this machine)")) for p in list_priors()]


def _presets() -> list[Row]:
    return [(name, _first_comment(name)) for name in preset_names()]


def _first_comment(preset: str) -> str:
    """A preset's description is its first line, a comment."""
    first = (data_folder("configs") / f"{preset}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() or ", ".join(load_preset(preset))


def _prompts() -> list[Row]:
    return [(name, ", ".join(load_list(name))) for name in list_names()]


def _settings() -> list[Row]:
    rows = [(key, _show(value)) for key, value in fields(Settings()) if not key.endswith("_options")]
    for name, kind in SCENES.items():
        rows += [(f"{name}.{key}", _show(value)) for key, value in fields(kind.config())]
    for name, objective in GUIDANCE.items():
        rows += [(f"{name}.{key}", _show(value)) for key, value in fields(objective())]
    return [row for row in rows if choosable(row[0])]


def _show(value: Any) -> str:
    return (
        ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower() if value is None else str(value)
    )


LISTS: dict[str, Callable[[], list[Row]]] = {
    "guidance": _guidance,
    "scenes": _scenes,
    "priors": _priors,
    "presets": _presets,
    "prompts": _prompts,
    "settings": _settings,
}


def rows(kind: str) -> list[Row]:
    """(name, description) of everything of that kind; for settings the typed defaults."""
    return LISTS[kind]()
