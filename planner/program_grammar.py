"""GBNF in which only programs over a catalogue can be written: known tools and parameters, results r1, r2, ... that
are there already, ``for item in`` and ``if`` around one call, and ``return`` or the way out at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..steps import ToolSpec
from .grammar import Rules

_SHARED = r"""
chars ::= [^"\\\x00-\x1f\x7f] | "\\" ["\\nt]
plain ::= "\"" chars* "\""
braced ::= [^"\\{}\x00-\x1f\x7f] | "\\" ["\\nt] | "{{" | "}}"
int ::= "-"? ( "0" | [1-9] [0-9]{0,15} )
num ::= int ( "." [0-9]{1,20} )? ( [eE] [+-]? [0-9]{1,2} )?
name ::= [A-Za-z_] [A-Za-z0-9_]{0,40}
path ::= ( "." name | "[" ( "0" | [1-9] [0-9]{0,3} ) "]" ){0,4}
"""
_PYTHON = {'"true"': '"True"', '"false"': '"False"', '"null"': '"None"'}
_INDENT = "    "


def program_grammar(specs: Sequence[ToolSpec], *, max_lines: int = 10, refuse: bool = True) -> str:
    """Return the GBNF of programs of at most ``max_lines`` calls over ``specs``, or with ``refuse`` of a refusal."""
    built = _ProgramRules(specs)
    rest = ""
    for number in range(max_lines, 0, -1):
        statement = built.statement(number)
        end = built.end(tuple(range(1, number + 1)))
        rest = f"{statement} ( {rest} | {end} )" if rest else f"{statement} {end}"
    ways = [rest] if specs else []
    if refuse or not ways:
        ways.append('"outside(reason=" plain ")"')
    rules = "\n".join(built.rules.values())
    for json, python in _PYTHON.items():
        rules = rules.replace(json, python)
    return f"root ::= {' | '.join(ways)}\n{rules}{_SHARED}"


class _ProgramRules(Rules):
    """As for lines, with the references and the texts of programs."""

    def __init__(self, specs: Sequence[ToolSpec]) -> None:
        super().__init__(specs)
        self.mapped = False
        """Inside a ``for``, where there is an item as well."""

    def statement(self, number: int) -> str:
        """Name of the rule of the call that makes result ``number``, plain or in a ``for`` or an ``if``."""
        ids = tuple(range(1, number))
        plain = f'"r{number} = " {self.line(ids)} "\\n"'
        if not ids:
            return self.rule("line", plain)
        ref = self.ref(ids)
        self.mapped = True
        each = self.line(ids)
        self.mapped = False
        return self.rule(
            "line",
            f'{plain} | "for item in " {ref} ":\\n{_INDENT}r{number} = " {each} "\\n"'
            f' | "if " {ref} ":\\n{_INDENT}r{number} = " {self.line(ids)} "\\n"',
        )

    def refs(self, ids: tuple[int, ...]) -> tuple[str, str]:
        """Rules of a bare reference and of a text, which is formatted where it mentions results."""
        if not ids:
            return "", "plain"
        ref = self.ref(ids)
        return ref, self.rule("text", f'plain | "f\\"" ( braced | "{{" {ref} "}}" )* "\\""')

    def ref(self, ids: tuple[int, ...]) -> str:
        """Rule of a result or a part of it."""
        item = ' | "item" path' if self.mapped else ""
        return self.rule("ref", f'"r" {self.number(ids)} path{item}')

    def argument(self, name: str, schema: Any, refs: tuple[str, str], spec: ToolSpec) -> str:
        """As any value: what a text mentions is told by its braces."""
        return self.value(schema, refs, spec.parameters)
