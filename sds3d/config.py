"""Typed settings from plain values: frozen dataclasses in, frozen dataclasses out.

`apply(config, {"time.hi": "0.9"})` returns a changed copy; strings are read by the field's type, an unknown key is an
error that names the nearest one. YAML files hold short differences, nested or dotted.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from sds3d.errors import UserError, unknown

T = TypeVar("T")
MAX_YAML, MAX_DEPTH = 1 << 17, 20  # bytes of a file, and how deep its values may nest
TRUE, FALSE, NONE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}, {"none", "null", ""}


def coerce(value: Any, hint: Any, key: str) -> Any:
    """`value` (a string, or a plain YAML value) as the type `hint`; UserError naming `key` when it cannot be."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _coerce_union(value, arguments, key)
    if origin is Literal:
        return _coerce_literal(value, arguments, key)
    if origin in (tuple, list):
        return _coerce_sequence(value, origin, arguments, key)
    if hint in (int, float):
        return _coerce_number(value, hint, key)
    if hint is bool and isinstance(value, (bool, str)):
        return value if isinstance(value, bool) else _coerce_bool(value, key)
    if hint in (str, Path) and isinstance(value, (str, int, float, Path)) and not isinstance(value, bool):
        return hint(value)
    raise _mismatch(value, hint, key)


def _coerce_union(value: Any, options: Sequence[Any], key: str) -> Any:
    if type(None) in options and (value is None or isinstance(value, str) and value.lower() in NONE):
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return coerce(value, option, key)
        except UserError:
            continue
    raise _mismatch(value, Union[tuple(options)], key)  # noqa: UP007 - built at run time


def _coerce_literal(value: Any, options: Sequence[Any], key: str) -> Any:
    for option in options:
        if value == option and type(value) is type(option) or isinstance(value, str) and value == str(option):
            return option
    raise unknown(f"value for {key}", str(value), map(str, options))


def _coerce_sequence(value: Any, kind: type, hints: Sequence[Any], key: str) -> Any:
    items = [v.strip() for v in value.strip("[]() ").split(",") if v.strip()] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise _mismatch(value, kind, key)
    alike = kind is list or len(hints) == 2 and hints[1] is Ellipsis
    each = list(hints[:1]) * len(items) if alike else list(hints)
    if len(each) != len(items):
        raise UserError(f"{key} takes {len(each)} values separated by commas, not {value!r}")
    return kind(coerce(v, hint, key) for v, hint in zip(items, each, strict=True))


def _coerce_number(value: Any, hint: type, key: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _mismatch(value, hint, key)
    try:
        number = float(value)
        if not math.isfinite(number) or hint is int and not number.is_integer():
            raise ValueError
    except ValueError:
        raise _mismatch(value, hint, key) from None
    if hint is int and isinstance(value, str) and value.lstrip("+-").isdigit():
        return int(value)  # exact beyond 2^53
    return hint(value) if isinstance(value, int) else hint(number)


def _coerce_bool(value: str, key: str) -> bool:
    word = value.lower()
    if word not in TRUE | FALSE:
        raise _mismatch(value, bool, key)
    return word in TRUE


def _mismatch(value: Any, hint: Any, key: str) -> UserError:
    options = [o for o in typing.get_args(hint) if o is not type(None)]
    names = " or ".join(getattr(o, "__name__", str(o)) for o in options) or getattr(hint, "__name__", str(hint))
    kind = {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(names, names)
    return UserError(f"{key} takes {kind}, not {reprlib.repr(value)}")


def fields(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf of a nested dataclass, in declaration order."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


def apply(config: T, values: Mapping[str, Any], prefix: str = "") -> T:
    """A copy of the dataclass `config` with dotted keys replaced; `prefix` only completes names in errors."""
    here: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        head, _, rest = key.partition(".")
        if rest:
            below.setdefault(head, {})[rest] = value
        else:
            here[head] = value
    hints = typing.get_type_hints(type(config))
    names = {f.name for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    nested = {name for name in names if dataclasses.is_dataclass(getattr(config, name))}
    for head in here.keys() | below.keys():
        if head not in names or (head in below) != (head in nested) or (head in here and head in nested):
            bad = head + (f".{next(iter(below[head]))}" if head in below else "")
            raise unknown_setting(prefix + bad, [prefix + key for key, _ in fields(config)])
    changes = {name: coerce(value, hints[name], prefix + name) for name, value in here.items()}
    for name, inner in below.items():
        changes[name] = apply(getattr(config, name), inner, f"{prefix}{name}.")
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def unknown_setting(key: str, known: Sequence[str]) -> UserError:
    """A UserError that names the nearest of the known keys (there are too many to list)."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown setting {key!r}: {hint}sds3d list settings shows them all")


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values (YAML and JSON can hold them); the inverse of `apply` after `flatten`."""
    return {
        f.name: to_dict(value) if dataclasses.is_dataclass(value) else _plain(value)
        for f in dataclasses.fields(config)
        for value in [getattr(config, f.name)]
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; dotted keys may already be there."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def parse_sets(assignments: Sequence[str], taken: Mapping[str, str] | None = None) -> dict[str, str]:
    """["a.b=c", ...] -> {"a.b": "c"}. UserError for a key that is `taken`: its value there names what decides on it."""
    values: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set takes KEY=VALUE, not {assignment!r}")
        if taken and key.strip() in taken:
            raise UserError(f"--set {key.strip()} has no effect here: {taken[key.strip()]}")
        values[key.strip()] = value.strip()
    return values


def read_yaml(path: Path) -> dict[str, Any]:
    """The flattened mapping in a YAML file."""
    import yaml

    try:
        with open(path, "rb") as file:
            text = file.read(MAX_YAML + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    if len(text) > MAX_YAML:
        raise UserError(f"{path} is larger than {MAX_YAML:,} bytes: settings are a few lines")
    try:
        _check_yaml(text, path)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is not readable YAML: {' '.join(str(error).split())[:300]}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold settings as KEY: VALUE lines")
    return flatten({str(k): v for k, v in values.items()})


def _check_yaml(text: bytes, path: Path) -> None:
    """UserError for what may grow beyond measure, before anything is made of it: aliases and deep nesting."""
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"{path} repeats values by *name, which is not read: write them out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UserError(f"{path} nests values more than {MAX_DEPTH} deep: settings are KEY: VALUE lines")


def write_yaml(values: Mapping[str, Any]) -> str:
    """YAML text in the order given."""
    import yaml

    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def data_folder(name: str) -> Path:
    """`configs` or `prompts`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise UserError(f"the folder {name!r} is missing from this installation: install sds3d again")


def preset_names() -> list[str]:
    return sorted(path.stem for path in data_folder("configs").glob("*.yaml"))


def load_preset(name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A preset by name, or a path to a YAML file of one's own; `extends: NAME` puts it on top of another."""
    if name in seen:
        raise UserError(f"presets extend each other in a circle: {' -> '.join((*seen, name))}")
    values = read_yaml(_preset_file(name))
    base = values.pop("extends", None)
    return values if base is None else {**load_preset(str(base), (*seen, name)), **values}


def _preset_file(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"there is no preset file {name}")
        return Path(name)
    if name not in preset_names():
        raise unknown("preset", name, preset_names())
    return data_folder("configs") / f"{name}.yaml"
