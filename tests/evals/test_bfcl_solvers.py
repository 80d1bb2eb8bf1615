"""Cases from files, functions in our names and back, and the two solvers with a scripted model."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from shuntyard.errors import DataInvalid, DataMissing, UsageError
from shuntyard.evals.case import Case
from shuntyard.evals.data import Data
from shuntyard.evals.recorder import Recorder
from shuntyard.evals.suite import Means
from shuntyard.evals.suites.bfcl.cases import CATEGORIES, SOURCE, answered, cases, conversation, functions, language
from shuntyard.evals.suites.bfcl.dialect import catalogue, numbered, parameters, planned, tool_name
from shuntyard.evals.suites.bfcl.gold import gold
from shuntyard.evals.suites.bfcl.raw import prompt, read_calls
from shuntyard.evals.suites.bfcl.score import judge
from shuntyard.evals.suites.bfcl.suite import SUITE
from shuntyard.messages import Message, ModelInfo, ModelRequest
from shuntyard.planner.lines import parse_line, write
from shuntyard.planner.validate import complete, problems
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import Node, Plan

needs_data = pytest.mark.skipif("SHUNTYARD_DATA" not in os.environ, reason="SHUNTYARD_DATA is not set")
anyio = pytest.mark.anyio

WEATHER = {
    "name": "Weather.getDay",
    "description": "Weather of a place.",
    "parameters": {
        "type": "dict",
        "properties": {
            "place": {"type": "string", "description": "City, State"},
            "year": {"type": "integer", "enum": ["2023", "2024"]},
            "share": {"type": "float", "default": 1},
            "año": {"type": "any"},
        },
        "required": ["place"],
    },
}
CASE = Case(
    id="parallel_x",
    category="parallel",
    input={"question": [[{"role": "user", "content": "Weather in Lund and Ystad?"}]], "functions": [WEATHER]},
    target=[{"Weather.getDay": {"place": [place], "share": ["", 1.0]}} for place in ("Lund", "Ystad")],
)


def entry(id: str, **changed: Any) -> dict[str, Any]:
    return {"id": id, "question": [[{"role": "user", "content": "?"}]], "function": [WEATHER], **changed}


def files(folder: Path, questions: str, answers: str = "") -> Data:
    """Data whose first category has the given text, and whose others are empty."""
    for category in CATEGORIES:
        first = category == CATEGORIES[0]
        for place, text in (("", questions), ("possible_answer", answers)):
            path = folder / "bfcl" / place / f"BFCL_v4_{category}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if first else "")
    return Data([SOURCE])


async def solve(solver: str, model: ScriptedModel, case: Case = CASE, *, seed: int = 0) -> Any:
    async with SUITE.solvers[solver].open(Means(settings=Settings(), model=model)) as solving:
        return await solving(case, seed=seed)


def test_a_case_has_question_functions_and_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUNTYARD_DATA", str(tmp_path))
    answer = {"id": "simple_python_0", "ground_truth": [{"Weather.getDay": {"place": ["Lund"]}}]}
    [case] = cases(files(tmp_path, json.dumps(entry("simple_python_0")), json.dumps(answer)))
    assert (case.id, case.category, case.meta["language"]) == ("simple_python_0", "simple_python", "python")
    assert functions(case) == [WEATHER]
    assert conversation(case) == (Message(role="user", content="?"),)
    assert case.target == answer["ground_truth"]


@pytest.mark.parametrize(
    ("questions", "answers", "why"),
    [
        ('{"id": "a", "quest', "", "line 1"),
        (json.dumps(entry("a")) + "\n" + json.dumps(entry("b")), '{"id": "a", "ground_truth": []}', "entry 2"),
        (json.dumps(entry("a")), '{"id": "b", "ground_truth": []}', "answer is for"),
        (json.dumps(entry("a")), '{"id": "a"}', "no ground_truth"),
        ('{"id": "a"}', '{"id": "a", "ground_truth": []}', "no id, question and function"),
    ],
)
def test_broken_files_are_named(
    questions: str, answers: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHUNTYARD_DATA", str(tmp_path))
    with pytest.raises(DataInvalid, match=why) as error:
        list(cases(files(tmp_path, questions, answers)))
    assert "BFCL_v4_simple_python.json" in str(error.value)


def test_without_data_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUNTYARD_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match=re.escape("bfcl-eval==2026.3.23")):
        list(cases(Data([SOURCE.model_copy(update={"url": "", "package": "no_such_package"})])))


def test_the_dialect_becomes_json_schema() -> None:
    schema = parameters(WEATHER, language="python")
    assert schema["properties"]["year"] == {"type": "integer", "enum": [2023, 2024]}
    assert schema["properties"]["share"] == {"type": "number", "default": 1}
    assert schema["properties"]["año"] == {"type": "string"}
    odd = {
        "a": {"type": "array", "items": {"type": "string"}, "enum": ["x", "y"], "default": "x"},
        "b": {"type": "boolean", "enum": ["True", "dontcare"], "default": "False"},
        "c": {"type": "dict", "properties": {"d": {"type": "tuple", "items": {"type": "float"}}}, "required": ["d"]},
    }
    made = parameters({"parameters": {"properties": odd, "required": ["a", "gone"]}}, language="python")
    assert made["required"] == ["a"]
    assert made["properties"] == {
        "a": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}},
        "b": {"type": "boolean", "default": False},
        "c": {
            "type": "object",
            "properties": {"d": {"type": "array", "items": {"type": "number"}}},
            "required": ["d"],
        },
    }


def test_java_arguments_are_described_as_source_text() -> None:
    given = {"ids": {"type": "ArrayList", "items": {"type": "long"}, "description": "The ids."}, "x": {"type": "any"}}
    made = parameters({"parameters": {"properties": given}}, language="java")["properties"]
    assert made["ids"] == {
        "type": "string",
        "description": "The ids. (Java source text of type ArrayList of long)",
    }
    assert made["x"] == {"type": "string", "description": "(Java source text of any type)"}


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("spotify.play", "spotify_play"),
        ("Geometry.createPlan", "geometry_create_plan"),
        ("3d_print", "f_3d_print"),
        ("北京", "f"),
        ("x" * 80, "x" * 60),
        ("a__b-", "a_b"),
    ],
)
def test_functions_get_names_that_tools_may_have(name: str, tool: str) -> None:
    assert tool_name(name) == tool


def test_names_go_there_and_back_even_when_they_collide() -> None:
    names = ["a.b", "a_b", "A_b", "outside"]
    tools = catalogue([{**WEATHER, "name": name} for name in names], language="python")
    assert [spec.name for spec in tools.specs] == ["a_b", "a_b_2", "a_b_3", "outside_2"]
    nodes = [Node(id=f"n{at}", tool=spec.name, args={"ano": "2024"}) for at, spec in enumerate(tools.specs, start=1)]
    found = planned(Plan(task="", nodes=tuple(nodes)), tools)
    assert found == [{"name": name, "arguments": {"año": "2024"}} for name in names]


def test_numbers_take_the_declared_type() -> None:
    properties = {
        "f": {"type": "float"},
        "i": {"type": "integer"},
        "l": {"type": "array", "items": {"type": "float"}},
        "d": {"type": "dict", "properties": {"x": {"type": "float"}}},
    }
    given = {"f": 1, "i": 2.0, "l": [1, 2.5], "d": {"x": 3, "y": 4}, "other": 5, "b": True}
    [call] = numbered([{"name": "g", "arguments": given}], [{"name": "g", "parameters": {"properties": properties}}])
    assert json.dumps(call["arguments"]) == (
        '{"f": 1.0, "i": 2, "l": [1.0, 2.5], "d": {"x": 3.0, "y": 4}, "other": 5, "b": true}'
    )
    half = [{"name": "g", "arguments": {"i": 2.5, "f": "1"}}]
    assert numbered(half, [{"name": "g", "parameters": {"properties": properties}}]) == half


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', ["f"]),
        ('<tool_call>{"name": "f", "arguments": {}}<tool_call>{"name": "g", "arguments": {}}', ["f", "g"]),
        ('Sure:\n```json\n{"name": "f", "parameters": {"a": {"b": [1]}}}\n```\nDone {not json}.', ["f"]),
        ('[{"name": "f", "arguments": "{\\"a\\": 1}"}, {"name": "g", "arguments": {}}]', ["f", "g"]),
        ('{"type": "function", "function": {"name": "f", "arguments": {}}}', ["f"]),
        ('{"type": "function", "function": {"name": "f", "description": "F.", "parameters": {}}}', []),
        ('{"name": "f"}', []),
        ('{"name": "f", "arguments": {"a": 1}', []),
        ('{"arguments": {"name": "f"}}', []),
        ("I cannot do that.", []),
        ("{" * 3000, []),
        ("[" * 20000, []),
    ],
)
def test_calls_are_read_from_what_small_models_write(text: str, names: list[str]) -> None:
    found = read_calls(text)
    assert [call["name"] for call in found] == names
    assert all(isinstance(call["arguments"], dict) for call in found)


def test_the_raw_prompt_has_the_published_form() -> None:
    system, user = prompt(CASE)
    assert system.content.startswith(
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.\n\n# Tools\n"
    )
    tools = system.content.split("<tools>\n")[1].split("\n</tools>")[0]
    assert json.loads(tools)["function"]["name"] == "Weather.getDay"
    assert system.content.endswith('{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>')
    assert user == Message(role="user", content="Weather in Lund and Ystad?")
    told = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]
    system, user = prompt(CASE.model_copy(update={"input": {"question": [told], "functions": [WEATHER]}}))
    assert system.content.startswith("Be brief.\n\n# Tools")
    assert user.content == "?"
    [system, _] = prompt(CASE.model_copy(update={"input": {"question": [told], "functions": []}}))
    assert system.content == "Be brief."


@anyio
async def test_raw_calls_are_judged() -> None:
    calls = [{"name": "Weather.getDay", "arguments": {"place": place, "share": 1}} for place in ("Ystad", "Lund")]
    model = ScriptedModel(["\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)])
    output = await solve("raw", model, seed=7)
    assert judge(CASE, output.value).value == 1
    assert output.value[0]["arguments"] == {"place": "Ystad", "share": 1.0}
    assert [turn["role"] for turn in output.transcript] == ["system", "user", "assistant"]
    assert output.usage.completion > 0
    assert model.requests[0].seed == 7


@anyio
async def test_planned_calls_are_judged_in_the_functions_own_names() -> None:
    model = ScriptedModel(
        ['1. weather_get_day(place="Lund")\n2. weather_get_day(place="Ystad", share=1)\nreturn $1, $2\n']
    )
    output = await solve("planner", model)
    assert judge(CASE, output.value).value == 1
    assert {call["name"] for call in output.value} == {"Weather.getDay"}
    assert output.transcript[-1]["role"] == "assistant"
    assert "Lund" in output.text


@anyio
async def test_a_refusal_is_no_call() -> None:
    output = await solve("planner", ScriptedModel(['outside(reason="no tool knows tides")']))
    assert (output.value, output.text) == ([], "no tool knows tides")


@anyio
async def test_a_reference_has_no_value() -> None:
    lines = '1. weather_get_day(place="Lund")\n2. weather_get_day(place=$1)\nreturn $2\n'
    output = await solve("planner", ScriptedModel(lambda request: lines))
    assert output.value[1] == {"name": "Weather.getDay", "arguments": {"place": {"$ref": "n1"}}}
    assert "place = {'$ref': 'n1'} is not of type string" in judge(CASE, output.value).explanation


@anyio
async def test_a_plan_that_cannot_be_mended_makes_no_call_but_costs() -> None:
    output = await solve("planner", ScriptedModel(lambda request: "1. weather_get_day(nowhere=1)\n"))
    assert output.value == []
    assert "weather_get_day" in output.text
    assert sum(turn["role"] == "assistant" and "nowhere" in turn["content"] for turn in output.transcript) > 1
    assert output.usage.completion > 10


@anyio
@pytest.mark.parametrize("solver", ["raw", "planner"])
async def test_solvers_need_a_model(solver: str) -> None:
    with pytest.raises(UsageError, match="needs a model"):
        async with SUITE.solvers[solver].open(Means(settings=Settings(), model=None)):
            pass


@anyio
async def test_what_was_said_before_is_part_of_the_task() -> None:
    turns = [("system", "Today is Monday."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Weather in Lund?")]
    told = [{"role": role, "content": content} for role, content in turns]
    model = ScriptedModel(['outside(reason="no")'])
    await solve("planner", model, CASE.model_copy(update={"input": {"question": [told], "functions": [WEATHER]}}))
    task = "Today is Monday.\n\nuser: Hi\n\nassistant: Hello\n\nWeather in Lund?"
    assert task in model.requests[0].messages[-1].content


@anyio
async def test_a_cancelled_answer_is_recorded_and_counted() -> None:
    model = ScriptedModel(["abcdefgh" * 20], piece=1)
    recorder = Recorder(model, seed=3, temperature=0.5)
    import anyio as io

    with io.CancelScope() as scope:
        heard: list[str] = []

        def stop(text: str) -> None:
            heard.append(text)
            if len(heard) == 5:
                scope.cancel()

        request = ModelRequest(messages=(Message(role="user", content="12345678"),), temperature=0.2, seed=1)
        await recorder.complete(request, on_text=stop)
    assert scope.cancelled_caught
    assert recorder.transcript[-1] == {"role": "assistant", "content": "abcde"}
    assert (recorder.usage.prompt, recorder.usage.completion) == (2, 5)
    assert (model.requests[0].temperature, model.requests[0].seed) == (0.5, 4)
    assert recorder.info == ModelInfo(name="scripted", kind="scripted", grammar=True, json_schema=True)


@needs_data
def test_published_answers_are_plans_over_the_tools_and_come_back_unchanged() -> None:
    invalid, changed, count = [], [], 0
    for case in cases(Data([SOURCE])):
        if not answered(case.category):
            continue
        count += 1
        tools = catalogue(functions(case), language=language(case.category))
        plan = _plan(case, tools)
        if problems(complete(plan, tools.specs), tools.specs):
            invalid.append(case.id)
        again = plan.model_copy(update={"nodes": tuple(parse_line(write(node)) for node in plan.nodes)})
        back = judge(case, numbered(planned(again, tools), functions(case)))
        if back.value != judge(case, gold(case)).value:
            changed.append(case.id)
    assert changed == []
    # The rest breaks its own function's choices or types.
    assert len(invalid) <= count * 0.01


def _plan(case: Case, tools: Any) -> Plan:
    nodes = []
    for at, call in enumerate(gold(case), start=1):
        tool = next(tool for tool, name in tools.functions.items() if name == call["name"])
        ours = {name: ours for ours, name in tools.arguments[tool].items()}
        arguments: Any = call["arguments"]
        nodes.append(
            Node(id=f"n{at}", tool=tool, args={ours.get(name, name): each for name, each in arguments.items()})
        )
    return Plan(task="", nodes=tuple(nodes))
