"""Several engines of one model as one model: requests go where there is most room, and move while they run.

"Llumnix: Dynamic Scheduling for Large Language Model Serving" on slots: an answer stops between two tokens, its state
is saved by one engine and restored by another, and it goes on there with the tokens so far. With roles it is also
"Splitwise: Efficient Generative LLM Inference Using Phase Splitting": one engine reads, another writes.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import anyio

from ...errors import ModelUnavailable, StateRefused, UsageError
from ...events import Progress
from ...messages import Completion, ModelInfo, ModelRequest
from ...protocols import Emit
from ..answer import Answer
from ..desk import Desk
from ..local import LocalModel
from ..prompt import Prompt, call_of
from ..schedule.dispatch import Call
from ..supervise import Running
from .member import Leaving, Member, Part, Traveller
from .policy import Held, Load, dispatch, is_urgent, migration
from .roles import weigh

REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Options:
    """What a fleet may do."""

    migrate: bool = True
    """Answers may move while they are written."""
    urgent: float = 0.0
    """How much critical path a call has to come at least to be urgent (``Place.priority``); 0: none is."""
    long: Literal["", "segments", "pages"] = ""
    """How prompts beyond the context are read."""


@dataclass(frozen=True, slots=True)
class Journey:
    """A request that two or more instances worked on."""

    instances: tuple[int, ...]
    parts: tuple[Part, ...]
    """What each of them took over and computed."""


@dataclass(slots=True, eq=False)
class _Job:
    id: int
    call: Call
    request: ModelRequest
    prompt: Prompt
    answer: Traveller
    at: int
    to: int | None = None
    """Where it is going."""
    scope: anyio.CancelScope | None = None
    """Of its stay on an instance; None between two."""
    been: list[int] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    """Instances that have failed it."""
    stays: bool = False
    """A move of it has failed; it is not tried again."""


class Fleet(LocalModel):
    """``members`` as one model. Only greedy answers without a grammar move once they have begun: the rest of those
    follows from their tokens alone, so the text is the same with and without (but for rare ties, as everywhere).

    A state that cannot be saved leaves its answer where it is; one that cannot be restored is computed again. When
    an engine dies its answers go on at another one. What other processes run on the same engines is not seen.
    """

    def __init__(
        self,
        info: ModelInfo,
        members: Sequence[Member],
        *,
        emit: Emit | None = None,
        reuse: bool = True,
        options: Options | None = None,
    ) -> None:
        """Start nothing; ``reuse`` lets equal deterministic calls share an answer.

        Raises UsageError without members, StateRefused when one could not read another's states.
        """
        if not members:
            raise UsageError(f"a fleet of {list(members)!r} answers nobody; give it at least one instance.")
        _same_states(members)
        options = options or Options()
        super().__init__(info, _first_of(members), emit=emit, desk=Desk(slots=1), reuse=reuse, long=options.long)
        self.members = tuple(members)
        self.journeys: deque[Journey] = deque(maxlen=REMEMBERED)
        self.moves = 0
        """How often answers went from one instance to another, since it began."""
        self.deaths = 0
        """How often an engine failed an answer that went on elsewhere, or not."""
        self._migrate = options.migrate and all(member.desk.states is not None for member in members)
        self._urgent = options.urgent
        self._jobs: dict[int, _Job] = {}
        self._ids = itertools.count()

    def loads(self) -> list[Load]:
        """What every instance holds; a request on its way counts where it goes."""
        held: list[list[Held]] = [[] for _ in self.members]
        for job in self._jobs.values():
            here = job.to is None
            held[job.at if job.to is None else job.to].append(
                Held(
                    id=job.id,
                    tokens=job.prompt.count + len(job.answer.tokens),
                    running=not (here and job.answer.waiting),
                    urgent=is_urgent(job.call.priority, self._urgent),
                    movable=here and not job.stays and (job.answer.waiting or job.answer.movable),
                )
            )
        return [
            Load(member.slots, self._info.context, tuple(items), member.role)
            for member, items in zip(self.members, held, strict=True)
        ]

    @contextmanager
    def holding(self, call: Call, prompt: Prompt, *, without: Collection[int] = ()) -> Iterator[_Job]:
        """Count a call that is answered elsewhere and does not move, on the instance that is freest with it (``at``).

        It counts as one that waits until its ``answer.waiting`` is False. Instances in ``without`` do not get it.
        """
        item = Held(-1, prompt.count, urgent=is_urgent(call.priority, self._urgent))
        known = [member.known(prompt.tokens) for member in self.members]
        open_to = [load for at, load in enumerate(self.loads()) if at not in without]
        places = [at for at in range(len(self.members)) if at not in without]
        at = places[dispatch(open_to, item, known=[known[at] for at in places], roles=("mixed", "decode"))]
        answer = Traveller(Answer(0.0, None), most=0, movable=False)
        job = _Job(next(self._ids), call, ModelRequest(messages=()), prompt, answer, at, stays=True)
        self._jobs[job.id] = job
        self._balance()
        try:
            yield job
        finally:
            del self._jobs[job.id]
            self._balance()

    async def _computed(self, request: ModelRequest, prompt: Prompt, answer: Answer) -> Completion:
        free = request.temperature == 0 and request.grammar is None and request.json_schema is None
        return await super()._computed(request, prompt, Traveller(answer, most=request.max_tokens, movable=free))

    async def _queued(self, request: ModelRequest, prompt: Prompt, answer: Answer) -> None:
        """Run on one instance after the other until the answer is whole."""
        assert isinstance(answer, Traveller)
        job = self._admit(request, prompt, answer)
        answer.looked = self._balance
        try:
            self._balance()
            while not await self._stay(job):
                pass
        finally:
            del self._jobs[job.id]
            for tokens in answer.carried:
                self.members[job.at].forget(tokens)
            self._balance()
        if len(job.been) > 1:
            # The last part is noted when the answer is put together.
            timings = (answer.last or {}).get("timings", {})
            last = Part(int(timings.get("cache_n", 0)), int(timings.get("prompt_n", 0)))
            self._tell(job, last)

    def _admit(self, request: ModelRequest, prompt: Prompt, answer: Traveller) -> _Job:
        call = call_of(request.place, prompt)
        item = Held(-1, prompt.count, urgent=is_urgent(call.priority, self._urgent))
        known = [member.known(prompt.tokens) for member in self.members]
        at = dispatch(self.loads(), item, known=known, roles=("mixed", "decode"))
        job = _Job(next(self._ids), call, request, prompt, answer, at)
        reader = self._reader(prompt, at)
        if reader is not None:
            answer.only_read = True
            job.at, job.to = reader, at
        self._jobs[job.id] = job
        return job

    def _reader(self, prompt: Prompt, at: int) -> int | None:
        """The instance that shall read the prompt for ``at``; None where that does not pay."""
        readers = [n for n, member in enumerate(self.members) if member.role == "prefill"]
        states = self.members[at].desk.states
        if not readers or self.members[at].role != "decode" or states is None:
            return None
        ahead = dict.fromkeys(readers, 0)
        for job in self._jobs.values():
            if job.answer.only_read:
                ahead[job.at] += job.prompt.count
        reader = min(readers, key=lambda n: (ahead[n], n))
        new = prompt.count - max(self.members[at].known(prompt.tokens), states.best(prompt.tokens)[1])
        weighed = weigh(
            new,
            here=self.members[at].costs,
            there=self.members[reader].costs,
            running=sum(item.running for item in self.loads()[at].held),
            ahead=ahead[reader],
        )
        return reader if weighed.pays else None

    async def _stay(self, job: _Job) -> bool:
        """Work on ``job`` where it is; False when it goes on elsewhere."""
        member, answer = self.members[job.at], job.answer
        job.been.append(job.at)
        with anyio.CancelScope() as scope:
            job.scope = scope
            try:
                await member.serve(job.call, job.request, job.prompt, answer)
                return True
            except Leaving as left:
                if left.kept and job.to is not None:
                    job.at = job.to
                else:
                    # The slot that it was on is the one that knows it.
                    job.stays = True
            except ModelUnavailable:
                job.lost.add(job.at)
                self.deaths += 1
                others = [n for n in range(len(self.members)) if n not in job.lost]
                if not others or not answer.resumable:
                    raise
                answer.left({})
                loads = self.loads()
                job.at = max(others, key=lambda n: loads[n].freedom)
            job.to = job.scope = None
            job.call = replace(job.call)
            return False
        # Withdrawn from a queue: nothing of it was computed there.
        job.been.pop()
        answer.waiting = True
        job.at, job.to, job.scope = job.at if job.to is None else job.to, None, None
        job.call = replace(job.call)
        return False

    def send(self, target: int) -> int:
        """Send every request that can move to instance ``target``, so that others can be stopped; return how many."""
        going = [item.id for at, load in enumerate(self.loads()) if at != target for item in load.held if item.movable]
        for number in going:
            self._depart(self._jobs[number], target)
        return len(going)

    def _balance(self) -> None:
        """Send requests off until no move narrows the gap."""
        while self._migrate and (move := migration(self.loads())) is not None:
            self._depart(self._jobs[move.id], move.target)

    def _depart(self, job: _Job, target: int) -> None:
        if job.scope is None:
            job.at = target
            return
        job.to = target
        if job.answer.waiting:
            job.scope.cancel()
        else:
            job.answer.leave = True

    def _tell(self, job: _Job, last: Part) -> None:
        journey = Journey(tuple(job.been), (*job.answer.parts, last))
        self.moves += len(job.been) - 1
        self.journeys.append(journey)
        if self._emit is not None:
            way = " to ".join(str(n) for n in journey.instances)
            what = f"{self._info.name} went from engine {way}, {last.known} tokens taken over, {last.computed} computed"
            self._emit(Progress(run="", at=time.time(), what=what))


def _first_of(members: Sequence[Member]) -> Callable[[bool], Awaitable[Running]]:
    """Return what finds an engine that reads templates and tokens: the first that can be had."""

    async def connect(distrust: bool) -> Running:
        failure: ModelUnavailable | None = None
        for member in members:
            try:
                return await member._connect(distrust)
            except ModelUnavailable as error:
                failure = failure or error
        assert failure is not None
        raise failure

    return connect


def _same_states(members: Sequence[Member]) -> None:
    """Raise StateRefused for instances that could not read one another's states."""
    found = [member.desk.states for member in members]
    for index, states in enumerate(found):
        if states is not None and found[0] is not None and states.identity != found[0].identity:
            raise StateRefused(
                f"instance {index} computes {states.identity!r} and instance 0 {found[0].identity!r}: neither can go "
                "on with the other's answers; give all of a fleet one model file, engine version and KV type."
            )
