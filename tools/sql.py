"""SQL as a tree: only one reading statement passes, earlier results stay beside it as parameters.

What runs is generated from the checked tree, never the text as written, so that a difference between
two parsers cannot smuggle anything past the check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ..errors import ToolError
from ..protocols import Pending
from ..steps import Bound
from .values import only, row_of

MAX_SQL = 20_000
MAX_IN = 2_000
"""Elements of a list that stands in ``IN (...)``."""
_STARTS = ("select", "with", "from", "values", "(")
_MARK = re.compile(r"__v(\d+)__")
_FORBIDDEN = (
    exp.DML, exp.DDL, exp.Command, exp.Copy, exp.Attach, exp.Detach, exp.Pragma, exp.Set, exp.Into, exp.Describe,
    exp.Summarize, exp.Show, exp.Install, exp.Drop, exp.Alter, exp.Use, exp.Transaction,
)  # fmt: skip
_BARRED = re.compile(
    r"^(read_|query|pragma|duckdb_|sniff_|parquet_|glob$|getenv$|getvariable$|current_setting$|which_secret$|from_"
    r"|write_|nextval$|currval$|add_|force_|checkpoint|iceberg|delta|sqlite|postgres|mysql|st_read|test_|set)|_scan$"
)
_TABLE_FUNCTIONS = (exp.GenerateSeries, exp.Unnest)


class SqlProblem(ToolError):
    """Raised for a statement that cannot run; the message tells a model what to write instead."""


@dataclass(slots=True)
class Statement:
    """A checked statement."""

    tree: exp.Query
    tables: list[str] = field(default_factory=list)
    """Tables of the catalog that it mentions."""
    relations: dict[str, Any] = field(default_factory=dict)
    """Earlier results that it reads as tables, by the name they are loaded under."""
    shown: dict[str, str] = field(default_factory=dict)
    """What those names are called in the statement as written."""
    values: dict[str, Any] = field(default_factory=dict)
    """SQL parameters."""
    pending: bool = False
    """Some value is still to come and stands as NULL."""
    origins: dict[str, Pending] = field(default_factory=dict)
    """What those SQL parameters stand for."""

    @property
    def text(self) -> str:
        """The statement as DuckDB runs it."""
        return self.tree.sql(dialect="duckdb", comments=False)

    def names(self) -> list[str]:
        """Every column that it mentions."""
        return list(dict.fromkeys(column.name for column in self.tree.find_all(exp.Column) if column.name))

    def unquote_values(self, known: set[str]) -> None:
        """Turn ``"open"`` into ``'open'`` where it is compared and no column is called so."""
        named = known | {alias.alias.lower() for alias in self.tree.find_all(exp.Alias)}
        if self.tree.find(exp.CTE, exp.Subquery, exp.TableAlias):
            named |= {item.name.lower() for item in self.tree.find_all(exp.Identifier) if not item.args.get("quoted")}
        for column in list(self.tree.find_all(exp.Column)):
            quoted = isinstance(column.this, exp.Identifier) and column.this.args.get("quoted")
            if (
                quoted
                and not column.table
                and column.name.lower() not in named
                and isinstance(column.parent, _COMPARED)
            ):
                column.replace(exp.Literal.string(column.name))

    def compare_as_text(self) -> None:
        """Let ``LIKE`` look at dates and numbers as they are written."""
        for like in self.tree.find_all(exp.Like, exp.ILike):
            if isinstance(like.this, exp.Column):
                like.set("this", exp.cast(like.this.copy(), "VARCHAR"))

    def group_also_by(self, name: str) -> bool:
        """Add a column to the ``GROUP BY`` of the select that uses it; False when there is none."""
        for column in self.tree.find_all(exp.Column):
            select = column.find_ancestor(exp.Select)
            if column.name.lower() == name.lower() and select is not None:
                group = select.args.get("group")
                if group is not None and any(column == other for other in group.expressions):
                    continue
                select.group_by(column.copy(), copy=False)
                return True
        return False

    def qualify_join_keys(self) -> None:
        """Say whose column a join key is where the statement leaves it open: both sides hold the same value."""
        for equal in self.tree.find_all(exp.EQ):
            left, right = equal.left, equal.right
            if not (isinstance(left, exp.Column) and isinstance(right, exp.Column)):
                continue
            if left.name.lower() != right.name.lower() or not (left.table and right.table):
                continue
            scope = equal.find_ancestor(exp.Select)
            for column in list(scope.find_all(exp.Column)) if scope else []:
                same = column.name.lower() == left.name.lower() and not column.table
                if same and column.find_ancestor(exp.Select) is scope:
                    column.set("table", exp.to_identifier(left.table))


_COMPARED = (exp.EQ, exp.NEQ, exp.In, exp.Like, exp.ILike, exp.GT, exp.LT, exp.GTE, exp.LTE, exp.Between)


def read(sql: str | Bound, find: Callable[[str], str | None], known: list[str]) -> Statement:
    """Parse and check a statement; SqlProblem tells what is wrong and what exists instead.

    ``find`` returns the table for a name as written, ``known`` lists the tables for messages.
    """
    text, values = (sql.text, dict(sql.values)) if isinstance(sql, Bound) else (sql, {})
    marks: list[Any] = []
    for name in sorted(values, key=len, reverse=True):
        text, count = re.subn(re.escape(name) + r"(?![0-9])", f"__v{len(marks)}__", text)
        if count:
            marks.append((name, values[name]))
    tree = _parse(text)
    _refuse(tree)
    statement = Statement(tree)
    _place_tables(statement, marks, find, known)
    _place_values(statement, marks)
    return statement


def _parse(text: str) -> exp.Query:
    text = re.sub(r"^```\w*\n|\n?```$", "", text.strip()).strip().rstrip(";").strip()
    # A path where a table stands: quoted, so that it can be found as the table of the file or folder.
    text = re.sub(
        r"(?i)\b(from|join)\s+((?:[\w-]+/)*(?:[\w-]+|\*)\.(?:csv|tsv|jsonl?|md|txt|log|parquet)|(?:[\w-]+/)+\*?)(?=[\s;)]|$)",
        r'\1 "\2"',
        text,
    )
    if len(text) > MAX_SQL:
        raise SqlProblem(f"the SQL has {len(text)} characters; write at most {MAX_SQL}.")
    bare = re.sub(r"^(\s+|--[^\n]*\n|/\*.*?\*/)+", "", text, flags=re.DOTALL)
    if not bare.lower().startswith(_STARTS):
        raise SqlProblem(f"{bare[:40]!r} is not a SELECT; query only reads: write one SELECT statement.")
    try:
        trees = sqlglot.parse(text, read="mysql" if "`" in text else "duckdb")
    except RecursionError:
        raise SqlProblem("the SQL is nested too deeply; write it flatter.") from None
    except SqlglotError as error:
        first = (getattr(error, "errors", None) or [{}])[0]
        near = first.get("highlight") or text[:40]
        what = first.get("description") or str(error).splitlines()[0]
        raise SqlProblem(f"the SQL cannot be read near {near!r}: {what} Write one DuckDB SELECT statement.") from None
    if len(trees) != 1:
        raise SqlProblem(f"the SQL holds {len(trees)} statements; write one SELECT.")
    tree = trees[0]
    if isinstance(tree, exp.Subquery | exp.Paren) and isinstance(tree.this, exp.Query):
        tree = tree.this
    if isinstance(tree, exp.Values):
        tree = exp.select("*").from_(exp.alias_(tree, "v", table=True))
    if not isinstance(tree, exp.Query):
        raise SqlProblem(f"{type(tree).__name__.upper()} is not allowed; query only reads: write one SELECT statement.")
    return tree


def _refuse(tree: exp.Query) -> None:
    for node in tree.walk():
        if isinstance(node, _FORBIDDEN):
            raise SqlProblem(
                f"{type(node).__name__.upper()} is not allowed; query only reads: write one SELECT statement."
            )
        if isinstance(node, exp.Placeholder | exp.Parameter | exp.SessionParameter):
            raise SqlProblem(f"{node.sql(dialect='duckdb')} stands for no earlier result; use a step that exists.")
        if isinstance(node, exp.Func) and not _is_table_function(node):
            name = (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()
            if _BARRED.search(name):
                raise SqlProblem(f"the function {name} is not allowed in a query; use the tables.")


def _is_table_function(node: exp.Func) -> bool:
    """Table functions are judged with the tables, where a file name can become the file's table."""
    return isinstance(node.parent, exp.Table) and node.parent.this is node


