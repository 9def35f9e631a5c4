"""Which modelled objects have a front, and which have to be turned to show it along +Z."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sds3d.render.mesh import Soup

FACING = ("person", "animal", "vehicle", "machine", "ship", "building", "furniture", "bathroom", "opening")
WITH = frozenset(
    [
        "backpack", "beach chair", "bunny ears", "cabinet", "camera", "camping tent", "chest", "chest freezer", "clock",
        "coffee machine", "cuckoo clock", "dartboard", "deck chair", "deep fryer", "dog house", "dryer", "dynamite",
        "exercise bike", "folding chair", "fridge", "furnace", "garden hut", "gramophone", "helmet", "high chair",
        "locker", "mailbox", "microwave", "oven", "pinball machine", "radio", "range hood", "refrigerator", "shield",
        "snowman", "soccer goal", "speaker", "statue", "stereo system", "stove", "totem pole", "treadmill",
        "vest", "washing machine", "wheelbarrow", "wheelchair",
    ]
)  # fmt: skip
"""Nouns that have a front, whatever their category."""
WITHOUT = frozenset(
    [
        "air mattress", "aquarium", "baby bed", "bar stool", "basket", "bathtub", "bench", "bottle", "box", "brush",
        "chess board", "clothes", "coffee table", "comb", "crib", "dress", "escalator", "glove", "handbag", "hat",
        "jar", "lipstick", "medicine bottle", "monument", "pen", "pencil", "pencil holder", "perfume bottle",
        "playing cards", "pouf", "puzzle", "puzzle cube", "pyramid", "rack", "radiator", "remote control", "ring",
        "rug", "ruler", "scissors", "shower curtain", "skateboard", "skirt", "sleeping bag", "slippers", "soap",
        "spiral staircase", "sponge", "stapler", "stool", "table", "toilet brush", "toilet paper", "towel",
        "trash can", "tray", "trousers", "wall", "watch", "xylophone",
    ]
)  # fmt: skip
"""Nouns that have none, or none that all their models agree on."""
TURNS = {
    "supertuxkart:library/stklib_animalPig_a": 90,
    "supertuxkart:library/stklib_beachGuy_a": 180,
    "supertuxkart:library/stklib_gramophone_a": 180,
    "supertuxkart:library/stklib_wilbertSecurity_a": 180,
    "supertuxkart:models/bomb": 180,
    "supertuxkart:models/chest": 180,
    "sweethome:Blend Swap CC-0#caballito": 90,
    "sweethome:Blend Swap CC-0#forkLift": 90,
    "sweethome:Blend Swap CC-0#wheelbarrow": -90,
    "sweethome:Blend Swap CC-BY#toyTrain": 90,
    "zeroad:fauna/sheep1.xml": 180,
    "zeroad:fauna/sheep3.xml": 180,
    "zeroad:structures/ptolemies/statue_isis.xml": 180,
}
"""Object -> degrees by which its model is turned to face +Z; positive ones take +Z towards +X."""


def has_front(noun: str, category: str) -> bool:
    """Whether a modelled object looks along +Z; where the nouns do not say, its category does."""
    return noun in WITH or (category in FACING and noun not in WITHOUT)


def faced(soup: Soup, key: str) -> Soup:
    """The object `key` looking along +Z."""
    if key not in TURNS:
        return soup
    c, s = np.cos(np.radians(TURNS[key])), np.sin(np.radians(TURNS[key]))
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)  # +Z goes to +X at 90 degrees
    return replace(soup, corners=soup.corners @ turn.T, normals=soup.normals @ turn.T)
