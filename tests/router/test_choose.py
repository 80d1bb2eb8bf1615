from decimal import Decimal

import pytest

from shuntyard.errors import BudgetSpent, ModelUnavailable, UnknownName
from shuntyard.messages import ModelInfo
from shuntyard.router.choose import choose

LARGE = ModelInfo(name="qwen2.5-coder-1.5b", tier="small")
SMALL = ModelInfo(name="qwen2.5-coder-0.5b", tier="small")
TINY = ModelInfo(name="smollm2-135m", tier="tiny")
EMBED = ModelInfo(name="all-minilm-l6-v2", tier="tiny", embeds=True)
LOCAL = (TINY, SMALL, EMBED, LARGE)
CHEAP = ModelInfo(
    name="cheap", kind="litellm", tier="medium", input_price=Decimal("1e-6"), output_price=Decimal("1e-6")
)
DEAR = ModelInfo(name="dear", kind="litellm", tier="large", input_price=Decimal("1e-5"), output_price=Decimal("1e-5"))
UNKNOWN = ModelInfo(name="unknown", kind="litellm", tier="large", input_price=None, output_price=None)


def test_planning_takes_the_larger_local_model_and_keeps_the_smaller_ones_behind_it() -> None:
    decision = choose("compile", LOCAL)
    assert decision.model == LARGE.name
    assert decision.candidates == (LARGE.name, SMALL.name, TINY.name)
    assert "small is enough for compile" in decision.reason and "free" in decision.reason


def test_free_local_models_come_before_paid_ones_and_unknown_prices_last() -> None:
    decision = choose("compile", (UNKNOWN, DEAR, CHEAP, *LOCAL))
    assert decision.candidates == (LARGE.name, SMALL.name, CHEAP.name, DEAR.name, UNKNOWN.name, TINY.name)


def test_an_installed_model_comes_before_one_that_would_be_downloaded() -> None:
    decision = choose("compile", LOCAL, installed=lambda name: name == SMALL.name)
    assert decision.candidates == (SMALL.name, LARGE.name, TINY.name)
    nothing_here = choose("compile", LOCAL, installed=lambda name: False)
    assert nothing_here.model == LARGE.name
    assert "downloaded first" in nothing_here.reason


def test_a_model_too_small_for_the_role_is_still_better_than_none() -> None:
    assert choose("compile", (TINY, EMBED)).model == TINY.name


def test_a_named_model_comes_first_then_the_named_fallbacks_then_free_ones_that_are_here() -> None:
    decision = choose("join", (DEAR, CHEAP, *LOCAL), model="dear", fallback=[SMALL.name])
    assert decision.candidates == ("dear", SMALL.name, LARGE.name, TINY.name)
    only_small = choose("join", (DEAR, CHEAP, *LOCAL), model="dear", installed=lambda name: name == SMALL.name)
    assert only_small.candidates == ("dear", SMALL.name)


def test_fallbacks_follow_the_first_choice() -> None:
    assert choose("join", (DEAR, *LOCAL), fallback=["dear"]).candidates[:2] == (LARGE.name, "dear")


def test_no_money_leaves_local_models_only() -> None:
    decision = choose("compile", (CHEAP, *LOCAL), fallback=["cheap"], max_cost=Decimal(0))
    assert "cheap" not in decision.candidates
    with pytest.raises(BudgetSpent, match="cheap"):
        choose("compile", (*LOCAL, CHEAP), model="cheap", max_cost=Decimal("0.00"))
    with pytest.raises(BudgetSpent, match="none is local"):
        choose("compile", (CHEAP, DEAR), max_cost=Decimal(0))


def test_an_unknown_name_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownName, match=r"qwen2\.5-coder-1\.5b"):
        choose("compile", LOCAL, model="qwen2.5-coder-15b")
    with pytest.raises(UnknownName, match="nope"):
        choose("compile", LOCAL, fallback=["nope"])


def test_embedding_models_never_answer() -> None:
    with pytest.raises(UnknownName):
        choose("compile", LOCAL, model=EMBED.name)
    with pytest.raises(ModelUnavailable, match="models pull"):
        choose("compile", (EMBED,))


def test_a_model_that_misses_the_deadline_is_the_last_one_chosen() -> None:
    large, small = ModelInfo(name="m-3b"), ModelInfo(name="m-1b")
    assert choose("compile", [small, large]).model == "m-3b"
    decision = choose("compile", [small, large], late=lambda name: name == "m-3b")
    assert (decision.model, decision.candidates) == ("m-1b", ("m-1b", "m-3b"))
    assert "m-3b expected to miss the deadline" in decision.reason
    alone = choose("compile", [large], late=lambda name: True)
    assert alone.reason.endswith("expected to miss the deadline")
