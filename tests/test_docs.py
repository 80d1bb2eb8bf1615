"""What the pages say is there: files, targets, commands, rooms, and nothing of any one machine."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from shuntyard.cli.root import TABLE

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# The brackets keep this file from finding itself.
PRIVATE = re.compile(r"/wor[k]/|/roo[t]/|file:/[/]/|find-link[s]|index-ur[l]")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_targets_and_commands_exist(page: Path) -> None:
    text = page.read_text()
    made = re.findall(r"\bmake (?:[A-Z]+=\S+ )*([a-z]+)(?=[`\s])", "\n".join(code(text)) + "\n")
    assert [target for target in made if target not in TARGETS] == []
    called = re.findall(r"^\$? ?shuntyard ([a-z]+)", "\n".join(code(text)), re.MULTILINE)
    assert [command for command in called if command not in TABLE] == []


def code(text: str) -> list[str]:
    fenced = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return [*fenced, *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))]


def test_layout_names_every_room() -> None:
    rooms = {name.split(".")[1] for name in CONFIG["tool"]["setuptools"]["packages"] if "." in name}
    rows = set(re.findall(r"^\| (\w+)/ \|", (ROOT / "docs" / "layout.md").read_text(), re.MULTILINE))
    assert rows == rooms


def test_changelog_is_ready_for_the_next_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    assert set(re.findall(r"^### (\w+)", text, re.MULTILINE)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip


def test_constraints_pin_what_pip_would_search_for() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[\w.]+", line) for line in lines)
    assert {"litellm==1.106.2", "langchain-core==1.7.2"} <= set(lines)
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    extras = CONFIG["project"]["optional-dependencies"]
    wanted = [*CONFIG["project"]["dependencies"], *extras["engine"], *extras["serve"], *extras["dev"]]
    assert {re.split(r"[<>=\[ ]", item)[0].lower() for item in wanted} <= pinned


def test_nothing_tells_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {}
    for place in listed.splitlines():
        path = ROOT / place
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".txt", ".ini", ".json", ""}:
            hits = PRIVATE.findall(path.read_text(encoding="utf-8", errors="replace"))
            if hits:
                found[place] = hits
    assert found == {}
