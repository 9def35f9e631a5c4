"""All procedural objects of the training corpus: noun -> generator(rng) -> (caption phrases, triangle soup).

Phrases have no article and go from the most specific to the plain noun. Fronts look along +Z, up is +Y; sizes are free
(the corpus scales every object to the unit ball).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sds3d.embedded.corpus import procedural_aircraft as aircraft
from sds3d.embedded.corpus import procedural_animals as animals
from sds3d.embedded.corpus import procedural_belongings as belongings
from sds3d.embedded.corpus import procedural_birds as birds
from sds3d.embedded.corpus import procedural_buildings as buildings
from sds3d.embedded.corpus import procedural_cars as cars
from sds3d.embedded.corpus import procedural_castles as castles
from sds3d.embedded.corpus import procedural_containers as containers
from sds3d.embedded.corpus import procedural_crawlers as crawlers
from sds3d.embedded.corpus import procedural_figures as figures
from sds3d.embedded.corpus import procedural_food as food
from sds3d.embedded.corpus import procedural_furniture as furniture
from sds3d.embedded.corpus import procedural_hoofed as hoofed
from sds3d.embedded.corpus import procedural_household as household
from sds3d.embedded.corpus import procedural_meals as meals
from sds3d.embedded.corpus import procedural_people as people
from sds3d.embedded.corpus import procedural_plants as plants
from sds3d.embedded.corpus import procedural_sea as sea
from sds3d.embedded.corpus import procedural_ships as ships
from sds3d.embedded.corpus import procedural_sweets as sweets
from sds3d.embedded.corpus import procedural_things as things
from sds3d.embedded.corpus import procedural_toys as toys
from sds3d.embedded.corpus import procedural_trucks as trucks
from sds3d.embedded.corpus.procedural_kit import Generator, Made, Rng

_GROUPS = (
    aircraft,
    animals,
    belongings,
    birds,
    buildings,
    cars,
    castles,
    containers,
    crawlers,
    figures,
    food,
    furniture,
    hoofed,
    household,
    meals,
    people,
    plants,
    sea,
    ships,
    sweets,
    things,
    toys,
    trucks,
)

_ROUND = frozenset(
    [
        "ball",
        "basketball",
        "beach ball",
        "bicycle",
        "clock",
        "coin",
        "cookie",
        "donut",
        "lollipop",
        "motorcycle",
        "orange",
        "pizza",
        "soccer ball",
        "tennis ball",
    ]
)  # seen to be round: never stretched


def _stretched(make: Generator) -> Generator:
    """The same objects, each a little narrower or wider, lower or taller."""

    def varied(rng: Rng) -> Made:
        phrases, soup = make(rng)
        by = np.array([rng.uniform(0.94, 1.06), rng.uniform(0.92, 1.08), 1.0])
        return phrases, replace(soup, corners=soup.corners * by, normals=soup.normals / by)

    return varied


GENERATORS: dict[str, Generator] = {
    noun: make if noun in _ROUND else _stretched(make) for group in _GROUPS for noun, make in group.GENERATORS.items()
}
FRONTED: frozenset[str] = frozenset().union(*(group.FRONTED for group in _GROUPS))
