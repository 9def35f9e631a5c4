"""Blender alone: import a .glb and draw it from given cameras, unlit or lit from the camera. Run with a Python that has
bpy:

    python render_glb.py ASSET.glb CAMERAS.json SIZE OUT_PREFIX [lit]

CAMERAS.json is a list of {"position": [x, y, z], "fov": degrees} in glTF's axes, looking at the origin. Each gives
OUT_PREFIX-<index>.png with straight alpha.
"""

from __future__ import annotations

import json
import math
import sys

import bpy
from mathutils import Vector

SAMPLES = 32


def main(asset: str, cameras: str, size: str, prefix: str, lit: str = "") -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=asset)
    set_up(int(size))
    if not lit:
        for material in bpy.data.materials:
            make_flat(material)
    with open(cameras, encoding="utf-8") as file:
        for index, camera in enumerate(json.load(file)):
            place_camera(camera["position"], camera["fov"], bool(lit))
            bpy.context.scene.render.filepath = f"{prefix}-{index}.png"
            bpy.ops.render.render(write_still=True)


def set_up(size: int) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", SAMPLES, False
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.film_transparent = True
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("world")


def make_flat(material: bpy.types.Material) -> None:
    """What feeds the base colour shines by itself, and nothing else is seen."""
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    emission = tree.nodes.new("ShaderNodeEmission")
    base = shader.inputs["Base Color"]
    if base.links:
        tree.links.new(base.links[0].from_socket, emission.inputs["Color"])
    else:
        emission.inputs["Color"].default_value = base.default_value
    tree.links.new(emission.outputs[0], output.inputs["Surface"])


def place_camera(position: list[float], fov: float, lit: bool) -> None:
    """Blender's importer turns glTF's +Y up into +Z up: (x, y, z) -> (x, -z, y)."""
    for item in [item for item in bpy.data.objects if item.type in ("CAMERA", "LIGHT")]:
        bpy.data.objects.remove(item)
    x, y, z = position
    place = Vector((x, -z, y))
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.sensor_fit, camera.data.angle = "HORIZONTAL", math.radians(fov)
    camera.location, camera.rotation_euler = place, (-place).to_track_quat("-Z", "Y").to_euler()
    bpy.context.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    if lit:
        sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
        sun.data.energy = 3.0
        side = camera.rotation_euler.to_matrix() @ Vector((0.5, 0.6, 1.0))
        sun.rotation_euler = (-side).to_track_quat("-Z", "Y").to_euler()
        bpy.context.collection.objects.link(sun)


if __name__ == "__main__":
    main(*sys.argv[1:])
