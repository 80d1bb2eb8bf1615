"""Answers to orders: a task that only wants something written is answered from what was written, without a model.

A model that is asked to answer an order narrates it. Here are only tasks where nothing is left to say: no
question, nothing to be told or worked out, every file that the task names written, nothing failed. All others,
and all that are not in English, go to the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentsInvalid
from ..steps import Effect, Node, Plan, StepResult, ToolSpec
from .needed import is_english
from .targets import targets
from .values import ends, resolve

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|‘[^’]*’|`[^`]*`|(?<!\w)'[^']*'(?!\w)")
_ASKS = re.compile(
    r"\?|\b(?:which|what|who|whom|whose|why|how|when|where|whether)\b"
    # Something is to be said.
    r"|\b(?:tell|say|says|show|give|let (?:me|us) know|inform|explain|describe|answer|reply|respond|report|mention"
    r"|print|display|confirm|summar\w+|state|present|warn|list|name|discuss|suggest|recommend|advise)\b"
    # Something is to be found or worked out, and the person may want to read it.
    r"|\b(?:count|calculat\w+|comput\w+|work(?:ing)? out|add(?:ing)? up|sum(?:ming)? up|find\w*|look(?:ing)? up"
    r"|determin\w+|measur\w+|multipl\w+|divid\w+|subtract|compar\w+|estimat\w+|check|verify|make sure|figure"
    r"|see|decide|choose|pick|rank|predict|analy[sz]\w+|convert|evaluat\w+|identif\w+|search)\b"
    # Something else is to be done.
    r"|\b(?:e?-?mail|send|post|call|phone|order|buy|book|pay|delete|remove|move|rename|run|execute|start|stop|switch|turn"
    r"|install|download|upload|open|close|remind|schedule|notify|publish|share|translate|fix|update|change|replace|edit)\b",
    re.IGNORECASE,
)
_MOST = 5
"""Writes that are named one by one."""
_SHORT = 80
"""Characters up to which what was written is said."""


def written(task: str, plan: Plan, results: Mapping[str, StepResult]) -> str:
    """Return what was written, when that is all there is to answer to ``task``; otherwise nothing."""
    last = ends(plan)
    if task != plan.task or not _only_orders(task) or not all(_sound(results.get(node.id)) for node in plan.nodes):
        return ""
    made = [node for node in last if results[node.id].ok]
    if not made or any(node.effect is not Effect.WRITE for node in last) or len(made) > _MOST:
        return ""
    told = [_told(node, results) for node in made]
    wanted = [name.casefold() for name in targets(task)]
    said = " ".join(told).casefold()
    if (
        not all(told)
        or not wanted
        or not all(re.search(rf"(?<![\w-]){re.escape(name)}(?!\w)", said) for name in wanted)
    ):
        return ""
    return " ".join(told)


def _only_orders(task: str) -> bool:
    plain = _QUOTED.sub("…", task)
    return is_english(plain) and not _ASKS.search(plain)


def _sound(result: StepResult | None) -> bool:
    """True for what was done and gave something, and for what its own condition left out."""
    if result is None or result.failure is not None:
        return False
    return result.status == "skipped" or (result.ok and result.value not in (None, "", [], {}))


def _told(node: Node, results: Mapping[str, StepResult]) -> str:
    """A sentence on one write: the tool's own, or the path that it gives; empty when the result says neither."""
    value = results[node.id].value
    if isinstance(value, str):
        text = value.strip()
        return _sentence(text) if 0 < len(text) <= 2 * _SHORT and text.isprintable() else ""
    paths = [_path(each) for each in (value if isinstance(value, list) else [value])]
    if not paths or not all(paths) or len(paths) > _MOST:
        return ""
    if len(paths) == 1 and (content := _content(node, results)):
        return _sentence(f"Written: {paths[0]}: {content}")
    size = value.get("bytes") if isinstance(value, dict) else None
    return f"Written: {', '.join(paths)}{f' ({size} bytes)' if isinstance(size, int) else ''}."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _path(value: Any) -> str:
    path = value.get("path") if isinstance(value, dict) else None
    return path if isinstance(path, str) and path.isprintable() else ""


def _content(node: Node, results: Mapping[str, StepResult]) -> str:
    """What was written, when it is one short value; empty when it is more, or a person changed it."""
    verdict = results[node.id].verdict
    if node.over is not None or (verdict is not None and verdict.edit is not None):
        return ""
    try:
        args = resolve(node, results, ToolSpec(name=node.tool, description="", parameters={})).args
    except ArgumentsInvalid:
        return ""
    others = [value for name, value in args.items() if name != "path"]
    if len(others) != 1 or isinstance(others[0], bool) or not isinstance(others[0], str | int | float):
        return ""
    text = str(others[0]).strip()
    return text if len(text) <= _SHORT and text.isprintable() else ""
