"""Texture coordinates under a time limit: xatlas while it lasts, else a plain grid of triangle pairs.

Where the system can count it (Linux), the limit is on xatlas's processor time: what comes out is the same beside other
work.
"""

from __future__ import annotations

import io
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sds3d.export.mesh import Floats, Ints, Mesh

PADDING = 3  # texels between charts, of a texture of the size they are laid out for
LAYOUT = 1024  # largest such size: larger textures have the same charts, and wider gaps for their mipmaps
ROOMY = 2048  # from this size on the plain grid's seams take so little that its texture need not be larger
PATIENCE = 40.0  # times as long is waited for that processor time
WORKER = Path(__file__).with_name("_xatlas.py")


@dataclass(frozen=True)
class Atlas:
    """A mesh cut into charts: vertex i of the cut mesh is vertex source[i] of the whole one. Faces keep their order."""

    source: Ints  # (V',)
    faces: Ints  # (F, 3) into the cut mesh
    uv: Floats  # (V', 2) in [0, 1]
    texels: int  # side of the texture it is laid out for
    kind: str  # "xatlas" or "grid"


class Unwrapping:
    """xatlas at work in its own process, so that the caller can do something else meanwhile."""

    def __init__(self, mesh: Mesh, texels: int, seconds: float) -> None:
        self.mesh, self.texels = mesh, texels
        self.process = self._start() if seconds > 0 and sys.executable else None
        self.deadline = time.monotonic() + (seconds if self.process is None else limited(self.process, seconds))

    def _start(self) -> subprocess.Popen[bytes] | None:
        """The worker, its input in a file so that a slow start keeps nobody waiting; None where it cannot be had."""
        try:
            with tempfile.TemporaryFile() as source:
                for array in (self.mesh.vertices, self.mesh.faces, np.array([min(self.texels, LAYOUT), PADDING])):
                    np.save(source, array)
                source.seek(0)
                return subprocess.Popen(
                    [sys.executable, str(WORKER)], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
        except OSError:
            return None

    def result(self) -> Atlas:
        """The atlas: xatlas's if it came in time and fits the mesh, else the grid."""
        if self.process is None:
            return grid_atlas(self.mesh, self.texels)
        try:
            output, _ = self.process.communicate(timeout=max(self.deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            output = b""
        finally:
            self.close()
        return self._read(output) or grid_atlas(self.mesh, self.texels)

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def _read(self, output: bytes) -> Atlas | None:
        stream = io.BytesIO(output)
        try:
            source, faces, uv = (np.load(stream) for _ in range(3))
        except (ValueError, EOFError):
            return None
        fits = np.array_equal(source[faces], self.mesh.faces) and np.isfinite(uv).all()
        if not fits:
            return None
        uv = uv.astype(np.float32).clip(0, 1)
        return Atlas(source.astype(np.int32), faces.astype(np.int32), uv, self.texels, "xatlas")


def limited(process: subprocess.Popen[bytes], seconds: float) -> float:
    """How long to wait for a process that may take so many seconds of processor time."""
    try:
        import resource

        whole = math.ceil(seconds)
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (whole, whole))
    except (ImportError, AttributeError, OSError):  # it is not counted here, or the process has ended
        return seconds
    return PATIENCE * seconds


def grid_atlas(mesh: Mesh, texels: int) -> Atlas:
    """Every two faces share a square cell, one on either side of its diagonal. Any mesh, at once, without overlaps;
    half of the texels are lost to seams, so a small texture is made larger: twice, up to ROOMY."""
    count = len(mesh.faces)
    texels = max(texels, min(2 * texels, ROOMY))
    side = int(np.ceil(np.sqrt((count + 1) // 2)))
    cell = 1.0 / side
    gap = min(1.0 / texels, cell / 8)  # to the cell's border
    notch = gap * (1 + np.sqrt(2))  # keeps the two hypotenuses 2 gaps apart
    near, far = [gap, gap], [cell - gap, cell - gap]
    halves = np.array(
        [[near, [cell - notch, gap], [gap, cell - notch]], [far, [notch, cell - gap], [cell - gap, notch]]]
    )
    index = np.arange(count)
    pair = index // 2
    corner = np.stack([pair % side, pair // side], -1) * cell
    uv = halves[index % 2] + corner[:, None]
    faces = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    return Atlas(mesh.faces.ravel(), faces, uv.reshape(-1, 2).astype(np.float32), texels, "grid")
