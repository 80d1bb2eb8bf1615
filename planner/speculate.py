"""Reads that start before their condition is known, on what would otherwise stand idle.

A guess is a call whose arguments are there and whose condition is not yet. It is made only for reads that
cost nothing and give the same when they are repeated, takes a worker only when no other call could start,
and gives its place up as soon as one wants it. What it may waste is bounded in seconds, all guesses of a run
together. Processors do the same with the branches of a program.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from ..events import Speculated
from ..protocols import Ctx
from ..steps import Effect, Node, StepResult, ToolSpec
from .outcomes import blocked
from .ready import Launch, Ready
from .turns import Frame
from .values import parse_ref, ref_in, refs


@dataclass(slots=True, eq=False)
class _Guess:
    launch: Launch
    scope: anyio.CancelScope | None = None
    begun: float = 0.0
    """On the loop's clock; the call is under way while ``scope`` is set and ``took`` is not."""
    took: float | None = None
    known: float | None = None
    """When its condition turned out to hold."""
    result: StepResult | None = None


class Guesses:
    """The guesses of one run. ``pending`` are calls for nodes whose condition is open, by node id."""

    def __init__(self, ctx: Ctx, specs: Mapping[str, ToolSpec], ready: Ready) -> None:
        """Waste at most ``ctx.limits.speculate`` seconds."""
        self._ctx = ctx
        self._specs = specs
        self._ready = ready
        self._pending: dict[str, _Guess] = {}
        self._tried: set[str] = set()
        self._held: dict[str, list[Node]] = {}
        """By the id of an effect that must be over first."""
        self._wasted = 0.0

    # --- before the condition is known ------------------------------------------------------------

    def consider(self, nodes: Sequence[Node], frame: Frame) -> None:
        """Make guesses ready for ``nodes``, each waiting for one other only, where that is sound and in the budget."""
        if not nodes and not self._held:
            return
        due = [node for id in [id for id in self._held if id in frame.results] for node in self._held.pop(id)]
        for node in (*nodes, *due):
            self._consider(node, frame)

    def _consider(self, node: Node, frame: Frame) -> None:
        frontier, results = frame.frontier, frame.results
        spec = self._specs.get(node.tool)
        budget = self._ctx.limits.speculate
        if spec is None or not budget or node.id in self._tried or not _repeatable(node, spec):
            return
        head = _condition(node)
        waits = [id for id in frontier.parents(node.id) if id != head]
        if not head or head in results or any(id not in results for id in waits) or blocked(node, waits, results):
            return
        if spec.stability == "stable" and (effect := frontier.effect_before(node.id, results)):
            self._held.setdefault(effect, []).append(node)
            return
        if self._at_risk() + spec.seconds > budget:
            return
        launch = Launch(node, spec, place=frame.rank(node.id), tail=frame.behind(node.id), frame=frame, guess=True)
        self._tried.add(node.id)
        self._pending[node.id] = _Guess(launch)
        self._ready.push(launch)

    def begin(self, launch: Launch, scope: anyio.CancelScope) -> None:
        """Note that a worker makes the call; ``scope`` ends with the budget."""
        guess = self._pending[launch.node.id]
        guess.scope, guess.begun = scope, anyio.current_time()
        self._time()

    def end(self, launch: Launch, result: StepResult) -> StepResult | None:
        """Note that the call is over; the node's result when its condition holds by now and the call succeeded.

        None with the condition known means that the node has to be called after all.
        """
        guess = self._pending.get(launch.node.id)
        if guess is None or guess.launch is not launch:
            return None
        guess.took = anyio.current_time() - guess.begun
        if not result.ok:
            self._lose(guess)
        elif guess.known is not None:
            return self._used(guess, result)
        else:
            guess.result = result
        self._time()
        return None

    def yield_place(self, *, full: bool) -> None:
        """Give one place up that another call waits for; ``full``: every worker is taken."""
        if not self._pending:
            return
        wanted = full and self._ready.wanting()
        for guess in self._pending.values():
            if guess.launch.taken and guess.took is None and guess.known is None:
                if wanted or self._ready.hindered(guess.launch):
                    self._lose(guess)
                    return

    def stop(self) -> None:
        """Drop every guess that is not known to be needed; no other call starts any more."""
        self.keep({id for id, guess in self._pending.items() if guess.known is not None})

    def keep(self, ids: set[str]) -> None:
        """Drop the guesses for all nodes but ``ids``: the plan has changed."""
        for id in [id for id in self._pending if id not in ids]:
            self._lose(self._pending[id])
            self._tried.discard(id)

    # --- when it is -------------------------------------------------------------------------------

    def needed(self, id: str) -> StepResult | Launch | None:
        """Its condition holds: the node's result, or its call that is under way; None when it is to be called."""
        guess = self._pending.get(id)
        if guess is None:
            return None
        if guess.scope is None:
            self._drop(guess)
            return None
        guess.known = anyio.current_time()
        if guess.result is not None:
            return self._used(guess, guess.result)
        guess.scope.deadline = float("inf")
        self._time()
        return guess.launch

    def vain(self, id: str, result: StepResult) -> StepResult:
        """Its condition does not hold, or its node is not run: ``result`` with what was wasted on it."""
        guess = self._pending.get(id)
        if guess is None:
            return result
        seconds = self._lose(guess)
        ahead = anyio.current_time() - guess.begun if guess.scope is not None else 0.0
        return result.model_copy(update={"ahead": ahead, "seconds": seconds}) if ahead else result

    # ----------------------------------------------------------------------------------------------

    def _used(self, guess: _Guess, result: StepResult) -> StepResult:
        assert guess.known is not None and guess.took is not None
        self._drop(guess)
        ahead = guess.known - guess.begun
        if result.replayed or not ahead:
            return result
        self._tell(guess, needed=True, seconds=min(ahead, guess.took))
        return result.model_copy(update={"ahead": ahead})

    def _lose(self, guess: _Guess) -> float:
        """Drop a guess that comes to nothing; returns the seconds that it took."""
        self._drop(guess)
        if guess.scope is None:
            return 0.0
        until = guess.known if guess.known is not None else anyio.current_time()
        seconds = min(until - guess.begun, guess.took if guess.took is not None else float("inf"))
        if guess.result is not None and guess.result.replayed:
            seconds = 0.0
        self._wasted += seconds
        guess.launch.drop()
        self._tell(guess, needed=False, seconds=seconds)
        self._time()
        return seconds

    def _drop(self, guess: _Guess) -> None:
        del self._pending[guess.launch.node.id]
        self._ready.remove(guess.launch)
        if guess.scope is None:
            # A worker may have it in its hands already.
            guess.launch.dropped = True

    def _running(self) -> list[_Guess]:
        return [
            guess
            for guess in self._pending.values()
            if guess.scope is not None and guess.took is None and guess.known is None
        ]

    def _at_risk(self) -> float:
        """Seconds wasted, and those that would be if no open guess were needed."""
        now = anyio.current_time()
        open_ = [guess for guess in self._pending.values() if guess.scope is not None and guess.known is None]
        return self._wasted + sum(now - guess.begun if guess.took is None else guess.took for guess in open_)

    def _time(self) -> None:
        """Have the guesses under way end when the budget does: together they use it up ``len`` times as fast."""
        running = self._running()
        left = max(0.0, self._ctx.limits.speculate - self._at_risk())
        for guess in running:
            assert guess.scope is not None
            guess.scope.deadline = anyio.current_time() + left / len(running)

    def _tell(self, guess: _Guess, *, needed: bool, seconds: float) -> None:
        node = guess.launch.node
        self._ctx.emit(
            Speculated(run=self._ctx.run, at=time.time(), path=node.id, tool=node.tool, needed=needed, seconds=seconds)
        )


def _repeatable(node: Node, spec: ToolSpec) -> bool:
    """True for a free read that gives the same again: making it once too often does no harm."""
    reads = spec.effect is Effect.READ and node.effect is Effect.READ
    return reads and spec.stability != "fresh" and not spec.cost and node.over is None


def _condition(node: Node) -> str:
    """The id that decides whether ``node`` runs, when it is wanted for nothing else; empty otherwise."""
    text = ref_in(node.when)
    head = parse_ref(text).head if text is not None else ""
    used = [parse_ref(each).head for each in refs(node.model_copy(update={"when": None}))]
    return "" if head in used or head in node.after else head
