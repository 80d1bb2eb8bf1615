"""Rules: what a call must look like for a decision to hold, and the policy in force when nobody wrote one.

The first rule that matches decides. Globs are anchored (the whole text must match) and ``*`` matches
anything, slashes too. A path parameter is matched as the place it leads to, relative to the workspace:
``reports/../.git/config`` is ``.git/config``, and a symlink is what it points at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from ..settings import FILE, RuleSettings, Settings
from ..steps import Bound, Effect, Label, ToolSpec

Where = Literal["", "outside", "hidden", "settings"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one path argument leads."""

    text: str
    """Relative to the workspace when inside, otherwise absolute."""
    inside: bool
    hidden: bool
    """Some part of the way starts with a dot, as written or as resolved (``.git``, ``.ssh``)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as rules see it."""

    tool: str
    effect: Effect
    args: Mapping[str, Any]
    places: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    """Arguments whose values are not known yet; only when a plan is reviewed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition and what follows from it. Every condition given must hold."""

    name: str
    decision: Literal["allow", "deny", "ask"]
    reason: str
    """Plain words; ends with what to do when it is not allow."""
    tool: str = "*"
    effect: str = "*"
    args: Mapping[str, str] = field(default_factory=dict)
    """Glob per argument; an absent argument never matches."""
    where: Where = ""
    """Some path argument leads there: outside the workspace, to a hidden place, to the settings file."""

    def matches(self, call: Call) -> bool | None:
        """Return whether the rule applies; None when that hangs on a value that is not known yet."""
        if self.effect not in ("*", call.effect) or (self.tool != "*" and not fnmatchcase(call.tool, self.tool)):
            return False
        if not self.args and not self.where:
            return True
        answers = [self._arg(name, glob, call) for name, glob in self.args.items()]
        if self.where:
            answers.append(self._where(call))
        if False in answers:
            return False
        return None if None in answers else True

    def _arg(self, name: str, glob: str, call: Call) -> bool | None:
        if name in call.pending:
            return None
        if name not in call.args:
            return False
        if name in call.places:
            texts = [place.text for place in call.places[name]]
            glob = glob.removeprefix("./")
        else:
            value = call.args[name]
            texts = [text_of(part) for part in value] if isinstance(value, list | tuple) else [text_of(value)]
        found = [fnmatchcase(text, glob) for text in texts]
        # One bad element of a list must not pass because of a good one, in either direction.
        return bool(found) and all(found) if self.decision == "allow" else any(found)

    def _where(self, call: Call) -> bool | None:
        places = [place for found in call.places.values() for place in found]
        if self.where == "outside":
            hit = any(not place.inside for place in places)
        elif self.where == "hidden":
            hit = any(place.hidden for place in places)
        else:
            hit = any(place.inside and place.text.rpartition("/")[2] == FILE for place in places)
        if hit:
            return True
        return None if call.pending & call.places.keys() else False


def text_of(value: Any) -> str:
    """The text that globs see: strings as they are, everything else as compact JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Bound):
        return value.text
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=False)


def places(spec: ToolSpec, args: Mapping[str, Any], workspace: Path) -> dict[str, tuple[Place, ...]]:
    """Resolve the path arguments of a call, symlinks included; ``workspace`` is resolved itself.

    Raises TypeError or ValueError for what is no path; a guard takes that as deny.
    """
    found: dict[str, tuple[Place, ...]] = {}
    for name in spec.paths:
        value = args.get(name)
        if value is None:
            continue
        parts = value if isinstance(value, list | tuple) else [value]
        found[name] = tuple(_place(part, workspace) for part in parts)
    return found


def _place(value: Any, workspace: Path) -> Place:
    if not isinstance(value, str | Path):
        raise TypeError(f"a path must be text, not {value!r}")
    written = Path(value)
    resolved = Path(os.path.realpath(workspace / written))
    inside = resolved.is_relative_to(workspace)
    relative = resolved.relative_to(workspace) if inside else resolved
    # A hidden name counts as it is written and as it resolves: a link must not lend it another name.
    parts = [*(() if written.is_absolute() else written.parts), *(relative.parts if inside else ())]
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return Place(text=relative.as_posix(), inside=inside, hidden=hidden)


def default_rules() -> tuple[Rule, ...]:
    """The policy without any settings; a call that none of these matches is denied.

    Reading inside the workspace is allowed, writing inside it and everything external asks, and nothing
    leaves the workspace or touches its hidden places and its settings.
    """
    return (
        Rule(
            name="outside-workspace",
            decision="deny",
            reason="it leads outside the workspace; use a path inside it or start with another --workspace.",
            where="outside",
        ),
        *(
            Rule(
                name="hidden-write",
                decision="deny",
                reason="it would change a hidden place such as .git; choose a path without a leading dot.",
                effect=effect,
                where="hidden",
            )
            for effect in ("write", "external")
        ),
        *(
            Rule(
                name="settings-write",
                decision="deny",
                reason=f"it would change {FILE}, which holds these rules; edit that file yourself.",
                effect=effect,
                where="settings",
            )
            for effect in ("write", "external")
        ),
        Rule(name="read", decision="allow", reason="reading inside the workspace changes nothing.", effect="read"),
        Rule(
            name="write",
            decision="ask",
            reason="it changes files in the workspace; a person must say yes, or run with --approve TOOL.",
            effect="write",
        ),
        Rule(
            name="external",
            decision="ask",
            reason="it runs code or reaches beyond this machine; a person must say yes, or run with --approve TOOL.",
            effect="external",
        ),
    )


def rules_from(settings: Settings) -> tuple[Rule, ...]:
    """The rules in force: those of the settings in their order, then the default policy."""
    return (*(_rule(number, rule) for number, rule in enumerate(settings.rules, 1)), *default_rules())


def _rule(number: int, rule: RuleSettings) -> Rule:
    mend = {"allow": "", "deny": f" Change it in {FILE}.", "ask": " A person must say yes."}[rule.decision]
    return Rule(
        name=rule.name or f"rule-{number}",
        decision=rule.decision,
        reason=rule.reason or f"rule {number} of {FILE} says {rule.decision}.{mend}",
        tool=rule.tool,
        effect=rule.effect,
        args=dict(rule.args),
    )


def first_match(rules: Sequence[Rule], call: Call) -> tuple[Rule | None, bool]:
    """Return the rule that decides (None: no rule allows it) and whether every earlier one surely did not match."""
    certain = True
    for rule in rules:
        answer = rule.matches(call)
        if answer:
            return rule, certain
        certain = certain and answer is not None
    return None, certain
