import re
from typing import Any

import pytest

from shuntyard.planner.grammar import grammar
from shuntyard.planner.shots import BANK, choose_shots
from shuntyard.steps import ToolSpec


def spec(name: str, required: tuple[str, ...] = (), **properties: Any) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return ToolSpec(name=name, description=f"Does {name}.", parameters=schema)


SPECS = [
    spec("find", ("text",), text={"type": "string"}, limit={"type": "integer"}, deep={"type": "boolean"}),
    spec("pick", ("mode",), skip={"type": "number"}, mode={"enum": ["a", 'b"c']}, rows={"type": "array"}),
    spec("idle"),
]


def test_every_rule_is_defined_and_used() -> None:
    text = grammar(SPECS, max_lines=4)
    bare = re.sub(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]', " ", text)
    defined = re.findall(r"^([a-z][a-z0-9-]*) ::=", bare, re.MULTILINE)
    used = set(re.findall(r"[a-z][a-z0-9-]*", re.sub(r"^[a-z][a-z0-9-]* ::=", "", bare, flags=re.MULTILINE)))
    assert len(defined) == len(set(defined))
    assert used <= set(defined)
    assert set(defined) <= used | {"root"}


def test_only_earlier_lines_can_be_named() -> None:
    text = grammar(SPECS, first=3, earlier=(1,), max_lines=2)
    assert '"3. "' in text and '"4. "' in text and '"5. "' not in text
    assert sorted(re.findall(r"^id\d+ ::= (.*)$", text, re.MULTILINE)) == ["[134]", "[13]", "[1]"]


def test_it_stays_small() -> None:
    many = [spec(f"tool{n}", ("a",), a={"type": "string"}, b={"type": "integer"}) for n in range(40)]
    assert len(grammar(many)) < 150_000


def test_without_tools_only_the_way_out_is_left() -> None:
    assert grammar([]).splitlines()[0] == 'root ::= "outside(reason=" plain ")"'


@pytest.mark.parametrize(
    "missing", [None, *sorted({name for shot in BANK for name in re.findall(r"(\w+)\(", shot.plan)})]
)
def test_examples_use_only_tools_that_are_there(missing: str | None) -> None:
    text = {"type": "string"}
    whole = [
        spec("query", ("sql",), sql=text),
        spec("calculator", ("expression",), expression=text),
        spec("write_file", ("path", "content"), path=text, content={}),
        spec("search_files", ("text",), text=text, pattern=text),
        spec("choose", ("condition", "yes"), condition=text, yes={}, no={}),
    ]
    kept = [each for each in whole if each.name != missing]
    shots = choose_shots(kept)
    names = {each.name for each in kept}
    assert {name for shot in shots for name in re.findall(r"^\d+\. (\w+)\(", shot.plan, re.MULTILINE)} <= names
    assert bool(shots) is (missing != "query")
