"""Words: articles, head nouns, other words for the same thing, and the colours people name."""

from __future__ import annotations

import re

COLOURS: dict[str, tuple[float, float, float]] = {  # the 11 basic colour terms, as sRGB base colours
    "red": (0.78, 0.10, 0.10),
    "orange": (0.93, 0.50, 0.10),
    "yellow": (0.93, 0.83, 0.15),
    "green": (0.18, 0.58, 0.18),
    "blue": (0.13, 0.28, 0.78),
    "purple": (0.48, 0.18, 0.62),
    "pink": (0.95, 0.55, 0.70),
    "brown": (0.42, 0.25, 0.12),
    "black": (0.07, 0.07, 0.08),
    "white": (0.96, 0.96, 0.96),
    "gray": (0.50, 0.50, 0.50),
}

_COMPOUND = re.compile(  # head nouns of more than one word
    "(?:^| )("
    "air conditioner|air mattress|angle grinder|baby bed|baby bottle|baby shoe|bar stool|barn owl|"
    "basketball hoop|battering ram|beach chair|beach umbrella|beer bottle|birthday cake|bonsai tree|bowling ball|"
    "bulletin board|bunk bed|bunny ears|camping tent|ceiling fan|chess board|chest freezer|christmas tree|"
    "clothes hanger|coat hanger|coffee cup|coffee machine|coffee table|computer mouse|cuckoo clock|cup of coffee|"
    "cutting board|day bed|deck chair|deep fryer|diving board|dog house|doll house|dumbbell rack|easter egg|"
    "electric guitar|exercise bike|exercise machine|ferris wheel|filing cabinet|fire extinguisher|fire hydrant|"
    "fishing boat|flower bed|flower pot|flying carpet|folding chair|foosball table|football goal|french fries|"
    "french press|game console|game controller|garden hut|gas bottle|gas tank|gift box|go kart|golf club|"
    "grand piano|guard tower|hand bag|hay bale|high chair|hospital bed|hot air balloon|hot dog|ice cream|"
    "ice cream cone|jack o' lantern|joshua tree|kitchen mixer|kitchen scale|knife block|lava lamp|lawn mower|"
    "light bulb|lip stick|medicine bottle|medicine cabinet|mobile phone|moka pot|office chair|oil lamp|palm tree|"
    "paper towel holder|park bench|patio umbrella|pencil holder|perfume bottle|picnic table|picture frame|"
    "pinball machine|ping pong table|playing cards|polar bear|pool table|porch lamp|punching bag|punching ball|"
    "puzzle cube|race car|radio tower|rail crossing|railway track|range hood|recycling bin|remote control|"
    "rocking horse|rubber duck|salt shaker|sand castle|sandwich maker|santa hat|school bus|shipping container|"
    "shopping basket|shopping cart|shower cabin|shower curtain|siege tower|sleeping bag|smoke detector|snow man|"
    "soap bottle|soccer ball|soccer goal|space shuttle|spiral staircase|spray bottle|steam locomotive|"
    "step ladder|stereo system|stone lantern|street lamp|stuffed toy|swimming pool|swing set|table tennis bat|"
    "tape measure|tea pot|teddy bear|tennis racket|toilet brush|toilet paper|totem pole|town hall|toy biplane|"
    "toy car|toy plane|toy train|traffic cone|traffic light|trash can|treasure chest|treasure heap|tree stump|"
    "tv stand|wall clock|wall lamp|war elephant|war horse|washing machine|water cooler|water heater|water lily|"
    "water tower|watering can|window blind|window shutter|wine bottle|wine glass|wooden toy"
    ")$"
)

