"""What pip is told, and what the README promises."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from sds3d.cli.console import _clock
from sds3d.config import data_folder

ROOT = Path(__file__).parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def listed(name: str) -> list[Requirement]:
    """Requirements of a list in pyproject.toml (Python 3.10 has no TOML reader)."""
    block = re.search(rf"^{name} = \[(.*?)\]", PYPROJECT, re.M | re.S)
    assert block is not None
    return [Requirement(text) for text in re.findall(r'"([^"]+)"', block[1])]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_dependency_has_one_tested_version_within_its_bounds(python: str) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]
    version = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in here}
    assert len(version) == len(here), "a package is pinned twice"
    for wanted in listed("dependencies") + listed("dev"):
        assert wanted.specifier.contains(version[canonicalize_name(wanted.name)]), wanted


def test_bounds_are_those_of_what_diffusers_wants_without_telling_pip() -> None:
    """It refuses to be imported beside an older peft."""
    from diffusers.dependency_versions_table import deps

    ours = {wanted.name: lowest(wanted) for wanted in listed("dependencies")}
    for name in ("peft", "transformers", "accelerate"):
        assert ours[name] >= lowest(Requirement(deps[name])), name


def lowest(wanted: Requirement) -> Version:
    return next(Version(part.version) for part in wanted.specifier if part.operator == ">=")


def test_no_dependency_with_a_licence_that_forbids_business() -> None:
    names = {
        canonicalize_name(Requirement(line).name) for line in (ROOT / "constraints.txt").read_text().splitlines()[1:]
    }
    assert not {"nvdiffrast", "diff-gaussian-rasterization", "tinycudann", "simple-knn"} & names
    licences = {name: licence(name) for name in names}
    assert licences["torch"] and licences["numpy"]
    assert not {name: text for name, text in licences.items() if re.search(r"GPL|General Public|(?i:non-?comm)", text)}


def licence(name: str) -> str:
    """What an installed package says of its licence, "" of one that is not here. Of a whole text the first line."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    stated = [about.get("License-Expression"), (about.get("License") or "").strip().partition("\n")[0]]
    stated += [line for line in about.get_all("Classifier") or () if line.startswith("License")]
    return "; ".join(filter(None, stated))


def test_the_readme_has_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 'pip install -c constraints.txt -e . && sds3d generate "a red chair"' in readme
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in readme


def test_the_wheel_carries_presets_and_prompts() -> None:
    for name in ("configs", "prompts"):
        assert f'{name} = "sds3d/{name}"' in PYPROJECT and f'"{name}"' in PYPROJECT and any(data_folder(name).iterdir())


def test_clock() -> None:
    assert [_clock(s) for s in (0.4, 59.6, 61, 3725)] == ["0:00", "1:00", "1:01", "1:02:05"]
