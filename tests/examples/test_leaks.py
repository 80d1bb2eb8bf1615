"""No example task, file or answer stands in the product, where a prompt could hold it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TASKS = tomllib.loads((EXAMPLES / "tasks.toml").read_text())["task"]
ROOMS = ("agents", "cli", "guard", "memory", "planner", "router", "serving", "tools")
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*"))
    if path.suffix in {".py", ".txt", ".md", ".gbnf", ".json", ".toml", ".j2"}
}
NGRAM = 5


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9_.]+", text.casefold())


def runs(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + NGRAM]) for start in range(len(found) - NGRAM + 1)}


def distinctive() -> set[str]:
    """Names of files, columns and things, and answers long enough to be nobody else's."""
    files = {path.name for path in (EXAMPLES / "data").rglob("*.*")}
    written = {check["file"] for task in TASKS for check in task["check"] if "file" in check}
    header, *rows = (EXAMPLES / "data" / "crops.csv").read_text().splitlines()
    things = {cell for row in rows for cell in row.split(",")[:2]} | set(header.split(",")[2:])
    values = [
        value for task in TASKS for check in task["check"] for value in (check.get("number"), *check.get("numbers", []))
    ]
    answers = {f"{value:g}" for value in values if value is not None and value != int(value)}
    texts = {text for task in TASKS for check in task["check"] for text in check.get("all", []) if " " in text}
    return files | written | things | answers | texts | {"winter.csv", "pump-1", "pump-2", "pressure_kpa"}


@pytest.mark.parametrize("text", sorted(distinctive()))
def test_nothing_of_the_examples_is_in_the_product(text: str) -> None:
    pattern = re.compile(rf"(?<![\w.]){re.escape(text)}(?![\w.])", re.IGNORECASE)
    assert [place for place, source in SOURCES.items() if pattern.search(source)] == []


def test_no_wording_is_in_the_product() -> None:
    known = {run for task in TASKS for wording in task["wordings"] for run in runs(wording)}
    assert len(known) > 500
    shared = {place: sorted(found) for place, source in SOURCES.items() if (found := runs(source) & known)}
    assert shared == {}
