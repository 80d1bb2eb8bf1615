"""Copies of modules in which every ``await`` goes through a hook: where it stands, how often it is passed."""

import ast
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Site(NamedTuple):
    """One ``await`` or ``async with`` of the source."""

    file: str
    line: int
    text: str


Hook = Callable[[Site, Awaitable[Any]], Awaitable[Any]]


class _Through(ast.NodeTransformer):
    """``await x`` becomes ``await __through__(at, x)``; ``async with x`` becomes ``async with __within__(at, x)``."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.sites: list[Site] = []

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        node.value = self._hooked("__through__", node.value, f"await {ast.unparse(node.value)}")
        return node

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        for item in node.items:
            item.context_expr = self._hooked(
                "__within__", item.context_expr, f"async with {ast.unparse(item.context_expr)}"
            )
        self.generic_visit(node)
        return node

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        raise AssertionError(f"{self.file}:{node.lineno}: 'async for' is not instrumented; teach this class")

    def _hooked(self, name: str, value: ast.expr, text: str) -> ast.expr:
        self.sites.append(Site(self.file, value.lineno, text))
        call = ast.Call(ast.Name(name, ast.Load()), [ast.Constant(len(self.sites) - 1), value], [])
        return ast.fix_missing_locations(ast.copy_location(call, value))


def copies(paths: list[str], hook: Hook) -> tuple[list[ModuleType], list[Site]]:
    """Modules of ``paths`` (in the order of import) that see one another's copies, and all their sites.

    The real modules stay what everybody else imports.
    """
    modules, sites = [], list[Site]()
    before = dict(sys.modules)
    try:
        for path in paths:
            through = _Through(path)
            tree = through.visit(ast.parse((ROOT / path).read_text(encoding="utf-8")))
            name = "shuntyard." + path.removesuffix(".py").replace("/", ".")
            module = ModuleType(name)
            module.__package__ = name.rpartition(".")[0]
            module.__dict__.update(_hooks(through.sites, hook))
            sys.modules[name] = module
            exec(compile(tree, path, "exec"), module.__dict__)
            modules.append(module)
            sites += through.sites
    finally:
        for path in paths:
            name = "shuntyard." + path.removesuffix(".py").replace("/", ".")
            sys.modules[name] = before[name]
    return modules, sites


def _hooks(sites: list[Site], hook: Hook) -> dict[str, Any]:
    async def through(at: int, awaitable: Awaitable[Any]) -> Any:
        return await hook(sites[at], awaitable)

    @asynccontextmanager
    async def within(at: int, manager: Any) -> AsyncIterator[Any]:
        async def entered() -> Any:
            return await manager.__aenter__()

        value = await hook(sites[at], entered())
        try:
            yield value
        except BaseException as error:
            if not await manager.__aexit__(type(error), error, error.__traceback__):
                raise
        else:
            await manager.__aexit__(None, None, None)

    return {"__through__": through, "__within__": within}
