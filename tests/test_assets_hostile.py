"""Broken and hostile files: one clear line, bounded memory and time, nothing opened outside the asset's folder."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from asset_files import TRIANGLE, Gltf, checker, data_uri, png

from sds3d.assets import Gaussians, load_asset, load_mesh
from sds3d.assets.limits import MAX_FACES, MAX_PIXELS
from sds3d.assets.source import inside
from sds3d.errors import UserError
from sds3d.export.compressed import write_compressed_ply
from sds3d.export.splat_files import write_ply, write_splat
from sds3d.export.spz import write_spz

MEGABYTES = 700  # what the worst files together may take at any one time; MAX_BYTES is 512 MiB of it
SECONDS = 10.0  # of processor time; most take milliseconds

AXES = b"property float x\nproperty float y\nproperty float z\n"
FACE = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


def textured() -> Gltf:
    gltf = Gltf()
    uv = gltf.array([[0, 0], [1, 0], [0, 1]])
    gltf.scene(gltf.add("nodes", mesh=gltf.mesh(material=gltf.material(checker((9, 9, 9))), TEXCOORD_0=uv)))
    return gltf


def changed(**root) -> bytes:
    gltf = textured()
    gltf.root.update(root)
    return gltf.text()


def with_picture(uri: str) -> bytes:
    gltf = textured()
    gltf.root["images"] = [{"uri": uri}]
    return gltf.text()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is so large and has next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def zeros_gzipped(head: bytes, megabytes: int) -> bytes:
    """`head` and so many megabytes of zeros. After a full flush a packer writes the same bytes for the same input."""
    packer = zlib.compressobj(9, wbits=31)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * megabytes + packer.flush()


def spz_head(count: int, degree: int = 0, version: int = 3) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, 12, 0, 0)


def aliased(accessors: int) -> bytes:
    """Many large accessors behind which there are no bytes: they are all zeros."""
    gltf = Gltf()
    gltf.root["accessors"] = [{"componentType": 5126, "type": "VEC3", "count": 5_900_000}] * accessors
    face = gltf.array([0, 1, 2], "<u4")
    for k in range(accessors):
        gltf.add("meshes", primitives=[{"attributes": {"POSITION": k}, "indices": face}])
    gltf.scene(*(gltf.add("nodes", mesh=k) for k in range(accessors)))
    return gltf.glb()


def instanced(nodes: int) -> bytes:
    gltf = Gltf()
    mesh = gltf.mesh(np.random.default_rng(0).normal(size=(30_000, 3)))
    gltf.scene(*(gltf.add("nodes", mesh=mesh) for _ in range(nodes)))
    return gltf.glb()


def tinted_often(materials: int) -> bytes:
    """One large picture under very many materials, each of another tint."""
    gltf = Gltf()
    uv = gltf.array([[0, 0], [1, 0], [0, 1]])
    first = gltf.material(png(np.zeros((2048, 2048, 3))))
    texture = gltf.root["materials"][first]["pbrMetallicRoughness"]["baseColorTexture"]
    for k in range(1, materials):
        surface = {"baseColorTexture": texture, "baseColorFactor": [k / materials, 1, 1, 1]}
        gltf.add("materials", pbrMetallicRoughness=surface)
    position = gltf.array(TRIANGLE)
    attributes = {"POSITION": position, "TEXCOORD_0": uv}
    gltf.add("meshes", primitives=[{"attributes": attributes, "material": k} for k in range(materials)])
    gltf.scene(gltf.add("nodes", mesh=0))
    return gltf.glb()


def large_accessor(count: int) -> bytes:
    gltf = textured()
    gltf.root["accessors"][0].pop("bufferView")
    gltf.root["accessors"][0]["count"] = count
    return gltf.glb()


def lists_head(order: str, rows: int = 30_000_000) -> bytes:
    """A .ply with a table of lists that nobody wants before its vertices."""
    head = f"ply\nformat {order} 1.0\nelement strip {rows}\nproperty list uchar uchar of\nelement vertex 3\n"
    return head.encode() + AXES + b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"


BESIDE = {  # what some of the worst files name
    "_notes.mtl": b"".join(b"newmtl %d\nmap_Kd %d.png\n" % (k, k) for k in range(9_000)),
    "_last.mtl": b"newmtl x\n" + b"".join(b"Kd 1 0 0\nmap_Kd %d.png\n" % k for k in range(200_000)),
}
WORST: dict[str, tuple[bytes, str]] = {  # file: content, what its line must say
    "faces.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 2 3\n" * 10_000_000, "10,000,000 faces, at most"),
    "corners.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf " + b"1 2 3 " * 300_000 + b"\n", "bytes in one line"),
    "line.obj": (b"v 1 1 1\n#" + b"x" * 20_000_000, "bytes in one line"),
    "lines.obj": (b"v 1 1 1" + b"\nv 1 1 1" * 7_000_000, "vertices, at most"),
    "faces.ply": (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\n"
        b"element face 10000000\nproperty list uchar int vertex_indices\nend_header\n" + bytes(1_000),
        "10,000,000 faces, at most 2,000,000 are read: decimate it first",
    ),
    "count.ply": (b"ply\nformat ascii 1.0\nelement vertex 999999999999\nend_header\n", "vertices, at most"),
    "list.ply": (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 0\nproperty float x\n"
        b"element face 1\nproperty list uint int vertex_indices\nend_header\n" + b"\xff" * 9,
        "corners in a face",
    ),
    "tokens.ply": (
        b"ply\nformat ascii 1.0\nelement vertex 300000\n" + AXES + b"element face 1\n"
        b"property list uchar int vertex_indices\nend_header\n" + b"1 \n" * 300_000,
        "no number where 900,000",
    ),
    "bomb.spz": (zeros_gzipped(spz_head(10), 50_000), "more in it than the 10 Gaussians"),
    "many.spz": (zeros_gzipped(spz_head(3_900_000), 20_000), "more in it than the 3,900,000 Gaussians"),
    "short.spz": (zeros_gzipped(spz_head(4_000_000, 3), 1), "ends early"),
    "count.spz": (gzip.compress(spz_head(2**32 - 1)), "4,294,967,295 Gaussians, at most"),
    "zeros.spz": (zeros_gzipped(b"", 50_000), "no .spz"),
    "zeros.glb": (b"glTF" + struct.pack("<II", 2, 2**32 - 1) + bytes(100), "ends early"),
    "accessor.glb": (large_accessor(4_000_000_000), "as its count, at most"),
    "zeroed.glb": (large_accessor(5_900_000), ""),
    "aliases.glb": (aliased(30), "numbers, at most"),
    "instances.glb": (instanced(50_000), "faces, at most"),
    "tints.glb": (tinted_often(2000), "pixels in its materials together"),
    "chunks.glb": (
        b"glTF" + struct.pack("<II", 2, 12 + 8 * 100_000) + b"".join(struct.pack("<II", 0, k) for k in range(100_000)),
        "more than 64 chunks",
    ),
    "lists.ply": (
        lists_head("binary_little_endian") + b"\1\0" + bytes(1_000),
        "30,000,000 rows of 'strip', at most 10,000,000",
    ),
    "uneven.ply": (
        lists_head("binary_little_endian", 9_000_000) + b"\1\0" + bytes(9_000_000),
        "9,000,000 lists of different lengths in 'strip', at most 4,000,000",
    ),
    "text.ply": (lists_head("ascii") + b"0\n" * 1_000, "30,000,000 rows of 'strip', at most 10,000,000"),
    "blank.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n" + b"\n" * 21_000_000, "21,000,004 lines of text, at most"),
    "same.obj": (b"mtllib none.mtl\n" * 300_000 + FACE, ""),
    "libraries.obj": (b"".join(b"mtllib %d.mtl\n" % k for k in range(100_000)) + FACE, "material libraries, at most"),
    "notes.obj": (b"mtllib _notes.mtl\n" + FACE, "names more than 1,000 files"),
    "last.obj": (b"mtllib _last.mtl\n" + FACE, ""),
    "corners.stl": (b"solid x\nfacet\n" + b"vertex 1 1 1\n" * 4_000_000 + b"endfacet\n", "3 corners for each"),
    "values.gltf": (b'{"asset":{"version":"2.0"},"x":[' + b"[]," * 3_000_000 + b"[]]}", "JSON values, at most"),
    "deep.gltf": (b'{"asset":{"version":"2.0"},"x":' + b"[" * 500_000 + b"]" * 500_000 + b"}", "not readable JSON"),
    "picture.gltf": (with_picture(data_uri(png_header(60_000, 60_000), "image/png")), "picture of more than"),
    "address.gltf": (with_picture("data:image/png;base64," + "A" * 5_000_000), "cannot be opened"),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """What a process with little memory makes of the worst files."""
    folder = tmp_path_factory.mktemp("worst") / "assets"
    folder.mkdir()
    for name, (content, _) in WORST.items():
        (folder / name).write_bytes(content)
    for name, content in BESIDE.items():
        (folder / name).write_bytes(content)
    with open(folder / "faces.stl", "wb") as file:  # 500 MB of holes
        file.write(bytes(80) + struct.pack("<I", 10_000_000))
        file.truncate(84 + 50 * 10_000_000)
    with open(folder / "size.stl", "wb") as file:
        file.truncate(1 << 40)
    before = sorted(p.name for p in folder.parent.rglob("*"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    script = Path(__file__).with_name("hostile_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(MEGABYTES)],
        capture_output=True, text=True, env=environment, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(p.name for p in folder.parent.rglob("*")) == before
    for path in folder.iterdir():
        path.unlink()
    return json.loads(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is limited by way of Linux's /proc")
@pytest.mark.parametrize("name", [*WORST, "faces.stl", "size.stl"])
def test_the_worst_files_take_little_memory_and_time(records, name):
    said = {"faces.stl": "10,000,000 faces, at most", "size.stl": "bytes in 'size.stl'"}.get(name) or WORST[name][1]
    record = records[name]
    assert said in record["outcome"] and "CRASH" not in record["outcome"], record
    assert "\n" not in record["outcome"] and len(record["outcome"]) < 300
    assert record["seconds"] < SECONDS and record["outside"] == [], record


def test_no_file_may_be_named_outside_the_folder(tmp_path):
    """Buffers, pictures, material libraries: addresses, absolute paths, ways up, links, pipes."""
    folder = tmp_path / "asset"
    (folder / "sub").mkdir(parents=True)
    secret = tmp_path / "secret.png"
    secret.write_bytes(checker((1, 2, 3)))
    (folder / "link.png").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.png")
    (folder / "sub" / "fine one.png").write_bytes(checker((1, 2, 3)))
    tricks = ["http://127.0.0.1/x.png", "file:///etc/passwd", "../secret.png", "sub/../../secret.png", str(secret)]
    tricks += ["%2e%2e/secret.png", "..\\secret.png", "C:\\secret.png", "C%3A/secret.png", "link.png", "up/secret.png"]
    tricks += ["//host/share.png", "\\\\host\\share.png", "pipe.png", "sub", "a\0b"]
    for name in tricks:
        (folder / "a.gltf").write_bytes(with_picture(name))
        (folder / "a.mtl").write_text(f"newmtl m\nmap_Kd {name}\n")
        (folder / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl m\nf 1 2 3\n")
        (folder / "b.obj").write_text(f"mtllib {name}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
        (folder / "b.gltf").write_bytes(changed(buffers=[{"uri": name, "byteLength": 4}]))
        own_disk = name in (str(secret), "C:\\secret.png")  # of an .obj's author: looked for beside it, never there
        for path in ("a.gltf", "a.obj", "b.obj", "b.gltf"):
            if own_disk and path.endswith(".obj"):
                mesh = load_mesh(folder / path)
                assert mesh.texture is None and "is not beside it" in mesh.notes[0]
                continue
            with pytest.raises(UserError) as raised:
                load_mesh(folder / path)
            assert "\n" not in str(raised.value) and len(str(raised.value)) < 300, name
    assert inside(folder, "sub/fine%20one.png") == (folder / "sub" / "fine one.png").resolve()
    (folder / "a.gltf").write_bytes(with_picture("sub/fine%20one.png"))
    assert np.allclose(load_mesh(folder / "a.gltf").texture[0, 0, :3], [1, 2, 3])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(nodes=[{"children": [1]}, {"children": [0], "mesh": 0}]), "more than once"),
        (changed(nodes=[{"children": [1, 1]}, {"mesh": 0}]), "more than once"),
        (changed(nodes=[{"children": [0]}]), "more than once"),
        (changed(nodes=[{"children": [7]}]), r"nodes\[7\], which is not there"),
        (changed(nodes=[{"mesh": -1}]), "index into meshes"),
        (changed(nodes=[{"mesh": 0, "translation": [1e999, 0, 0]}]), "not a number|broken"),
        (changed(nodes=[{"mesh": 0, "scale": [1e300, 1e300, 1e300]}]), "coordinates as large|not numbers"),
        (changed(nodes=[{"mesh": 0, "matrix": [1, 2]}]), "broken"),
        (changed(extensionsRequired=["KHR_draco_mesh_compression"]), "without compression"),
        (changed(extensionsRequired=["EXT_unheard_of"]), "requires the glTF extension"),
        (changed(asset={"version": "1.0"}), "not glTF 2"),
        (changed(bufferViews=[{"buffer": 0, "byteLength": 10**6}] * 9), "ends at byte"),
        (changed(bufferViews=[{"buffer": 0, "byteOffset": -4, "byteLength": 4}] * 9), "as its offset"),
        (changed(bufferViews=[{"buffer": 0, "byteLength": 1.5}] * 9), "1.5"),
        (changed(scenes=[{"nodes": []}]), "holds no triangles"),
        (changed(scenes=7), "no list"),
        (changed(meshes=[{"primitives": [{"attributes": {"POSITION": 99}}]}]), "which is not there"),
        (changed(images=[{"uri": data_uri(b"no picture")}]), "cannot be opened"),
        (changed(images=[{"uri": "data:;base64,???"}]), "cannot be decoded"),
        (changed(images=[{"uri": "missing.png"}]), "not beside it"),
        (b'{"asset": {"version": "2.0"}, "nodes": NaN}', "not readable JSON"),
        (b"{", "not readable JSON"),
        (b"glTF", "cut off in its header"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "points without faces"),
        (b"ply\nformat odd 1.0\nend_header\n", "unknown .ply format"),
        (b"ply\n" + b"comment x\n" * 10_000, "no whole .ply header"),
        (b"v 0 0 0\nv 1 0 0\nv nan 1 0\nf 1 2 3\n", "1 vertices that are not numbers"),
        (b"v 0 0 0\nv 1 0 0\nv inf 1 0\nf 1 2 3\n", "1 vertices that are not numbers"),
        (b"v 0 0 0\nv 1e200 0 0\nv 0 1 0\nf 1 2 3\n", "coordinates as large"),
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "names vertex 9 of 3"),
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -9 2 3\n", "names vertex"),
        (b"v 0 0 0\nv 1 x 0\nv 0 1 0\nf 1 2 3\n", "no number"),
        (b"v 5 5 5\nv 5 5 5\nv 5 5 5\nf 1 2 3\n", "single point"),
        (b"v 0 0 0\nv .3 .1 .7\nv .6 .2 1.4\nf 1 2 3\n", "has no surface"),
        (b"v 0 0 0\n", "holds no faces"),
        (b"solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nendloop\nendfacet\n", "ends early"),
        (b"\x1f\x8bgarbage", "broken|no .spz"),
        (b"NGSP\4\0\0\0\1\0\0\0", "no .spz"),
        (b"PK\x03\x04 a zip", "unknown kind: glb, gltf, obj"),
        (b"", "is empty"),
    ],
)  # fmt: skip
def test_broken_files_are_named_in_one_line(tmp_path, content, words):
    path = tmp_path / "asset"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as raised:
        load_asset(path)
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)


def test_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.glb", Path("/dev/zero")):
        with pytest.raises(UserError) as raised:
            load_asset(path)
        assert "\n" not in str(raised.value)


def sound_files(folder: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    sizes = (60, 3), (60, 3), (60, 4), (60,), (60, 4, 3)
    splats = Gaussians(*(rng.normal(size=size).astype(np.float32) for size in sizes))
    gltf = textured()
    gltf.save(folder / "a.glb")
    gltf.save(folder / "a.gltf")
    write_ply(folder / "a.ply", splats)
    write_compressed_ply(folder / "c.ply", splats)
    write_spz(folder / "a.spz", splats)
    write_splat(folder / "a.splat", splats)
    (folder / "a.obj").write_text("v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 1 1 0\nvt 0 0\nf 1/1 2/1 3/1\nf 3//0 2 1\n")
    triangle = np.zeros(1, [("n", "<f4", 3), ("c", "<f4", (3, 3)), ("a", "<u2")])
    triangle["c"] = TRIANGLE
    (folder / "a.stl").write_bytes(bytes(80) + struct.pack("<I", 1) + triangle.tobytes())
    mesh = b"ply\nformat binary_little_endian 1.0\nelement vertex 3\n" + AXES
    mesh += b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    (folder / "m.ply").write_bytes(mesh + TRIANGLE.tobytes() + b"\3" + np.arange(3, dtype="<i4").tobytes())
    return sorted(folder.iterdir())


def test_files_cut_short_or_with_changed_bytes_never_crash(tmp_path):
    """Each sound file loads; cut anywhere it is refused or read in part; with bytes changed likewise. 700 files."""
    rng = np.random.default_rng(2)
    refused = 0
    for path in sound_files(tmp_path):
        data = path.read_bytes()
        load_asset(path)
        for k in range(70):
            broken = bytearray(data[: rng.integers(len(data))] if k % 2 else data)
            for _ in range(rng.integers(1, 6) if broken else 0):
                broken[rng.integers(min(len(broken), 400 if k % 3 else len(broken)))] = rng.integers(256)
            path.write_bytes(bytes(broken))
            try:
                loaded = load_asset(path)
            except UserError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) < 400
            else:
                points = loaded.vertices if hasattr(loaded, "vertices") else loaded.world.means
                assert np.isfinite(points).all() and np.linalg.norm(points, axis=1).max() < 1.06
        path.write_bytes(data)
    assert refused > 250  # the fuzz does find what is broken


def test_pictures_are_measured_before_they_are_unpacked(tmp_path):
    """One too large, and several that are too large together."""
    from sds3d.assets.pictures import open_picture
    from sds3d.assets.source import Source

    side = int(MAX_PIXELS**0.5)
    for data in (png_header(side + 1, side), png_header(1, 2**31 - 1)):
        with pytest.raises(Exception, match="picture of more than"):
            open_picture(Source(tmp_path, b""), data)
    source = Source(tmp_path, b"", pixels_left=100)
    open_picture(source, png(np.zeros((8, 8, 3))))
    with pytest.raises(Exception, match="what is left of the allowance"):
        open_picture(source, png(np.zeros((8, 8, 3))))


def test_only_plain_picture_kinds_are_opened(tmp_path):
    """Formats whose readers call other programs or follow references are not tried."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "EPS")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    (tmp_path / "a.gltf").write_bytes(with_picture("a.png"))
    with pytest.raises(UserError, match="picture that cannot be opened"):
        load_mesh(tmp_path / "a.gltf")


