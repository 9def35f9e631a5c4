"""Which of 0 A.D.'s actors enter the corpus, and what people would call them."""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

CULTURE = {
    "athenians": "greek", "hellenes": "greek", "spartans": "greek", "macedonians": "greek", "seleucids": "greek",
    "thebans": "greek", "romans": "roman", "persians": "persian", "mauryas": "indian", "britons": "celtic",
    "gauls": "celtic", "celts": "celtic", "iberians": "spanish", "ptolemies": "egyptian", "kushites": "african",
    "han": "chinese", "carthaginians": "ancient", "viking": "viking", "mercenaries": "african", "global": "ancient",
}  # fmt: skip


class Description(NamedTuple):
    """name and noun as people type them, other wordings, and whether the model faces -Z and has to be turned."""

    name: str
    noun: str
    category: str
    also: tuple[str, ...] = ()
    turn: bool = False
    fronted: bool = False


FAUNA = {
    "arctic_wolf": "arctic wolf", "bear_black": "black bear", "bear_brown": "brown bear", "bear_white": "polar bear",
    "boar": "wild boar", "bull": "bull", "camel": "camel", "chicken": "chicken", "cow": "cow",
    "crocodile": "crocodile", "crow": "crow", "deer": "deer", "deer1": "stag", "deer2": "deer", "deer3": "deer",
    "donkey": "donkey", "dragon": "dragon", "elephant": "elephant", "elephant_african_baby": "baby elephant",
    "elephant_african_bush": "african elephant", "elephant_african_forest": "elephant",
    "elephant_asian": "asian elephant", "fish_single": "fish", "fox_arctic": "white fox", "fox_red": "red fox",
    "gazelle": "gazelle", "giraffe_adult": "giraffe", "giraffe_baby": "baby giraffe", "goat": "goat", "hawk": "hawk",
    "hippopotamus": "hippopotamus", "lion": "lion", "lioness": "lioness", "mastiff": "dog", "muskox": "musk ox",
    "peacock": "peacock", "pig1": "pig", "piglet": "piglet", "pony": "pony", "rabbit1": "rabbit", "rhino": "rhinoceros",
    "sanga_cattle": "longhorn cow", "seagull": "seagull", "shark": "shark", "sheep1": "ram", "sheep2": "sheep",
    "sheep3": "sheep", "tiger": "tiger", "tuna": "tuna fish", "walrus": "walrus", "whale": "whale",
    "wildebeest": "wildebeest", "wolf": "wolf", "zebra": "zebra", "zebra_2": "zebra", "zebu": "zebu cow",
    "zebu_wild": "zebu cow",
}  # fmt: skip
HORSES = {
    "horse": "horse", "bay_01": "brown horse", "bay_02": "brown horse", "beige": "horse", "black": "black horse",
    "brown": "brown horse", "brown_spotted_01": "spotted horse", "celtic": "horse", "cherrybay": "brown horse",
    "chestnut_01": "brown horse", "chestnut_02": "brown horse", "cream_spotted_01": "spotted horse",
    "cream_spotted_02": "spotted horse", "dark_chestnut": "brown horse", "fading_black": "black horse",
    "gray": "gray horse", "halflinger": "horse", "lusitano": "horse", "marwari": "horse", "palomino_01": "horse",
    "palomino_02": "horse", "pure_black": "black horse", "pure_white": "white horse", "skewbald": "spotted horse",
    "tan": "horse", "white": "white horse",
}  # fmt: skip
FAUNA_NOUN = {
    "stag": "deer", "wild boar": "boar", "musk ox": "ox", "lioness": "lion", "ram": "sheep", "tuna fish": "fish",
    "baby elephant": "elephant", "baby giraffe": "giraffe", "polar bear": "bear", "piglet": "pig", "pony": "horse",
}  # fmt: skip

