"""Folders of texts as tables, numbers in log messages as columns, and values that a task names."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shuntyard.errors import ToolError
from shuntyard.protocols import Ctx
from shuntyard.steps import Bound
from shuntyard.tools import Registry
from shuntyard.tools.logs import phrases

Call = Callable[..., Awaitable[Any]]
pytestmark = pytest.mark.anyio


@pytest.fixture
def letters(workspace: Path) -> Path:
    (workspace / "letters").mkdir()
    (workspace / "letters" / "anna.txt").write_text("Dear Ivo,\n\nthe boat leaks again.\n")
    (workspace / "letters" / "ivo.md").write_text("Dear Anna,\nsell it.")
    (workspace / "letters" / "blob.txt").write_bytes(b"\0\1\2")
    return workspace


@pytest.mark.parametrize("source", ["letters", "letters/*.txt", "'letters/*.md'", "letters/", '"letters"'])
async def test_a_folder_of_texts_is_a_table(letters: Path, call: Call, source: str) -> None:
    assert await call("query", sql=f"SELECT count(*) AS texts, sum(words) AS words FROM {source}") == [
        {"texts": 2, "words": 10}
    ]


async def test_the_text_of_a_document_is_whole(letters: Path, call: Call) -> None:
    shortest = await call("query", sql="SELECT path, text FROM letters ORDER BY words LIMIT 1")
    assert shortest == [{"path": "letters/ivo.md", "text": "Dear Anna,\nsell it."}]
    assert await call("query", sql="SELECT words FROM files WHERE path = 'letters/anna.txt'") == 6
    assert await call("query", sql="SELECT text FROM anna WHERE line = 1") == "Dear Ivo,"
    dear = "SELECT name, line FROM letters_lines WHERE text LIKE 'Dear%' ORDER BY name"
    assert await call("query", sql=dear) == [{"name": "anna.txt", "line": 1}, {"name": "ivo.md", "line": 1}]


@pytest.mark.parametrize("name", ["anna.txt", "letters/anna.txt", "anna", "Anna.TXT"])
async def test_a_text_is_found_by_any_of_its_names(letters: Path, call: Call, name: str) -> None:
    assert await call("query", sql=f"SELECT words FROM letters WHERE name = '{name}'") == 6


async def test_the_brief_tells_of_the_folder_and_not_of_each_text(letters: Path, registry: Registry, ctx: Ctx) -> None:
    brief = await registry.brief(ctx)
    assert "- letters (folder letters, one row per text, 3): name text ['anna.txt', 'blob.txt', 'ivo.md']" in brief
    assert "- letters_lines (the lines of the texts in folder letters, 5 rows)" in brief and "- anna (" not in brief


async def test_words_count_across_the_pieces_that_a_file_is_read_in(workspace: Path, call: Call) -> None:
    (workspace / "long.txt").write_text("ab " * 700_000 + "\n")
    assert await call("query", sql="SELECT words FROM files WHERE name = 'long.txt'") == 700_000


LINES = [f"2024-05-0{day} 08:00:0{day} INFO saw-{day % 2} took {day * 10} ms, load {day}.5 %" for day in range(1, 8)]


async def test_numbers_in_messages_are_columns(workspace: Path, call: Call) -> None:
    (workspace / "saw.log").write_text("\n".join([*LINES, "2024-05-09 09:00:00 WARN saw-1 stopped: 3 times"]))
    assert phrases(LINES) == {"took_ms": True, "load_percent": True}
    found = await call("query", sql="SELECT max(took_ms) AS ms, max(load_percent) AS load FROM saw")
    assert found == [{"ms": 70, "load": 7.5}]
    assert await call("query", sql="SELECT count(*) FROM saw WHERE took_ms IS NULL") == 1


async def test_texts_compared_from_their_beginning_are_lines(letters: Path, call: Call) -> None:
    assert await call("query", sql="SELECT text FROM letters WHERE text LIKE 'sell%'") == "sell it."
    assert await call("query", sql="SELECT name FROM letters WHERE letters.text LIKE 'the boat%'") == "anna.txt"
    assert await call("query", sql="SELECT words FROM letters WHERE text LIKE '%boat%'") == 6


async def test_words_asked_of_lines_are_those_of_the_texts(letters: Path, call: Call) -> None:
    assert await call("query", sql="SELECT sum(words) FROM letters_lines WHERE folder = 'letters'") == 10
    assert await call("query", sql="SELECT count(*) FROM letters_lines WHERE line = 1") == 2


async def test_rows_are_meant_where_only_the_condition_is_selected(workspace: Path, call: Call) -> None:
    (workspace / "saw.log").write_text("\n".join(LINES))
    assert await call("query", sql="SELECT source FROM saw WHERE source = 'saw-1' AND took_ms = 30") == LINES[2]
    shops = await call("query", sql="SELECT shop FROM sales WHERE shop = 'south'")
    assert shops == [{"id": 2, "shop": "south", "state": "due", "day": "2024-02-03", "amount": 4.2}]
    assert await call("query", sql="SELECT DISTINCT shop FROM sales WHERE shop = 'south'") == "south"


async def test_a_day_is_found_in_the_only_time(workspace: Path, call: Call) -> None:
    (workspace / "saw.log").write_text("\n".join(LINES))
    assert await call("query", sql="SELECT date FROM saw WHERE took_ms = 30") == "2024-05-03"
    assert await call("query", sql="SELECT count(*) FROM saw s WHERE s.day >= '2024-05-06'") == 2


async def test_the_beginning_of_a_columns_name_is_that_column(workspace: Path, call: Call) -> None:
    (workspace / "b.csv").write_text("kind,price_per_kg,size_cm,size_kg\nx,5,1,2\ny,7,1,3\n")
    assert await call("query", sql="SELECT price FROM b WHERE kind = 'x'") == 5
    assert await call("query", sql="SELECT b.kind, sum(price) AS price FROM b GROUP BY kind ORDER BY kind LIMIT 1") == [
        {"kind": "x", "price": 5}
    ]
    with pytest.raises(ToolError, match="there is no column size"):
        await call("query", sql="SELECT size FROM b")


async def test_a_day_that_is_called_after_itself(workspace: Path, call: Call) -> None:
    sql = "SELECT strftime(date, '%m') AS date, count(*) AS n FROM sales GROUP BY 1 ORDER BY 1"
    assert await call("query", sql=sql) == [{"date": "01", "n": 1}, {"date": "02", "n": 2}]


@pytest.mark.parametrize(
    "value", ["sum(a.n) * sum(b.price)", "sum(a.n) * b.price", "b.price * sum(a.n)", "sum(a.n * b.price)"]
)
async def test_a_product_of_joined_rows_is_added_up(workspace: Path, call: Call, value: str) -> None:
    (workspace / "a.csv").write_text("kind,n\nx,1\nx,2\ny,10\n")
    (workspace / "b.csv").write_text("kind,price\nx,5\ny,7\n")
    assert await call("query", sql=f"SELECT {value} FROM a JOIN b ON a.kind = b.kind") == 85
    one = f"SELECT {value} AS worth FROM a JOIN b ON a.kind = b.kind WHERE a.kind = 'x'"
    assert await call("query", sql=one) == 15


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("How much did the shops in the North sell?", "- 'north' is in sales.shop"),
        ("How much is due?", "- 'due' is in sales.state"),
        ("What dues are there, and what pays?", "- 'due' is in sales.state"),
        ("What paying shops are there?", ""),
        ("Which shop sells most?", ""),
        ("How much did the northern shop sell?", ""),
    ],
)
async def test_values_that_a_task_names_are_found(registry: Registry, ctx: Ctx, task: str, told: str) -> None:
    assert await registry.links(task, ctx) == told


async def test_a_part_of_longer_values_is_found_too(workspace: Path, registry: Registry, ctx: Ctx) -> None:
    (workspace / "parts.csv").write_text("n,about,code\n1,oak table with drawer,A\n2,oak chair,B\n3,stool,B\n")
    assert "- 'oak table' is a part of parts.about" in await registry.links("Is the oak table sold?", ctx)
    assert await registry.links("How many parts have code B?", ctx) == "- 'B' is in parts.code"
    assert await registry.links("Has A part a drawer?", ctx) == ""


async def test_columns_that_a_task_speaks_of_are_named(workspace: Path, registry: Registry, ctx: Ctx) -> None:
    (workspace / "trees.csv").write_text("id,height_cm,trunk_width_cm\n1,200,10\n2,300,12\n")
    told = "- 'height' names the columns trees.height_cm\n- 'width' names the columns trees.trunk_width_cm"
    (workspace / "boxes.csv").write_text("id,kg\n1,2.5\n2,3\n")
    assert await registry.links("Which box is the heaviest?", ctx) == "- 'heaviest' is measured by boxes.kg"
    assert await registry.links("Heights and widths in cm?", ctx) == told


async def test_a_choice_calculates_what_is_a_calculation(call: Call) -> None:
    values = {"$1": [{"top": 9}], "$2": 4}
    assert await call("choose", condition=True, yes=Bound("$1 - $2", values), no="none") == 5
    assert await call("choose", condition=False, yes="x", no=Bound("$2 kg at most", values)) == "4 kg at most"
