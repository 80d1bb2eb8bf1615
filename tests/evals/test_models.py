"""The model under test: which one, and what the log says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shuntyard.errors import UnknownName
from shuntyard.evals.models import candidate
from shuntyard.serving.registry import find
from shuntyard.settings import RemoteModel, Settings


def test_a_local_model_is_identified_by_its_bytes_and_engine_without_being_loaded(tmp_path: Path) -> None:
    found = candidate(Settings(model="qwen2.5-coder-0.5b", cache=tmp_path, home=tmp_path))
    assert found.sha256 == find("qwen2.5-coder-0.5b").files[0].sha256
    assert found.engine.startswith("xllamacpp ") and found.info.kind == "local"
    assert list(tmp_path.iterdir()) == []


def test_a_remote_model_has_neither(tmp_path: Path) -> None:
    remote = RemoteModel(url="http://127.0.0.1:9/v1", model="m")
    found = candidate(Settings(model="mine", models={"mine": remote}, cache=tmp_path))
    assert (found.info.name, found.info.kind, found.sha256, found.engine) == ("mine", "openai", "", "")


def test_without_a_name_it_is_the_model_that_plans_would_be_made_with(tmp_path: Path) -> None:
    found = candidate(Settings(cache=tmp_path))
    assert found.info.name == "qwen2.5-coder-1.5b" and "small" in found.why
    with pytest.raises(UnknownName, match="gpt-7"):
        candidate(Settings(model="gpt-7", cache=tmp_path))
