"""Wrong settings are refused with key, value and mend, in words of ours."""

from pathlib import Path

import pytest
from cli_parts import Call

from shuntyard.settings import load


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[models.x]\n", "[models.x] says neither where nor what it is; give 'url'"),
        ('[models.x]\nthrough = "shuntyard"\n', "through = 'shuntyard' needs 'url'"),
        ('[models.x]\nkey_env = "KEY"\n', "[models.x] says neither where nor what it is; give 'url'"),
        ('[models.x]\nurl = "not a url"\n', "models.x.url = 'not a url': is no address of a server; write one like"),
        ('[models.x]\nurl = "http://h:many/v1"\n', "models.x.url = 'http://h:many/v1': is no address"),
        ('[models.x]\nurl = "127.0.0.1:8080"\n', "models.x.url = '127.0.0.1:8080': is no address"),
        ('[models.x]\nmodel = "m"\nthrough = "http"\n', "through = 'http' needs 'url'"),
        ('serve = {models = "x"}\n', "serve.models = 'x' must be a list; correct it."),
        ("serve = {port = 99999}\n", "serve.port = 99999 must be at most 65535; correct it."),
        ('serve = {port = "many"}\n', "serve.port = 'many' must be a whole number; correct it."),
        ("max_cost = 'cheap'\n", "max_cost = 'cheap' must be a number; correct it."),
        ("memory = 'perhaps'\n", "memory = 'perhaps' must be true or false; correct it."),
        ("engine = 3\n", "engine = 3 must be a table; correct it."),
        ("models = 3\n", "models = 3 must be a table; correct it."),
        ("model = 3\n", "model = 3 must be a text; correct it."),
        ("deadline = 'nan'\n", "deadline = 'nan' must be at least 0"),
        ("executor = 'threads'\n", "executor = 'threads' must be 'inprocess', 'processes' or 'ray'; correct it."),
        ("[limit]\nquery = 0\n", "limit.query = 0 must be more than 0; correct it."),
    ],
)
def test_key_value_and_mend(call: Call, folder: Path, toml: str, says: str) -> None:
    (folder / "shuntyard.toml").write_text(toml, encoding="utf-8")
    refused = call("models", "list")
    assert refused.code == 2
    assert f"shuntyard.toml: {says}" in refused.err or (says in refused.err and "[models.x]" in toml)
    assert not any(word in refused.err for word in ("Input", "tuple", "Value error", ".."))


def test_a_long_value_is_cut(call: Call, folder: Path) -> None:
    (folder / "shuntyard.toml").write_text(f"workspace = {list(range(1000))}\n", encoding="utf-8")
    refused = call("models", "list")
    assert refused.code == 2 and "…" in refused.err and len(refused.err) < 400


@pytest.mark.parametrize(
    "toml",
    [
        '[models.x]\nurl = "http://127.0.0.1:8080/v1"\n',
        '[models.x]\nurl = "https://example.org"\nmodel = "m"\n',
        '[models.x]\nmodel = "gpt-4o"\nkey_env = "KEY"\n',
        '[models."openai/gpt-4o"]\n',
        '[models.gpt-4o]\nthrough = "litellm"\n',
    ],
)
def test_what_a_table_needs(folder: Path, toml: str) -> None:
    (folder / "shuntyard.toml").write_text(toml, encoding="utf-8")
    assert len(load().models) == 1


@pytest.mark.parametrize("toml", ['model = "nope"', 'fallback = ["nope"]', 'model = "all-minilm-l6-v2"'])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_model_that_nobody_offers_is_refused_before_there_is_a_run(
    call: Call, folder: Path, command: str, toml: str
) -> None:
    (folder / "shuntyard.toml").write_text(f"{toml}\nmemory = false\n", encoding="utf-8")
    refused = call(command, "How many lines has a.txt?")
    assert refused.code == 2 and "unknown model '" in refused.err and "`shuntyard models list`" in refused.err
    assert call("runs", "--json").json == []
