"""Our labels of the 113 questions, by id: what is to be searched, and what is made of it.

The rule, applied by reading every question:

* A name is one search: the first figure of that subject's article in ``facts.py`` (``mariana`` is the depth of the
  Mariana Trench). ``texas.area`` is a search for another figure. A fact that is used twice is searched once.
* ``20% more`` multiplies by 1.2, ``20% less`` by 0.8, ``by half`` by 0.5, ``doubled`` by 2. ``N times`` larger, higher
  or by N times multiplies by N, smaller or slower divides by N (the answers of the data set agree with that reading).
* ``which one`` is ``most`` or ``least``: its answer is a name. ``which value`` is ``max`` or ``min`` of values.
* A difference has no sign: ``gap(a, b)`` of two, ``spread(...)`` between the largest and the smallest of several.
  The ratio of a to b is ``a / b``; ``ratio(...)`` is that of the largest to the smallest, and how often the smallest
  is stacked to reach the largest. ``extremes(...)`` is the largest plus the smallest.
* ``millions`` is there when the question wants people in millions; articles count single ones.
* States that merge add up people and land. A density may be searched, or be made of population and area: the first
  expression is the one that the data set's answer follows, the others are as right in a plan.

Executed over ``facts.py`` the labels give the data set's answer to all 113 questions by its own rule: the same name, or
a number within 2 %, but 2.4 to 6.1 % for 16, 21, 49, 68 and 99. So no question is left out of the end-to-end figures.
The column ``branch`` of the data set is the number of searches for 97 questions (86 %); ``OTHER_BRANCH`` has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from .label import Label, parse

_MERGED = "(texas + florida) / (texas.area + florida.area)"
_WEST = "(california + michigan) / (california.area + michigan.area)"

LABELS: Mapping[int, str | tuple[str, ...]] = {
    1: "least(mariana*0.8, puerto_rico*1.2)",
    2: "most(cheetah*1.2, falcon*0.7)",
    3: "most(sahara*0.7, kalahari*3.5)",
    4: "least(yangtze*0.85, mississippi*1.2)",
    5: "most(everest*0.9, kilimanjaro*1.1)",
    6: "most(christ*1.6, unity*0.7)",
    7: "most(shanghai*1.2, ostankino*1.5)",
    8: "most(amazon*0.65, congo_forest*1.45)",
    9: "most(pacific/1.5, indian*2.5)",
    10: "most(vietnam*0.9, thailand*0.95)",
    11: "gap(mariana*1.15, puerto_rico*0.8)",
    12: "everest*2.5 / (burj*3.5)",
    13: "sahara*1.1 / (sonoran*0.95)",
    14: "yangtze*1.1 / (mississippi*0.95)",
    15: "gap(everest*1.02, kilimanjaro*0.97)",
    16: "christ*1.05 + unity*0.9",
    17: "gap(burj*0.95, skytree*1.07)",
    18: "ratio(amazon*0.85, black_forest*1.25)",
    19: "ratio(atlantic*1.1, arctic*0.85)",
    20: "millions(vietnam*1.1 + japan*0.95)",
    21: (f"gap({_MERGED}, california / california.area)", f"gap({_MERGED}, california.density)"),
    22: "most(mariana*0.85, puerto_rico*1.25, sunda*1.2)",
    23: "least(greyhound*1.18, gazelle*1.22, falcon*0.85)",
    24: "least(sahara*0.5, kalahari*1.2, sonoran*2.5)",
    25: "most(yangtze*0.9, volga*1.2, mekong*0.85)",
    26: "least(kilimanjaro*1.12, aconcagua*0.85, elbert*1.25)",
    27: "most(christ*1.5, unity*0.7, washington*0.6)",
    28: "least(empire*1.5, skytree*1.3, cn*1.4)",
    29: "least(amazon*1.25, congo_forest*0.85, australian*1.35)",
    30: "least(arctic*1.12, southern*1.2, atlantic*0.91)",
    31: "least(south_korea*1.2, japan*1.05, china*1.1)",
    32: "spread(mariana*0.7, puerto_rico*1.3, sunda*1.1)",
    33: "everest*1.4 / min(empire*1.2, cn*1.1)",
    34: "ratio(sahara*1.05, arabian*0.8, atacama*2)",
    35: "spread(mekong*1.07, volga*0.92, congo_river*1.12)",
    36: "ratio(aconcagua*1.05, k2*0.96, elbert*1.1)",
    37: "mean(washington*1.15, motherland*0.95, ushiku*1.08)",
    38: "spread(empire*1.1, cn*0.95, shanghai*1.08)",
    39: "ratio(congo_forest*0.88, borneo*1.1, black_forest*2)",
    40: "extremes(pacific*1.12, indian*0.9, southern*1.2) / 2",
    41: "millions(mean(thailand*1.08, south_korea*0.93, china*1.03))",
    42: "min(gap(mariana, puerto_rico), gap(puerto_rico, sunda))",
    43: "min(mariana/puerto_rico, south_sandwich/sunda)",
    44: "min(sahara/arabian, arabian/kalahari)",
    45: "max(yangtze/mekong, mekong/congo_river)",
    46: "min(gap(everest, k2), gap(aconcagua, kilimanjaro))",
    47: "min(unity/washington, ushiku/motherland)",
    48: "max(gap(burj, cn), gap(skytree, shanghai))",
    49: "max(amazon/congo_forest, congo_forest/borneo)",
    50: "max(mean(atlantic, indian), mean(arctic, southern))",
    51: "min(china/vietnam, japan/south_korea)",
    52: f"max({_MERGED}, {_WEST})",
    53: "most(mariana*0.75, puerto_rico*1.15, sunda*0.9, south_sandwich*1.2)",
    54: "most(cheetah*1.3, falcon*0.85, ostrich*1.2, greyhound*1.18)",
    55: "least(sahara/5, kalahari*1.2, sonoran*2.5, arabian*1.5)",
    56: "least(yangtze*0.9, mississippi*1.22, volga*1.05, mekong*1.18)",
    57: "most(kilimanjaro*1.35, aconcagua*1.5, k2*0.8, elbert*2)",
    58: "least(christ*1.45, unity*1.2, washington*1.3, ushiku*1.25)",
    59: "least(empire*3, skytree*2, cn*4, ostankino*5)",
    60: "most(amazon*0.5, congo_forest*0.9, australian*1.3, borneo*1.2)",
    61: "most(atlantic*1.1, pacific*0.95, indian*1.2, arctic*1.15)",
    62: "most(vietnam*1.07, thailand*0.92, south_korea*1.05, japan*0.95)",
    63: "mean(mariana*1.1, south_sandwich*0.8, peru_chile, sunda*0.95)",
    64: "ratio(everest*1.1, aconcagua*0.85, skytree*1.05, cn*1.2)",
    65: "ratio(sahara*0.85, sonoran*1.25, arabian*1.1, kalahari*0.9)",
    66: "extremes(yangtze*1.15, mississippi*0.9, mekong*1.05, volga*0.88)",
    67: "ratio(everest*0.99, kilimanjaro*1.07, aconcagua*0.97, k2*1.02)",
    68: "extremes(christ*0.93, unity*1.06, washington*1.05, motherland*0.9) / 2",
    69: "mean(ostankino*1.09, burj*0.94, empire*1.03, cn*0.85)",
    70: "mean(amazon*0.9, congo_forest*1.2, borneo*0.85, black_forest*1.25)",
    71: "ratio(pacific*1.15, atlantic*0.9, arctic*1.2, indian*1.12)",
    72: "millions(vietnam*0.95 + thailand*1.09 + japan*1.06 + south_korea*0.96)",
    73: "max(gap(mariana, puerto_rico), gap(puerto_rico, sunda), gap(sunda, south_sandwich))",
    74: "max(mariana/sunda, puerto_rico/peru_chile, south_sandwich/sunda)",
    75: "max(sahara/arabian, arabian/kalahari, kalahari/sonoran)",
    76: "max(yangtze/mississippi, mississippi/volga, congo_river/volga)",
    77: "max(gap(everest, elbert), gap(kilimanjaro, elbert), gap(k2, aconcagua))",
    78: "min(motherland/christ, washington/ushiku, unity/ushiku)",
    79: "min(gap(empire, ostankino), gap(cn, shanghai), gap(skytree, burj))",
    80: "max(congo_forest/borneo, borneo/black_forest, amazon/congo_forest)",
    81: "min(mean(pacific, southern), mean(indian, arctic), mean(atlantic, southern))",
    82: "max(china/thailand, vietnam/south_korea, japan/thailand)",
    83: (
        f"max({_MERGED}, {_WEST}, new_jersey.density)",
        f"max({_MERGED}, {_WEST}, new_jersey / new_jersey.area)",
    ),
    84: "least(peru_chile*1.1, mariana*0.8, south_sandwich*0.75, puerto_rico*1.3, sunda*1.15)",
    85: "most(cheetah*1.35, falcon/4.5, greyhound*1.15, ostrich*1.35, gazelle*0.8)",
    86: "most(sahara/10, kalahari*1.1, atacama*3.5, sonoran*2, arabian*1.4)",
    87: "most(yangtze*0.85, mississippi*1.2, volga*1.3, mekong*1.25, congo_river*1.1)",
    88: "most(everest*0.9, kilimanjaro*1.15, aconcagua*1.3, k2*0.92, elbert*1.2)",
    89: "least(christ*2.5, unity*0.75, washington*0.6, motherland*0.8, ushiku*1.15)",
    90: "most(empire*1.5, skytree*1.2, cn*1.3, ostankino*1.4, burj*1.25)",
    91: "least(amazon*1.15, congo_forest*0.9, australian*1.3, borneo*1.2, black_forest*200)",
    92: "most(atlantic*1.12, pacific*0.5, indian*1.18, arctic*1.1, southern*1.15)",
    93: "most(vietnam*1.07, thailand*1.06, south_korea*1.09, japan*0.96, china*1.01)",
    94: "mean(mariana*1.05, puerto_rico*1.1, sunda*1.15, south_sandwich*1.2, peru_chile*1.25)",
    95: "ratio(everest*1.12, aconcagua*0.82, skytree*1.06, cn*1.22, empire*1.25)",
    96: "sahara*1.05 + sonoran*1.1 + arabian*0.85 + kalahari*1.2 + atacama*2",
    97: "mean(yangtze*0.94, mississippi*1.12, mekong*1.09, volga*0.95, congo_river*1.1)",
    98: "mean(everest*1.03, kilimanjaro*0.96, aconcagua*1.06, k2*0.98, elbert*1.08)",
    99: "spread(christ*0.9, unity*1.04, washington*0.97, motherland*1.07, ushiku*0.91)",
    100: "mean(skytree*1.04, ostankino*0.98, shanghai*1.05, cn*1.07, empire*1.06)",
    101: "amazon*0.9 + congo_forest*1.12 + australian*1.15 + borneo*0.95 + black_forest*3",
    102: "mean(atlantic*1.14, pacific*0.88, indian*1.11, arctic*1.13, southern*0.9)",
    103: "millions(south_korea*1.1 + vietnam*1.08 + china*0.98 + thailand*1.07 + japan*0.97)",
    104: (
        "min(gap(mariana, puerto_rico), gap(puerto_rico, sunda), gap(sunda, south_sandwich),"
        " gap(south_sandwich, peru_chile))"
    ),
    105: "max(mariana/puerto_rico, peru_chile/sunda, mariana/south_sandwich, puerto_rico/sunda)",
    106: "max(sahara/arabian, arabian/kalahari, kalahari/sonoran, sonoran/atacama)",
    107: "min(yangtze/mekong, mekong/mississippi, mississippi/volga, congo_river/volga)",
    108: "max(gap(everest, kilimanjaro), gap(aconcagua, elbert), gap(k2, elbert), gap(kilimanjaro, aconcagua))",
    109: "min(unity/washington, washington/ushiku, ushiku/motherland, motherland/christ)",
    110: "max(gap(burj, empire), gap(cn, ostankino), gap(shanghai, skytree), gap(ostankino, empire))",
    111: "min(amazon/congo_forest, congo_forest/australian, australian/borneo, borneo/black_forest)",
    112: "max(mean(pacific, arctic), mean(indian, southern), mean(atlantic, indian), mean(arctic, southern))",
    113: "min(china/japan, thailand/south_korea, vietnam/thailand, japan/vietnam)",
}

OTHER_BRANCH: Mapping[int, str] = {
    **dict.fromkeys((43, 46, 47, 48, 50, 51), "two pairs that share no subject: four searches, counted as three"),
    **dict.fromkeys((74, 77, 78, 81, 82), "three pairs over five subjects, counted as four branches"),
    79: "three pairs that share no subject: six searches, counted as four branches",
    110: "four pairs over six subjects, counted as five branches",
    **dict.fromkeys((21, 52, 83), "states that merge need population and area each; a state is counted as one branch"),
}
"""Questions where the data set's ``branch`` is not the number of searches, and why."""


@cache
def labels(id: str) -> tuple[Label, ...]:
    """Return the labels of a question, the one that its answer follows first. KeyError for an unknown id."""
    found = LABELS[int(id)]
    return tuple(parse(text) for text in ((found,) if isinstance(found, str) else found))