def test_gaussians_that_are_not_numbers_are_left_out(tmp_path):
    from sds3d.assets import load_splats

    parts = [np.ones(size, np.float32) for size in ((5, 3), (5, 3), (5, 4), (5,), (5, 1, 3))]
    parts[0][:] = np.arange(15).reshape(5, 3)
    parts[0][1, 2], parts[3][2], parts[1][3], parts[2][4] = np.nan, np.inf, -np.inf, 0
    write_ply(tmp_path / "a.ply", Gaussians(*parts))
    loaded = load_splats(tmp_path / "a.ply")
    assert len(loaded) == 3 and loaded.notes == ("2 Gaussians that are not numbers",)
    assert all(np.isfinite(v.numpy()).all() for v in loaded.tensors().values())
    assert loaded.stored.opacities[1] == np.inf  # what is only extreme stays as it was in the file


def test_numbers_of_a_text_are_counted_before_they_are_read():
    """numpy fills what is missing with whatever lies in memory."""
    from sds3d.assets.limits import Broken
    from sds3d.assets.text import numbers

    assert numbers(b" 1\t2.5\r\n-3e2 nan", 4)[:3].tolist() == [1, 2.5, -300]
    for text, count in ((b"1 2 \n", 3), (b"1 2 3 4", 3), (b"1 2 x", 3), (b"1 2 3x", 3), (b"", 1), (b"1\x002 3", 3)):
        with pytest.raises(Broken, match="no number"):
            numbers(text, count)


def test_limits_leave_room_for_real_assets():
    assert MAX_FACES >= 1_000_000 and MAX_PIXELS >= 4096**2
