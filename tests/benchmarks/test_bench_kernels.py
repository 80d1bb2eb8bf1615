import pytest

from shuntyard.benchmarks import kernels
from shuntyard.errors import UsageError


def test_the_table_has_a_line_per_model_and_work() -> None:
    def work(usual: float, own: float) -> dict[str, dict[str, float]]:
        return {"package": {"ms": usual, "ratio": 1.0}, "/own": {"ms": own, "ratio": round(usual / own, 2)}}

    text = kernels.describe(
        {
            "prompt": 1200,
            "tokens": 48,
            "slots": 8,
            "threads": 2,
            "engines": {
                "package": {"engine": "xllamacpp 1", "uses": ["AVX2"], "unused": ["AVX512"]},
                "/own": {"engine": "xllamacpp 1, own build ab", "uses": ["AVX2", "AVX512"], "unused": []},
            },
            "models": {"m": {"prompt": work(30.0, 20.0), "answer": work(50.0, 49.0), "answers": work(40.0, 25.0)}},
        }
    )
    for told in (
        "/own: xllamacpp 1, own build ab, AVX2, AVX512",
        "prompt of 1,200",
        "30.00 -> 20.00 (1.50)",
        "8 answers",
    ):
        assert told in text
    assert text.count("\n") == 5


def test_nothing_to_compare_is_told_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHUNTYARD_ENGINE_PATH", raising=False)
    with pytest.raises(UsageError, match="engine=FOLDER"):
        kernels.run()
