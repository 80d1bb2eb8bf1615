"""Thoughts within a budget: ended when the model is sure, or at the cap, and then it answers."""

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard import settings as settings_module
from shuntyard.errors import UsageError
from shuntyard.messages import Completion, Message, ModelInfo, ModelRequest, TokenLogprob, Usage
from shuntyard.serving import ScriptedModel
from shuntyard.serving.source import LocalSource
from shuntyard.serving.thinking import Certainty, ThinkOptions, entropy_of, think

pytestmark = pytest.mark.anyio

ASKED = ModelRequest(messages=(Message(role="user", content="Think, then answer."),), max_tokens=100)


class Thinker:
    """Writes one token a letter, each as sure as its script says; then it stops."""

    def __init__(self, doubts: Sequence[float]) -> None:
        self.info = ModelInfo(name="thinker", logprobs=True)
        self.doubts = doubts
        self.requests: list[ModelRequest] = []

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        self.requests.append(request)
        last = request.messages[-1]
        so_far = last.content if last.role == "assistant" else ""
        if so_far.endswith("answer is:"):
            return Completion(text=" 42", model="thinker", usage=Usage(completion=1))
        doubts = self.doubts[len(so_far) : len(so_far) + request.max_tokens]
        found = tuple(
            TokenLogprob(
                token="x", logprob=math.log(1 - doubt), top=(("x", math.log(1 - doubt)), ("y", math.log(doubt)))
            )
            for doubt in doubts
        )
        ended = len(so_far) + len(doubts) >= len(self.doubts)
        text = "x" * len(doubts)
        if on_text is not None:
            on_text(text)
        finish = "stop" if ended else "length"
        return Completion.model_validate(
            {"text": text, "model": "t", "usage": Usage(completion=len(doubts)), "finish": finish, "logprobs": found}
        )

    async def count(self, messages: Sequence[Message]) -> int:
        return 1


def options(**other: object) -> ThinkOptions:
    return ThinkOptions.model_validate({"cap": 100, "block": 10, "blocks": 2, "sure": 0.2, **other})


async def test_a_sure_model_is_asked_for_its_answer() -> None:
    model = Thinker([0.4] * 30 + [0.01] * 500)
    heard: list[str] = []
    thought = await think(model, ASKED, options=options(), on_text=heard.append)
    assert (thought.ended, thought.tokens, thought.saved) == ("sure", 50, 50)
    assert thought.answer == " 42"
    assert thought.completion.text == "x" * 50 + "\nSo the answer is: 42"
    assert "".join(heard) == "x" * 50 + "\nSo the answer is:"
    assert thought.completion.usage.completion == 51
    assert [round(value, 1) for value in thought.entropies] == [0.7, 0.7, 0.7, 0.1, 0.1]


async def test_doubt_in_between_begins_the_count_anew() -> None:
    model = Thinker(([0.01] * 10 + [0.4] * 10) * 20)
    thought = await think(model, ASKED, options=options(cap=95))
    assert (thought.ended, thought.tokens, thought.saved) == ("cap", 95, 0)
    assert model.requests[-2].max_tokens == 5
    never = await think(Thinker([0.001] * 500), ASKED, options=options(sure=0))
    assert never.ended == "cap"


async def test_a_model_that_ends_by_itself_is_not_asked_again_but_for_its_grammar() -> None:
    model = Thinker([0.4] * 25)
    thought = await think(model, ASKED, options=options())
    assert (thought.ended, thought.tokens, len(model.requests)) == ("answered", 25, 3)
    drawn = ASKED.model_copy(update={"grammar": "root ::= [0-9]+"})
    model = Thinker([0.4] * 25)
    thought = await think(model, drawn, options=options())
    assert thought.ended == "answered" and thought.answer == " 42"
    assert [request.grammar for request in model.requests] == [None, None, None, drawn.grammar]


async def test_a_model_without_log_probabilities_is_refused() -> None:
    with pytest.raises(UsageError, match="'scripted' reports no log-probabilities"):
        await think(ScriptedModel(["x"]), ASKED)


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20))
def test_entropy_lies_between_none_and_that_of_equal_chances(parts: list[float]) -> None:
    total = sum(parts) + 0.1
    top = tuple((str(n), math.log(part / total)) for n, part in enumerate(parts))
    entropy = entropy_of(TokenLogprob(token="0", logprob=top[0][1], top=top))
    assert 0 < entropy <= math.log(len(parts) + 1) + 1e-9
    assert not Certainty(ThinkOptions(blocks=1)).take(()), "nothing known is not sure"


@pytest.mark.small_model
async def test_a_real_model_thinks_in_blocks_as_in_one_go(pulled: Callable[[str], str]) -> None:
    model = await LocalSource(settings_module.load({"threads": 2})).open(pulled("smollm2-135m"))
    asked = ModelRequest(messages=(Message(role="user", content="What is 2 + 2? Think step by step."),), max_tokens=24)
    whole = await model.complete(asked)
    # Everything counts as sure, so that the second block is the last.
    thought = await think(model, asked, options=options(block=8, sure=9.0, cap=24, answer=4))
    assert (thought.ended, thought.tokens, thought.saved) == ("sure", 16, 8)
    assert whole.text.startswith(thought.completion.text.partition("\nSo the answer")[0])
    assert thought.completion.usage.cached > 0, "a block goes on where the last one ended"
