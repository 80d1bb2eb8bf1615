"""The house rules that a reader relies on: sizes, doors, and nothing left undone."""

import ast
import importlib
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 7
# The brackets keep this file from finding itself.
FORBIDDEN = re.compile("TOD[O]|FIXM[E]|XX[X]|NotImplemented[E]rror|pragma: no[ ]cover")
BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)")


def visible(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return not any(part.startswith(".") or part in {"build", "dist"} or part.endswith(".egg-info") for part in parts)


EVERY = sorted(path for path in ROOT.rglob("*.py") if visible(path))
PRODUCT = [path for path in EVERY if path.relative_to(ROOT).parts[0] not in {"tests", "examples"}]
DOORS = [path for path in PRODUCT if path.name == "__init__.py" and "migrations" not in path.parts]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    found = [item.arg for item in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len([item for item in found if item not in {"self", "cls"}])


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("command" in ast.unparse(item) or "callback" in ast.unparse(item) for item in function.decorator_list)


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_functions_are_short(path: Path) -> None:
    long = {
        item.name: lines
        for item in functions(path)
        if (lines := (item.end_lineno or item.lineno) - item.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_functions_take_few_parameters(path: Path) -> None:
    greedy = {item.name: parameters(item) for item in functions(path) if not is_command(item)}
    assert {key: count for key, count in greedy.items() if count > PARAMETERS} == {}


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_nothing_is_left_undone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    comments = [
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    ]
    assert FORBIDDEN.findall(text) == []
    assert [comment for comment in comments if BARE_IGNORE.search(comment)] == []


@pytest.mark.parametrize("path", DOORS, ids=name)
def test_door_says_what_its_room_promises_and_no_more(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    promise = ast.get_docstring(tree) or ""
    assert len(promise) > 40, "say in a paragraph what the room promises"
    allowed = (ast.Import, ast.ImportFrom)
    for node in tree.body[1:]:
        if isinstance(node, ast.If):
            assert ast.unparse(node.test) == "TYPE_CHECKING"
        elif isinstance(node, ast.Assign):
            assert {ast.unparse(target) for target in node.targets} <= {"__all__", "__getattr__"}
        else:
            assert isinstance(node, allowed), ast.unparse(node)


@pytest.mark.parametrize("path", DOORS, ids=name)
def test_what_a_door_offers_is_there(path: Path) -> None:
    place = path.parent.relative_to(ROOT).parts
    module = importlib.import_module(".".join(("shuntyard", *place)))
    offered = getattr(module, "__all__", [])
    for item in offered:
        assert getattr(module, item) is not None
    with pytest.raises(AttributeError):
        _ = module.no_such_thing
