"""Assets from elsewhere: meshes and Gaussians in files that others made, brought into our world and back.

    mesh = load_mesh("chair.glb")        # vertices in the unit ball, +Y up, front +Z
    mesh.transform                       # (4, 4) from there to the file's own coordinates
    splats = load_splats("scan.spz")     # splats.world: Gaussians; load_asset takes either

Files are not trusted: sizes are checked before memory is taken (limits.py), and nothing is opened but the file itself
and what it names in its own folder.
"""

from sds3d.assets.gaussians import Gaussians
from sds3d.assets.load import load_asset, load_mesh, load_splats
from sds3d.assets.mesh import LoadedMesh
from sds3d.assets.placement import Placement
from sds3d.assets.splats import LoadedSplats

__all__ = ["Gaussians", "LoadedMesh", "LoadedSplats", "Placement", "load_asset", "load_mesh", "load_splats"]
