import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shuntyard.errors import PathRefused, ToolError
from shuntyard.protocols import Ctx, Pending
from shuntyard.steps import Bound
from shuntyard.tools import Registry
from shuntyard.tools.sql import SqlProblem, read

Call = Callable[..., Awaitable[Any]]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("select count(*) from sales", 3),
        ("SELECT SUM(amount) FROM sales", 7.4),
        ("select 0.1 + 0.2 from sales limit 1", 0.3),
        (
            "select shop, sum(amount) total from sales group by shop order by 1",
            [
                {"shop": "north", "total": 3.2},
                {"shop": "south", "total": 4.2},
            ],
        ),
        ("select max(day) from sales", "2024-02-05"),
        ("select date_trunc('month', day) m from sales where id = 2", "2024-02-01"),
        ("select max(day) - min(day) from sales", 34),
        ("select server_port from setup", 80),
        ("select len(tags) from setup", 2),
        ("select sum(n) from setup_jobs", 3),
        ("select line from app where text ilike '%error%' order by 1", [{"line": 1}, {"line": 3}]),
        ("select text from app where line = 3", "c error three"),
        (
            "select top, sum(lines) n from files where extension in ('.csv', '.md') group by 1 order by 1",
            [
                {"top": ".", "n": 3},
                {"top": "data", "n": 4},
            ],
        ),
        ("select path from files where folder = '.' and name like '%.log'", "app.log"),
        ("select count(*) from 'data/sales.csv'", 3),
        ("select count(*) from sales.csv where sales.shop = 'north'", 2),
        ("select count(*) from read_csv('data/sales.csv')", 3),
        ("select count(*) from read_csv_auto('sales.csv') s where s.shop = 'north'", 2),
        ("select count(*) from SALES", 3),
        ('select count(*) from sales where shop = "north"', 2),
        ("select count(*) from `sales` where `shop` = 'north'", 2),
        ("```sql\nselect count(*) from sales;\n```", 3),
        ("with s as (select * from sales) select count(*) from s join sales using (id)", 3),
        ("select count(*) from sales union all select 1 order by 1", [{"count_star()": 1}, {"count_star()": 3}]),
        ("from sales select count(*)", 3),
        ("select unnest(tags) t from setup", [{"t": "x"}, {"t": "y"}]),
        ("select count(*) from range(5)", 5),
        ("select id, id from sales where id = 1", [{"id": 1, "id_2": 1}]),
        ("select * from sales where 1 = 0", []),
        ("select null", None),
        ("values (1)", 1),
    ],
)
async def test_questions(sql: str, value: Any, call: Call, registry: Registry, ctx: Ctx) -> None:
    assert await call("query", sql=sql) == value
    assert await registry.check("query", {"sql": sql}, ctx) == []


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("value", 1),
        ("rows", [{"id": 1, "shop": "north"}, {"id": 2, "shop": "south"}]),
        ("list", [1, 2]),
        ("csv", "id,shop\n1,north\n2,south\n"),
        ("lines", "1, north\n2, south"),
    ],
)
async def test_forms(form: str, value: Any, call: Call) -> None:
    assert await call("query", sql="select id, shop from sales where id < 3 order by id", form=form) == value
    empty = {"value": None, "rows": [], "list": [], "csv": "id,shop\n", "lines": ""}
    assert await call("query", sql="select id, shop from sales where id > 3", form=form) == empty[form]


