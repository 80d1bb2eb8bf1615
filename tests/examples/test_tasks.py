"""The truths of examples/tasks.toml, worked out again in plain Python from the sample files."""

import csv
import json
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = EXAMPLES / "data"
TASKS: list[dict[str, Any]] = tomllib.loads((EXAMPLES / "tasks.toml").read_text())["task"]
BY_ID = {task["id"]: task for task in TASKS}


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / name).read_text().splitlines()))


HARVEST: list[dict[str, Any]] = [row | {"kg": float(row["kg"])} for row in rows("harvest.csv")]
CROPS = {row["crop"]: row for row in rows("crops.csv")}
LOG = (DATA / "pump.log").read_text().splitlines()
CONFIG = json.loads((DATA / "greenhouse.json").read_text())
AREAS = {bed["name"]: bed["area_m2"] for bed in CONFIG["beds"]}
NOTES = {path.stem: path.read_text() for path in (DATA / "notes").iterdir()}


def kilos(column: str) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for row in HARVEST:
        sums[row[column]] += row["kg"]
    return {key: round(value, 6) for key, value in sums.items()}


def worth(crop: str) -> float:
    return kilos("crop")[crop] * float(CROPS[crop]["price_per_kg"])


def largest(values: dict[str, float]) -> str:
    first, second = sorted(values.values(), reverse=True)[:2]
    assert first > second * 1.02, "too close to call"
    return max(values, key=lambda key: values[key])


def check(id: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in BY_ID[id]["check"]:
        merged |= part
    return merged


def bed_yield() -> float:
    bed = largest(kilos("bed"))
    return kilos("bed")[bed] / AREAS[bed]


def dry_day() -> float:
    (day,) = {line[:10] for line in LOG if "pump-2" in line and "no flow" in line}
    return 3.5 * sum(row["kg"] for row in HARVEST if row["date"] == day)


def large_bed() -> float:
    bed = largest(AREAS)
    return kilos("bed")[bed] / AREAS[bed]


def water_cost() -> float:
    litres = kilos("crop")["cucumber"] * float(CROPS["cucumber"]["litres_per_kg"])
    return litres / 1000 * CONFIG["costs"]["water_per_m3"]


def june_share() -> float:
    june = sum(row["kg"] for row in HARVEST if row["date"].startswith("2024-06"))
    return 100 * june / sum(row["kg"] for row in HARVEST)


def pressure() -> float:
    return max(int(kpa) for kpa in re.findall(r"pressure (\d+) kPa", "\n".join(LOG))) - CONFIG["limits"]["pressure_kpa"]


def large_area() -> float:
    return sum(area for area in AREAS.values() if area > 15)


@pytest.mark.parametrize(
    ("id", "truth"),
    [
        ("bed-yield", bed_yield),
        ("dry-day", dry_day),
        ("best-seller", lambda: worth(largest(kilos("crop")))),
        ("large-bed", large_bed),
        ("note-words", lambda: sum(len(text.split()) for text in NOTES.values())),
        ("tomato-worth", lambda: worth("tomato")),
        ("water-cost", water_cost),
        ("june-share", june_share),
        ("pressure", pressure),
        ("august-note", lambda: len(NOTES["july"].split())),
        ("big-beds", large_area),
    ],
)
def test_number(id: str, truth: Callable[[], float]) -> None:
    wanted = check(id)
    assert wanted["number"] == pytest.approx(truth(), abs=max(wanted["within"] / 4, 1e-9))


def test_short_note_is_the_shortest_by_any_measure() -> None:
    for measure in (len, lambda text: len(text.split()), lambda text: len(text.splitlines())):
        assert min(NOTES, key=lambda name: measure(NOTES[name])) == "june"
    for part in check("short-note")["all"]:
        assert part in NOTES["june"]


def test_to_do_lines() -> None:
    lines = [line for text in NOTES.values() for line in text.splitlines() if line.startswith("To do next month")]
    assert len(lines) == len(NOTES) == 4
    for part in check("to-do")["all"]:
        assert sum(part in line for line in lines) == 1


def test_pump_starts() -> None:
    starts = Counter(line.split()[3] for line in LOG if line.endswith("started"))
    assert [starts[f"pump-{n}"] for n in (1, 2, 3)] == check("pump-starts")["numbers"]


def test_top_family() -> None:
    money: dict[str, float] = defaultdict(float)
    for crop in CROPS:
        money[CROPS[crop]["family"]] += worth(crop)
    assert [largest(money)] == check("top-family")["all"]


def test_conditions() -> None:
    sums = kilos("crop")
    assert sums["lettuce"] > sums["spinach"]
    assert check("leaf-duel")["all"] == ["more lettuce"]
    assert sum("ERROR" in line for line in LOG) > 3
    assert check("call-service")["all"] == ["call the service"]


def test_missing_files_are_missing() -> None:
    assert not (DATA / "winter.csv").exists()
    assert not (DATA / "notes" / "august.txt").exists()


def test_crop_totals() -> None:
    wanted = check("crop-totals")
    assert dict(zip(wanted["all"], wanted["numbers"], strict=True)) == kilos("crop")


def test_error_lines() -> None:
    errors = "\n".join(line for line in LOG if "ERROR" in line)
    wanted = check("error-lines")
    assert all(part in errors for part in wanted["all"])
    assert not any(part in errors for part in wanted["none"])
    assert {line[:10] for line in errors.splitlines()} <= set(wanted["all"])


def test_the_collection_is_what_it_promises() -> None:
    assert len(TASKS) >= 20
    assert len(BY_ID) == len(TASKS)
    assert all(len(set(task["wordings"])) == 3 for task in TASKS)
    assert sum(task["depth"] >= 3 for task in TASKS) >= 10
    kinds = Counter(task["kind"] for task in TASKS)
    assert kinds["impossible"] == 4
    assert set(kinds) == {"chain", "fanout", "join", "condition", "failing", "written", "impossible"}
    allowed = {"file", "number", "numbers", "within", "all", "any", "none", "refused", "missing"}
    assert all(set(part) <= allowed for task in TASKS for part in task["check"])
    assert all(task["check"] == [{"refused": True}] for task in TASKS if task["kind"] == "impossible")
    names = {part["file"] for task in TASKS for part in task["check"] if "file" in part}
    assert all(any(name in text for text in task["wordings"]) for task in TASKS for name in names if name in str(task))
    assert not any((DATA / name).exists() for name in names)
