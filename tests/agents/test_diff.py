from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.agents.diff import NOTHING, difference

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text("ab", max_size=2), each, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        (1, 2, ""),
        (1, 1.0, None),
        (True, 1, ""),
        (None, 0, ""),
        ([1, 2], [1, 3], "[1]"),
        ([1], [1, 2], ""),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "a[0].b"),
        ({"a": 1}, {"a": 1, "b": None}, "b"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
    ],
)
def test_the_first_difference_is_found(before: Any, after: Any, place: str | None) -> None:
    found = difference(before, after)
    assert (found.place if found is not None else None) == place


@given(JSON, JSON)
def test_equal_values_and_only_those_do_not_differ(before: Any, after: Any) -> None:
    assert difference(before, before) is None
    found, back = difference(before, after), difference(after, before)
    assert (found is None) == (back is None) == (strict(before) == strict(after))
    if found is not None:
        assert found.before is NOTHING or found.after is NOTHING or strict(found.before) != strict(found.after)
        assert found.told().before and found.told().after


def test_long_texts_are_told_from_where_they_part() -> None:
    found = difference("word " * 1000 + "one", "word " * 1000 + "other")
    assert found is not None
    sides = found.told()
    assert sides.before.endswith("word one") and sides.after.endswith("word other")
    assert len(sides.before) < 40
    longer = difference("word " * 1000, "word " * 1000 + "more")
    assert longer is not None and longer.told().before != longer.told().after


def strict(value: Any) -> Any:
    """The value so that True is not 1."""
    if isinstance(value, dict):
        return {key: strict(each) for key, each in value.items()}
    return [strict(each) for each in value] if isinstance(value, list) else (type(value), value)
