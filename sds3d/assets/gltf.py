"""glTF 2.0 (.glb, .gltf): triangles in the pose that the nodes and skins give them, and their base colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gltf_document import Document, whole
from sds3d.assets.gltf_materials import Paints
from sds3d.assets.limits import MAX_NODES, Broken, at_most, faces_within
from sds3d.assets.mesh import Doubles, Part, encoded
from sds3d.assets.placement import Matrix
from sds3d.assets.source import Source

READ = {  # extensions that a file may require
    "KHR_mesh_quantization",
    "KHR_texture_transform",
    "KHR_materials_unlit",
    "KHR_materials_pbrSpecularGlossiness",
    "EXT_texture_webp",
}
COMPRESSED = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression", "KHR_texture_basisu"}
TRIANGLES, STRIP, FAN = 4, 5, 6


def read_gltf(source: Source) -> list[Part]:
    """Every triangle of the file's default scene. What is no triangle, and what moves, is noted and left out."""
    document = Document(source)
    _check_extensions(document)
    paints, worlds = Paints(document), node_matrices(document)
    poses: dict[int, Matrix] = {}
    parts: list[Part] = []
    count = seen = 0
    for index, matrix in worlds.items():
        node = document.get("nodes", index)
        for record in _list(document.get("meshes", node["mesh"]), "primitives") if "mesh" in node else ():
            seen = at_most(seen + 1, MAX_NODES, "primitives", "join them first")
            faces = _faces(document, record)
            if faces is None:
                source.note("lines and points")
                continue
            count = faces_within(count + len(faces))
            primitive = Primitive(document, record, faces)
            part = _part(primitive, paints)
            if "skin" in node:
                skin = whole(node["skin"], "skin")
                if skin not in poses:
                    poses[skin] = pose(document, skin, worlds)
                matrix = primitive.skinning(poses[skin])
            parts.append(moved(part, matrix))
    for what in ("animations", "cameras"):
        if document.root.get(what):
            source.note(what)
    return parts


class Primitive:
    """The vertices that a primitive's faces use: many may share one long accessor, which is not copied for each."""

    def __init__(self, document: Document, record: dict[str, Any], faces: NDArray[np.int64]) -> None:
        self.document, self.record = document, record
        self.attributes = record["attributes"]
        self.count = len(document.accessor(self.attributes["POSITION"]))
        if len(faces) and faces.max() >= self.count:
            raise Broken(f"has a face with vertex {faces.max():,} of {self.count:,}")
        self.used, inverse = np.unique(faces, return_inverse=True)
        self.faces = inverse.reshape(-1, 3)

    def __contains__(self, name: str) -> bool:
        return name in self.attributes

    def get(self, name: str, *widths: int) -> Doubles:
        """(V, width) of the used vertices."""
        values = self.document.accessor(self.attributes[name])
        if values.shape[1] not in widths:
            raise Broken(f"has a {name} of {values.shape[1]} numbers")
        if len(values) != self.count:
            raise Broken(f"has {len(values):,} {name} for {self.count:,} vertices")
        return values[self.used].astype(np.float64)

    def skinning(self, joints: Matrix) -> Matrix:
        """(V, 4, 4): the joints' matrices (J, 4, 4), blended by the weights of the vertices."""
        which, weights = self.get("JOINTS_0", 4).astype(np.int64), self.get("WEIGHTS_0", 4)
        if which.max(initial=0) >= len(joints):
            raise Broken("has a skin that does not fit its mesh")
        weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)
        return np.asarray(sum(weights[:, k, None, None] * joints[which[:, k]] for k in range(4)))


def _check_extensions(document: Document) -> None:
    required = {str(name) for name in _list(document.root, "extensionsRequired")}
    if packed := sorted(required & COMPRESSED):
        raise Broken(f"is compressed with {packed[0]}: save it without compression")
    if missing := sorted(required - READ):
        raise Broken(f"requires the glTF extension {missing[0][:60]}, which is not read")


def _list(record: Any, name: str) -> list[Any]:
    value = record.get(name, [])
    if not isinstance(value, list):
        raise Broken(f"has {name} that are no list")
    return value


def node_matrices(document: Document) -> dict[int, Matrix]:
    """World matrix of every node of the default scene. Raises Broken where nodes are no forest."""
    scenes = _list(document.root, "scenes")
    if scenes:
        roots = _list(document.get("scenes", document.root.get("scene", 0)), "nodes")
    else:
        nodes = _list(document.root, "nodes")
        children = {child for node in nodes for child in _list(node, "children")}
        roots = [i for i in range(len(nodes)) if i not in children]
    worlds: dict[int, Matrix] = {}
    waiting = [(whole(root, "root node"), np.eye(4)) for root in roots]
    while waiting:
        index, parent = waiting.pop()
        if index in worlds:
            raise Broken(f"has node {index} more than once in its scene: nodes must form a tree")
        node = document.get("nodes", index)
        worlds[index] = parent @ local_matrix(node)
        at_most(len(worlds), MAX_NODES, "nodes")
        waiting += [(whole(child, "child node"), worlds[index]) for child in _list(node, "children")]
    return worlds


