"""Prompts beyond a model's context: read only where the caller allows it, and never silently cut."""

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard import settings as settings_module
from shuntyard.errors import ContextTooLong, SettingsInvalid
from shuntyard.messages import Message, ModelInfo, ModelRequest
from shuntyard.serving import ScriptedModel
from shuntyard.serving.long import Options, by_words, pages, read_long, segments
from shuntyard.serving.long.cut import joined, words
from shuntyard.serving.source import LocalSource

pytestmark = pytest.mark.anyio

texts = st.lists(st.text("abc ", min_size=1, max_size=3), min_size=1, max_size=200)


@given(texts, st.integers(4, 40), st.data())
def test_segments_have_all_of_a_text_and_what_lies_across_a_cut_twice(
    pieces: list[str], size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    numbered = [f"<{n}>" for n in range(len(pieces))]
    found = [[int(n) for n in re.findall(r"<(\d+)>", part)] for part in segments(numbered, size, overlap=overlap)]
    assert all(part == list(range(part[0], part[-1] + 1)) and len(part) <= size for part in found)
    assert sorted({n for part in found for n in part}) == list(range(len(pieces)))
    assert all(one[-1] - other[0] + 1 == overlap for one, other in itertools.pairwise(found))
    assert "".join(segments(pieces, len(pieces), overlap=0)) == "".join(pieces)


@given(st.lists(st.floats(0, 9), max_size=60), st.integers(1, 20), st.integers(0, 3), st.integers(0, 3))
def test_pages_are_the_first_the_last_and_the_best(scores: list[float], most: int, sink: int, recent: int) -> None:
    chosen = pages(scores, most=most, sink=sink, recent=recent)
    assert chosen == sorted(set(chosen)) and len(chosen) == min(most, len(scores))
    always = {*range(min(sink, len(scores))), *range(max(0, len(scores) - recent), len(scores))}
    if len(always) <= most:
        assert always <= set(chosen)
        left = [scores[at] for at in range(len(scores)) if at not in chosen]
        picked = [scores[at] for at in chosen if at not in always]
        assert not left or not picked or min(picked) >= max(left)


@given(st.text("aé🦜漢 \n", max_size=50), st.integers(0, 7))
def test_bytes_of_one_character_are_joined(text: str, cut: int) -> None:
    data = text.encode(errors="ignore")
    pieces: list[str | list[int]] = [list(data[:cut]), list(data[cut:])]
    assert "".join(joined(pieces)) == data.decode()
    assert "".join(words(text)) == text


def test_rare_words_of_the_question_count_most() -> None:
    scores = by_words("the zebra", ["the the the", "the zebra", "the end", "nothing"])
    assert scores[1] > scores[0] > scores[2] > scores[3] == 0


NEEDLE = "The code of the blue locker is 4711."
QUESTION = "What is the code of the blue locker?"


def reader(request: ModelRequest) -> str:
    """Answers from what it is given, as a perfect reader would."""
    text = "\n".join(message.content for message in request.messages)
    found = re.search(r"blue locker is (\d+)", text) or re.search(r"Part \d+: (\d+)", text)
    return found[1] if found else "NONE"


def hay(lines: int, needle: int) -> str:
    return "\n".join(
        NEEDLE if n == needle else f"Note {n}: box {n * 7} was moved to hall {n % 9}." for n in range(lines)
    )


def asked(text: str, long: str, *, at: str = "after") -> ModelRequest:
    said = {
        "after": (Message(role="user", content=f"{text}\n\n{QUESTION}"),),
        "system": (Message(role="system", content=text), Message(role="user", content=QUESTION)),
        "talk": (
            Message(role="system", content="Be short."),
            *(Message(role="user" if n % 2 else "assistant", content=line) for n, line in enumerate(text.split("\n"))),
            Message(role="user", content=QUESTION),
        ),
    }[at]
    return ModelRequest.model_validate({"messages": said, "max_tokens": 32, "long": long})


def model() -> ScriptedModel:
    return ScriptedModel(reader, info=ModelInfo(name="s", kind="scripted", context=1500))


@pytest.mark.parametrize("long", ["segments", "pages"])
@pytest.mark.parametrize("at", ["after", "system", "talk"])
@pytest.mark.parametrize("place", [0, 250, 399])
async def test_a_needle_is_found_wherever_it_lies(long: str, at: str, place: int) -> None:
    scripted = model()
    answer = await read_long(scripted, asked(hay(400, place), long, at=at))
    assert answer.text == "4711"
    assert long in answer.read
    assert answer.usage.completion >= 1
    for request in scripted.requests:
        assert request.long == "no", "it is not read so again"
        assert await scripted.count(request.messages) + request.max_tokens <= 1500
    if long == "segments":
        assert len(scripted.requests) > 2
        assert answer.usage.prompt > await scripted.count(asked(hay(400, place), long, at=at).messages)
        lines = set(hay(400, place).split("\n"))
        heard = "\n".join(message.content for request in scripted.requests for message in request.messages)
        assert [line for line in lines if line not in heard] == [], "all of it was read, no line only in halves"


async def test_pages_cost_the_same_however_long_the_history_is() -> None:
    cost = {}
    for lines in (150, 500, 1500):
        answer = await read_long(model(), asked(hay(lines, lines // 3), "pages", at="talk"))
        assert answer.text == "4711"
        cost[lines] = answer.usage.prompt
    assert max(cost.values()) <= 1.05 * min(cost.values())
    recent = await read_long(
        model(), asked(hay(500, 100), "pages", at="talk"), options=Options(budget=204, sink=0, recent=99)
    )
    assert recent.text == "NONE", "the last pages alone do not have it"


async def test_a_nothing_in_every_part_is_said_and_a_failure_comes_out_as_it_is() -> None:
    scripted = model()
    answer = await read_long(scripted, asked(hay(400, -1), "segments"))
    assert answer.text == "NONE"
    assert "No part of the text answers it" in scripted.requests[-1].messages[-1].content

    def broken(request: ModelRequest) -> str:
        raise ContextTooLong("too long; shorten it.")

    with pytest.raises(ContextTooLong):
        await read_long(ScriptedModel(broken, info=model().info), asked(hay(400, 1), "segments"))


async def test_what_stands_around_the_text_must_fit() -> None:
    tight = ScriptedModel(reader, info=ModelInfo(name="s", kind="scripted", context=100))
    with pytest.raises(ContextTooLong, match="around the long text"):
        await read_long(tight, asked(hay(400, 1), "pages"))


def test_a_request_that_does_not_ask_for_it_is_dumped_as_before() -> None:
    plain = asked("text", "")
    assert "long" not in plain.model_dump()
    assert asked("text", "pages").model_dump()["long"] == "pages"
    assert ModelRequest.model_validate(plain.model_dump()) == plain
    with pytest.raises(SettingsInvalid, match="long_inputs = 'cut'"):
        settings_module.load({"long_inputs": "cut"})


@pytest.mark.small_model
async def test_a_real_model_reads_beyond_its_context_when_allowed(pulled: Callable[[str], str]) -> None:
    opened = await LocalSource(settings_module.load({"threads": 2})).open(pulled("smollm2-135m"))
    text = "Zoë’s naïve café: 🦜 in the attic.\n" * 3
    assert "".join(await opened.pieces(text)) == text
    long = asked(hay(500, 200), "").model_copy(update={"max_tokens": 2})
    with pytest.raises(ContextTooLong):
        await opened.complete(long)
    with pytest.raises(ContextTooLong, match="around the long text"):
        await opened.complete(long.model_copy(update={"long": "pages", "max_tokens": 4000}))
    allowed = long.model_copy(update={"long": "pages"})
    answer = await read_long(opened, allowed, options=Options(budget=204, sink=0))
    assert answer.read.startswith("in pages: 3 of ")
    assert 100 < answer.usage.prompt < 300
