"""Columns that a plan reads of earlier lines: seen and mended before anything runs, on the real query tool."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from shuntyard.planner.compile import LineCompiler
from shuntyard.planner.lines import write
from shuntyard.protocols import Ctx
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import Plan
from shuntyard.tools import Registry, builtin_tools

pytestmark = pytest.mark.anyio


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Any]:
    (tmp_path / "boats.csv").write_text("name,length,berth\nAda,9.5,3\nBob,12.0,7\nCid,7.2,9\n")
    (tmp_path / "trips.csv").write_text("boat,day,miles\nAda,2023-05-01,4\nBob,2023-05-01,9\nBob,2023-05-02,8\n")
    registry = Registry(builtin_tools(Settings()))
    ctx = Ctx("run", tmp_path.resolve(), lambda event: None)

    async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
        return await registry.check(tool, args, ctx)

    async def shape(tool: str, args: Mapping[str, Any]) -> Mapping[str, str] | None:
        return await registry.shape(tool, args, ctx)

    async def compile(*answers: str, told: list[list[str]] | None = None, task: str = "x", links: str = "") -> Plan:
        heard = [] if told is None else told
        compiler = LineCompiler(
            ScriptedModel(answers), list(registry.specs()), check=check, shape=shape,
            on_repair=lambda found: heard.append(list(found)),
        )  # fmt: skip
        return await compiler.compile(task, brief=await registry.brief(ctx), links=links)

    return compile


def sql(plan: Plan, id: str) -> Any:
    return plan.node(id).args["sql"]


LONGEST = '1. query(sql="SELECT length FROM boats ORDER BY length DESC LIMIT 1")\n'


async def test_the_key_is_selected_too_where_a_text_is_compared_with_a_number(plan: Callable[..., Any]) -> None:
    written = LONGEST + '2. query(sql="SELECT sum(miles) FROM trips WHERE boat = $1")\n'
    found = await plan(written + '3. calculator(expression="$2 / $1")\n')
    assert sql(found, "n1") == "SELECT length, name FROM boats ORDER BY length DESC LIMIT 1"
    assert sql(found, "n2") == {"$text": ["SELECT sum(miles) FROM trips WHERE boat = ", {"$ref": "n1.name"}]}
    assert found.node("n3").args["expression"] == {"$text": [{"$ref": "n2"}, " / ", {"$ref": "n1"}]}


async def test_an_extreme_keeps_its_row(plan: Callable[..., Any]) -> None:
    first = '1. query(sql="SELECT max(length) AS longest FROM boats WHERE berth > 1")\n'
    found = await plan(first + '2. query(sql="SELECT sum(miles) FROM trips WHERE boat = $1")\n')
    assert sql(found, "n1") == "SELECT length, name FROM boats WHERE berth > 1 ORDER BY length DESC LIMIT 1"
    assert sql(found, "n2")["$text"][1] == {"$ref": "n1.name"}


async def test_a_column_that_is_there_is_compared_instead(plan: Callable[..., Any]) -> None:
    written = '1. query(sql="SELECT length, name FROM boats")\n'
    found = await plan(written + '2. query(sql="SELECT sum(miles) FROM trips WHERE boat = $1")\n')
    assert sql(found, "n2")["$text"][1] == {"$ref": "n1.name"}


async def test_a_missing_column_is_selected_for_any_tool(plan: Callable[..., Any]) -> None:
    found = await plan(LONGEST + '2. write_file(path="a.txt", content=$1.name)\n')
    assert sql(found, "n1") == "SELECT length, name FROM boats ORDER BY length DESC LIMIT 1"
    assert found.node("n2").args["content"] == {"$ref": "n1.name"}


async def test_a_column_that_no_table_has_goes_back(plan: Callable[..., Any]) -> None:
    told: list[list[str]] = []
    bad = LONGEST + '2. write_file(path="a.txt", content=$1.colour)\n'
    good = LONGEST + '2. write_file(path="a.txt", content=$1)\n'
    found = await plan(bad, good, told=told)
    assert told == [["n2: $1.colour: line 1 gives length; let line 1 select colour too."]]
    assert found.node("n2").args["content"] == {"$ref": "n1"}


async def test_a_table_made_by_a_line_has_its_columns_at_once(plan: Callable[..., Any]) -> None:
    told: list[list[str]] = []
    first = '1. query(sql="SELECT boat, sum(miles) AS miles FROM trips GROUP BY boat")\n'
    bad = first + '2. query(sql="SELECT boat FROM $1 ORDER BY length DESC LIMIT 1")\n'
    good = first + '2. query(sql="SELECT boat FROM $1 ORDER BY miles DESC LIMIT 1")\n'
    await plan(bad, good, told=told)
    assert "there is no column length; the columns of $1 are boat, miles" in told[0][0]


async def test_the_only_column_of_a_line_is_its_value(plan: Callable[..., Any]) -> None:
    found = await plan(
        '1. query(sql="SELECT sum(miles) AS miles FROM trips")\n2. calculator(expression="$1.miles / 2")\n'
    )
    assert found.node("n2").args["expression"] == {"$text": [{"$ref": "n1"}, " / 2"]}


async def test_a_whole_table_is_narrowed_to_the_row_that_was_found(plan: Callable[..., Any]) -> None:
    first = '1. query(sql="SELECT boat, sum(miles) AS miles FROM trips GROUP BY boat ORDER BY miles DESC LIMIT 1")\n'
    found = await plan(first + '2. query(sql="SELECT length FROM boats")\n3. calculator(expression="$1 / $2")\n')
    assert sql(found, "n2") == {"$text": ["SELECT length FROM boats WHERE name = ", {"$ref": "n1.boat"}]}
    whole = '2. query(sql="SELECT length FROM boats")\n3. calculator(expression="$1.miles / sum($2)")\n'
    assert sql(await plan(first + whole), "n2") == "SELECT length FROM boats"


async def test_a_look_into_a_folder_that_is_not_there_is_left_out(plan: Callable[..., Any]) -> None:
    look, query = '1. list_files(folder="boats")\n', '2. query(sql="SELECT count(*) FROM boats")\n'
    assert [node.id for node in (await plan(look + query)).nodes] == ["n2"]
    told: list[list[str]] = []
    used = '1. read_file(path="boat.csv")\n2. text_stats(text=$1)\n'
    await plan(used, query, told=told)
    assert told == [["n1: there is no file 'boat.csv'; did you mean boats.csv?"]]


async def test_a_month_is_more_than_its_first_day(plan: Callable[..., Any]) -> None:
    line = "1. query(sql=\"SELECT sum(miles) FROM trips WHERE day = '2023-05-01'\")\n"
    assert sql(await plan(line, task="Miles of May?"), "n1").endswith("WHERE strftime(day, '%Y-%m') = '2023-05'")
    assert sql(await plan(line, task="Miles of the 1st of May?"), "n1").endswith("WHERE day = '2023-05-01'")


@pytest.mark.parametrize(
    ("task", "written", "right"),
    [
        ("Add up the miles by boat, take the best, divide its miles by its length.", "$2 / $1", "$1 / $2"),
        ("How many miles per length did the best boat make?", "round($2 / $1, 2)", "round($1 / ${2}, 2)"),
        ("How long is the best boat for its miles?", "$2 / $1", "$2 / $1"),
        ("Divide the miles by the length.", "$1 / $2", "$1 / $2"),
    ],
)
async def test_a_division_goes_the_way_that_the_task_says(
    plan: Callable[..., Any], task: str, written: str, right: str
) -> None:
    lines = (
        '1. query(sql="SELECT boat, sum(miles) AS miles FROM trips GROUP BY boat ORDER BY miles DESC LIMIT 1")\n'
        f'2. query(sql="SELECT length FROM boats WHERE name = $1.boat")\n3. calculator(expression="{written}")\n'
    )
    found = (await plan(lines, task=task)).node("n3")
    assert write(found) == f'3. calculator(expression="{right}")'


async def test_a_value_that_no_row_has_is_doubted_not_refused(plan: Callable[..., Any]) -> None:
    told: list[list[str]] = []
    line = "1. query(sql=\"SELECT sum(miles) FROM trips WHERE boat = 'mile'\")\n"
    found = await plan(line, line, told=told, task="How many miles?")
    assert "boat is never 'mile' but Ada, Bob" in told[0][0] and "maybe" not in told[0][0]
    assert sql(found, "n1").endswith("boat = 'mile'")


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("SELECT sum(miles) FROM trips", "SELECT sum(miles) FROM trips WHERE trips.boat = 'Ada'"),
        (
            "SELECT day FROM trips WHERE miles > 3 LIMIT 1",
            "SELECT day FROM trips WHERE trips.boat = 'Ada' AND miles > 3 LIMIT 1",
        ),
        ("SELECT sum(t.miles) FROM trips t", "SELECT sum(t.miles) FROM trips t"),
        ("SELECT boat, sum(miles) FROM trips GROUP BY boat", "SELECT boat, sum(miles) FROM trips GROUP BY boat"),
        ("SELECT sum(miles) FROM trips WHERE boat = 'ada'", "SELECT sum(miles) FROM trips WHERE boat = 'ada'"),
    ],
)
async def test_a_value_that_the_task_names_is_asked_for(plan: Callable[..., Any], written: str, right: str) -> None:
    line = f'1. query(sql="{written}")\n'
    links = "- 'Ada' is in trips.boat"
    assert sql(await plan(line, line, task="How many miles did Ada make?", links=links), "n1") == right


async def test_subqueries_and_texts_do_not_hide_where_the_list_of_columns_ends(plan: Callable[..., Any]) -> None:
    first = (
        "1. query(sql=\"SELECT (SELECT max(miles) FROM trips) AS most, 'from' AS word FROM boats "
        'ORDER BY length LIMIT 1")\n'
    )
    found = await plan(first + '2. write_file(path="a.txt", content=$1.berth)\n')
    assert sql(found, "n1").endswith("'from' AS word, berth FROM boats ORDER BY length LIMIT 1")
