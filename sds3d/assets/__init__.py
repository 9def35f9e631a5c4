"""Assets from elsewhere: meshes and Gaussians in files that others made, brought into our world and back.

    mesh = load_mesh("chair.glb")        # vertices in the unit ball, +Y up, front +Z
    mesh.transform                       # (4, 4) from there to the file's own coordinates

Files are not trusted: sizes are checked before memory is taken (limits.py), and nothing is opened but the file itself
and what it names in its own folder.
"""

from sds3d.assets.load import load_mesh
from sds3d.assets.mesh import LoadedMesh
from sds3d.assets.placement import Placement

__all__ = ["LoadedMesh", "Placement", "load_mesh"]
