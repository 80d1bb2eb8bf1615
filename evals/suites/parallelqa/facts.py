"""The recorded encyclopaedia: what the search of this suite can find, as numbers and as prose.

General knowledge, in the rounding that reference works print: heights and depths to the metre (towers and statues
as published), river lengths and speeds to the kilometre, areas to three to six digits, populations to the million
(states to the hundred thousand, as of 2023). Where reference works differ, the figure is the one that the questions
were evidently answered with: the Empire State Building with its antenna, the Statue of Christ without its pedestal,
the Atlantic without its marginal seas, the Southern Ocean of 20.3 million km², the Congo rainforest of 2 million,
Australian forests of 147 million hectares, the South Sandwich Trench before the survey of 2019. New Jersey has its
land area, because its published density counts that. The other figure usually stands in the prose: it is there to
be mistaken for the right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

UNITS = {
    "depth": ("m", "ft", 3.28084),
    "height": ("m", "ft", 3.28084),
    "length": ("km", "mi", 0.621371),
    "area": ("km²", "sq mi", 0.386102),
    "speed": ("km/h", "mph", 0.621371),
    "population": ("people", "", 0.0),
    "density": ("people per km²", "people per sq mi", 2.58999),
}
"""By quantity: its unit, the imperial one, and how many of those make one of ours."""


class Subject(NamedTuple):
    """Something that has an article."""

    name: str
    words: tuple[str, ...]
    """Each of them names it, in small letters and without punctuation."""
    facts: Mapping[str, float]
    """By quantity; the first is what the article is read for when nobody says which."""
    prose: str
    """With ``{quantity}`` where a fact stands."""

    @property
    def text(self) -> str:
        """The article, its facts written out with both units."""
        return self.prose.format(**{quantity: written(quantity, value) for quantity, value in self.facts.items()})


def written(quantity: str, value: float) -> str:
    """Return a fact as reference works print it: ``10,984 m (36,037 ft)``."""
    unit, other, factor = UNITS[quantity]
    digits = 0 if value == int(value) else 1
    own = f"{value:,.{digits}f} {unit}"
    return own if not other else f"{own} ({value * factor:,.0f} {other})"


SUBJECTS: Mapping[str, Subject] = {
    # Trenches
    "mariana": Subject(
        "Mariana Trench", ("mariana",), {"depth": 10_984, "length": 2_550},
        "The Mariana Trench in the western Pacific is a crescent {length} long and 69 km wide. Its floor, the "
        "Challenger Deep, lies {depth} below the surface.",
    ),
    "puerto_rico": Subject(
        "Puerto Rico Trench", ("puerto rico",), {"depth": 8_376, "length": 800},
        "The Puerto Rico Trench, on the edge of the Caribbean, is {length} long. It reaches {depth} in the Milwaukee "
        "Deep, the deepest point of the Atlantic.",
    ),
    "sunda": Subject(
        "Sunda Trench", ("sunda", "java trench"), {"depth": 7_290, "length": 3_200},
        "The Sunda Trench, formerly the Java Trench, runs for {length} off Sumatra and Java. With {depth} it is the "
        "deepest part of the Indian Ocean.",
    ),
    "south_sandwich": Subject(
        "South Sandwich Trench", ("south sandwich",), {"depth": 8_202, "length": 965},
        "The South Sandwich Trench lies 100 km east of the islands of that name and is {length} long. Its Meteor Deep "
        "was sounded at {depth}; a survey of 2019 found 8,265 m.",
    ),
    "peru_chile": Subject(
        "Peru-Chile Trench", ("peru chile", "atacama trench"), {"depth": 8_065, "length": 5_900},
        "The Peru-Chile Trench follows the coast of South America, 160 km offshore, for {length}. It is {depth} deep "
        "in the Richards Deep and 64 km wide on average.",
    ),
    # Animals
    "cheetah": Subject(
        "cheetah", ("cheetah",), {"speed": 104},
        "The cheetah is the fastest animal on land: it reaches {speed}. Adults weigh 21 to 72 kg and keep a sprint up "
        "for some 300 m.",
    ),
    "falcon": Subject(
        "peregrine falcon", ("peregrine falcon", "peregrine", "falcon"), {"speed": 320},
        "The peregrine falcon dives at more than {speed}, which makes it the fastest animal of all; in level flight it "
        "does 65 to 90 km/h.",
    ),
    "greyhound": Subject(
        "greyhound", ("greyhound",), {"speed": 70},
        "The greyhound is a sighthound bred for racing. It reaches {speed} within six strides and averages 64 km/h "
        "over a race.",
    ),
    "ostrich": Subject(
        "ostrich", ("ostrich",), {"speed": 70},
        "The common ostrich is the largest living bird, up to 2.8 m tall. It cannot fly but runs at up to {speed}.",
    ),
    "gazelle": Subject(
        "gazelle", ("gazelle",), {"speed": 80},
        "Gazelles are swift antelopes: Thomson's gazelle sprints at up to {speed} and some species are said to reach "
        "100 km/h in bursts.",
    ),
    # Deserts
    "sahara": Subject(
        "Sahara Desert", ("sahara",), {"area": 9_200_000, "length": 4_800},
        "The Sahara is the largest hot desert. It covers {area}, nearly a third of Africa, and stretches {length} from "
        "east to west.",
    ),
    "kalahari": Subject(
        "Kalahari Desert", ("kalahari",), {"area": 900_000},
        "The Kalahari is a sandy savanna of {area} in Botswana, Namibia and South Africa. It gets 110 to 500 mm of "
        "rain a year.",
    ),
    "sonoran": Subject(
        "Sonoran Desert", ("sonoran",), {"area": 260_000},
        "The Sonoran Desert in Mexico, Arizona and California covers {area}. Its saguaro cacti grow up to 12 m tall.",
    ),
    "arabian": Subject(
        "Arabian Desert", ("arabian desert", "arabian"), {"area": 2_330_000},
        "The Arabian Desert fills most of the peninsula: {area}. The Empty Quarter is 650,000 km² of it.",
    ),
    "atacama": Subject(
        "Atacama Desert", ("atacama",), {"area": 105_000, "length": 1_600},
        "The Atacama is a strip {length} long west of the Andes. It occupies {area}, or 128,000 km² with the barren "
        "lower slopes.",
    ),
    # Rivers
    "yangtze": Subject(
        "Yangtze River", ("yangtze",), {"length": 6_300, "area": 1_808_500},
        "The Yangtze is the longest river of Asia. It flows {length} from the Tibetan Plateau to the East China Sea "
        "and drains {area}.",
    ),
    "mississippi": Subject(
        "Mississippi River", ("mississippi",), {"length": 3_766, "area": 2_980_000},
        "The Mississippi rises in Lake Itasca and flows {length} to the Gulf of Mexico. Its basin covers {area} in 32 "
        "states.",
    ),
    "volga": Subject(
        "Volga River", ("volga",), {"length": 3_531, "area": 1_360_000},
        "The Volga is the longest river of Europe, with {length}. It drains {area} into the Caspian Sea, 28 m below "
        "sea level.",
    ),
    "mekong": Subject(
        "Mekong River", ("mekong",), {"length": 4_909, "area": 795_000},
        "The Mekong runs through six countries. Its length is put at {length}, in older books at 4,350 km, and its "
        "basin at {area}.",
    ),
    "congo_river": Subject(
        "Congo River", ("congo river", "conga river"), {"length": 4_700, "depth": 220, "area": 4_014_500},
        "The Congo is {length} long and, with measured depths of around {depth}, the deepest river of the world. Its "
        "basin covers {area}.",
    ),
    # Mountains
    "everest": Subject(
        "Mount Everest", ("everest",), {"height": 8_849},
        "Mount Everest is the highest mountain above sea level: {height} by the survey of 2020. The southern base camp "
        "is at 5,364 m.",
    ),
    "kilimanjaro": Subject(
        "Mount Kilimanjaro", ("kilimanjaro",), {"height": 5_895},
        "Mount Kilimanjaro in Tanzania is the highest mountain of Africa, with {height}; it rises some 4,900 m above "
        "its base.",
    ),
    "aconcagua": Subject(
        "Aconcagua", ("aconcagua",), {"height": 6_961},
        "Aconcagua in Mendoza, Argentina, is {height} high, the highest mountain of the Americas; first climbed in "
        "1897.",
    ),
    "k2": Subject(
        "K2", ("k2",), {"height": 8_611},
        "K2 in the Karakoram, {height} high, is the second-highest mountain. Its prominence is 4,020 m.",
    ),
    "elbert": Subject(
        "Mount Elbert", ("elbert",), {"height": 4_401},
        "Mount Elbert is the highest summit of the Rocky Mountains, with {height}. It lies 16 km southwest of "
        "Leadville, Colorado.",
    ),
    # Statues
    "christ": Subject(
        "Christ the Redeemer", ("christ the redeemer",), {"height": 30},
        "Christ the Redeemer in Rio de Janeiro is {height} high, without its pedestal of 8 m. The arms stretch 28 m "
        "wide; the peak below rises to 700 m.",
    ),
    "unity": Subject(
        "Statue of Unity", ("statue of unity",), {"height": 182},
        "The Statue of Unity in Gujarat is the world's tallest statue, with {height}. With its base the structure "
        "measures 240 m.",
    ),
    "washington": Subject(
        "Washington Monument", ("washington monument",), {"height": 169},
        "The Washington Monument is an obelisk of {height} in Washington, D.C. It was finished in 1884; 896 steps lead "
        "up.",
    ),
    "motherland": Subject(
        "Motherland Calls", ("motherland calls",), {"height": 85},
        "The Motherland Calls in Volgograd is {height} high from the plinth to the tip of the sword, which alone "
        "measures 33 m.",
    ),
    "ushiku": Subject(
        "Ushiku Daibutsu", ("ushiku",), {"height": 120},
        "The Ushiku Daibutsu in Ibaraki stands {height} high, a base of 10 m and a lotus platform of 10 m included.",
    ),
    # Towers
    "shanghai": Subject(
        "Shanghai Tower", ("shanghai tower",), {"height": 632},
        "The Shanghai Tower in Pudong is {height} tall, twisted by 120 degrees. Its 128 floors opened in 2015.",
    ),
    "ostankino": Subject(
        "Ostankino Tower", ("ostankino",), {"height": 540.1},
        "The Ostankino Tower in Moscow, built for television in 1967, is {height} tall; its viewing platform is at "
        "337 m.",
    ),
    "burj": Subject(
        "Burj Khalifa", ("burj khalifa",), {"height": 828},
        "The Burj Khalifa in Dubai has been the tallest building since 2009, at {height}. The top occupied floor is at "
        "585 m.",
    ),
    "skytree": Subject(
        "Tokyo Skytree", ("skytree",), {"height": 634},
        "The Tokyo Skytree is a broadcasting tower of {height}, the tallest in the world. Its decks are at 350 and "
        "450 m.",
    ),
    "empire": Subject(
        "Empire State Building", ("empire state",), {"height": 443.2},
        "The Empire State Building in New York measures {height} with its antenna; the roof is at 380 m, above 102 "
        "stories.",
    ),
    "cn": Subject(
        "CN Tower", ("cn tower",), {"height": 553.3},
        "The CN Tower in Toronto was the tallest free-standing structure for 32 years, with {height}. The restaurant "
        "turns at 351 m.",
    ),
    # Forests
    "amazon": Subject(
        "Amazon Rainforest", ("amazon",), {"area": 5_500_000},
        "The Amazon rainforest covers {area} of a basin of 7,000,000 km². Some 390 billion trees grow in it.",
    ),
    "congo_forest": Subject(
        "Congo Rainforest", ("congo rainforest", "congo forest"), {"area": 2_000_000},
        "The Congo rainforest is the second-largest tropical forest: {area}, of a basin of 4,014,500 km².",
    ),
    "australian": Subject(
        "Australian Forest", ("australian forest", "australian forests", "forests of australia"), {"area": 1_470_000},
        "Australian forests cover {area}, most of them eucalypt woodland; planted forests are 20,000 km².",
    ),
    "borneo": Subject(
        "Borneo Rainforest", ("borneo",), {"area": 748_168},
        "The Borneo rainforest is some 130 million years old. The island that it covered has {area}; about half of "
        "that is still forest.",
    ),
    "black_forest": Subject(
        "Black Forest", ("black forest",), {"area": 6_009, "length": 160},
        "The Black Forest in the southwest of Germany is {length} long and covers {area}. The Feldberg rises to "
        "1,493 m.",
    ),
    # Oceans
    "pacific": Subject(
        "Pacific Ocean", ("pacific",), {"area": 165_250_000, "depth": 10_984},
        "The Pacific is the largest ocean, with {area}: more than all land. On average it is 4,280 m deep, at most "
        "{depth}.",
    ),
    "atlantic": Subject(
        "Atlantic Ocean", ("atlantic",), {"area": 85_133_000, "depth": 8_376},
        "The Atlantic covers {area}, or 106,460,000 km² with its marginal seas. It is 3,646 m deep on average and "
        "{depth} at most.",
    ),
    "indian": Subject(
        "Indian Ocean", ("indian ocean",), {"area": 70_560_000, "depth": 7_290},
        "The Indian Ocean is the third-largest, with {area}. Its greatest depth is {depth}, its mean depth 3,741 m.",
    ),
    "arctic": Subject(
        "Arctic Ocean", ("arctic",), {"area": 14_060_000, "depth": 5_550},
        "The Arctic Ocean is the smallest of the five: {area}. It reaches {depth} in the Molloy Deep.",
    ),
    "southern": Subject(
        "Southern Ocean", ("southern ocean",), {"area": 20_327_000, "depth": 7_434},
        "The Southern Ocean lies south of 60° S and covers {area}. It is 3,270 m deep on average and {depth} at most.",
    ),
    # Countries
    "vietnam": Subject(
        "Vietnam", ("vietnam",), {"population": 100_000_000, "area": 331_690},
        "Vietnam has about {population} on {area}. Some 8 million of them live in Hanoi.",
    ),
    "thailand": Subject(
        "Thailand", ("thailand",), {"population": 70_000_000, "area": 513_120},
        "Thailand, with about {population}, spans {area}. Greater Bangkok counts 14 million.",
    ),
    "japan": Subject(
        "Japan", ("japan",), {"population": 125_000_000, "area": 377_975},
        "Japan has about {population} on 14,125 islands of {area} together.",
    ),
    "south_korea": Subject(
        "South Korea", ("south korea",), {"population": 52_000_000, "area": 100_363},
        "South Korea counts about {population}, half of them around Seoul, on {area}.",
    ),
    "china": Subject(
        "China", ("china",), {"population": 1_410_000_000, "area": 9_596_961},
        "China has about {population}, more than any country but India, on {area}.",
    ),
    # States
    "texas": Subject(
        "Texas", ("texas",), {"population": 30_000_000, "area": 695_662},
        "Texas has {population} and {area}; only Alaska is larger and only California has more people.",
    ),
    "florida": Subject(
        "Florida", ("florida",), {"population": 22_200_000, "area": 170_312},
        "Florida has {population}. It covers {area}, 31,424 km² of that water, with a coast of 2,170 km.",
    ),
    "california": Subject(
        "California", ("california",), {"population": 39_000_000, "area": 423_970, "density": 92},
        "California is the most populous state: {population} on {area}, that is {density}.",
    ),
    "michigan": Subject(
        "Michigan", ("michigan",), {"population": 10_000_000, "area": 250_493},
        "Michigan has {population} on {area}, 104,052 km² of that water of the Great Lakes.",
    ),
    "new_jersey": Subject(
        "New Jersey", ("new jersey",), {"population": 9_300_000, "area": 19_047, "density": 488},
        "New Jersey is the most densely settled state: {population} on {area} of land, that is {density}. With its "
        "waters it has 22,591 km².",
    ),
}  # fmt: skip
"""By a short key."""