def _place_tables(statement: Statement, marks: list[Any], find: Callable[[str], str | None], known: list[str]) -> None:
    defined = {cte.alias.lower() for cte in statement.tree.find_all(exp.CTE)}
    for table in list(statement.tree.find_all(exp.Table)):
        name = ".".join(part.name for part in table.parts) if not isinstance(table.this, exp.Func) else ""
        mark = _MARK.fullmatch(name)
        if mark and int(mark[1]) < len(marks):
            shown, value = marks[int(mark[1])]
            _check_relation(shown, value)
            statement.relations[name] = value
            statement.shown[name] = shown
            statement.pending = statement.pending or isinstance(value, Pending)
        elif isinstance(table.this, exp.Func):
            _place_function(statement, table, find, known)
        elif name.lower() not in defined:
            found = find(name)
            if found is None:
                raise SqlProblem(f"there is no table {_shown(name, marks)}; the tables are {_list(known)}")
            _rename(statement, table, name, found)


def _rename(statement: Statement, table: exp.Table, name: str, found: str) -> None:
    if found not in statement.tables:
        statement.tables.append(found)
    if name.lower() != found:
        alias = table.args.get("alias")
        parts = [part.name for part in table.parts if isinstance(part, exp.Identifier)]
        called = parts[0] if found not in parts and parts else ""
        replacement = exp.to_table(found)
        replacement.set("this", exp.to_identifier(found, quoted=True))
        if alias is not None:
            replacement.set("alias", alias)
        elif re.fullmatch(r"\w+", called):
            replacement.set("alias", exp.TableAlias(this=exp.to_identifier(called)))
        for key in ("joins", "laterals", "pivots"):
            if table.args.get(key):
                replacement.set(key, table.args[key])
        table.replace(replacement)
    else:
        table.this.set("quoted", True)
        table.set("db", None)
        table.set("catalog", None)


