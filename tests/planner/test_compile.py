from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shuntyard.errors import PlanInvalid
from shuntyard.messages import ModelRequest
from shuntyard.planner.compile import LineCompiler
from shuntyard.planner.validate import problems
from shuntyard.protocols import Pending
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Bound, Effect, Hint, Node, Plan, StepResult, ToolSpec

pytestmark = pytest.mark.anyio


def spec(
    name: str, *required: str, effect: Effect = Effect.READ, binds: tuple[str, ...] = (), **types: str
) -> ToolSpec:
    properties = {key: {"type": kind} if kind else {} for key, kind in types.items()}
    parameters = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return ToolSpec(name=name, description=name, parameters=parameters, effect=effect, binds=binds)


SPECS = [
    spec("query", "sql", sql="string", binds=("sql",)),
    spec("calculator", "expression", expression="string", binds=("expression",)),
    spec("write_file", "path", "content", path="string", content="", effect=Effect.WRITE),
    spec("wait", "days", days="integer"),
]


def model(*answers: str, piece: int = 3) -> ScriptedModel:
    return ScriptedModel(answers, piece=piece)


async def test_lines_become_a_plan_while_they_come() -> None:
    seen: list[Node] = []
    text = '1. query(sql="SELECT 1")\n2. calculator(expression="$1 * 2")\n3. write_file(path="a.md", content="$2")\n'
    plan = await LineCompiler(model(text), SPECS).compile("double it into a.md", on_node=seen.append)
    assert tuple(seen) == plan.nodes
    assert [node.effect for node in plan.nodes] == ["read", "read", "write"]
    assert plan.nodes[2].args["content"] == {"$ref": "n2"}
    assert plan.nodes[2].sources == {"path": "task"}
    assert plan.nodes[0].sources == {"sql": "model"}


async def test_a_line_is_announced_before_the_next_is_written() -> None:
    order: list[str] = []
    text = '1. query(sql="a")\n2. query(sql="b")\n'
    scripted = ScriptedModel([text], piece=1)
    heard = scripted.complete

    async def complete(request: ModelRequest, *, on_text: Any = None) -> Any:
        def passed(piece: str) -> None:
            order.append(piece)
            on_text(piece)

        return await heard(request, on_text=passed)

    scripted.complete = complete  # type: ignore[method-assign]
    await LineCompiler(scripted, SPECS).compile("x", on_node=lambda node: order.append(node.id))
    assert order.index("n1") == text.index("\n") + 1


async def test_a_broken_plan_goes_back_with_what_is_wrong() -> None:
    told: list[list[str]] = []
    bad, good = '1. query(sql="SELECT 1")\n2. wait(days="soon")\n', '1. query(sql="SELECT 1")\n2. wait(days=3)\n'
    scripted = model(bad, good)
    plan = await LineCompiler(scripted, SPECS, on_repair=lambda found: told.append(list(found))).compile("x")
    assert [node.args for node in plan.nodes] == [{"sql": "SELECT 1"}, {"days": 3}]
    assert len(told) == 1 and "soon" in told[0][0]
    assert [request.role for request in scripted.requests] == ["compile", "repair"]
    again = scripted.requests[1].messages[-1].content
    assert "soon" not in again.split("begin with them")[1], "models copy what they are shown"
    assert 'begin with them:\n1. query(sql="SELECT 1")\n' in again
    assert "line 2" in scripted.requests[1].messages[-1].content
    assert scripted.requests[0].messages[:-1] == scripted.requests[1].messages[:-1]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('1. calculator(expression="$2 - 1")\n2. query(sql="a")\n', "line 2"),
        ("1. calculator(expression=$3)\n", "$3"),
        ('1. nothing(a="b")\n', "unknown tool"),
        ('1. query(sql="a"', ") is missing"),
        ("I cannot.", "no lines"),
    ],
)
async def test_what_is_sent_back(bad: str, says: str) -> None:
    scripted = model(bad, '1. query(sql="a")\n')
    await LineCompiler(scripted, SPECS).compile("x")
    assert says in scripted.requests[1].messages[-1].content


async def test_repairs_are_bounded() -> None:
    scripted = model(*["1. nothing(a=1)\n"] * 9)
    with pytest.raises(PlanInvalid, match="nothing"):
        await LineCompiler(scripted, SPECS, max_repairs=2).compile("x")
    assert len(scripted.requests) == 3


async def test_an_invented_number_is_doubted_but_taken_in_the_end() -> None:
    doubtful = '1. query(sql="SELECT sum(a) FROM t")\n2. calculator(expression="8431 / 12")\n'
    scripted = model(doubtful, doubtful)
    plan = await LineCompiler(scripted, SPECS).compile("monthly mean of a?")
    assert "8431" in scripted.requests[1].messages[-1].content and len(scripted.requests) == 2
    assert len(plan.nodes) == 2
    scripted = model(doubtful, 'outside(reason="confused")\n')
    assert (await LineCompiler(scripted, SPECS).compile("monthly mean of a?")).refusal == ""


