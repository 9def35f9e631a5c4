"""All procedural objects of the training corpus: noun -> generator(rng) -> (caption phrases, triangle soup).

Phrases have no article and go from the most specific to the plain noun. Fronts look along +Z, up is +Y; sizes are free
(the corpus scales every object to the unit ball).
"""

from __future__ import annotations

from sds3d.embedded.corpus import procedural_animals as animals
from sds3d.embedded.corpus import procedural_birds as birds
from sds3d.embedded.corpus import procedural_buildings as buildings
from sds3d.embedded.corpus import procedural_craft as craft
from sds3d.embedded.corpus import procedural_figures as figures
from sds3d.embedded.corpus import procedural_food as food
from sds3d.embedded.corpus import procedural_furniture as furniture
from sds3d.embedded.corpus import procedural_plants as plants
from sds3d.embedded.corpus import procedural_things as things
from sds3d.embedded.corpus import procedural_toys as toys
from sds3d.embedded.corpus import procedural_treats as treats
from sds3d.embedded.corpus import procedural_vehicles as vehicles
from sds3d.embedded.corpus.procedural_kit import Generator

_GROUPS = (animals, birds, buildings, craft, figures, food, furniture, plants, things, toys, treats, vehicles)

GENERATORS: dict[str, Generator] = {noun: make for group in _GROUPS for noun, make in group.GENERATORS.items()}
FRONTED: frozenset[str] = frozenset().union(*(group.FRONTED for group in _GROUPS))