ALSO: dict[str, tuple[str, ...]] = {  # what else people type for a head noun
    "armchair": ("chair",),
    "apartment building": ("building",),
    "backpack": ("bag",),
    "bar stool": ("stool",),
    "barrel": ("wooden barrel",),
    "bathtub": ("bath tub", "bath"),
    "beach chair": ("chair",),
    "beer bottle": ("bottle",),
    "bicycle": ("bike",),
    "birthday cake": ("cake",),
    "biplane": ("airplane", "plane"),
    "bonsai tree": ("tree", "bonsai"),
    "bookcase": ("bookshelf",),
    "bull": ("cow",),
    "bunk bed": ("bed",),
    "camping tent": ("tent",),
    "castle": ("fortress",),
    "ceiling fan": ("fan",),
    "chest": ("treasure chest",),
    "christmas tree": ("tree",),
    "coffee cup": ("cup",),
    "coffee machine": ("coffee maker",),
    "coffee table": ("table",),
    "couch": ("sofa",),
    "cupboard": ("cabinet",),
    "cupcake": ("muffin",),
    "day bed": ("bed",),
    "deck chair": ("chair",),
    "deer": ("stag",),
    "fir tree": ("tree",),
    "fishing boat": ("boat",),
    "folding chair": ("chair",),
    "fortress": ("castle",),
    "fridge": ("refrigerator",),
    "gift box": ("gift", "present"),
    "grand piano": ("piano",),
    "hamburger": ("burger",),
    "hedge": ("bush",),
    "hut": ("house",),
    "kart": ("go kart", "race car"),
    "knight": ("soldier", "warrior"),
    "lamp": ("light",),
    "lamppost": ("street lamp",),
    "laptop": ("computer",),
    "man": ("person",),
    "mailbox": ("letter box",),
    "motorcycle": ("motorbike",),
    "nightstand": ("bedside table",),
    "office chair": ("chair",),
    "palm tree": ("tree", "palm"),
    "pickaxe": ("pick axe",),
    "polar bear": ("bear",),
    "potted plant": ("plant",),
    "rabbit": ("bunny",),
    "refrigerator": ("fridge",),
    "rhinoceros": ("rhino",),
    "rock": ("stone",),
    "rowboat": ("boat",),
    "rug": ("carpet",),
    "ship": ("boat",),
    "smartphone": ("phone", "mobile phone"),
    "soccer ball": ("ball", "football"),
    "sofa": ("couch",),
    "soldier": ("warrior",),
    "steam locomotive": ("train", "locomotive"),
    "street lamp": ("lamp", "lamppost"),
    "suv": ("car",),
    "teddy bear": ("toy bear",),
    "television": ("tv",),
    "toilet": ("wc",),
    "toy car": ("car",),
    "toy train": ("train",),
    "trash can": ("bin", "garbage can"),
    "washbasin": ("sink",),
    "watchtower": ("tower",),
    "windmill": ("mill",),
    "wine bottle": ("bottle",),
    "woman": ("person",),
}

_UNCOUNTED = re.compile(  # taken without an article
    "(?:^| )(?:"
    "apples|bamboo|barrels|blinds|bones|boots|bread|bricks|butter|cards|cheese|cherries|clothes|crates|curtains|"
    "drums|ferns|flowers|fries|glasses|gloves|grapes|headphones|jeans|keys|lilies|logs|luggage|milk|money|"
    "nettles|orchids|pants|pizza|pliers|poppies|popcorn|reeds|rocks|scissors|shoes|shorts|skis|slippers|sneakers|stairs|stones|"
    "sugar|sunglasses|sushi|trousers|tulips|utensils|wood"
    ")$"
)
VOWEL_SOUND = re.compile(r"^(?:[aeio]|u(?!ni(?!n)|s[aebiu]|f|t[ei])|hour|heir|honest|suv\b|mp3|x-ray)", re.IGNORECASE)
CONSONANT_SOUND = re.compile(r"^(?:eu|one\b|once|ewe)", re.IGNORECASE)


def with_article(phrase: str) -> str:
    """ "a", "an" or nothing before a caption phrase: "an orange ufo", "a ufo", "headphones"."""
    core = re.split(r" (?:with|on|in|under|of|wearing) ", phrase)[0]
    if _UNCOUNTED.search(core):
        return phrase
    an = VOWEL_SOUND.match(phrase) and not CONSONANT_SOUND.match(phrase)
    return f"{'an' if an else 'a'} {phrase}"


def head_noun(name: str) -> str:
    """The noun a name is about: "round table with a cloth" -> "table", "old palm tree" -> "palm tree"."""
    core = re.split(r" (?:with|and|in|on|under|of|for) ", name)[0].strip()
    compound = _COMPOUND.search(core)
    return compound[1] if compound else core.split()[-1]


def clean(raw: str) -> str:
    """Lower-case words of a catalogue name: no parentheses, numbers, units or punctuation."""
    text = re.sub(r"\(.*?\)", " ", raw).replace("&", " and ").lower()
    text = re.sub(r"\d+\s*(?:seats?|zones?|panes?|m|cm|:\d+|°|€)?", " ", text)
    text = re.sub(r"[^a-z' \-]", " ", text)
    return re.sub(r"\s+", " ", text).strip(" -")


def mentions_colour(phrase: str) -> bool:
    """Whether a colour word is already in the phrase."""
    return any(w in COLOURS or w in ("golden", "silver", "grey") for w in phrase.split())