def local_matrix(node: dict[str, Any]) -> Matrix:
    """(4, 4) of a node's `matrix` (by columns), or of its scale, then rotation (x y z w), then translation."""
    if "matrix" in node:
        matrix = np.array(node["matrix"], np.float64).reshape(4, 4).T
    else:
        x, y, z, w = (float(value) for value in node.get("rotation", (0, 0, 0, 1)))
        length = np.sqrt(x * x + y * y + z * z + w * w) or 1.0
        x, y, z, w = x / length, y / length, z / length, w / length
        matrix = np.eye(4)
        matrix[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
        matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64)
        matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64)
    if not np.isfinite(matrix).all():
        raise Broken("has a node whose transform is not a number")
    return matrix


def _faces(document: Document, primitive: dict[str, Any]) -> NDArray[np.int64] | None:
    """(F, 3) indices of a primitive; None for points and lines."""
    mode = primitive.get("mode", TRIANGLES)
    if mode not in (TRIANGLES, STRIP, FAN):
        return None
    if "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
        raise Broken("is compressed with KHR_draco_mesh_compression: save it without compression")
    if "indices" in primitive:
        indices = document.accessor(primitive["indices"])
        if indices.dtype.kind != "u" or indices.shape[1] != 1:
            raise Broken("has indices that are not whole numbers")
        order = indices[:, 0].astype(np.int64)
    else:
        order = np.arange(len(document.accessor(primitive["attributes"]["POSITION"])))
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == FAN:
        return np.stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]], 1)
    faces = np.stack([order[:-2], order[1:-1], order[2:]], 1)
    faces[1::2] = faces[1::2, [1, 0, 2]]  # every other triangle of a strip runs the other way
    return faces


def _part(primitive: Primitive, paints: Paints) -> Part:
    """The primitive in its mesh's coordinates."""
    source = primitive.document.source
    if primitive.record.get("targets"):
        source.note("morph targets")
    paint, coordinates = paints.of(primitive.record.get("material"))
    part = Part(primitive.get("POSITION", 3), primitive.faces, paint=paint)
    if "NORMAL" in primitive:
        part.normals = primitive.get("NORMAL", 3)
    if coordinates is not None and coordinates.name in primitive:
        part.uv = coordinates.apply(primitive.get(coordinates.name, 2))
    if "COLOR_0" in primitive:
        part.colors = _colors(primitive.get("COLOR_0", 3, 4))
        if part.uv is not None and np.ptp(part.colors, axis=0).max(initial=0) > 0:
            source.note("vertex colours under a texture")
    return part


def _colors(linear: Doubles) -> Doubles:
    """(V, 4) sRGB of COLOR_0, which is linear, with or without alpha."""
    alpha = linear[:, 3:] if linear.shape[1] == 4 else np.ones((len(linear), 1))
    return np.concatenate([encoded(linear[:, :3]), alpha], 1)


def pose(document: Document, index: int, worlds: dict[int, Matrix]) -> Matrix:
    """(J, 4, 4) of a skin: from the mesh in its bind pose to the world, by way of every joint. The node that has the
    skin plays no part in it, as glTF says."""
    skin = document.get("skins", index)
    joints = [worlds.get(whole(joint, "joint"), np.eye(4)) for joint in _list(skin, "joints")]
    if not joints:
        raise Broken("has a skin without joints")
    inverse = np.tile(np.eye(4), (len(joints), 1, 1))
    if "inverseBindMatrices" in skin:
        stored = document.accessor(skin["inverseBindMatrices"])
        if stored.shape[1] != 16 or len(stored) < len(joints):
            raise Broken("has a skin without enough matrices")
        inverse = stored[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
    return np.stack(joints) @ inverse


def moved(part: Part, matrix: Matrix) -> Part:
    """The part under a (4, 4) matrix, or under one matrix a vertex (V, 4, 4). A mirror turns the faces round."""
    linear = matrix[..., :3, :3]
    part.vertices = np.einsum("...ij,...j->...i", linear, part.vertices) + matrix[..., :3, 3]
    determinant = np.linalg.det(linear)
    if part.normals is not None:  # by cofactors: the inverse transpose, but for a scale, and there for every matrix
        rows = [np.cross(linear[..., (i + 1) % 3, :], linear[..., (i + 2) % 3, :]) for i in range(3)]
        cofactors = np.stack(rows, -2) * np.sign(determinant)[..., None, None]
        part.normals = np.einsum("...ij,...j->...i", cofactors, part.normals)
    mirrored = np.broadcast_to(determinant < 0, len(part.vertices))[part.faces[:, 0]]
    part.faces = np.where(mirrored[:, None], part.faces[:, [0, 2, 1]], part.faces)
    return part