TREES = {
    "acacia": "acacia tree", "acacia_large": "acacia tree", "aleppo_pine": "pine tree", "apple": "apple tree",
    "apple_bloom": "blossoming apple tree", "bamboo": "bamboo", "bamboo_02": "bamboo", "bamboo_dragon": "bamboo",
    "bamboo_single": "bamboo", "banana": "banana tree", "banyan": "banyan tree", "baobab": "baobab tree",
    "baobab_new": "baobab tree", "baobab_new_young": "baobab tree", "baobab_new_dead": "dead tree",
    "carob": "tree", "cedar_atlas": "cedar tree", "cedar_atlas_dead": "dead tree", "cedar_atlas_young": "cedar tree",
    "cherry_small": "cherry tree", "cherryblossom": "cherry blossom tree", "cypress_mediterranean_wild": "cypress tree",
    "cypress_mediterranean_windswept": "cypress tree", "mediterranean_cypress": "cypress tree",
    "mediterranean_cypress_tall": "cypress tree", "dead_a_1": "dead tree", "dead_a_2": "dead tree", "deci_1": "tree",
    "elm": "elm tree", "elm_dead": "dead tree", "euro_birch_tree": "birch tree", "european_beech": "beech tree",
    "european_beech_aut": "autumn tree", "eyecandy_fern": "fern", "fig": "fig tree", "fir_sapling": "small fir tree",
    "fir_tree": "fir tree", "fir_tree_winter": "snowy fir tree", "juniper_prickly": "juniper bush",
    "lavender_bush_01": "lavender bush", "lavender_bush_02": "lavender bush", "mangrove": "mangrove tree",
    "maple_autumn": "red maple tree", "oak": "oak tree", "oak_aut": "autumn oak tree", "oak_dead": "dead tree",
    "oak_holly": "oak tree", "oak_holly_autumn": "autumn oak tree", "oak_hungarian": "oak tree",
    "oak_hungarian_autumn": "autumn oak tree", "oak_large": "oak tree", "oak_new": "oak tree",
    "oak_new_aut": "autumn oak tree", "oak_old": "old oak tree", "olive": "olive tree", "orchard_tree": "tree",
    "palm_areca": "palm tree", "palm_cretan_date": "date palm tree", "palm_cretan_date_short": "palm tree",
    "palm_cretan_date_tall": "tall palm tree", "palm_date": "date palm tree", "palm_date_dead": "dead palm tree",
    "palm_date_new": "date palm tree", "palm_date_new_2": "date palm tree", "palm_date_new_3": "date palm tree",
    "palm_doum": "palm tree", "palm_medit_fan_palm": "fan palm tree", "palm_nipa": "palm bush",
    "palm_palmyra": "palm tree", "palm_senegal_date": "palm tree", "palm_tropical": "tropical palm tree",
    "palm_tropical_tall": "tall palm tree", "pine": "pine tree", "pine_black": "pine tree",
    "pine_black_dead": "dead pine tree", "pine_maritime": "pine tree", "pine_maritime_short": "pine tree",
    "pine_w": "snowy pine tree", "poplar": "poplar tree", "poplar_autumn": "autumn poplar tree",
    "poplar_dead": "dead tree", "poplar_lombardy": "poplar tree", "poppy_bush_01": "poppies",
    "snow_pine2": "snowy pine tree", "tamarix": "tree", "teak": "teak tree", "tree_dead": "dead tree",
    "tree_tropic": "tropical tree", "willow_a": "willow tree", "willow_aut": "autumn willow tree",
}  # fmt: skip