async def test_checks_see_what_is_known() -> None:
    seen: list[tuple[str, Mapping[str, Any]]] = []

    async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
        seen.append((tool, args))
        return ["there is no table t; the tables are u"] if args.get("sql") == "SELECT a FROM t" else []

    first = '1. query(sql="SELECT a FROM t")\n'
    second = '1. query(sql="SELECT a FROM u")\n2. query(sql="SELECT b FROM u WHERE a = \'$1\'")\n'
    scripted = model(first, second + "3. write_file(path=$2, content=[$1.a])\n")
    plan = await LineCompiler(scripted, SPECS, check=check).compile("x")
    assert "the tables are u" in scripted.requests[1].messages[-1].content
    assert plan.nodes[1].args == {"sql": {"$text": ["SELECT b FROM u WHERE a = ", {"$ref": "n1"}]}}
    assert seen[-2][1]["sql"] == Bound("SELECT b FROM u WHERE a = $1", {"$1": Pending("$1")})
    assert seen[-1][1] == {"path": Pending("$2"), "content": [Pending("$1.a")]}


async def test_references_inside_sql_texts_become_concatenations() -> None:
    text = "1. query(sql=\"a\")\n2. query(sql=\"SELECT b FROM u WHERE c LIKE '%$1%' AND d = 'x'\")\n"
    plan = await LineCompiler(model(text), SPECS).compile("x")
    assert plan.nodes[1].args["sql"] == {
        "$text": ["SELECT b FROM u WHERE c LIKE '%' || ", {"$ref": "n1"}, " || '%' AND d = 'x'"]
    }


async def test_refusal() -> None:
    plan = await LineCompiler(model('outside(reason="no tool sends mail")\n'), SPECS).compile("send mail")
    assert plan.refusal == "no tool sends mail" and plan.nodes == ()


async def test_an_exact_hint_needs_no_model() -> None:
    old = await LineCompiler(model('1. query(sql="SELECT 7")\n2. wait(days=$1)\n'), SPECS).compile("x 7")
    seen: list[Node] = []
    hint = Hint(run="r", task="x 7", plan=old, similarity=1.0, exact=True)
    plan = await LineCompiler(model(), SPECS).compile("x 7", hints=[hint], on_node=seen.append)
    assert plan.origin == "memory" and [node.args for node in plan.nodes] == [node.args for node in old.nodes]
    assert plan.nodes[0].sources == {"sql": "memory"} and tuple(seen) == plan.nodes
    scripted = model('1. query(sql="SELECT 7 + 1")\n')
    fresh = await LineCompiler(scripted, SPECS[:1]).compile("x 7", hints=[hint])
    assert fresh.origin == "model" and len(fresh.nodes) == 1


async def test_other_hints_are_shown() -> None:
    old = Plan(task="older", nodes=(Node(id="n1", tool="query", args={"sql": "SELECT 5"}),))
    scripted = model('1. query(sql="SELECT 5")\n')
    hints = [Hint(run="r", task="older", plan=old, similarity=0.8)]
    plan = await LineCompiler(scripted, SPECS).compile("x", hints=hints, brief="table t")
    asked = scripted.requests[0].messages[-1].content
    assert asked.index("table t") < asked.index('1. query(sql="SELECT 5")') < asked.index("TASK\nx")
    assert plan.nodes[0].sources == {"sql": "memory"}


async def test_a_replan_continues_the_numbering() -> None:
    old = await LineCompiler(model('1. query(sql="a")\n2. wait(days=3)\n'), SPECS).compile("x")
    results = {"n1": StepResult(value=[{"a": 5}]), "n2": StepResult(status="failed")}
    scripted = model('3. calculator(expression="$1 + 1")\n')
    plan = await LineCompiler(scripted, SPECS).compile("x", finished=(old, results), reason="no days")
    assert [node.id for node in plan.nodes] == ["n1", "n3"] and plan.revision == 1
    request = scripted.requests[0]
    assert request.role == "replan" and '"3. "' in (request.grammar or "")
    assert "no days" in request.messages[-1].content and '| {"a": 5}' in request.messages[-1].content
    with pytest.raises(PlanInvalid):
        again = model(*['3. calculator(expression="$2 + 1")\n4. wait(days=$2)\n'] * 3)
        await LineCompiler(again, SPECS).compile("x", finished=(old, results))


async def test_the_prefix_is_the_same_for_every_task() -> None:
    scripted = model('1. query(sql="a")\n', '1. query(sql="b")\n')
    for task in ("first", "second"):
        await LineCompiler(scripted, SPECS).compile(task, brief="table t")
    first, second = (request.messages for request in scripted.requests)
    assert first[:-1] == second[:-1]
    assert first[-1].content.split("TASK")[0] == second[-1].content.split("TASK")[0]


async def test_a_loop_is_cut_off() -> None:
    text = "1. wait(days=1)\n" + "".join(f"{n}. wait(days=2)\n" for n in range(2, 4000))
    scripted = ScriptedModel([text], piece=16, delay=0.0001)
    plan = await LineCompiler(scripted, SPECS).compile("x")
    assert len(plan.nodes) == 2


