"""`sds3d doctor`: what this machine and installation offer, what is used of it and why, and how to mend what is not
right. Plain rows; the command prints them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch

from sds3d.engine.system import hardware, pick_device
from sds3d.errors import UserError
from sds3d.priors import PRIORS, precision

LITTLE_MEMORY, LITTLE_DISK = 3e9, 0.5e9  # bytes
MARKS = {"ok": "ok", "note": "--", "problem": "!!"}


@dataclass(frozen=True)
class Row:
    """One finding: "ok", "note" (something is missing that nothing here needs) or "problem"."""

    name: str
    status: Literal["ok", "note", "problem"]
    detail: str
    remedy: str = ""

    @property
    def mark(self) -> str:
        return MARKS[self.status]

    @property
    def text(self) -> str:
        return f"{self.detail}: {self.remedy}" if self.remedy else self.detail


def doctor(out: Path = Path("outputs")) -> list[Row]:
    """All findings, in reading order; `out` is where runs are written. A check that fails is itself a finding."""
    checks: dict[str, Callable[[], list[Row]]] = {
        "device": device,
        "memory": memory,
        "precision": prior_precision,
        "packages": lambda: packages(requirements()),
        "renderers": renderers,
        "compiler": lambda: compiler(torch.version.cuda, nvcc_version(), nvidia_driver()),
        "embedded prior": embedded_prior,
        "text encoder": text_encoder,
        "hub models": hub_models,
        "video": video,
        "outputs": lambda: outputs(out),
    }
    return [row for name, check in checks.items() for row in guarded(name, check)]


def guarded(name: str, check: Callable[[], list[Row]]) -> list[Row]:
    """The rows of a check, or its error as a row."""
    try:
        return check()
    except UserError as error:
        return [Row(name, "problem", str(error))]
    except Exception as error:  # anything may be broken where a doctor is called
        lines = str(error).splitlines() or [""]
        return [Row(name, "problem", f"{type(error).__name__}: {lines[0][:200]}", "install this part again")]


def device() -> list[Row]:
    """The device that `--device auto` takes."""
    chosen = pick_device()
    found = hardware(chosen)
    cpu = f"{found['processor']}, {found['cores']} cores, {found['threads']} threads used"
    rows = [Row("processor", "ok", cpu)]
    if chosen.type != "cuda":
        return [Row("device", "ok", "cpu (no usable CUDA device)"), *rows]
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        rows.append(Row(f"cuda:{index}", "ok", f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB"))
    return [Row("device", "ok", f"{chosen} (CUDA {torch.version.cuda})"), *rows]


def memory() -> list[Row]:
    """Main memory."""
    if not hasattr(os, "sysconf"):
        return [Row("memory", "note", "cannot be read on this system")]
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = page * os.sysconf("SC_PHYS_PAGES"), available_memory()
    detail = f"{total / 1e9:.0f} GB" + ("" if free is None else f", {free / 1e9:.1f} GB available")
    if (free or total) < LITTLE_MEMORY:
        return [Row("memory", "problem", detail, f"free some; a run takes up to {LITTLE_MEMORY / 1e9:.0f} GB")]
    return [Row("memory", "ok", detail)]


def available_memory() -> int | None:
    """Bytes that can be had without swapping, where Linux says so."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", info.read_text()) if info.exists() else None
    return int(found[1]) * 1024 if found else None


def prior_precision() -> list[Row]:
    """What priors are computed in here."""
    chosen = pick_device()
    small, large = (str(precision.pick(chosen, n)["unet"]).removeprefix("torch.") for n in (0, precision.LARGE))
    hardware_types = sorted(precision.cpu_flags() & {"amx_bf16", "avx512_bf16"})
    why = f"the CPU has {', '.join(hardware_types)}" if hardware_types else "this CPU has no bfloat16 arithmetic"
    if chosen.type == "cuda":
        return [Row("precision", "ok", f"small priors in {small}, large ones in {large}")]
    return [Row("precision", "ok", f"priors in {small} ({why})")]


def requirements() -> list[str] | None:
    """What sds3d declares to need, as pip reads it; None when it runs without being installed."""
    try:
        return metadata.requires("sds3d") or []
    except metadata.PackageNotFoundError:
        return None


def packages(needed: Iterable[str] | None, installed: Mapping[str, str] | None = None) -> list[Row]:
    """Installed versions against the requirements; `installed` (name -> version) stands in for the environment."""
    from packaging.requirements import Requirement

    python = Row("python", "ok", sys.version.split()[0])
    if needed is None:
        remedy = "pip install -c constraints.txt -e ."
        return [python, Row("packages", "note", "sds3d runs from a checkout that is not installed", remedy)]
    versions, bad = [], []
    for requirement in map(Requirement, needed):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name, installed)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            state = "is missing" if version is None else f"{version} is installed, {requirement.specifier} is needed"
            bad.append(Row(requirement.name, "problem", state, f'pip install "{requirement}"'))
        versions.append(f"{requirement.name} {version}")
    return [python, *bad] if bad else [python, Row("packages", "ok", ", ".join(versions))]


