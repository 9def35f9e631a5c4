"""Assets from scenes: `export_asset` writes a folder's files and says how good they are.

Meshes are +Y up, front +Z, in the unit ball; what came from a file goes back to where it was there. Gaussians in .ply
and .splat are turned for the common viewers, which take +Y as down. Nothing heavy is imported before an export.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sds3d.errors import unknown
from sds3d.export.config import ExportConfig

if TYPE_CHECKING:
    from sds3d.assets.placement import Placement
    from sds3d.scenes.base import Scene

FORMATS = {  # name: file
    "glb": "asset.glb",
    "obj": "asset.obj",
    "ply": "asset.ply",
    "stl": "asset.stl",
    "mesh-ply": "asset-mesh.ply",
    "gltf": "asset.gltf",
    "usdz": "asset.usdz",
    "spz": "asset.spz",
    "ply-compressed": "asset.compressed.ply",
    "splat": "asset.splat",
}
OF_GAUSSIANS = frozenset({"ply", "ply-compressed", "spz", "splat"})
UPRIGHT = frozenset({"glb", "gltf", "usdz", "spz"})  # formats that say themselves that +Y is up
__all__ = ["FORMATS", "ExportConfig", "axes_kind", "export_asset"]


def axes_kind(name: str) -> str:
    """Which of a Placement's axes files of a format have: "upright", "splat" or "mesh"."""
    return "upright" if name in UPRIGHT else "splat" if name in OF_GAUSSIANS else "mesh"


def export_asset(
    scene: Scene,
    out_dir: Path,
    formats: Sequence[str] = ("glb", "ply"),
    config: ExportConfig | None = None,
    progress: Callable[[str], None] | None = None,
    placement: Placement | None = None,
    prompt: str = "",
) -> dict[str, Any]:
    """Write the scene to `out_dir` in every one of `formats` (keys of FORMATS), each file atomically.

    Those of OF_GAUSSIANS are Gaussians, the scene's own or ones laid over its mesh; the others are the mesh.
    `placement` says where the files' coordinates lie; by default where the scene's own file had them, or the world.
    The words of `prompt` say how rough and metallic it is where `config` does not (materials.py).
    `progress` is told the name of each part of the work as it begins. Returns {"files": format -> names,
    "qa": the QA record or None if no mesh was made, "line": QA in words, "seconds": part -> seconds, "axes": kind of
    axes (axes_kind) -> up and front in words}.
    Raises UserError for an unknown format, an empty scene or a folder that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    from sds3d.assets.placement import words_of
    from sds3d.export import asset, files, qa, splat_files, splats

    config = config or ExportConfig()
    where = placement or splats.placement_of(scene)
    wanted = OF_GAUSSIANS & set(formats)
    clock = asset.Clock(progress)
    gaussians = splats.of_scene(scene) if wanted else None
    owner = None if gaussians is None else scene
    mesh, quality = None, None
    if gaussians is None or set(formats) - wanted:
        mesh, quality = asset.build(scene, config, clock, prompt)
        if gaussians is None and wanted:
            gaussians = splats.on_surface(mesh, config.splats)
    written = {}
    for name in dict.fromkeys(formats):
        with clock.part("files"):
            path = out_dir / FORMATS[name]
            if name in OF_GAUSSIANS:
                assert gaussians is not None
                paths = splat_files.write(name, path, gaussians, owner, where)
            else:
                assert mesh is not None
                paths = files.write_mesh(name, path, mesh, where)
            written[name] = [path.name for path in paths]
    if mesh is not None and "glb" in written:
        with clock.part("check"):
            qa.reread_glb(out_dir / FORMATS["glb"], mesh)
    return {
        "files": written,
        "qa": quality.as_dict() if quality else None,
        "line": quality.line if quality else f"{len(gaussians.means)} Gaussians" if gaussians else "",
        "seconds": clock.seconds,
        "axes": {kind: words_of(where.axes(kind)) for kind in ("upright", "splat", "mesh")},
    }