BUILDINGS: dict[str, tuple[str, str, tuple[str, ...]]] = {  # file -> (name, noun, also)
    "house": ("house", "house", ("stone house", "old house")),
    "hut": ("hut", "house", ("thatched hut", "hut")),
    "homestead": ("cottage", "house", ("cottage",)),
    "longhouse": ("longhouse", "house", ("longhouse",)),
    "apartment": ("apartment building", "building", ("tall building", "house")),
    "farmstead": ("farmhouse", "farmhouse", ("farm", "barn", "house")),
    "barracks": ("military building", "building", ("big house",)),
    "civic_centre": ("town hall", "building", ("town hall", "palace")),
    "civil_centre": ("town hall", "building", ("town hall", "palace")),
    "civic_center": ("town hall", "building", ("town hall", "palace")),
    "civic_centre_new": ("town hall", "building", ("town hall", "palace")),
    "temple": ("temple", "temple", ("stone temple",)),
    "temple_2": ("temple", "temple", ()),
    "temple_3": ("temple", "temple", ()),
    "temple_b": ("temple", "temple", ("temple with columns",)),
    "temple_c": ("temple", "temple", ("temple with columns",)),
    "temple_big": ("large temple", "temple", ()),
    "temple_epic": ("large temple", "temple", ("temple with columns",)),
    "temple_amun": ("temple", "temple", ()),
    "temple_mars": ("temple", "temple", ("temple with columns",)),
    "temple_vesta": ("round temple", "temple", ("temple with columns",)),
    "sp_pantheon": ("domed temple", "temple", ("building with a dome",)),
    "fortress": ("fortress", "castle", ("fortress",)),
    "fortress_up": ("fortress", "castle", ("fortress",)),
    "palace": ("palace", "palace", ("castle",)),
    "apadana": ("palace", "palace", ()),
    "imperial_court": ("palace", "palace", ()),
    "hall": ("palace", "palace", ()),
    "market": ("market", "market", ("market stalls",)),
    "stall_big": ("market stall", "market stall", ()),
    "stall_med": ("market stall", "market stall", ()),
    "storehouse": ("storehouse", "barn", ("storehouse", "shed")),
    "stable": ("stable", "barn", ("stable",)),
    "blacksmith": ("blacksmith's house", "house", ("forge", "workshop")),
    "forge": ("blacksmith's house", "house", ("forge", "workshop")),
    "workshop": ("workshop", "workshop", ("shed",)),
    "theater": ("theater", "theater", ("amphitheater",)),
    "amphitheater_pompeii": ("amphitheater", "theater", ("amphitheater", "arena")),
    "lighthouse": ("lighthouse", "lighthouse", ("tower",)),
    "library": ("library", "building", ()),
    "academy": ("academy", "building", ("pagoda",)),
    "pagoda": ("pagoda", "pagoda", ("tower",)),
    "pyramid_large": ("pyramid", "pyramid", ("stone pyramid",)),
    "pyramid_small": ("pyramid", "pyramid", ("stone pyramid",)),
    "shrine": ("shrine", "temple", ("shrine",)),
    "tavern": ("tavern", "house", ("inn",)),
    "kennel": ("kennel", "hut", ("dog house",)),
    "big_stupa": ("stupa", "temple", ("dome",)),
    "triumphal_arch": ("triumphal arch", "arch", ("stone arch", "gate")),
    "propylaea": ("temple gate", "gate", ()),
    "stoa": ("colonnade", "building", ("building with columns",)),
    "gymnasium": ("gymnasium", "building", ("building with columns",)),
    "scout_tower": ("watchtower", "tower", ("watchtower",)),
    "sentry_tower": ("watchtower", "tower", ("watchtower",)),
    "wooden_tower": ("wooden tower", "tower", ("watchtower",)),
    "defense_tower": ("stone tower", "tower", ("castle tower",)),
    "defense_tower_stone": ("stone tower", "tower", ("castle tower",)),
    "defense_tower_wood": ("wooden tower", "tower", ("watchtower",)),
    "tower_artillery": ("stone tower", "tower", ("castle tower",)),
    "tower_bolt": ("stone tower", "tower", ("castle tower",)),
    "ballista_tower": ("stone tower", "tower", ("castle tower",)),
    "tower_large": ("tower", "tower", ()),
    "tower_great": ("tower", "tower", ()),
    "tower_small": ("tower", "tower", ()),
    "babylonian_tower": ("ziggurat", "tower", ("ziggurat",)),
    "wall_tower": ("stone tower", "tower", ("castle tower",)),
    "wall_gate": ("city gate", "gate", ("gate", "castle gate")),
    "gate": ("city gate", "gate", ("gate", "castle gate")),
    "wall_medium": ("stone wall", "wall", ("wall",)),
    "wall_long": ("stone wall", "wall", ("wall",)),
    "outpost": ("outpost", "tower", ("wooden tower", "watchtower")),
    "crannog": ("house on stilts", "house", ("hut",)),
    "stone_monument": ("stone monument", "monument", ()),
    "statue_isis": ("statue", "statue", ()),
    "misc_bixie": ("lion statue", "statue", ()),
    "dock": ("dock", "dock", ("pier",)),
}
VESSELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "bireme": ("galley", ("warship", "sailing ship")),
    "trireme": ("galley", ("warship", "sailing ship")),
    "quinquereme": ("large galley", ("warship", "sailing ship")),
    "pentekonter": ("galley", ("warship", "sailing ship")),
    "warship": ("warship", ("sailing ship",)),
    "warship_light": ("warship", ("sailing ship",)),
    "fishing_boat": ("fishing boat", ("boat", "small boat")),
    "fishing_ship": ("fishing boat", ("boat", "small boat")),
    "fishship": ("fishing boat", ("boat", "small boat")),
    "rowboat": ("rowboat", ("boat", "small boat")),
    "skiff": ("small boat", ("boat",)),
    "merchant_ship": ("merchant ship", ("sailing ship", "sailboat")),
    "merchant": ("merchant ship", ("sailing ship", "sailboat")),
    "merchantman": ("merchant ship", ("sailing ship", "sailboat")),
    "merchant_sail": ("merchant ship", ("sailing ship", "sailboat")),
    "longship": ("viking longship", ("viking ship", "sailing ship")),
    "elven_bireme": ("galley", ("sailing ship",)),
}
MACHINES = {
    "siege_ram": ("battering ram", "battering ram"),
    "siege_tower": ("siege tower", "siege tower"),
    "siege_rock": ("catapult", "catapult"),
    "siege_spear": ("ballista", "ballista"),
    "siege_lithobolos_med": ("catapult", "catapult"),
    "siege_oxybeles": ("ballista", "ballista"),
}
SOLDIERS = {
    "javelinist": "javelin thrower", "spearman": "spearman", "swordsman": "swordsman", "archer": "archer",
    "slinger": "slinger", "pikeman": "pikeman", "axeman": "axeman", "maceman": "maceman", "crossbowman": "crossbowman",
    "clubman": "clubman", "halberdier": "halberdier",
}  # fmt: skip
CIVILIANS = {
    "female_citizen": ("woman", "woman"),
    "healer": ("priest", "man"),
    "fisherman": ("fisherman", "man"),
}
PROPS = {
    "amphorae": ("amphora", "vase"), "anvil": ("anvil", "anvil"), "barrel_a": ("barrel", "barrel"),
    "barrel_a_empty_01": ("empty barrel", "barrel"), "barrel_a_cap": ("barrel", "barrel"),
    "basket_celt_a": ("basket", "basket"), "basket_hele_a": ("basket", "basket"), "basket_iber_a": ("basket", "basket"),
    "basket_rome_a": ("basket", "basket"), "bench_1": ("wooden bench", "bench"), "box": ("wooden box", "box"),
    "campfire": ("campfire", "campfire"), "campfire_prop": ("campfire", "campfire"),
    "column_doric": ("column", "column"), "crate_a": ("wooden crate", "crate"),
    "crate_pile": ("pile of crates", "crate"),
    "cypress_potted_a": ("potted tree", "tree"), "cypress_potted_b": ("potted tree", "tree"),
    "food_sack": ("sack", "sack"), "handcart_1": ("wooden cart", "cart"), "hay_cart": ("hay cart", "cart"),
    "hay_a": ("haystack", "haystack"), "hay_large": ("haystack", "haystack"), "hay_small": ("haystack", "haystack"),
    "iceberg": ("iceberg", "iceberg"), "obelisk": ("obelisk", "obelisk"), "obelisk_03": ("obelisk", "obelisk"),
    "obelisk_04": ("obelisk", "obelisk"), "obelisk_b": ("obelisk", "obelisk"),
    "skeleton": ("skeleton", "skeleton"), "skeleton_propped": ("skeleton", "skeleton"),
    "snowman": ("snowman", "snowman"), "standing_stones": ("standing stones", "stones"),
    "statue_aphrodite_small": ("statue", "statue"), "statue_aphrodite_huge": ("statue", "statue"),
    "statues_kush": ("statue", "statue"), "statues_ptol": ("statue", "statue"), "statues_roman": ("statue", "statue"),
    "ptol_statues_sphynx_base": ("sphinx statue", "statue"), "sword_rack": ("weapon rack", "rack"),
    "table1_long": ("long wooden table", "table"), "table1_short": ("wooden table", "table"),
    "table_rectangle": ("wooden table", "table"), "table_square": ("square wooden table", "table"),
    "unyoked_chariot_celt": ("chariot", "chariot"), "vase": ("vase", "vase"), "vase_hele_a": ("clay vase", "vase"),
    "vase_iberians_a": ("clay vase", "vase"), "vase_rome_a": ("clay vase", "vase"),
    "waterbin_a": ("water trough", "trough"), "well_1_a": ("well", "well"), "well_1_b": ("well", "well"),
    "well_1_c": ("well", "well"), "well_1_d": ("well", "well"), "woodcord": ("wood pile", "wood"),
    "wood_pile_1_a": ("wood pile", "wood"), "treasure_persian_metal_big": ("treasure", "treasure"),
    "stone_pile": ("pile of stones", "rock"), "shipwreck_sail_boat": ("shipwreck", "ship"),
}  # fmt: skip
WEAPONS = (
    ("crossbow", "crossbow"), ("falcata", "sword"), ("xiphos", "sword"), ("gladius", "sword"), ("kopis", "sword"),
    ("sword", "sword"), ("dagger", "dagger"), ("sica", "dagger"), ("knife", "knife"), ("pickaxe", "pickaxe"),
    ("pick", "pickaxe"), ("halberd", "halberd"), ("axe", "axe"), ("hammer", "hammer"), ("mace", "mace"),
    ("club", "club"),
    ("spear", "spear"), ("javelin", "spear"), ("bow", "bow"), ("shovel", "shovel"), ("hoe", "hoe"),
)  # fmt: skip


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
    return Description(name, FAUNA_NOUN.get(name, name.split()[-1]), "animal", turn=True, fronted=True)


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
        return Description(
            name if name.startswith("viking") else f"{culture} {name}", noun, "ship", (name, *also), fronted=True
        )
    if file in MACHINES:
        name, noun = MACHINES[file]
        return Description(name, noun, "machine", ("siege engine",), fronted=True)
    if file not in BUILDINGS or civilisation not in CULTURE:
        return None
    name, noun, also = BUILDINGS[file]
    return Description(f"{culture} {name}", noun, "building", (f"{culture} {noun}", name, *also), fronted=True)