HOSTILE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    'SELECT * FROM "/etc/passwd"',
    "SELECT * FROM glob('/*')",
    "SELECT getenv('HOME')",
    "COPY sales TO '/tmp/x.csv'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "ATTACH '/tmp/x.db'",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access=true",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    "CALL pragma_version()",
    "SELECT 1; DROP TABLE sales",
    "DROP TABLE sales",
    "CREATE TABLE x AS SELECT 1",
    "INSERT INTO sales VALUES (1)",
    "UPDATE sales SET id = 1",
    "DELETE FROM sales",
    "SELECT * INTO x FROM sales",
    "WITH x AS (DELETE FROM sales RETURNING *) SELECT * FROM x",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT current_setting('home_directory')",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('sales')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM parquet_metadata('x.parquet')",
    "SELECT * FROM parquet_scan('x.parquet')",
    "SELECT * FROM csv_scan('x')",
    "SELECT * FROM read_csv('../secret.csv')",
    "SELECT * FROM read_json_auto('https://example.org/x.json')",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM sales WHERE id IN (SELECT 1 FROM read_blob('/etc/passwd'))",
    "SELECT /* x */ getenv('HOME')",
    "/* SELECT */ COPY sales TO 'x'",
    "-- SELECT\nPRAGMA version",
    "EXPLAIN ANALYZE SELECT 1",
    "DESCRIBE sales",
    "SUMMARIZE sales",
    "SHOW TABLES",
    "VACUUM",
    "CHECKPOINT",
    "BEGIN",
    "USE memory",
    "FORCE CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT $1",
    "SELECT ?",
    "SELECT getvariable('x')",
    "",
    "   ",
    "-- nothing",
    ";;",
    "SELECT * FROM (COPY sales TO 'x')",
    "SELECT nextval('s')",
    "(" * 3000 + "SELECT 1" + ")" * 3000,
    "SELECT " + "1+" * 9000 + "1",
]


@pytest.mark.parametrize("sql", HOSTILE, ids=range(len(HOSTILE)))
async def test_only_reading_what_is_offered(sql: str, call: Call, registry: Registry, ctx: Ctx) -> None:
    with pytest.raises((ToolError, PathRefused)):
        await call("query", sql=sql)
    assert await registry.check("query", {"sql": sql}, ctx)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                "select",
                "*",
                "from",
                "sales",
                "(",
                ")",
                ",",
                "'x'",
                "copy",
                "to",
                "$1",
                ";",
                "with",
                "as",
                "--",
                "/*",
                "`",
                "read_csv",
                "where",
                "in",
                "union",
                "insert",
                "into",
                "attach",
                "1",
                "join",
                "values",
                '"',
                "'",
                "lateral",
                "unnest",
                "pivot",
            ]
        ),
        max_size=14,
    )
)
def test_what_passes_is_one_select(words: list[str]) -> None:
    try:
        statement = read(" ".join(words), lambda name: name if name == "sales" else None, ["sales"])
    except SqlProblem:
        return
    text = re.sub(r"""'[^']*'|"[^"]*\"""", "x", statement.text.upper())
    assert text.startswith(("SELECT", "WITH", "(", "PIVOT"))
    assert "READ_CSV(" not in text and ";" not in text


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        ("select count(*) from sales where shop = '$1' and amount > $2", {"$1": "north", "$2": 1}, 1),
        ("select count(*) from sales where shop = $1", {"$1": "x' or '1'='1"}, 0),
        ("select count(*) from sales where shop = '$1'", {"$1": "x' or '1'='1"}, 0),
        ("select count(*) from sales where shop like '%$1%'", {"$1": "ort"}, 2),
        ("select count(*) from sales where shop in ($1)", {"$1": ["north", "a') or (1=1"]}, 2),
        ("select count(*) from sales where shop in $1", {"$1": [{"shop": "north"}]}, 2),
        ("select count(*) from sales where shop = any($1)", {"$1": ["north", "south"]}, 3),
        ("select count(*) from sales where shop in ($1)", {"$1": []}, 0),
        ("select count(*) from sales where day in $1", {"$1": ["2024-01-02"]}, 1),
        ("select count(*) from sales where day > $1", {"$1": "2024-02-01"}, 2),
        ("select count(*) from sales where id = $1", {"$1": "2"}, 1),
        ("select count(*) from sales where id = $1.id", {"$1": {"id": 2, "x": 3}}, 1),
        ("select count(*) from sales where id = $10 or id = $1", {"$1": 1, "$10": 2}, 2),
        ("select t.k from sales s join $1 t on s.id = t.id", {"$1": [{"id": 1, "k": "K"}]}, "K"),
        ("select sum(n) from $1", {"$1": [{"n": 1}, {"n": 2.5}]}, 3.5),
        ("select sum(value) from $1", {"$1": [1, 2]}, 3),
        ("select count(*) from $1 where price > 3", {"$1": []}, 0),
        ("select count(*) from sales where id in (select id from $1)", {"$1": [{"id": 1}, {"id": 9}]}, 1),
        ("select round(sum(amount) / $1, 2) from sales", {"$1": [{"n": 2}]}, 3.7),
        ("select id from sales order by id limit $1", {"$1": 1}, 1),
        ("select count(*) from sales where id between $1 and $2", {"$1": 1, "$2": 2}, 2),
        ("select count(*) from sales where shop = $1", {"$1": [{"shop": "north", "total": 3.2}]}, 2),
        ("select count(*) from sales where shop = $1", {"$1": {"total": 3.2, "shop": "north"}}, 2),
    ],
)
async def test_earlier_results_travel_beside_the_statement(
    text: str, values: dict[str, Any], result: Any, call: Call, registry: Registry, ctx: Ctx
) -> None:
    assert await call("query", sql=Bound(text, values)) == result
    pending = Bound(text, {name: Pending(name) for name in values})
    assert await registry.check("query", {"sql": pending}, ctx) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30))
