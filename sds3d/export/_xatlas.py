"""xatlas in a process of its own, because it can run for hours and nothing stops it but a kill.

Run by path, not as a module, so that it imports nothing but numpy and xatlas: three arrays in on stdin (vertices,
faces, [texels, padding]), three out on stdout (source vertices, faces, uv), all in .npy format.
"""

import io
import sys

import numpy as np
import xatlas


def main() -> None:
    stdin = io.BytesIO(sys.stdin.buffer.read())
    vertices, faces, (texels, padding) = (np.load(stdin) for _ in range(3))
    pack = xatlas.PackOptions()
    pack.resolution, pack.padding = int(texels), int(padding)
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces)
    atlas.generate(pack_options=pack)
    for array in atlas[0]:
        np.save(sys.stdout.buffer, array)


if __name__ == "__main__":
    main()