HOSTILE = st.lists(
    st.sampled_from(
        [
            "1. ",
            "2. ",
            "query(",
            "wait(",
            'sql="',
            "days=",
            "$1",
            "$9",
            '"',
            ")",
            "\n",
            "[",
            "{",
            "'",
            "\\",
            "outside(",
            "é",
        ]
    )
    | st.text(max_size=8),
    max_size=40,
).map("".join)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(HOSTILE, min_size=3, max_size=3), st.integers(1, 30))
async def test_hostile_output_never_yields_an_unvalidated_call(answers: list[str], piece: int) -> None:
    seen: list[Node] = []
    compiler = LineCompiler(ScriptedModel(answers, piece=piece), SPECS)
    try:
        plan = await compiler.compile("x", on_node=seen.append)
    except PlanInvalid as error:
        assert error.problems
    else:
        assert plan.refusal or not problems(plan, SPECS)
    for node in seen:
        assert not [p for p in problems(Plan(task="x", nodes=tuple(seen)), SPECS) if p.startswith(f"{node.id}: ")]


async def test_what_a_check_spells_out_is_put_right_without_the_model() -> None:
    async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
        sql = args.get("sql")
        if sql == "SELECT a FROM t WHERE b = 'open' AND a > c":
            return ["; u has one row: write (SELECT c FROM u) for c"]
        return []

    text = "1. query(sql=\"SELECT a FROM t WHERE b = 'open' AND a > c\")\n"
    text += '2. calculator(expression="$1")\n3. wait(days=$2)\n'
    scripted = model(text)
    plan = await LineCompiler(scripted, SPECS, check=check).compile("x")
    assert len(scripted.requests) == 1
    assert plan.nodes[0].args == {"sql": "SELECT a FROM t WHERE b = 'open' AND a > (SELECT c FROM u)"}
    assert [(node.id, node.args) for node in plan.nodes[1:]] == [("n3", {"days": {"$ref": "n1"}})]


async def test_a_key_where_a_name_is_asked_for_is_doubted() -> None:
    brief = "- reads (r.csv, 9 rows): place text\n- places (p.csv, 3 rows): code text, name text\n"
    brief += "- tables join ON reads.place = places.code"
    scripted = model('1. query(sql="SELECT place FROM reads")\n', '1. query(sql="SELECT name FROM places")\n')
    await LineCompiler(scripted, SPECS).compile("What is the name of the place?", brief=brief)
    assert "JOIN places ON reads.place = places.code" in scripted.requests[1].messages[-1].content


async def test_what_no_data_has_is_refused_in_the_end() -> None:
    async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
        return ["query: there is no column wind_speed; the columns of t are day, rain"]

    for task, brief, refused in (
        ("What was the wind speed?", "- t: day, rain", True),
        ("What was the wind speed?", "- t: day, rain\n- u: windiness", False),
        ("How strong was the storm?", "- t: day, rain", False),
    ):
        compiler = LineCompiler(model(*['1. query(sql="SELECT wind_speed FROM t")\n'] * 3), SPECS, check=check)
        if refused:
            assert (await compiler.compile(task, brief=brief)).refusal == "the data has no wind speed"
        else:
            with pytest.raises(PlanInvalid):
                await compiler.compile(task, brief=brief)


async def test_tables_that_a_check_names_are_joined_or_reread() -> None:
    async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
        if args.get("sql") == "SELECT b, avg(c) AS m FROM t GROUP BY b":
            return ["there is no column c; c is a column of u: add JOIN u ON t.k = u.k"]
        return (
            ["there is no column m; the columns of t are b"] if args.get("sql") == "SELECT b FROM t ORDER BY m" else []
        )

    text = '1. query(sql="SELECT b, avg(c) AS m FROM t GROUP BY b")\n2. query(sql="SELECT b FROM t ORDER BY m")\n'
    plan = await LineCompiler(model(text), SPECS, check=check).compile("x")
    assert plan.nodes[0].args["sql"] == "SELECT b, avg(c) AS m FROM t JOIN u ON t.k = u.k GROUP BY b"
    assert plan.nodes[1].args["sql"] == {"$text": ["SELECT b FROM ", {"$ref": "n1"}, " ORDER BY m"]}


@pytest.mark.parametrize(
    ("task", "sql", "says"),
    [
        ("What is the total of a?", "SELECT a FROM t", "sum("),
        ("What is the mean a?", "SELECT a FROM t", "avg("),
        ("Which a has most x?", "SELECT b FROM t WHERE b = 'x' GROUP BY b ORDER BY count(*)", "GROUP BY the column"),
    ],
)
async def test_what_is_not_computed_is_doubted(task: str, sql: str, says: str) -> None:
    scripted = model(f'1. query(sql="{sql}")\n', '1. query(sql="SELECT sum(a), avg(a) FROM t")\n')
    await LineCompiler(scripted, SPECS).compile(task)
    assert says in scripted.requests[1].messages[-1].content