def _place_function(
    statement: Statement, table: exp.Table, find: Callable[[str], str | None], known: list[str]
) -> None:
    function = table.this
    if isinstance(function, _TABLE_FUNCTIONS):
        return
    name = (function.name if isinstance(function, exp.Anonymous) else function.sql_name()).lower()
    first = function.expressions[0] if function.expressions else function.this
    found = find(first.name) if isinstance(first, exp.Literal) and first.is_string else None
    if found is None or not name.startswith("read_"):
        raise SqlProblem(f"{name}(...) is not allowed: files are tables already; the tables are {_list(known)}")
    _rename(statement, table, "", found)


def _check_relation(name: str, value: Any) -> None:
    if not isinstance(value, Pending | list | dict):
        raise SqlProblem(
            f"{name} is the single value {value!r:.60}, not a table; compare with it instead of FROM {name}."
        )


def _place_values(statement: Statement, marks: list[Any]) -> None:
    for node in list(statement.tree.find_all(exp.Any)):
        inner = node.this.unnest() if node.this else None
        mark = _mark_of(inner, statement)
        if mark is not None and isinstance(node.parent, exp.EQ):
            other = node.parent.left if node.parent.right is node else node.parent.right
            node.parent.replace(exp.In(this=other.copy(), expressions=[exp.column(f"__v{mark}__")]))
    for inclusion in list(statement.tree.find_all(exp.In)):
        _expand_in(statement, inclusion, marks)
    for column in list(statement.tree.find_all(exp.Column)):
        mark = _mark_of(column, statement)
        if mark is not None:
            column.replace(_parameter(statement, _cell(_field(marks[mark], column), column)))
    for literal in list(statement.tree.find_all(exp.Literal)):
        if literal.is_string and _MARK.search(literal.name):
            literal.replace(_concatenated(statement, literal.name, marks))
    for identifier in statement.tree.find_all(exp.Identifier):
        mark_in = _MARK.search(identifier.name)
        if mark_in and mark_in[0] not in statement.relations and int(mark_in[1]) < len(marks):
            raise SqlProblem(f"{marks[int(mark_in[1])][0]} can stand for a value or a table only, not for a name.")