def _version(name: str, installed: Mapping[str, str] | None) -> str | None:
    if installed is not None:
        return installed.get(name)
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def renderers() -> list[Row]:
    """The backends of each scene: which one runs, and why the others do not."""
    from sds3d.render import splats, volume

    chosen = pick_device()
    return [
        backend_row("splats renderer", splats.choose_backend(chosen), splats.available_backends(), chosen.type),
        backend_row("grid renderer", volume.choose_backend("auto", chosen), volume.available_backends(), chosen.type),
    ]


def backend_row(name: str, used: str, found: Mapping[str, str | None], kind: str) -> Row:
    """`found`: backend -> "ok" or None where it works, else why not. Only the slow torch reference is a problem."""
    others = [f"{other}: {reason}" for other, reason in found.items() if reason not in (None, "ok")]
    detail = f"{used} on {kind}" + (f" ({'; '.join(others)})" if others else "")
    if used != "torch":
        return Row(name, "ok", detail)
    fast = {"cuda": "a CUDA toolkit for gsplat and nerfacc", "cpu": "numba"}[kind]
    return Row(name, "problem", detail, f"this one is slow; install {fast}")


def compiler(torch_cuda: str | None, nvcc: str | None, driver: bool) -> list[Row]:
    """Whether CUDA extensions can be built for this torch: versions like "12.8", None where there is none."""
    if torch_cuda is None:
        if driver:
            remedy = "pip install torch with CUDA, see pytorch.org/get-started"
            return [Row("cuda", "problem", "there is an NVIDIA driver, but this torch is built for CPUs", remedy)]
        return [Row("cuda", "note", "this torch is built for CPUs" + (f"; nvcc {nvcc} is left alone" if nvcc else ""))]
    if not driver:
        return [Row("cuda", "note", f"torch is built for CUDA {torch_cuda}, but there is no NVIDIA driver")]
    if nvcc is None:
        remedy = f"install CUDA toolkit {torch_cuda}, or wheels of gsplat and nerfacc built for this torch"
        return [Row("cuda compiler", "note", "there is no nvcc: extensions that came without kernels stay off", remedy)]
    if nvcc.split(".")[0] != torch_cuda.split(".")[0]:
        remedy = f"set CUDA_HOME to a toolkit of CUDA {torch_cuda.split('.')[0]}"
        return [Row("cuda compiler", "problem", f"nvcc is of CUDA {nvcc}, torch of CUDA {torch_cuda}", remedy)]
    return [Row("cuda compiler", "ok", f"nvcc {nvcc} for torch's CUDA {torch_cuda}")]


def nvcc_version() -> str | None:
    """The release of the nvcc that torch would compile with."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    path = shutil.which("nvcc", path=str(Path(home) / "bin")) if home else shutil.which("nvcc")
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"release (\d+\.\d+)", said)
    return found[1] if found else None


def nvidia_driver() -> bool:
    """Whether there is an NVIDIA driver, with a device or not."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def embedded_prior() -> list[Row]:
    """The weights that come with sds3d."""
    from sds3d.priors.folder import inspect

    folder = PRIORS["embedded"].folder
    if folder is None or not folder.is_dir():
        remedy = "install sds3d again, or run sds3d prior train"
        return [Row("embedded prior", "problem", "its weights are not in this installation", remedy)]
    numbers = sum(part.parameters for part in inspect(folder))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return [Row("embedded prior", "ok", f"{numbers / 1e6:.0f} M parameters, {size / 1e6:.0f} MB")]


def text_encoder() -> list[Row]:
    """The package that holds the embedded prior's text encoder."""
    from sds3d.priors.minilm import PACKAGES, find_weights

    name = next(iter(PACKAGES))
    find_weights(name)
    return [Row("text encoder", "ok", f"{name} {metadata.version(name)}")]


def hub_models() -> list[Row]:
    """Named priors of a model hub that are already here."""
    from huggingface_hub.constants import HF_HUB_CACHE

    from sds3d.priors import available

    named = {name: available(name) for name, source in PRIORS.items() if source.repos}
    here = [name for name, there in named.items() if there]
    detail = f"{', '.join(here) or 'none'} in {HF_HUB_CACHE}"
    if here:
        return [Row("hub models", "ok", detail)]
    remedy = "none is needed for the embedded prior; others: sds3d download " + "|".join(named)
    return [Row("hub models", "note", detail, remedy)]


def video() -> list[Row]:
    """The encoder of turntable.mp4."""
    try:
        import imageio_ffmpeg

        path = imageio_ffmpeg.get_ffmpeg_exe()
        version = imageio_ffmpeg.get_ffmpeg_version()
    except (ImportError, RuntimeError, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        detail = f"no ffmpeg ({lines[0][:120]}), so turntables are .gif"
        return [Row("video", "problem", detail, "pip install --force-reinstall imageio-ffmpeg")]
    return [Row("video", "ok", f"ffmpeg {version} ({Path(path).name})")]


def outputs(out: Path) -> list[Row]:
    """Whether runs can be written below `out`, which need not be there yet."""
    out = out.expanduser().absolute()
    parent = next(folder for folder in (out, *out.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=parent):
            free = shutil.disk_usage(parent).free
    except OSError as error:
        return [Row("outputs", "problem", f"cannot write to {parent} ({error.strerror})", "use --out FOLDER")]
    detail = f"{out} can be written, {free / 1e9:.1f} GB free"
    if free < LITTLE_DISK:
        return [Row("outputs", "problem", detail, "free some space or use --out FOLDER")]
    return [Row("outputs", "ok", detail)]