def test_any_text_compares_as_itself(text: str) -> None:
    statement = read(Bound("select '$1' = $1 from sales", {"$1": text}), lambda name: name, ["sales"])
    assert statement.text.startswith("SELECT $p") and list(statement.values.values()) == [text, text]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select * from reports", "there is no table reports; the tables are files,"),
        ("select amont from sales", "there is no column amont; the columns of sales are id, shop, state, day, amount"),
        ("select s.amont from sales s", "there is no column amont"),
        ("selec 1", "is not a SELECT"),
        ("select from where", "the SQL cannot be read"),
        ("select total(amount) from sales", "total"),
        (Bound("select x from $1", {"$1": 5}), "$1 is the single value 5"),
        (Bound("select $1 from sales", {"$1": [1, 2]}), "where one value is due"),
        (Bound("select a as $1 from sales", {"$1": "x"}), "not for a name"),
        (Bound("select k from $1", {"$1": [{"id": 1}]}), "the columns of $1 are id"),
        (Bound("select $1.z from sales", {"$1": {"id": 1, "b": 2}}), "$1 has no field z; its fields are id, b"),
    ],
)
async def test_problems_say_what_exists(sql: Any, words: str, registry: Registry, ctx: Ctx) -> None:
    [problem] = await registry.check("query", {"sql": sql}, ctx)
    assert words in problem and problem.startswith("query: ")


@pytest.mark.parametrize(
    ("as_meant", "as_held"),
    [
        ("select count(*) from sales where shop = 'North'", "select count(*) from sales where shop = 'north'"),
        ("select count(*) from sales where shop in ('NORTH', 'x')", "select count(*) from sales where shop = 'north'"),
        ("select count(*) from files where extension = 'csv'", "select count(*) from files where extension = '.csv'"),
    ],
)
async def test_a_text_in_other_case_or_without_its_dot_is_what_the_column_holds(
    as_meant: str, as_held: str, call: Call, registry: Registry, ctx: Ctx
) -> None:
    assert await registry.check("query", {"sql": as_meant}, ctx) == []
    assert await call("query", sql=as_meant) == await call("query", sql=as_held) > 0


async def test_other_data_files(call: Call, workspace: Path) -> None:
    (workspace / "t.tsv").write_text("a\tb\n1\tx,y\n")
    (workspace / "l.jsonl").write_text('{"a": {"b": 1}}\n{"a": {"b": 2}, "c": [1]}\n')
    (workspace / "list.json").write_text("[1, 2, 3]")
    (workspace / "2024 report-v1.csv").write_text("a\n5\n")
    (workspace / "empty.csv").write_text("")
    (workspace / "empty.md").write_text("")
    (workspace / "files.csv").write_text("a\n7\n")
    assert await call("query", sql="select b from t") == "x,y"
    assert await call("query", sql="select sum(a_b) from l") == 3
    assert await call("query", sql="select sum(value) from list") == 6
    assert await call("query", sql="select a from t_2024_report_v1") == 5
    assert await call("query", sql="select count(*) from empty") == 0
    assert await call("query", sql="select a from files_csv") == 7
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"copy (select 4 as n) to '{workspace}/p.parquet'")
    assert await call("query", sql="select n from p") == 4


