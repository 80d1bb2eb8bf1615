"""The best cut, against trying every number of parts under the same model."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.errors import UsageError
from shuntyard.messages import ModelInfo
from shuntyard.planner.chunks import Chunking, Cut, analyse, choose_chunk, paced

MODEL = ModelInfo(
    name="m", context=4096, seconds_per_token=0.02, input_price=Decimal("0.000001"), output_price=Decimal("0.000004")
)


def by_trying(n: int, cut: Cut, model: ModelInfo, concurrency: int, least: str, max_error: float) -> Chunking | None:
    found = [analyse(n, parts, cut, model, concurrency=concurrency) for parts in range(1, n + 1)]
    answer = cut.answer if callable(cut.answer) else lambda size: cut.answer
    room = model.context - cut.instructions
    fits = [
        each
        for each in found
        if each.size + answer(each.size) <= room
        and (each.parts == 1 or cut.join == "code" or each.parts * answer(each.size) + answer(n) <= room)
        and each.error <= max_error
    ]
    return min(fits, key=lambda each: (getattr(each, least), each.parts), default=None)


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    base, slope, power = draw(st.floats(0, 0.2)), draw(st.floats(0, 0.05)), draw(st.sampled_from([0.5, 1.0, 2.0]))
    sign = draw(st.sampled_from([1, 1, 1, -1]))

    def error(size: int) -> float:
        return min(1.0, max(0.0, base + sign * slope * size**power))

    return Cut(
        error=error,
        instructions=draw(st.integers(0, 60)),
        answer=draw(st.one_of(st.integers(0, 12), st.sampled_from([lambda size: size, lambda size: 3 + size // 4]))),
        right=draw(st.sampled_from(["all", "one"])),
        join=draw(st.sampled_from(["model", "code"])),
    )


@given(
    st.integers(1, 300), cuts(), st.integers(1, 8), st.sampled_from(["seconds", "cost", "seconds_per_right"]),
    st.floats(0, 1),
    st.integers(20, 400),
)  # fmt: skip
def test_it_is_as_good_as_trying_all(
    n: int, cut: Cut, concurrency: int, least: str, max_error: float, context: int
) -> None:
    model = MODEL.model_copy(update={"context": context})
    wanted = by_trying(n, cut, model, concurrency, least, max_error)
    try:
        found = choose_chunk(n, cut, model, concurrency=concurrency, least=least, max_error=max_error)  # type: ignore[arg-type]
    except UsageError:
        assert wanted is None
        return
    assert wanted is not None
    assert found.error <= max_error
    assert getattr(found, least) == pytest.approx(getattr(wanted, least))


def test_only_the_sizes_that_are_offered_are_chosen() -> None:
    cut = Cut(error=lambda size: size / 10_000, right="one", join="code")
    assert choose_chunk(4096, cut, MODEL, sizes=[256, 512, 2048]).size == 2048
    assert choose_chunk(4096, cut, MODEL, concurrency=8, sizes=[256, 512, 2048]).size == 512
    with pytest.raises(UsageError, match="no cut of 4096 tokens"):
        choose_chunk(4096, cut, MODEL, sizes=[5000])


def test_reading_takes_what_the_model_says() -> None:
    cut = Cut(error=lambda size: 0.0, instructions=0, answer=10, join="code")
    slow = MODEL.model_copy(update={"seconds_per_prompt_token": 0.5})
    assert analyse(100, 1, cut, MODEL).seconds == pytest.approx(0.02 * (100 / 5 + 10))
    assert analyse(100, 1, cut, slow).seconds == pytest.approx(0.5 * 100 + 0.02 * 10)


def test_workers_make_smaller_parts_worth_their_price() -> None:
    cut = Cut(error=lambda size: 0.0)
    alone = choose_chunk(3000, cut, MODEL)
    many = choose_chunk(3000, cut, MODEL, concurrency=8)
    cheap = choose_chunk(3000, cut, MODEL, concurrency=8, least="cost")
    assert alone.parts == cheap.parts == 1
    assert many.parts > 1 and many.seconds < alone.seconds
    assert many.cost is not None and cheap.cost is not None and many.cost > cheap.cost


def test_an_error_that_grows_with_the_size_asks_for_smaller_parts() -> None:
    cut = Cut(error=lambda size: min(1.0, (size / 4000) ** 2))
    free = choose_chunk(3000, cut, MODEL)
    held = choose_chunk(3000, cut, MODEL, max_error=0.1)
    assert free.parts == 1 and free.error > 0.5
    assert held.parts > 1 and held.error <= 0.1
    assert analyse(3000, held.parts - 1, cut, MODEL).error > 0.1


def test_parts_fit_the_context_and_so_do_their_answers() -> None:
    cut = Cut(error=lambda size: 0.0)
    found = choose_chunk(100_000, cut, MODEL, least="cost")
    assert found.size + cut.instructions + cut.answer <= MODEL.context
    assert found.parts == -(-100_000 // (MODEL.context - 120))
    assert choose_chunk(10_000_000, Cut(error=lambda size: 0.0, answer=0), MODEL).parts > 2000


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(UsageError, match=r"the least is 0\.5"):
        choose_chunk(100, Cut(error=lambda size: 0.5, right="one"), MODEL, max_error=0.1)
    with pytest.raises(UsageError, match="least='seconds'"):
        choose_chunk(100, Cut(error=lambda size: 0.0), MODEL.model_copy(update={"input_price": None}), least="cost")
    with pytest.raises(UsageError, match="0 tokens"):
        choose_chunk(0, Cut(error=lambda size: 0.0), MODEL)
    with pytest.raises(UsageError, match="no cut"):
        choose_chunk(1_000_000, Cut(error=lambda size: 0.0, answer=100), MODEL)


def test_the_page_on_cutting_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cutting.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(program, {})
    parts, size = map(int, re.findall(r"(\d+) parts of (\d+) tokens", capsys.readouterr().out)[0])
    assert 1 < parts < 20_000 and parts * size >= 20_000


class Linear:
    """A machine on which reading and writing a token take the same, call by call."""

    def seconds(self, model: str, *, prompt: int, completion: int, cached: int = 0) -> float | None:
        return 0.002 * (prompt - cached) + 0.05 * (completion - 1) if model == "m" else None


def test_speeds_come_from_what_the_machine_was_measured_at() -> None:
    found = paced(MODEL, Linear())
    assert found.seconds_per_prompt_token == pytest.approx(0.002)
    assert found.seconds_per_token == pytest.approx(0.05)
    assert paced(other := MODEL.model_copy(update={"name": "x"}), Linear()) is other
    cut = Cut(error=lambda size: 0.0, instructions=100, answer=20, join="code")
    assert analyse(4000, 4, cut, found).seconds == pytest.approx(4 * (0.002 * 1100 + 0.05 * 20))
