"""Shared by all tests: quiet threads, and a clear word when the installation is incomplete."""

from __future__ import annotations

import importlib.util
import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach a hub

NEEDED = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "numba",
    "gsplat",
    "nerfacc",
    "trimesh",
    "xatlas",
    "yaml",
    "typer",
)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's cache."""
    os.environ["SDS3D_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def pytest_configure(config: pytest.Config) -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.exit(
            f"not installed: {', '.join(missing)}. Run: pip install -c constraints.txt -e '.[dev]'", returncode=4
        )
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
