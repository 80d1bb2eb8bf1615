"""Passes inside of bodies: what a turn calls twice is called once, where nothing else comes of it."""

import pytest
from shaped import SPECS, Naive, mapped
from yard import args, plan, ref

from shuntyard.planner.passes import optimise
from shuntyard.planner.validate import complete

PURE = [spec.model_copy(update={"stability": "pure" if spec.effect == "read" else "fresh"}) for spec in SPECS]


def test_equal_calls_of_a_turn_are_made_once() -> None:
    mix = {"tool": "mix", **args(**{"in": [ref("item")], "add": 0})}
    made = plan({"tool": "some", **args(add=3)}, mapped(mix, {"tool": "odd", **args(**{"in": [ref("n11")]})}, mix))
    [before] = [node for node in made.nodes if node.body]
    better, trace = optimise(complete(made, PURE), PURE)
    body = better.nodes[1].body
    assert body is not None and [node.id for node in body.nodes] == ["n11", "n12"]
    # A turn gives what its last call gives, also when that is another.
    assert body.result == ref("n11") and before.body is not None and before.body.result is None
    assert [(change.node, change.into) for change in trace.changes] == [("n13", "n11")] and trace.renamed == {}
    naive, after = Naive(), Naive()
    explicit = before.model_copy(update={"body": before.body.model_copy(update={"result": ref("n13")})})
    wanted = naive.run(made.model_copy(update={"nodes": (made.nodes[0], explicit)}))
    assert after.run(better) == wanted and len(after.made) < len(naive.made)


@pytest.mark.parametrize("tool", ["put", "mix"])
def test_a_turn_with_an_effect_repeats_what_the_effect_may_change(tool: str) -> None:
    stable = [spec.model_copy(update={"stability": "stable"}) if spec.name == "odd" else spec for spec in PURE]
    look = {"tool": "odd", **args(add=1)}
    body = mapped(look, look, {"tool": tool, **args(**{"in": [ref("item"), ref("n12")]})})
    better = optimise(complete(plan({"tool": "some", **args(add=3)}, body), stable), stable).plan
    inner = better.nodes[1].body
    assert inner is not None and len(inner.nodes) == (3 if tool == "put" else 2)


def test_calls_of_bodies_are_not_merged_with_those_around_and_a_body_that_has_begun_stays() -> None:
    mix = {"tool": "mix", **args(add=0)}
    made = complete(plan({"tool": "some", **args(add=3)}, mix, mapped(mix, mix)), PURE)
    assert optimise(made, PURE, begun={"n3"}).plan == made
    left = [node.id for node in optimise(made, PURE).plan.every()]
    assert left == ["n1", "n2", "n3", "n11"]
