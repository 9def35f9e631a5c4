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
BASE_COLOR, NORMAL = "textures/basecolor.png", "textures/normal.png"

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
            color3f inputs:diffuseColor.connect = </asset/material/basecolor.outputs:rgb>
            float inputs:metallic = {metallic:.9g}
            {bump}float inputs:roughness = {roughness:.9g}
            token outputs:surface
        }}
{pictures}

        def Shader "coordinates"
        {{
            uniform token info:id = "UsdPrimvarReader_float2"
            string inputs:varname = "st"
            float2 outputs:result
        }}
    }}
}}
"""

TEXTURE = """
        def Shader "{name}"
        {{
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @{file}@
            token inputs:sourceColorSpace = "{space}"
            float2 inputs:st.connect = </asset/material/coordinates.outputs:result>
            token inputs:wrapS = "clamp"
            token inputs:wrapT = "clamp"{more}
            float3 outputs:rgb
        }}
"""
BUMP = "normal3f inputs:normal.connect = </asset/material/normal.outputs:rgb>\n            "
UNPACK = """
            float4 inputs:bias = (-1, -1, -1, 0)
            float4 inputs:scale = (2, 2, 2, 1)"""


def write_usdz(path: Path, mesh: TexturedMesh) -> list[Path]:
    """One self-contained file, as Apple's Quick Look and USD tools read it: +Y up, one unit a metre."""
    members = {"asset.usda": stage(mesh).encode(), BASE_COLOR: _png(mesh.texture)}
    if mesh.normal_map is not None:
        members[NORMAL] = _png(mesh.normal_map)
    return [write_bytes(path, package(members))]


def stage(mesh: TexturedMesh) -> str:
    """The mesh as USD text."""
    pictures = TEXTURE.format(name="basecolor", file=BASE_COLOR, space="sRGB", more="")
    if mesh.normal_map is not None:
        pictures += TEXTURE.format(name="normal", file=NORMAL, space="raw", more=UNPACK)
    return STAGE.format(
        low=_tuples(mesh.vertices.min(0, keepdims=True)),
        high=_tuples(mesh.vertices.max(0, keepdims=True)),
        counts=", ".join(["3"] * len(mesh.faces)),
        indices=", ".join(map(str, mesh.faces.ravel().tolist())),
        normals=_tuples(mesh.normals, 6),
        points=_tuples(mesh.vertices),
        st=_tuples(mesh.uv),
        metallic=mesh.metallic,
        roughness=mesh.roughness,
        bump="" if mesh.normal_map is None else BUMP,
        pictures=pictures,
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


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _tuples(rows: NDArray[np.float32], digits: int = 9) -> str:
    return ", ".join("(" + ", ".join(f"{value:.{digits}g}" for value in row) + ")" for row in rows.tolist())
