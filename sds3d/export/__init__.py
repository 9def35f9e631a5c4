"""Assets from scenes: `export_asset` writes a folder's files and says how good they are.

Meshes are +Y up, front +Z, in the unit ball. The Gaussian .ply is turned for the common viewers; see
`files.write_splat_ply`. This package imports nothing heavy until it exports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sds3d.errors import unknown
from sds3d.export.config import ExportConfig

if TYPE_CHECKING:
    from sds3d.export.mesh import TexturedMesh
    from sds3d.export.splats import Splats
    from sds3d.scenes.base import Scene

FORMATS = {  # name: file
    "glb": "asset.glb",
    "obj": "asset.obj",
    "ply": "asset.ply",
    "stl": "asset.stl",
    "mesh-ply": "asset-mesh.ply",
}
__all__ = ["FORMATS", "ExportConfig", "export_asset"]


def export_asset(
    scene: Scene,
    out_dir: Path,
    formats: Sequence[str] = ("glb", "ply"),
    config: ExportConfig | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Write the scene to `out_dir` in every one of `formats` (keys of FORMATS), each file atomically.

    glb, obj, stl and mesh-ply are the mesh, ply is Gaussians: the scene's own, or ones laid over its mesh.
    `progress` is told the name of each part of the work as it begins. Returns {"files": format -> names,
    "qa": the QA record or None if no mesh was made, "line": QA in words, "seconds": part -> seconds}.
    Raises UserError for an unknown format, an empty scene or a folder that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    from sds3d.export import asset, qa, splats

    config = config or ExportConfig()
    clock = asset.Clock(progress)
    gaussians = splats.of_scene(scene) if "ply" in formats else None
    mesh, quality = None, None
    if gaussians is None or set(formats) - {"ply"}:
        mesh, quality = asset.build(scene, config, clock)
        if gaussians is None and "ply" in formats:
            gaussians = splats.on_surface(mesh, config.splats)
    written = {}
    for name in dict.fromkeys(formats):
        with clock.part("files"):
            written[name] = [path.name for path in _write(name, out_dir / FORMATS[name], mesh, gaussians)]
    if mesh is not None and "glb" in written:
        with clock.part("check"):
            qa.reread_glb(out_dir / FORMATS["glb"], mesh)
    return {
        "files": written,
        "qa": quality.as_dict() if quality else None,
        "line": quality.line if quality else f"{len(gaussians.means)} Gaussians" if gaussians else "",
        "seconds": clock.seconds,
    }


def _write(name: str, path: Path, mesh: TexturedMesh | None, gaussians: Splats | None) -> list[Path]:
    from sds3d.export import files

    if name == "ply":
        assert gaussians is not None
        return files.write_splat_ply(path, gaussians)
    assert mesh is not None
    return files.MESH_WRITERS[name](path, mesh)
