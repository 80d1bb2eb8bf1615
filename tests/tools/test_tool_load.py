from pathlib import Path

import pytest

from shuntyard.errors import UsageError
from shuntyard.tools import load_tools

GOOD = '''
from shuntyard import tool

@tool
def zeta(a: int) -> int:
    """Return a."""
    return a

@tool(effect="external")
async def alpha() -> str:
    """Return text."""
    return ""

again = zeta
'''


def test_tools_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my tools.py"
    path.write_text(GOOD)
    assert [tool.spec.name for tool in load_tools(str(path))] == ["zeta", "alpha"]


def test_a_module_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tools_module.py").write_text(GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(load_tools("own_tools_module")) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("def f(:\n", "line 1"),
        ("x = 1\n", "no tools"),
        ("raise ValueError('boom')\n", "ValueError: boom"),
        ("import nothing_like_it\n", "nothing_like_it"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("from shuntyard import tool\n@tool\ndef f(a): ...\n", "docstring"),
    ],
)
def test_a_file_that_does_not_work(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "t.py"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        load_tools(str(path))


def test_missing() -> None:
    with pytest.raises(UsageError, match="no tools file"):
        load_tools("nowhere/t.py")
    with pytest.raises(UsageError, match="no module"):
        load_tools("nowhere_to_be_found")
    with pytest.raises(UsageError, match="no module"):
        load_tools("json.nowhere_to_be_found")