async def test_clashing_names(call: Call, workspace: Path, registry: Registry, ctx: Ctx) -> None:
    (workspace / "more").mkdir()
    (workspace / "more" / "sales.csv").write_text("id\n9\n")
    (workspace / "sales.md").write_text("text\n")
    assert await call("query", sql="select id from more_sales") == 9
    assert await call("query", sql="select count(*) from data_sales") == 3
    assert await call("query", sql="select text from sales_md") == "text"
    [problem] = await registry.check("query", {"sql": "select 1 from sales"}, ctx)
    assert "data_sales" in problem and "more_sales" in problem


async def test_broken_files_are_told(call: Call, workspace: Path, registry: Registry, ctx: Ctx) -> None:
    (workspace / "bad.json").write_text('{"a": ')
    (workspace / "bad.parquet").write_bytes(b"PAR1 nothing")
    (workspace / "ragged.csv").write_text("a,b\n1,2\n3\n4,5,6\n")
    (workspace / "late.csv").write_text("n\n" + "1\n" * 300 + "oops\n")
    with pytest.raises(ToolError, match="not valid JSON"):
        await call("query", sql="select * from bad")
    with pytest.raises(ToolError):
        await call("query", sql="select * from bad_parquet")
    assert "not valid JSON" in (await registry.check("query", {"sql": "select * from bad"}, ctx))[0]
    assert len(await call("query", sql="select * from ragged", form="rows")) >= 1
    assert await call("query", sql="select count(*) from late") == 301
    brief = await registry.brief(ctx)
    assert "cannot be read" in brief and "sales (data/sales.csv, 3 rows)" in brief


async def test_a_changed_file_is_read_again(call: Call, workspace: Path, registry: Registry, ctx: Ctx) -> None:
    assert await call("query", sql="select count(*) from sales") == 3
    (workspace / "data" / "sales.csv").write_text("id,fresh\n1,2\n")
    assert await call("query", sql="select fresh from sales") == 2
    assert await registry.check("query", {"sql": "select fresh from sales"}, ctx) == []
    assert "fresh" in await registry.brief(ctx)


async def test_too_many_rows_are_an_error_not_a_short_answer(call: Call) -> None:
    with pytest.raises(ToolError, match="more than 10000 rows"):
        await call("query", sql="select * from range(10001)")
    assert len(await call("query", sql="select * from range(10000)")) == 10000


async def test_cancellation_interrupts_the_database(call: Call) -> None:
    start = time.monotonic()
    with anyio.move_on_after(0.4) as scope:
        await call("query", sql="select count(*) from range(100000) a, range(100000) b where a.range * b.range % 7 = 3")
    assert scope.cancelled_caught and time.monotonic() - start < 3
    before = time.process_time()
    await anyio.sleep(0.6)
    assert time.process_time() - before < 0.5


async def test_links_are_no_tables(call: Call, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("s\n1\n")
    (workspace / "secret.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(ToolError, match="there is no table secret"):
        await call("query", sql="select * from secret")


async def test_parallel_queries(call: Call) -> None:
    results: list[Any] = []

    async def one(number: int) -> None:
        results.append(await call("query", sql=f"select count(*) + {number} from sales"))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number)
    assert sorted(results) == list(range(3, 11))


async def test_a_50_megabyte_table(call: Call, workspace: Path) -> None:
    with (workspace / "big.csv").open("w") as file:
        file.write("id,name\n")
        for start in range(0, 2_000_000, 10_000):
            file.write(
                "".join(f"{number},some name of a row {number % 7}\n" for number in range(start, start + 10_000))
            )
    assert await call("query", sql="select count(distinct name) from big") == 7
