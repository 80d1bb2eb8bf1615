"""Plans as small programs: a subset of Python that is read, never run, and compiled to the plan's IR.

    best = query(sql="SELECT name, area FROM rooms ORDER BY area DESC LIMIT 1")
    lamps = query(sql=f"SELECT lamp FROM lamps WHERE room = {best.name}")
    for lamp in lamps:
        told = send_text(to="Eva", text=f"{lamp.lamp} is in {best.name}")
    if lamps:
        write_file(path="lamps.txt", content=lamps)
    return best, lamps

A name is an earlier result, ``best.name`` and ``best[0]`` parts of it, an f-string is text around some. An ``if`` runs
its calls when the value is true, non-zero, non-empty. Calls may stand inside calls. ``return`` names the results that
answer the task, and reads that they do not need are left out; without one, all results that no other call uses answer
it; in an ``if`` it ends the plan there. Order is by need alone: lines that need nothing of one another run at once.

A ``for`` over a list runs its calls once per element, and its names are lists behind it. ``for _ in range(5)`` runs
them at most so often, one turn after the other. In both ``if found: break`` stands last and leaves the loop, and a
name that is read before it is set again holds what the turn before gave it. ``sleep(2)`` is the pause between turns;
``else: raise`` makes a loop fail that ends without its break.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, NoReturn

from pydantic import JsonValue

from ..errors import PlanInvalid
from ..steps import Node, Plan
from .lines import OUTSIDE
from .values import lean, parse_ref

_MOST = 20_000
"""Characters of a program."""
_ALLOWED = "calls with named arguments, assignments of them, for, if and return"


class _Wrong(Exception):
    """What is wrong, where."""

    def __init__(self, node: ast.AST, told: str) -> None:
        super().__init__(f"line {getattr(node, 'lineno', 1)}: {told}")


def parse_program(text: str, *, task: str = "", origin: str = "person") -> Plan:
    """Compile a program; nothing of it is executed. Raises PlanInvalid, naming the line, what stands there, the mend.

    ``outside(reason="...")`` alone makes a plan that refuses. What tools take is checked where the plan is used.
    """
    if len(text) > _MOST:
        raise PlanInvalid([f"the program has {len(text):,} characters, more than {_MOST:,}; write a shorter one."])
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = max(getattr(error, "lineno", 1) or 1, 1)
        said = text.splitlines()[line - 1 : line]
        shown = repr(said[0].strip()[:80]) if said else "the end"
        why = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        raise PlanInvalid([f"line {line}: {why} at {shown}; correct the syntax there."]) from None
    reader = _Reader()
    try:
        reader.block(body)
    except _Wrong as error:
        raise PlanInvalid([str(error)]) from None
    except RecursionError:
        raise PlanInvalid(["the program is nested too deeply; write shorter values."]) from None
    data: dict[str, Any] = {"task": task, "origin": origin, "nodes": reader.nodes, "refusal": reader.refusal}
    data["answers"] = tuple(dict.fromkeys(reader.answers))
    plan = Plan.model_validate(data)
    return plan.model_copy(update={"nodes": tuple(map(lean, plan.nodes))})


class _Reader:
    """Collects nodes; knows the names that stand for them."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.refusal = ""
        self.answers: list[str] = []
        """Ids of the results that are returned."""
        self.names: dict[str, str] = {}
        """Reference by name."""
        self.when: JsonValue = None
        self.over: JsonValue = None
        self.until: JsonValue = None
        """The condition under which the loop that is being read is left."""
        self.pause = 0.0
        self.depth = 0
        """Loops around."""
        self.asked: set[str] = set()
        """Names of which the value of the turn before was used."""
        self.count = 0

    def block(self, statements: Sequence[ast.stmt]) -> None:
        for at, statement in enumerate(statements):
            if self.until is not None and self.depth and not self.when:
                raise _Wrong(statement, "stands after the break; put the if with the break last in its loop.")
            if isinstance(statement, ast.Return):
                self.returned(statement)
                if at < len(statements) - 1:
                    raise _Wrong(statements[at + 1], "stands after return; put return last.")
            else:
                self.statement(statement)

    def statement(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if not isinstance(target, ast.Name):
                raise _Wrong(target, f"{_shown(target)} is no plain name; assign a call to one name.")
            self.names[target.id] = self.result(statement.value)
        elif isinstance(statement, ast.Expr):
            self.expression(statement.value)
        elif isinstance(statement, ast.For):
            self.loop(statement)
        elif isinstance(statement, ast.If):
            self.condition(statement)
        elif isinstance(statement, ast.While):
            raise _Wrong(
                statement, "a while has no bound; write `for _ in range(10):` and leave it by `if ...: break`."
            )
        elif isinstance(statement, ast.Break):
            raise _Wrong(statement, "a break of a plan is `if result: break`, last in its loop; write it so.")
        elif not isinstance(statement, ast.Pass):
            raise _Wrong(statement, f"{_shown(statement)} cannot be in a plan; a plan has {_ALLOWED}.")

    def expression(self, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return
        if not isinstance(value, ast.Call):
            raise _Wrong(value, f"{_shown(value)} does nothing; write a call.")
        if isinstance(value.func, ast.Name) and value.func.id == OUTSIDE:
            if self.nodes:
                raise _Wrong(value, f"{OUTSIDE} stands beside calls; refuse, or call tools.")
            reason = {each.arg: each.value for each in value.keywords}.get("reason")
            self.refusal = str(reason.value) if isinstance(reason, ast.Constant) else "no tool can do this"
            return
        if self.depth and isinstance(value.func, ast.Name) and value.func.id == "sleep" and len(value.args) == 1:
            seconds = self.value(value.args[0])
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
                raise _Wrong(value, f"{_shown(value)} is no number of seconds; write sleep(5).")
            self.pause = float(seconds)
            return
        self.call(value)

    def returned(self, statement: ast.Return) -> None:
        value = statement.value
        items = value.elts if isinstance(value, ast.Tuple) else [value] if value is not None else []
        if self.depth:
            raise _Wrong(statement, "a return stands in no loop; leave the loop by `if ...: break`, then return.")
        found = [self.result(item) for item in items]
        if self.when is None:
            self.answers += [parse_ref(ref).head for ref in found]
            return
        values: list[JsonValue] = [{"$ref": ref} for ref in found]
        result = values[0] if len(values) == 1 else values or self.when
        id = self.add(body={"result": result, "ends": True})
        self.answers += [id] if found else []

    def loop(self, statement: ast.For) -> None:
        if not isinstance(statement.target, ast.Name):
            raise _Wrong(statement, "a for of a plan is `for name in result:` or `for _ in range(10):`; write it so.")
        most = _rounds(statement)
        if most is None and statement.orelse:
            raise _Wrong(statement, "a for over a list has no else; put what follows behind it.")
        over = None if most is not None else self.reference(statement.iter)
        self.keep_around(statement)
        if over is not None and _is_one_call(statement.body):
            name, self.over = statement.target.id, over
            shadowed = self.names.get(name)
            self.names[name] = "item"
            self.block(statement.body)
            self.over = None
            del self.names[name]
            if shadowed is not None:
                self.names[name] = shadowed
        else:
            self.turns(statement, over, most)

    def keep_around(self, statement: ast.For) -> None:
        """Give what is called ``item`` or ``last`` here a place that can be seen from the loop inside."""
        inside = {each.id for line in statement.body for each in ast.walk(line) if isinstance(each, ast.Name)}
        for name, ref in list(self.names.items()):
            if name in inside and ref.startswith(("item", "last")):
                self.asked.add(name)
                self.names[name] = self.add(body={"result": {"$ref": ref}})

    def turns(self, statement: ast.For, over: JsonValue, most: int | None) -> None:
        """A loop of several calls: a node with a body, and what its names stand for afterwards."""
        assert isinstance(statement.target, ast.Name)
        around, nodes, when, id = self.names, self.nodes, self.when, self.number()
        asked, pause = self.asked, self.pause
        made = _assigned(statement.body)
        for branch in (each for each in statement.body if isinstance(each, ast.If)):
            if unsure := [name for name in _assigned(branch.body) if name in around]:
                raise _Wrong(
                    branch, f"{unsure[0]!r} is set only if, so the next turn cannot know it; use another name."
                )
        again = [name for name in made if name in around]
        self.names = {**around, **{name: f"last.{name}" for name in again}}
        self.names.pop(statement.target.id, None)
        if over is not None:
            self.names[statement.target.id] = "item"
        self.nodes, self.when, self.depth = [], None, self.depth + 1
        self.until, self.pause, self.asked = None, 0.0, set()
        self.block(statement.body)
        carried = [name for name in again if name in self.asked]
        result: JsonValue = {name: {"$ref": self.names[name]} for name in made}
        if len(made) == 1 and not carried:
            result = {"$ref": self.names[made[0]]}
        body = {"nodes": self.nodes, "result": result if made else None, "until": self.until, "most": most}
        body |= {"pause": self.pause, "unmet": "fail" if statement.orelse or most is None else "keep"}
        if carried:
            body["start"] = {name: {"$ref": around[name]} if name in carried else None for name in made}
        self.names, self.nodes, self.when, self.depth = around, nodes, when, self.depth - 1
        self.until, self.asked, self.pause = None, asked, pause
        self.add(id=id, body=body, over=over)
        for name in made:
            last = "[-1]" if over is not None and name in carried else ""
            self.names[name] = id + last + (f".{name}" if isinstance(result, dict) and "$ref" not in result else "")

    def condition(self, statement: ast.If) -> None:
        if statement.orelse:
            raise _Wrong(statement, "an if of a plan has no else; choose between two values with a call.")
        if self.when is not None or self.over is not None:
            raise _Wrong(statement, "an if of a plan stands in no other if; put it on the outside.")
        if not isinstance(statement.test, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            raise _Wrong(
                statement.test, f"{_shown(statement.test)} is no result; compute it with a call, then test that."
            )
        self.when = self.reference(statement.test)
        body = statement.body
        if isinstance(body[-1], ast.Break) and self.depth:
            if self.until is not None:
                raise _Wrong(body[-1], "is a second break of its loop; compute one condition with a call.")
            self.until, body = self.when, body[:-1]
        self.block(body)
        self.when = None

    def result(self, value: ast.expr) -> str:
        """The reference that an expression stands for, which must be a result or a part of one."""
        found = self.value(value)
        if not isinstance(found, dict) or "$ref" not in found:
            raise _Wrong(
                value, f"{_shown(value)} is no result; assign and return calls, write values where they are used."
            )
        return str(found["$ref"])

    def reference(self, value: ast.expr) -> JsonValue:
        return {"$ref": self.result(value)}

    def call(self, value: ast.Call) -> str:
        if not isinstance(value.func, ast.Name):
            raise _Wrong(value.func, f"{_shown(value.func)} is no tool; call a tool by its name.")
        if value.args or any(each.arg is None for each in value.keywords):
            raise _Wrong(value, f"{value.func.id} has an argument without a name; write {value.func.id}(name=value).")
        over, self.over = self.over, None
        args = {str(each.arg): self.value(each.value) for each in value.keywords}
        sources = {name: "person" for name, each in args.items() if not (isinstance(each, dict) and "$ref" in each)}
        return self.add(tool=value.func.id, args=args, over=over, sources=sources)

    def number(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def add(self, *, id: str = "", **made: Any) -> str:
        """Add a node that runs under the condition at hand, and return its id."""
        id = id or self.number()
        self.nodes.append(Node.model_validate({"id": id, "when": self.when, **made}))
        return id

    def value(self, value: ast.expr) -> JsonValue:
        """An argument: a literal, a reference, text around references, or lists and objects of them."""
        if isinstance(value, ast.Constant) and isinstance(value.value, str | int | float | bool | None):
            return value.value
        if (
            isinstance(value, ast.UnaryOp)
            and isinstance(value.op, ast.USub)
            and isinstance(value.operand, ast.Constant)
        ):
            if isinstance(value.operand.value, int | float):
                return -value.operand.value
        if isinstance(value, ast.List | ast.Tuple):
            return [self.value(item) for item in value.elts]
        if isinstance(value, ast.Dict):
            return {self.key(key, value): self.value(item) for key, item in zip(value.keys, value.values, strict=True)}
        if isinstance(value, ast.JoinedStr):
            parts = [self.part(part) for part in value.values]
            return {"$text": parts} if any(isinstance(part, dict) for part in parts) else "".join(map(str, parts))
        if isinstance(value, ast.Call):
            return {"$ref": self.call(value)}
        return {"$ref": self.path(value)}

    def part(self, part: ast.expr) -> JsonValue:
        if isinstance(part, ast.FormattedValue):
            if part.conversion != -1 or part.format_spec is not None:
                raise _Wrong(part, f"{_shown(part)} asks for a format; write the name alone.")
            return {"$ref": self.result(part.value)}
        return self.value(part)

    def key(self, key: ast.expr | None, place: ast.expr) -> str:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return key.value
        raise _Wrong(key or place, "a key of an object is no text; write it in quotes.")

    def path(self, value: ast.expr) -> str:
        if isinstance(value, ast.Name):
            if value.id not in self.names:
                known = ", ".join(self.names) or "none yet"
                raise _Wrong(value, f"{value.id!r} is not known here; the results so far: {known}.")
            if self.names[value.id].startswith("last"):
                self.asked.add(value.id)
            return self.names[value.id]
        if isinstance(value, ast.Attribute):
            return f"{self.path(value.value)}.{value.attr}"
        if isinstance(value, ast.Subscript):
            index = self.value(value.slice) if not isinstance(value.slice, ast.Slice) else None
            if isinstance(index, int) and not isinstance(index, bool):
                return f"{self.path(value.value)}[{index}]"
            if isinstance(index, str) and '"' not in index:
                return f'{self.path(value.value)}["{index}"]'
        self.refuse(value)

    def refuse(self, value: ast.expr) -> NoReturn:
        raise _Wrong(value, f"{_shown(value)} cannot be computed in a plan; compute it with a call.")


def _rounds(statement: ast.For) -> int | None:
    """The bound of ``for _ in range(10)``; None for a loop over a result."""
    call = statement.iter
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
        return None
    most = call.args[0].value if len(call.args) == 1 and isinstance(call.args[0], ast.Constant) else None
    if isinstance(most, bool) or not isinstance(most, int) or most < 1 or call.keywords:
        raise _Wrong(call, f"{_shown(call)} is no bound; write a number, as in range(10).")
    if statement.orelse and not (len(statement.orelse) == 1 and isinstance(statement.orelse[0], ast.Raise)):
        raise _Wrong(statement.orelse[0], "the else of a loop is `raise`, for a loop that has to be left by its break.")
    return most


def _is_one_call(statements: Sequence[ast.stmt]) -> bool:
    calls = [each for line in statements for each in ast.walk(line) if isinstance(each, ast.Call)]
    return len(statements) == 1 and isinstance(statements[0], ast.Assign | ast.Expr) and len(calls) == 1


def _assigned(statements: Sequence[ast.stmt]) -> list[str]:
    """Names that are set in every turn, in order; a loop inside sets its own."""
    found: list[str] = []
    for each in statements:
        if isinstance(each, ast.Assign):
            found += [target.id for target in each.targets if isinstance(target, ast.Name)]
        elif isinstance(each, ast.For):
            found += _assigned(each.body)
    return list(dict.fromkeys(found))


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node).splitlines()[0]
    return repr(text if len(text) <= 60 else text[:59] + "…")
