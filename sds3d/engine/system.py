"""The machine: which device to use, what it has, how much memory was used."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sds3d.errors import UserError

PACKAGES = ("torch", "diffusers", "transformers", "peft", "gsplat", "nerfacc", "numba", "trimesh", "xatlas")


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`, or the best one here for "auto"; UserError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no usable CUDA device here: leave --device out, or see sds3d doctor")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"there are {torch.cuda.device_count()} CUDA devices here, numbered from 0")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported: choose auto, cpu, cuda or cuda:N")
    return device


def set_threads(threads: int | None) -> None:
    """Bound torch's threads; numba and OpenMP take theirs from the environment, set before they are imported."""
    if threads:
        torch.set_num_threads(threads)


def versions() -> dict[str, str]:
    """Versions of Python, of sds3d (with the commit of a checkout) and of the packages that decide results; absent ones
    are left out."""
    found = {"python": platform.python_version(), "sds3d": _own_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> dict[str, Any]:
    """Device, processor, cores and system, as runs and benches write them down."""
    found: dict[str, Any] = {
        "device": str(device),
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def processor_name() -> str:
    """The CPU's name, where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory(device: torch.device) -> dict[str, float]:
    """Largest use so far, in MB: of this process, and of the CUDA device."""
    peaks: dict[str, float] = {}
    try:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
        peaks["process_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
    except ImportError:  # not a Unix
        pass
    if device.type == "cuda":
        peaks["cuda_mb"] = round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    return peaks


def _own_version() -> str:
    from sds3d import __version__

    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return __version__
    asked = ["git", "-C", str(root), "rev-parse", "--short=8", "HEAD"]
    try:
        return f"{__version__}+{subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()}"
    except (OSError, subprocess.CalledProcessError):
        return __version__
