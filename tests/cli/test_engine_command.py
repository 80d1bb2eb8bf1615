"""``shuntyard models engine``, and settings of engines that are wrong."""

import json
import platform
from pathlib import Path

import pytest
from cli_parts import Call


def test_it_shows_what_the_engine_uses_and_what_it_leaves(call: Call) -> None:
    shown = call("models", "engine", "--json")
    assert shown.code == 0
    (engine,) = json.loads(shown.out)
    assert engine["engine"].startswith("xllamacpp ")
    if platform.machine() == "x86_64":
        assert "AVX2" in engine["uses"]
    assert not set(engine["uses"]) & set(engine["unused"])
    text = call("models", "engine").out
    assert text.splitlines()[0] == engine["engine"] and "uses    AVX" in text


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[fleet]\ninstances = 0\n", ("fleet.instances", "0")),
        ('[fleet]\ninstances = 2\nroles = ["prefill"]\n', ("fleet", "name one for each")),
        ('long_inputs = "cut"\n', ("long_inputs", "'cut'")),
    ],
)
def test_wrong_values_are_usage_errors(call: Call, folder: Path, toml: str, words: tuple[str, ...]) -> None:
    (folder / "shuntyard.toml").write_text(toml, encoding="utf-8")
    refused = call("models", "list")
    assert refused.code == 2
    assert all(word in refused.err for word in words)


@pytest.mark.parametrize("place", ["/nope", "empty"])
def test_a_folder_without_a_build_is_refused(call: Call, folder: Path, place: str) -> None:
    (folder / "empty").mkdir()
    (folder / "shuntyard.toml").write_text(f"engine_path = {place!r}\n", encoding="utf-8")
    refused = call("models", "engine", "--json")
    assert refused.code == 2 and f"engine_path = '{place}' holds no xllamacpp; make a build" in refused.err
