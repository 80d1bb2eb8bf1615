"""Predictions of local models: files read right, sums that add up, constants that converge."""

import json
import random
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from shuntyard import settings as settings_module
from shuntyard.agents.predicted import Talk
from shuntyard.benchmarks.predict.made import Size, make, size_of
from shuntyard.errors import ModelFileBad, PathRefused, UsageError
from shuntyard.messages import Message, ModelInfo, ModelRequest
from shuntyard.serving import fetch, supervise
from shuntyard.serving.predict.gguf import read_header
from shuntyard.serving.predict.host import Known, PaceStore
from shuntyard.serving.predict.local import LocalPacing, doubt, measured, predictor_of
from shuntyard.serving.predict.measure import refit
from shuntyard.serving.predict.pace import Pace
from shuntyard.serving.predict.predict import Asked, Predictor, kv_type_of
from shuntyard.serving.predict.shape import Shape, Weights, read_shape
from shuntyard.serving.predict.watch import Watch
from shuntyard.serving.predict.work import Part, Setup, decode, memory_mib, prefill
from shuntyard.serving.source import LocalSource
from shuntyard.settings import Settings

NAME = "smollm2-135m"
SETUP = Setup(context=4096)


def shape(*, layers: int = 28, embd: int = 1536, ff: int = 8960, kind: str = "Q4_K", experts: int = 0) -> Shape:
    """A model like Qwen2.5 1.5B."""
    matrices = {
        "qkv": layers * embd * (embd + 512),
        "attention out": layers * embd * embd,
        ("experts" if experts else "ffn"): layers * 3 * embd * ff * max(1, experts),
        "lm_head": embd * 150_000,
    }
    weights = [
        Weights.model_validate({"operator": name, "type": kind, "elements": n, "bytes": n * 9 // 16})
        for name, n in matrices.items()
    ]
    return Shape(
        architecture="qwen2",
        name="made",
        layers=layers,
        embd=embd,
        heads=12,
        kv_heads=2,
        key=128,
        value=128,
        ff=ff,
        vocab=150_000,
        context=32_768,
        experts=experts,
        experts_used=2 if experts else 0,
        tied=True,
        parameters=sum(matrices.values()),
        file_bytes=sum(item.bytes for item in weights),
        weights=tuple(weights),
    )


PREDICTOR = Predictor(shape(), Pace(threads=2), SETUP)


def header(*, arch: str = "llama", count: int = 1, tensors: int = 0) -> bytes:
    key = b"general.architecture"
    field = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(arch)) + arch.encode()
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, count) + field


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "fewer than a header"),
        (b"PK\3\4" + bytes(100), "begins with"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version is 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "claims"),
        (header(count=2), "cut"),
        (header()[:-3], "cut"),
        (header(tensors=1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IQIQ", 1, 4, 99, 0), "type 99"),
        (header(tensors=1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IQIQ", 1, 4, 2, 0), "blocks of Q4_0"),
        (header(tensors=1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IQIQ", 1, 1 << 40, 0, 0), "ends at byte"),
    ],
)
def test_a_damaged_file_is_refused_by_what_is_wrong_with_it(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(ModelFileBad, match=word):
        read_header(tmp_path / "x.gguf")


@examples(max_examples=30)
@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(header(count=2)[:cut] + data)
    with pytest.raises(ModelFileBad):
        read_shape(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PathRefused, match=r"nothing\.gguf"):
        read_header(tmp_path / "nothing.gguf")


@pytest.mark.small_model
def test_the_real_file_has_the_published_sizes(pulled: Callable[[str], str], tmp_path: Path) -> None:
    path = fetch.ensure(pulled(NAME), settings_module.load())[0]
    found = read_shape(path)
    assert found.parameters == 134_515_008
    assert (found.layers, found.embd, found.heads, found.kv_heads, found.ff) == (30, 576, 9, 3, 1536)
    assert (found.vocab, found.tied, found.context) == (49152, True, 8192)
    assert found.kv_bytes("f16/f16") == 23_040, "as the engine's memory grows with its context"
    assert list(found.mix) == ["Q4_1", "Q8_0"]
    # A cut file is told from a whole one without its tensors being read.
    with path.open("rb") as stream:
        (tmp_path / "cut.gguf").write_bytes(stream.read(20_000_000))
    with pytest.raises(ModelFileBad, match="ends at byte"):
        read_shape(tmp_path / "cut.gguf")
    made = read_shape(make(tmp_path / "made.gguf", path, Size(2, 512)))
    assert (made.layers, made.embd, made.heads, made.kv_heads, made.vocab) == (2, 512, 8, 2, 49152)


def test_sizes_of_made_models_are_checked() -> None:
    assert size_of("12x768") == Size(12, 768)
    for text in ("12x700", "x768", "12", "-1x256"):
        with pytest.raises(UsageError, match="LAYERSxWIDTH"):
            size_of(text)


def test_memory_counts_the_whole_context() -> None:
    small, large = memory_mib(shape(), Setup(512)), memory_mib(shape(), Setup(8192))
    assert large - small == pytest.approx(3 * (8192 - 512) * 28 * 2 * 512 / 2**20)
    assert memory_mib(shape(), Setup(8192, kv_type="q8_0/q8_0")) < large
    plain, twice = shape(kind="Q4_1"), shape(kind="Q4_K")
    assert memory_mib(twice, SETUP) - memory_mib(plain, SETUP) == pytest.approx(twice.repacked / 2**20)


def test_experts_cost_the_memory_of_all_and_the_work_of_some() -> None:
    dense, mixed = shape(), shape(experts=8)

    def flops(one: Shape) -> float:
        parts = decode(one, SETUP, depth=100, steps=10)
        return sum(part.amount for part in parts if part.constant.startswith(("few:", "flops:")))

    assert flops(mixed) / flops(dense) == pytest.approx(2, rel=0.25)
    assert mixed.file_bytes > 5 * dense.file_bytes
    ones, many = (
        sum(part.amount for part in parts if part.operator == "experts" and part.resource == "memory")
        for parts in (decode(mixed, SETUP, depth=1, steps=1), prefill(mixed, SETUP, tokens=128))
    )
    assert many / ones == pytest.approx(4, rel=0.01), "a token reads 2 of 8, a full pass all"


lengths = st.integers(1, 1500)


@examples(max_examples=30)
@given(prompt=lengths, output=st.integers(1, 500), batch=st.integers(1, 8), more=st.integers(1, 400))
def test_more_of_anything_takes_longer(prompt: int, output: int, batch: int, more: int) -> None:
    base = PREDICTOR.predict(Asked(prompt, output, batch))
    for larger in (Asked(prompt + more, output, batch), Asked(prompt, output + more, batch)):
        assert PREDICTOR.predict(larger).seconds > base.seconds
    assert PREDICTOR.predict(Asked(prompt, output, batch + more % 8 + 1)).seconds > base.seconds
    known = min(prompt - 1, more)
    assert PREDICTOR.predict(Asked(prompt, output, batch, cached=known)).seconds <= base.seconds


@examples(max_examples=30)
@given(prompt=lengths, output=st.integers(1, 500), batch=st.integers(1, 8))
def test_the_operators_add_up_to_the_whole(prompt: int, output: int, batch: int) -> None:
    asked = Asked(prompt, output, batch)
    whole, parts = PREDICTOR.predict(asked), PREDICTOR.explain(asked)
    assert sum(part.seconds for part in parts) == pytest.approx(whole.seconds)
    assert sum(part.share for part in parts) == pytest.approx(1)
    reading = sum(part.seconds for part in parts if part.phase == "prefill")
    assert reading == pytest.approx(whole.ttft)
    assert whole.ttft + whole.itl * (output - 1) == pytest.approx(whole.seconds)


@examples(max_examples=30)
@given(deadline=st.floats(0.01, 60), output=st.integers(1, 300), batch=st.integers(1, 4))
def test_what_fits_a_deadline_fits_and_one_more_does_not(deadline: float, output: int, batch: int) -> None:
    n = PREDICTOR.longest_prompt(deadline=deadline, output=output, batch=batch)
    assert n == 0 or PREDICTOR.predict(Asked(n, output, batch)).seconds <= deadline
    if n < SETUP.context - output:
        assert PREDICTOR.predict(Asked(n + 1, output, batch)).seconds > deadline
    m = PREDICTOR.longest_output(deadline=deadline, prompt=output, batch=batch)
    assert m == 0 or PREDICTOR.predict(Asked(output, m, batch)).seconds <= deadline
    if m < SETUP.context - output:
        assert PREDICTOR.predict(Asked(output, m + 1, batch)).seconds > deadline


@examples(max_examples=30)
@given(st.floats(0.01, 2.0))
def test_the_largest_batch_keeps_the_pace(itl: float) -> None:
    n = PREDICTOR.largest_batch(itl=itl, prompt=300)
    assert n == 0 or PREDICTOR.predict(Asked(300, 2, n)).itl <= itl
    assert n == 64 or PREDICTOR.predict(Asked(300, 2, n + 1)).itl > itl


def test_the_knee_comes_later_where_memory_is_dear() -> None:
    dear = Pace(threads=2)
    dear.mean["bytes"] = 4.0
    assert PREDICTOR.knee(prompt=200) < Predictor(shape(), dear, SETUP).knee(prompt=200)
    assert Predictor(shape(), dear, SETUP).predict(Asked(100, 50)).itl_binds == "memory"
    assert PREDICTOR.predict(Asked(1000, 2)).ttft_binds == "compute"


def test_context_fits_a_memory() -> None:
    base = memory_mib(shape(), Setup(1000))
    assert PREDICTOR.longest_context(memory_mib=base) == 1000
    assert PREDICTOR.longest_context(memory_mib=100) == 0


@pytest.mark.parametrize("wrong", [{"prompt": 0}, {"output": 0}, {"batch": 0}, {"cached": -1}, {"cached": 101}])
def test_wrong_values_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Asked(**{"prompt": 100, **wrong})
    with pytest.raises(UsageError, match="do not fit the context"):
        PREDICTOR.predict(Asked(4000, 200))
    with pytest.raises(UsageError, match="q9"):
        kv_type_of("q9")


def true_pace() -> Pace:
    pace = Pace(threads=2)
    pace.mean |= {"host": 0.5, "few": 0.3, "bytes:Q4_K": -0.5, "attention": 0.6, "wall:prefill": 0.2}
    return pace


def calls(rng: random.Random) -> list[list[Part]]:
    return [
        prefill(shape(), SETUP, tokens=rng.randint(20, 1500), cached=rng.randint(0, 1500)),
        decode(shape(), SETUP, depth=rng.randint(10, 2000), steps=rng.randint(5, 100), batch=rng.randint(1, 4)),
    ]


def test_observations_bring_the_constants_to_the_truth() -> None:
    rng, truth, pace = random.Random(1), true_pace(), Pace(threads=2)
    before = [pace.spread(parts) for parts in calls(random.Random(2))]
    for _ in range(12):
        for parts in calls(rng):
            pace.observe(parts, truth.seconds(parts) * rng.lognormvariate(0, 0.03))
    for parts, doubt_before in zip(calls(random.Random(2)), before, strict=True):
        assert pace.seconds(parts) == pytest.approx(truth.seconds(parts), rel=0.08)
        assert pace.spread(parts) < doubt_before / 5
    # Another model of the same tensor types, of which nothing was observed.
    for layers, embd, ff in ((16, 2048, 8192), (40, 896, 4864)):
        other = shape(layers=layers, embd=embd, ff=ff)
        for parts in (prefill(other, SETUP, tokens=700), decode(other, SETUP, depth=300, steps=50)):
            assert pace.seconds(parts) == pytest.approx(truth.seconds(parts), rel=0.12)


def test_a_stall_of_the_machine_moves_little() -> None:
    rng, pace = random.Random(1), Pace(threads=2)
    truth = true_pace()
    for _ in range(10):
        for parts in calls(rng):
            pace.observe(parts, truth.seconds(parts))
    parts = decode(shape(), SETUP, depth=200, steps=50)
    before = pace.seconds(parts)
    pace.observe(parts, 50 * truth.seconds(parts))
    assert pace.seconds(parts) < 1.15 * before


def test_a_busy_machine_is_learnt_and_forgotten_without_touching_the_host() -> None:
    rng, pace, truth = random.Random(3), Pace(threads=2), true_pace()
    for _ in range(10):
        for parts in calls(rng):
            pace.observe(parts, truth.seconds(parts))
    parts = decode(shape(), SETUP, depth=200, steps=50)
    processor = pace.seconds(parts)
    for factor in (3.0, 1.0):
        for _ in range(40):
            pace.observe(parts, factor * processor / 2, noise=0.15, wall="wall:decode")
        assert pace.value("wall:decode") == pytest.approx(factor / 2, rel=0.15)
        assert pace.seconds(parts) == pytest.approx(processor, rel=0.1)


def test_timings_of_the_engine_refit(tmp_path: Path) -> None:
    pace = Pace(threads=1)
    asked = Asked(600, 41, cached=100)
    timings = {"prompt_n": 500, "cache_n": 100, "prompt_ms": 30_000.0, "predicted_n": 41, "predicted_ms": 10_000.0}
    for _ in range(30):
        assert refit(pace, shape(), SETUP, timings)
    found = Predictor(shape(), pace, SETUP).predict(asked)
    assert (found.ttft, found.seconds - found.ttft) == pytest.approx((30, 10), rel=0.1)
    assert not refit(pace, shape(), SETUP, {"prompt_n": 1, "prompt_ms": 5.0, "predicted_n": 1, "predicted_ms": 0.0})


def test_constants_of_another_machine_are_not_used(tmp_path: Path) -> None:
    settings = settings_module.load({"threads": 2})
    store = PaceStore.of(settings, SETUP)
    mine = PaceStore(tmp_path, store.host)
    pace = Pace(threads=2)
    pace.observe(prefill(shape(), SETUP, tokens=500), 100.0)
    mine.save(Known(pace, {"abc": "made"}))
    again = mine.load()
    assert again.measured == {"abc": "made"}
    assert again.pace.mean == pace.mean
    parts = decode(shape(), SETUP, depth=9, steps=9)
    assert again.pace.spread(parts) == pytest.approx(pace.spread(parts), rel=1e-3)
    for field, value in {"cpu": "other", "threads": 4, "engine": "xllamacpp 0", "batch": 512, "version": 0}.items():
        other = PaceStore(tmp_path, store.host.model_copy(update={field: value}))
        assert other.load().pace.seen == 0, f"another {field} is another host"
    # A file that lies under the wrong name is not believed either.
    path = tmp_path / f"{store.host.key}.json"
    data = json.loads(path.read_text())
    data["host"]["cpu"] = "other"
    path.write_text(json.dumps(data))
    assert mine.load().pace.seen == 0
    path.write_text("{")
    assert mine.load().pace.seen == 0


class Fixed:
    """Ten seconds a call, of one model only."""

    def seconds(self, model: str, *, prompt: int, completion: int, cached: int = 0) -> float | None:
        return 10.0 if model == "known" else None


def test_the_planners_estimate_asks_for_the_machines_pace() -> None:
    talk = Talk(1000, 100)
    assert talk.seconds(ModelInfo(name="known"), Fixed(), calls=2) == 20
    assert talk.seconds(ModelInfo(name="else", seconds_per_token=0.1), Fixed()) == pytest.approx(0.1 * (200 + 100))


@pytest.fixture
def alone(pulled: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with engines of their own."""
    pulled(NAME)
    monkeypatch.setenv("SHUNTYARD_ENGINES", str(tmp_path / "engines"))
    return settings_module.load({"threads": 2, "idle_minutes": 2})


@pytest.mark.small_model
def test_one_measurement_serves_the_other_models_of_its_types(alone: Settings, tmp_path: Path) -> None:
    assert LocalPacing(alone).seconds(NAME, prompt=100, completion=10) is None, "nothing is known yet"
    path = fetch.ensure(NAME, alone)[0]
    sibling = make(tmp_path / "sibling.gguf", path, Size(2, 512))
    unsure = doubt(predictor_of(str(sibling), alone))
    once = partial(measured, NAME, alone, rounds=1)
    try:
        found, anew = anyio.run(once)
        assert anew
        assert doubt(found) < 0.1
        assert not anyio.run(once)[1], "once is enough"
        pacing = LocalPacing(alone)
        short, long = (pacing.seconds(NAME, prompt=n, completion=20) for n in (100, 800))
        assert short is not None and long is not None and 0 < short < long
        assert doubt(predictor_of(str(sibling), alone)) < 0.2 < unsure
        assert pacing.seconds(str(sibling), prompt=100, completion=20) is not None
        anyio.run(_calls_are_watched, alone)
    finally:
        supervise.stop(alone)


async def _calls_are_watched(settings: Settings) -> None:
    store = PaceStore.of(settings, Setup(8192))
    seen = store.load().pace.seen
    source = LocalSource(settings)
    _, connection = await source.connect(NAME)
    assert (await source.desk(connection)).watch is None, "of a server's calls none is surely alone"
    model = await source.open(NAME)
    for n in range(Watch.EVERY):
        said = (Message(role="user", content=f"Write {n} words on sheep, on goats, and on the fields around them."),)
        await model.complete(ModelRequest(messages=said, max_tokens=8))
    learnt = store.load().pace.seen
    assert learnt > seen
    watch = Watch(store, connection.spec.model, Setup(8192))
    timings = {"cache_n": 0, "prompt_n": 100, "prompt_ms": 900.0, "predicted_n": 8, "predicted_ms": 200.0}
    for _ in range(Watch.EVERY):
        with watch.call() as first, watch.call() as second:
            second(timings)
        first(timings)
    assert store.load().pace.seen == learnt, "calls at once say nothing of one alone"
    for _ in range(Watch.EVERY):
        with watch.call() as took:
            took(timings)
    assert store.load().pace.seen > learnt
