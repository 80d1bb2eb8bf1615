"""Which tools a task can need at all: small models call whatever they are shown.

The prompt lists every tool (its prefix stays the same); the grammar leaves out those for which the task
gives no sign. When the model then sees no way, it is asked again with all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from ..steps import Effect, ToolSpec

_ENGLISH = set("the a an of is are and in to how what which who for on with by from at it do does many much".split())
_WRITING = re.compile(
    r"\b(writ|sav|stor|put|creat|export|produc|generat|record|append|add|not(e|ing) down|report|dump|output|make|making"
    r"|prepar|compil|document|fil(e|l) |copy|draft|log (it|them|this))"
)
_FILE = re.compile(r"(?<![\w@./:-])[\w-]+\.[a-z]{2,5}\b(?![@/])")
_CONDITION = re.compile(
    r"\b(if|whether|unless|otherwise|else|depend|in case|or|when|compare|more than|less than|fewer than|(larg|high|low|"
    r"small|bigg|great|long|short|old|young|warm|cold|fast|slow|cheap)\w*er|exceed\w*|above|below|over|under|at least|"
    r"at most|enough|within)\b|^\W*(is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)\b"
)
_CODE = re.compile(r"\b(python|code|script|program|snippet|function|run|execute|simulat\w*|algorithm)\b")


def needed(task: str, specs: Sequence[ToolSpec], *, known: str = "") -> tuple[ToolSpec, ...]:
    """Return the tools for which ``task`` gives a sign: effects must be asked for, a choice needs a condition.

    A file that the task names and the data (``known``) does not have is a sign of writing.

    Reading tools always stay, and so do all tools for a task that is not in English. A tool counts as asked
    for when the task shares a word with its name or description, too.
    """
    text = " ".join(task.casefold().split())
    words = _words(text)
    if not is_english(text):
        return tuple(specs)
    new = any(name not in known.casefold() for name in _FILE.findall(text))
    kept = tuple(spec for spec in specs if _asked(spec, text, words, new_file=new))
    return kept if any(spec.effect is Effect.READ for spec in kept) else tuple(specs)


def is_english(text: str) -> bool:
    """True when at least two of the commonest English words are in ``text``."""
    return len(_words(text.casefold()) & _ENGLISH) >= 2


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", text))


def _asked(spec: ToolSpec, text: str, words: set[str], *, new_file: bool) -> bool:
    properties = spec.parameters.get("properties") or {}
    if spec.effect is Effect.READ:
        return not {"condition", "yes", "no"} <= set(properties) or bool(_CONDITION.search(text))
    if "code" in properties:
        return bool(_CODE.search(text))
    if spec.effect is Effect.WRITE and spec.paths:
        return new_file or bool(_WRITING.search(text))
    about = re.findall(r"[^\W\d_]{4,}", f"{spec.name.replace('_', ' ')} {spec.description}".casefold())
    stems = {word[:5] for word in about}
    return any(word[:5] in stems for word in words if len(word) >= 4)


def named(task: str, specs: Sequence[ToolSpec], *, usual: Collection[str]) -> tuple[ToolSpec, ...]:
    """Return the reading tools beyond the ``usual`` ones that ``task`` names by a word of their own name.

    Small models reach for the tools of the worked examples; a person who brings a tool and speaks of what
    it is called after wants it used.
    """
    words = {word[:6] for word in re.findall(r"[^\W\d_]{4,}", task.casefold())}
    return tuple(
        spec
        for spec in specs
        if spec.name not in usual
        and spec.effect is Effect.READ
        and any(part[:6] in words for part in spec.name.split("_") if len(part) >= 4)
    )
