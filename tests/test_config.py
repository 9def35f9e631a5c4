"""Typed settings from strings and YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Optional

import pytest

from sds3d import config
from sds3d.errors import UserError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    span: tuple[float, float] = (0.0, 1.0)
    kind: ClassVar[str] = "no field"


@dataclass(frozen=True)
class Outer:
    count: int = 1
    on: bool = False
    name: str = "x"
    mode: Literal["a", "b"] = "a"
    limit: Optional[int] = None  # noqa: UP045 - both spellings must work
    maybe: bool | None = None
    names: tuple[str, ...] = ()
    where: Path = Path(".")
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("count", "12", 12),
        ("count", "1e3", 1000),
        ("count", "9007199254740993", 9007199254740993),  # not a float64
        ("on", "true", True),
        ("on", "Off", False),
        ("on", "0", False),
        ("name", "12", "12"),
        ("mode", "b", "b"),
        ("limit", "none", None),
        ("limit", "7", 7),
        ("maybe", "no", False),
        ("maybe", "null", None),
        ("names", "glb,ply", ("glb", "ply")),
        ("names", "", ()),
        ("where", "a/b", Path("a/b")),
        ("inner.rate", "1e-3", 1e-3),
        ("inner.span", "0.2, 0.8", (0.2, 0.8)),
        ("inner.span", "[0.2, 0.8]", (0.2, 0.8)),
    ],
)
def test_strings_become_what_the_field_says(key: str, text: str, value: object) -> None:
    changed = dict(config.fields(config.apply(Outer(), {key: text})))
    assert changed[key] == value and type(changed[key]) is type(value)
    assert {k: v for k, v in changed.items() if k != key} == {k: v for k, v in config.fields(Outer()) if k != key}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", "1.5"),
        ("count", "many"),
        ("count", True),
        ("on", "maybe"),
        ("on", 1),
        ("mode", "c"),
        ("limit", "x"),
        ("inner.rate", "nan"),
        ("inner.rate", "inf"),
        ("inner.span", "1"),
        ("inner.span", "1,2,3"),
        ("name", ["a"]),
    ],
)
def test_a_value_of_the_wrong_kind_names_the_key(key: str, value: object) -> None:
    with pytest.raises(UserError, match=key):
        config.apply(Outer(), {key: value})


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("cuont", "'count'"),
        ("inner.rat", "'inner.rate'"),
        ("inner", "unknown"),
        ("inner.kind", "inner.span"),
        ("count.x", "'count'"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(UserError, match="unknown setting") as caught:
        config.apply(Outer(), {key: "1"})
    assert nearest in str(caught.value)


def test_plain_values_and_back() -> None:
    changed = config.apply(Outer(), {"count": 3, "inner.span": [0.5, 2], "names": ["a"], "limit": 4})
    plain = config.to_dict(changed)
    assert plain["inner"] == {"rate": 0.1, "span": [0.5, 2.0]}
    assert config.apply(Outer(), config.flatten(plain)) == changed


def test_yaml_round_trip_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    changed = config.apply(Outer(), {"name": "日本 🪑: #1", "inner.rate": 1e-7, "limit": 2})
    path.write_text(config.write_yaml(config.to_dict(changed)), encoding="utf-8")
    assert config.apply(Outer(), config.read_yaml(path)) == changed


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2", "just words", "\x00"])
def test_broken_yaml_is_a_user_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=r"x\.yaml"):
        config.read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{k: *a{i - 1}, l: *a{i - 1}}}\n" for i in range(1, 60)),
            "repeats",
        ),
        ("a: &a [1, 2]\nb: {<<: *a}\n", "repeats values by"),
        ("a: " + "[" * 100_000, "nests values"),
        ("a: " + "9" * 5000, "not readable YAML"),
        ("a: 2001-99-99", "not readable YAML"),
        ("# " + "x" * 200_000, "larger than"),
    ],
)
def test_yaml_that_would_grow_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        config.read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


def test_set_assignments() -> None:
    assert config.parse_sets(["a.b=c", "d = e=f"]) == {"a.b": "c", "d": "e=f"}
    for bad in ("a.b", "=1"):
        with pytest.raises(UserError, match="KEY=VALUE"):
            config.parse_sets([bad])
    with pytest.raises(UserError, match="--set seed has no effect here: use --seeds"):
        config.parse_sets(["a=1", "seed =4"], {"seed": "use --seeds"})


def test_a_preset_extends_another_and_circles_are_told(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("extends: default\nsteps: 7\nsds: {cfg: 3}\n")
    values = config.load_preset(str(first))
    assert values["steps"] == 7 and values["sds.cfg"] == 3
    assert {
        k: v for k, v in config.load_preset("default").items() if k not in ("steps", "sds.cfg")
    }.items() <= values.items()
    first.write_text(f"extends: {second}\n")
    second.write_text(f"extends: {first}\n")
    with pytest.raises(UserError, match="circle"):
        config.load_preset(str(first))


def test_unknown_presets() -> None:
    with pytest.raises(UserError, match="did you mean 'default'"):
        config.load_preset("defualt")
    with pytest.raises(UserError, match="no preset file"):
        config.load_preset("nowhere.yaml")