def _mark_of(node: Any, statement: Statement) -> int | None:
    """Which earlier result a column stands for; None for real columns and columns of a relation."""
    if not isinstance(node, exp.Column):
        return None
    owner = node.table or node.name
    match = _MARK.fullmatch(owner)
    return int(match[1]) if match and owner not in statement.relations else None


def _field(mark: tuple[str, Any], column: exp.Column) -> Any:
    """The value of ``$1`` or ``$1.name``."""
    name, value = mark
    if column.table:
        row = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(row, Mapping):
            if column.name not in row:
                raise SqlProblem(f"{name} has no field {column.name}; its fields are {_list(list(row))}")
            return row[column.name]
        if not isinstance(value, Pending):
            raise SqlProblem(f"{name}.{column.name}: {name} is {value!r:.60}, which has no fields.")
    return value


def _cell(value: Any, node: exp.Expression) -> Any:
    """Of a row of several fields: the one called like the column it is compared with, else the first."""
    row = row_of(value)
    if row is None:
        return value
    sides = [side for side in (node.parent.args.values() if node.parent else ()) if isinstance(side, exp.Column)]
    names = {side.name.lower() for side in sides if side is not node}
    return next((item for name, item in row.items() if name.lower() in names), next(iter(row.values())))


def _expand_in(statement: Statement, node: exp.In, marks: list[Any]) -> None:
    operands = [node.args["field"]] if node.args.get("field") is not None else node.expressions
    if not any(_mark_of(operand, statement) is not None for operand in operands):
        return
    expanded: list[exp.Expression] = []
    for operand in operands:
        mark = _mark_of(operand, statement)
        if mark is None:
            expanded.append(operand)
            continue
        value = _field(marks[mark], operand)
        items = [_cell(only(item), operand) for item in value] if isinstance(value, list) else [value]
        if len(items) > MAX_IN:
            raise SqlProblem(
                f"{marks[mark][0]} has {len(items)} elements, too many for IN; read it with FROM {marks[mark][0]}."
            )
        expanded += [_parameter(statement, item) for item in items]
    node.set("field", None)
    node.set("expressions", expanded or [exp.Null()])


def _concatenated(statement: Statement, text: str, marks: list[Any]) -> exp.Expression:
    """A quoted text that mentions results, as the texts and parameters it is made of."""
    parts: list[exp.Expression] = []
    place = 0
    for match in _MARK.finditer(text):
        if match.start() > place:
            parts.append(exp.Literal.string(text[place : match.start()]))
        parts.append(_parameter(statement, marks[int(match[1])][1]))
        place = match.end()
    if place < len(text):
        parts.append(exp.Literal.string(text[place:]))
    whole = parts[0]
    for part in parts[1:]:
        whole = exp.DPipe(this=whole, expression=part)
    return whole if len(parts) == 1 else exp.Paren(this=whole)


def _parameter(statement: Statement, value: Any) -> exp.Expression:
    name = f"p{len(statement.values)}"
    if isinstance(value, Pending):
        statement.origins[name] = value
    value = None if isinstance(value, Pending) else only(value)
    statement.pending = statement.pending or value is None
    if isinstance(value, list | Mapping):
        raise SqlProblem(f"a result with {len(value)} elements stands where one value is due; use IN or FROM for it.")
    statement.values[name] = value
    return exp.Placeholder(this=name)


def _shown(name: str, marks: list[Any]) -> str:
    return _MARK.sub(lambda match: str(marks[int(match[1])][0]), name)


def _list(names: list[str]) -> str:
    return ", ".join(names[:24]) + (", ..." if len(names) > 24 else "") if names else "none"
