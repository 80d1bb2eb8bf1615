"""Plans as small programs: a subset of Python that is read, never run, and compiled to the plan's IR.

    best = query(sql="SELECT name, area FROM rooms ORDER BY area DESC LIMIT 1")
    lamps = query(sql=f"SELECT lamp FROM lamps WHERE room = {best.name}")
    for lamp in lamps:
        told = send_text(to="Eva", text=f"{lamp.lamp} is in {best.name}")
    if lamps:
        write_file(path="lamps.txt", content=lamps)
    return best, lamps

A name is an earlier result, ``best.name`` and ``best[0]`` parts of it, an f-string is text around some. A ``for``
has one call, which runs once per element; an ``if`` runs its calls when the value is true, non-zero, non-empty.
Calls may stand inside calls. ``return`` names the results that answer the task, and reads that they do not need are
left out; without one, all results that no other call uses answer it. Order is by need alone: lines that need nothing of
one another run at once.
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

    def block(self, statements: Sequence[ast.stmt]) -> None:
        for at, statement in enumerate(statements):
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
        self.call(value)

    def returned(self, statement: ast.Return) -> None:
        value = statement.value
        items = value.elts if isinstance(value, ast.Tuple) else [value] if value is not None else []
        self.answers = [parse_ref(self.result(item)).head for item in items]

    def loop(self, statement: ast.For) -> None:
        if not isinstance(statement.target, ast.Name) or statement.orelse:
            raise _Wrong(statement, "a for of a plan is `for name in result:` and has no else; write it so.")
        if self.over is not None or len(statement.body) != 1:
            raise _Wrong(statement, "a for of a plan has one call, not several and no other for; write one for each.")
        if len([each for each in ast.walk(statement.body[0]) if isinstance(each, ast.Call)]) != 1:
            raise _Wrong(statement.body[0], "a for of a plan has exactly one call; write the others on lines before.")
        name, self.over = statement.target.id, self.reference(statement.iter)
        shadowed = self.names.get(name)
        self.names[name] = "item"
        self.block(statement.body)
        self.over = None
        del self.names[name]
        if shadowed is not None:
            self.names[name] = shadowed

    def condition(self, statement: ast.If) -> None:
        if statement.orelse:
            raise _Wrong(statement, "an if of a plan has no else; choose between two values with a call.")
        if self.when is not None or self.over is not None:
            raise _Wrong(statement, "an if of a plan stands in no other if and in no for; put it on the outside.")
        if not isinstance(statement.test, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            raise _Wrong(
                statement.test, f"{_shown(statement.test)} is no result; compute it with a call, then test that."
            )
        self.when = self.reference(statement.test)
        self.block(statement.body)
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
        when, over = self.when, self.over
        args = {str(each.arg): self.value(each.value) for each in value.keywords}
        sources = {name: "person" for name, each in args.items() if not (isinstance(each, dict) and "$ref" in each)}
        id = f"n{len(self.nodes) + 1}"
        made = {"id": id, "tool": value.func.id, "args": args, "when": when, "over": over, "sources": sources}
        self.nodes.append(Node.model_validate(made))
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


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node).splitlines()[0]
    return repr(text if len(text) <= 60 else text[:59] + "…")
