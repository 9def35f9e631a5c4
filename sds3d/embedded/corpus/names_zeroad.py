"""Which of 0 A.D.'s actors enter the corpus, and what people would call them."""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from sds3d.embedded.corpus.words_zeroad import (
    BUILDINGS,
    CIVILIANS,
    CULTURE,
    FAUNA,
    FAUNA_NOUN,
    HORSES,
    MACHINES,
    PROPS,
    SOLDIERS,
    TREES,
    VESSELS,
    WEAPONS,
)


class Description(NamedTuple):
    """name and noun as people type them, other wordings, and whether the model faces -Z and has to be turned.

    Buildings face +Z; animals, people, ships, machines, statues, shields and helmets do not.
    """

    name: str
    noun: str
    category: str
    also: tuple[str, ...] = ()
    turn: bool = False


def describe(actor: str) -> Description | None:
    """What actor file `actor` (relative to art/actors) shows; None for what the corpus leaves out."""
    folder, file = posixpath.split(actor[:-4])
    parts = folder.split("/")
    if parts[0] == "fauna":
        return _animal(file)
    if parts[0] == "flora":
        return _plant(file)
    if parts[0] == "structures":
        return _structure(parts[1] if len(parts) > 1 else "", file)
    if parts[0] == "units" and len(parts) == 2:
        return _unit(parts[1], file)
    return _prop(folder, file) if parts[0] == "props" else None


def _animal(file: str) -> Description | None:
    name = HORSES.get(file.removeprefix("horse_")) if file.startswith("horse") else FAUNA.get(file)
    if name is None:
        return None
    return Description(name, FAUNA_NOUN.get(name, name.split()[-1]), "animal", turn=True)


def _plant(file: str) -> Description | None:
    name = TREES.get(file)
    if name is None:
        return None
    noun = "palm tree" if name.endswith("palm tree") else name.split()[-1]
    return Description(name, noun, "plant")


def _structure(civilisation: str, file: str) -> Description | None:
    culture = CULTURE.get(civilisation, "ancient")
    if file in VESSELS:
        name, also = VESSELS[file]
        noun = "boat" if "boat" in also else "ship"
        full = name if name.startswith("viking") else f"{culture} {name}"
        return Description(full, noun, "ship", (name, *also), turn=True)
    if file in MACHINES:
        name, noun = MACHINES[file]
        return Description(name, noun, "machine", ("siege engine",), turn=True)
    if file not in BUILDINGS or civilisation not in CULTURE:
        return None
    name, noun, also = BUILDINGS[file]
    return Description(f"{culture} {name}", noun, "building", (f"{culture} {noun}", name, *also))


def _unit(civilisation: str, file: str) -> Description | None:
    culture = CULTURE.get(civilisation)
    if culture is None:
        return None
    if "war_dog" in file or "wolfhound" in file:
        return Description("dog", "dog", "animal", ("hound",), turn=True)
    if file in MACHINES:
        name, noun = MACHINES[file]
        return Description(name, noun, "machine", ("siege engine",), turn=True)
    civilian = next((v for k, v in CIVILIANS.items() if re.fullmatch(rf"{k}(?:_[a-e])?", file)), None)
    if civilian:
        name, noun = civilian
        return Description(f"{culture} {name}", noun, "person", (name, "person"), turn=True)
    kind = next((v for k, v in SOLDIERS.items() if k in file), None)
    if kind is None or file.startswith(("chariot", "hero_chariot")):
        return None
    if "cavalry" in file:
        if not file.endswith("_m"):
            return None
        also = ("horse rider", "rider on a horse", "soldier on a horse", f"{culture} horseman")
        return Description(f"{culture} horseman", "horseman", "person", also, turn=True)
    if "infantry" not in file:
        return None
    noun = kind if kind in ("archer", "spearman", "swordsman") else "soldier"
    also = ("soldier", "warrior", f"{culture} soldier", f"{culture} warrior")
    return Description(f"{culture} {kind}", noun, "person", also, turn=True)


def _prop(folder: str, file: str) -> Description | None:
    if file in PROPS and "eyecandy" in folder:
        name, noun = PROPS[file]
        return Description(name, noun, "prop", turn=noun in ("statue", "snowman"))
    if folder == "props/units/shields":
        if "_back" in file or "_shoulder" in file:  # slung, so that it faces anywhere
            return None
        return Description("shield", "shield", "weapon", ("ancient shield",), turn=True)
    if folder == "props/units/helmets":
        return Description("helmet", "helmet", "weapon", ("ancient helmet",), turn=True)
    if (
        folder.startswith(("props/units/weapons", "props/units/tools"))
        and "sheath" not in folder
        and "arrow" not in folder
    ):
        weapon = next((v for k, v in WEAPONS if k in file), None)
        return Description(weapon, weapon, "weapon") if weapon else None
    return None