def _unit(civilisation: str, file: str) -> Description | None:
    culture = CULTURE.get(civilisation)
    if culture is None:
        return None
    if "war_dog" in file or "wolfhound" in file:
        return Description("dog", "dog", "animal", ("hound",), turn=True, fronted=True)
    if file in MACHINES:
        name, noun = MACHINES[file]
        return Description(name, noun, "machine", ("siege engine",), turn=True, fronted=True)
    civilian = next((v for k, v in CIVILIANS.items() if re.fullmatch(rf"{k}(?:_[a-e])?", file)), None)
    if civilian:
        name, noun = civilian
        return Description(f"{culture} {name}", noun, "person", (name, "person"), turn=True, fronted=True)
    kind = next((v for k, v in SOLDIERS.items() if k in file), None)
    if kind is None or file.startswith(("chariot", "hero_chariot")):
        return None
    if "cavalry" in file:
        if not file.endswith("_m"):
            return None
        also = ("horse rider", "rider on a horse", "soldier on a horse", f"{culture} horseman")
        return Description(f"{culture} horseman", "horseman", "person", also, turn=True, fronted=True)
    if "infantry" not in file:
        return None
    noun = kind if kind in ("archer", "spearman", "swordsman") else "soldier"
    also = ("soldier", "warrior", f"{culture} soldier", f"{culture} warrior")
    return Description(f"{culture} {kind}", noun, "person", also, turn=True, fronted=True)


def _prop(folder: str, file: str) -> Description | None:
    if file in PROPS and "eyecandy" in folder:
        name, noun = PROPS[file]
        return Description(name, noun, "prop")
    if folder == "props/units/shields":
        return Description("shield", "shield", "weapon", ("ancient shield",))
    if folder == "props/units/helmets":
        return Description("helmet", "helmet", "weapon", ("ancient helmet",))
    if (
        folder.startswith(("props/units/weapons", "props/units/tools"))
        and "sheath" not in folder
        and "arrow" not in folder
    ):
        weapon = next((v for k, v in WEAPONS if k in file), None)
        return Description(weapon, weapon, "weapon") if weapon else None
    return None
