"""USDZ: a textured mesh as USD text and a PNG, in a zip whose members are stored at multiples of 64 bytes.

Layout: openusd.org/release/spec_usdz.html; material: UsdPreviewSurface. Written by hand, since OpenUSD itself is large.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sds3d.export.mesh import TexturedMesh
from sds3d.files import write_bytes

ALIGNMENT = 64
LOCAL_HEADER = 30  # bytes before a member's name
PADDING = 0x1986  # id of an extra field that only fills space, as OpenUSD writes it
PICTURE = "textures/basecolor.png"

STAGE = """#usda 1.0
(
    defaultPrim = "asset"
    metersPerUnit = 1
    upAxis = "Y"
)

def Xform "asset" (
    assetInfo = {{
        string name = "asset"
    }}
    kind = "component"
)
{{
    def Mesh "mesh" (
        prepend apiSchemas = ["MaterialBindingAPI"]
    )
    {{
        float3[] extent = [{low}, {high}]
        int[] faceVertexCounts = [{counts}]
        int[] faceVertexIndices = [{indices}]
        rel material:binding = </asset/material>
        normal3f[] normals = [{normals}] (
            interpolation = "vertex"
        )
        point3f[] points = [{points}]
        texCoord2f[] primvars:st = [{st}] (
            interpolation = "vertex"
        )
        uniform token subdivisionScheme = "none"
    }}

    def Material "material"
    {{
        token outputs:surface.connect = </asset/material/surface.outputs:surface>

        def Shader "surface"
        {{
            uniform token info:id = "UsdPreviewSurface"
            color3f inputs:diffuseColor.connect = </asset/material/texture.outputs:rgb>
            float inputs:metallic = 0
            float inputs:roughness = 0.9
            token outputs:surface
        }}

        def Shader "texture"
        {{
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @{picture}@
            token inputs:sourceColorSpace = "sRGB"
            float2 inputs:st.connect = </asset/material/coordinates.outputs:result>
            token inputs:wrapS = "clamp"
            token inputs:wrapT = "clamp"
            float3 outputs:rgb
        }}

        def Shader "coordinates"
        {{
            uniform token info:id = "UsdPrimvarReader_float2"
            string inputs:varname = "st"
            float2 outputs:result
        }}
    }}
}}
"""


def write_usdz(path: Path, mesh: TexturedMesh) -> list[Path]:
    """One self-contained file, as Apple's Quick Look and USD tools read it: +Y up, one unit a metre."""
    picture = io.BytesIO()
    Image.fromarray(mesh.texture).save(picture, "PNG")
    return [write_bytes(path, package({"asset.usda": stage(mesh).encode(), PICTURE: picture.getvalue()}))]


def stage(mesh: TexturedMesh) -> str:
    """The mesh as USD text."""
    return STAGE.format(
        low=_tuples(mesh.vertices.min(0, keepdims=True)),
        high=_tuples(mesh.vertices.max(0, keepdims=True)),
        counts=", ".join(["3"] * len(mesh.faces)),
        indices=", ".join(map(str, mesh.faces.ravel().tolist())),
        normals=_tuples(mesh.normals, 6),
        points=_tuples(mesh.vertices),
        st=_tuples(mesh.uv),
        picture=PICTURE,
    )


def package(members: dict[str, bytes]) -> bytes:
    """A zip of stored members, the data of each beginning at a multiple of ALIGNMENT; the first one is the stage."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))  # the same bytes on every day
            start = stream.tell() + LOCAL_HEADER + len(name.encode())
            gap = -(start + 4) % ALIGNMENT
            info.extra = PADDING.to_bytes(2, "little") + gap.to_bytes(2, "little") + bytes(gap)
            archive.writestr(info, data)
    return stream.getvalue()


def _tuples(rows: NDArray[np.float32], digits: int = 9) -> str:
    return ", ".join("(" + ", ".join(f"{value:.{digits}g}" for value in row) + ")" for row in rows.tolist())
