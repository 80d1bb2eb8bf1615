"""What the calls to one engine share in a process: its slots, what they know, saved states, equal calls.

A long prompt beginning that nothing knows yet is computed by itself and its state saved; the other calls that
begin so wait for it and restore it, on other slots, in other processes, and after a restart. The engine does not
share a prefix among slots by itself.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx

from ..errors import StateRefused
from ..messages import Completion
from .engine import BATCH, SLOTS
from .leases import Leases
from .prompt import Prompt
from .schedule.dispatch import GRACE, RETRY, Call, Order
from .schedule.once import Once
from .schedule.scheduler import Scheduler
from .schedule.states import SavedState, States
from .schedule.warmth import NEAR, WIDTH, WORTH, Warmth, shared
from .schedule.worth import Speeds, worth_keeping
from .supervise import Running

if TYPE_CHECKING:
    from .predict.watch import Watch

ANSWERS = 8 << 20
"""Bytes of answers that are kept for equal calls."""
SPAN = 1.5
"""Seconds that a short call should wait for a piece of a long prompt at most."""
_PREFIXES = 256


class Desk:
    """One per engine and process. ``keep`` is how many bytes of answers are kept for equal calls.

    Without ``states`` calls with one prefix still share it, one after the other on one slot.
    """

    def __init__(
        self,
        *,
        slots: int = SLOTS,
        states: States | None = None,
        leases: Leases | None = None,
        order: Order | None = None,
        keep: int = ANSWERS,
        grace: float = GRACE,
        piece: int = BATCH,
    ) -> None:
        """Believe nothing of the engine yet.

        ``piece`` is how many prompt tokens are read in one go at most, at best the engine's batch.
        """
        self.size = slots
        self._batch = piece
        self.watch: Watch | None = None
        """Learns from what calls take."""
        self.states = states
        self.speeds = Speeds()
        """What reading, saving and restoring take here; learned from what they took."""
        self._leases = leases
        self._collecting = anyio.Lock()
        if leases is None:
            self.warmth = Warmth(slots, saved=self._saved)
        else:
            self.warmth = Warmth(slots, saved=self._saved, take=leases.take, give=leases.give)
        self.scheduler = Scheduler(slots, order=order, placement=self.warmth, grace=grace)
        self.once: Once[Completion] = Once(_weight, most=keep)
        self._prefixes: OrderedDict[str, int] = OrderedDict()
        self._engine: tuple[int, float] | None = None
        self._entering: set[anyio.Event] = set()

    @property
    def piece(self) -> int:
        """Prompt tokens that are read in one go: a batch, or half of one where that takes longer than ``SPAN``.

        The engine finishes one prompt before it looks at the next, so a long one is handed over in pieces, and a short
        call in between waits for one of them only. As "SARATHI: Efficient LLM Inference by Piggybacking Decodes with
        Chunked Prefills", by the time that a piece takes here.
        """
        return self._batch if self._batch * self.speeds.token <= SPAN else max(1, self._batch // 2)

    def prefix(self, key: str) -> int | None:
        """Return the tokens of the messages ``key``, when they are known."""
        return self._prefixes.get(key)

    def note_prefix(self, key: str, tokens: int) -> None:
        """Remember how many tokens the messages ``key`` are."""
        self._prefixes[key] = tokens
        if len(self._prefixes) > _PREFIXES:
            self._prefixes.popitem(last=False)

    def knows(self, slot: int) -> bool:
        """Whether what is believed of ``slot`` is all that it may be good for.

        It is not on a slot that was not used from here yet, and whose prompt no saved state would give back.
        """
        return self.states is not None or bool(self.warmth.held(slot))

    async def prepare(
        self,
        client: httpx.AsyncClient,
        engine: Running,
        slot: int,
        prompt: Prompt,
        *,
        read: Callable[[int, int], Awaitable[None]],
    ) -> int:
        """Make ``slot`` know as much of ``prompt`` as can be had, and return how many tokens that is.

        ``read`` has the slot compute the prompt's tokens up to the second number; those up to the first are known.
        """
        if self._engine != (engine.engine_pid, engine.started):
            self._engine = engine.engine_pid, engine.started
            self.warmth.reset()
        tokens, prefix = prompt.tokens, prompt.prefix
        known = shared(self.warmth.held(slot), tokens)
        state, saved = self.states.best(tokens) if self.states is not None else (None, 0)
        if state is not None and saved - known >= NEAR and self._restores(state, saved - known):
            known = saved if await self._restore(client, slot, state) else 0
        self.warmth.note(slot, tokens[: known * WIDTH])
        if self.states is None or prefix - known < WORTH or not self._pays(prefix):
            return known
        # Siblings come while this is being read, so its last piece goes as far as they have their prompts in common.
        near = prefix - (prefix - known - 1) % self.piece - 1
        if near > known:
            await read(known, near)
        prefix = min(self.apart(tokens, prefix), prompt.count - 1)
        await read(near, prefix)
        self.warmth.note(slot, tokens[: prefix * WIDTH])
        await self._save(client, slot, tokens[: prefix * WIDTH])
        self.scheduler.poke()
        return prefix

    def apart(self, tokens: bytes, prefix: int) -> int:
        """Return where the first of the waiting calls that share ``prefix`` leaves ``tokens``: so far one is enough."""
        ends = (shared(call.tokens, tokens) for call in self.scheduler.queued)
        return min((end for end in ends if end >= prefix), default=prefix)

    @contextmanager
    def entering(self) -> Iterator[Callable[[], None]]:
        """Around a generation: ``let_in`` waits for it until what this yields is called, at its first token."""
        begun = anyio.Event()
        self._entering.add(begun)

        def begins() -> None:
            self._entering.discard(begun)
            begun.set()

        try:
            yield begins
        finally:
            begins()

    async def let_in(self) -> None:
        """Wait before another piece of a long prompt until those that enter now have begun, at most ``SPAN`` seconds.

        A piece that reaches the engine with them fills the pass that they came for.
        """
        with anyio.move_on_after(SPAN):
            for begun in tuple(self._entering):
                await begun.wait()

    @asynccontextmanager
    async def slots(self, call: Call, count: int) -> AsyncIterator[list[int]]:
        """Hold ``count`` slots, the one that knows most of the prompt first, once ``call`` gets them."""
        if count == 1:
            async with self.scheduler.slot(call) as slot:
                yield [slot]
            return
        async with AsyncExitStack() as stack:
            async with self._alone():
                # The others are for copies: to share a prompt with them would be to wait for oneself.
                calls = [call, *(replace(call, tokens=b"", follows=False) for _ in range(count - 1))]
                held = [await stack.enter_async_context(self.scheduler.slot(item)) for item in calls]
            yield held
            for slot in held[1:]:
                self.warmth.note(slot, b"")

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Hold slots while waiting for more: one at a time, here and elsewhere, or two would wait for each other."""
        async with self._collecting:
            while True:
                if self._leases is None or self._leases.take_several():
                    break
                await anyio.sleep(RETRY)
            try:
                yield
            finally:
                if self._leases is not None:
                    self._leases.give_several()

    async def finished(self, client: httpx.AsyncClient, slot: int, tokens: bytes) -> None:
        """Note that ``slot`` knows ``tokens``; its state is saved when somebody waits for it."""
        self.warmth.note(slot, tokens)
        pays = self._pays(len(tokens) // WIDTH)
        if self.states is not None and pays and self.warmth.awaited(slot, self.scheduler.queued):
            await self._save(client, slot, tokens)

    async def put_off(self, client: httpx.AsyncClient, slot: int, tokens: bytes) -> None:
        """Note that ``slot`` knows ``tokens``, and save their state where that pays: the call will go on elsewhere."""
        self.warmth.note(slot, tokens)
        if self.states is not None and len(tokens) >= WORTH * WIDTH and self._pays(len(tokens) // WIDTH):
            await self._save(client, slot, tokens)

    async def carry(self, client: httpx.AsyncClient, slot: int, tokens: bytes) -> None:
        """As ``put_off``, for a call that leaves for another engine: what that costs was weighed before."""
        self.warmth.note(slot, tokens)
        if self.states is not None and len(tokens) >= NEAR * WIDTH:
            await self._save(client, slot, tokens)

    def _pays(self, count: int) -> bool:
        """Whether the state of ``count`` tokens is worth a file, which is used once at least."""
        found = worth_keeping(count, self.speeds).pays()
        if not found:
            self.speeds.declined()
        return found

    def _restores(self, state: SavedState, count: int) -> bool:
        """Whether ``count`` tokens are sooner restored than computed."""
        found = state.size * self.speeds.restore < count * self.speeds.token
        if not found:
            self.speeds.declined()
        return found

    def _saved(self, tokens: bytes) -> int:
        return self.states.best(tokens)[1] if self.states is not None else 0

    async def _save(self, client: httpx.AsyncClient, slot: int, tokens: bytes) -> None:
        assert self.states is not None
        name = self.states.new_name()
        began = time.monotonic()
        try:
            answer = await client.post(f"/slots/{slot}", params={"action": "save"}, json={"filename": name})
        except httpx.TransportError:
            # The generation that follows says it better.
            return
        if answer.status_code == 200:
            count = int(answer.json()["n_saved"])
            gain = worth_keeping(count, self.speeds).gain
            kept = await anyio.to_thread.run_sync(partial(self.states.keep, name, tokens, count, gain=gain))
            if kept is not None:
                self.speeds.saved(count, kept.size, time.monotonic() - began)
        else:
            self.states.refuse(f"the engine does not save the state of a prompt: {answer.text[:200]}")

    async def _restore(self, client: httpx.AsyncClient, slot: int, state: SavedState) -> bool:
        assert self.states is not None
        began = time.monotonic()
        try:
            await anyio.to_thread.run_sync(partial(self.states.check, state))
            answer = await client.post(f"/slots/{slot}", params={"action": "restore"}, json={"filename": state.name})
        except StateRefused as error:
            self.states.refuse(error.message)
            return False
        except httpx.TransportError:
            return False
        if answer.status_code == 200 and int(answer.json()["n_restored"]) == state.count:
            self.speeds.restored(state.size, time.monotonic() - began)
            return True
        self.states.refuse(f"the engine refuses the saved state {state.name!r}: {answer.text[:200]}; it is removed.")
        self.states.drop(state)
        return False


def _weight(answer: Completion) -> int:
    """Bytes, roughly."""
    return 500 + len(answer.text) + sum(100 + 50 * len(item.top) for item in answer.logprobs)
