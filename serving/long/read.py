"""Answer a request whose prompt does not fit, over anything that answers one that does.

``segments`` reads all of it: an answer per segment, then one from those answers. ``pages`` reads a constant number of
tokens whatever the length, as "LServe: Efficient Long-sequence LLM Serving with Unified Sparse Attention" does inside
the attention; here it is done with whole pages of the prompt, chosen by words, which is a stand-in for it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, runtime_checkable

import anyio
import anyio.abc

from ...errors import ContextTooLong
from ...messages import Completion, Message, ModelRequest, Usage
from ...protocols import Model
from .cut import pages, segments, words
from .score import by_words

RESERVE = 64
"""Tokens kept free: two texts together may be a few tokens more than each."""
LEAST = 64
"""Room for text below which nothing sensible can be read."""
NOTHING = "NONE"
ROUNDS = 8
"""Rounds of combining answers after which a model is not going to make them shorter."""


@runtime_checkable
class Tokenised(Protocol):
    """A model that tells the texts of its tokens."""

    async def pieces(self, text: str) -> list[str]:
        """Return ``text`` as the texts of its tokens; joined they are ``text``."""


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes, in tokens."""

    budget: int = 1024
    """What ``pages`` reads of the text, whatever its length."""
    page: int = 64
    sink: int = 1
    """First pages that are always read."""
    recent: int = 2
    """Last pages that are always read."""
    overlap: int = 48
    """What a segment repeats of the one before."""
    head: int = 48
    """Of the beginning and the end of the long message, which every segment is read with: one has the question."""
    tail: int = 96
    note: int = 96
    """Answer to one segment."""
    at_once: int = 3
    """Segments that are read at once."""


@dataclass(frozen=True, slots=True)
class _Long:
    """The long text of a request, and the messages around it."""

    role: Literal["system", "user", "assistant"]
    before: tuple[Message, ...]
    lead: str
    text: str
    after: tuple[Message, ...]
    question: str
    """Empty: it stands in the text itself."""

    def around(self, text: str) -> tuple[Message, ...]:
        """The messages with ``text`` in place of the long one."""
        return (*self.before, Message(role=self.role, content=self.lead + text), *self.after)


async def read_long(
    model: Model,
    request: ModelRequest,
    *,
    options: Options | None = None,
    on_text: Callable[[str], None] | None = None,
    on_read: Callable[[str], None] = lambda how: None,
) -> Completion:
    """Answer ``request`` as its ``long`` says. Usage is that of all calls together.

    ``on_read`` is told how it was read before any text of the answer comes.

    Raises ContextTooLong when what stands around the long text leaves no room for it.
    """
    begin = time.monotonic()
    reader = _Reader(model, request, options or Options(), on_read)
    policy = reader.by_pages if request.long == "pages" else reader.by_segments
    answer = await policy(on_text)
    return answer.model_copy(update={"usage": reader.usage, "read": reader.how, "seconds": time.monotonic() - begin})


class _Reader:
    def __init__(self, model: Model, request: ModelRequest, options: Options, on_read: Callable[[str], None]) -> None:
        self._model = model
        self._request = request
        self._options = options
        self._long = _long_of(request.messages)
        self.usage = Usage()
        self.how = ""
        self._on_read = on_read

    async def by_segments(self, on_text: Callable[[str], None] | None) -> Completion:
        """An answer per segment, then one from the answers; the answers may take several rounds themselves."""
        options, long = self._options, self._long
        pieces = await self._pieces(long.text)
        head, tail = "", ""
        if not long.question:
            head, tail = "".join(pieces[: options.head]), "".join(pieces[-options.tail :])
            # What lies across the ends of these is whole in the first and the last segment.
            ends = max(0, options.head - options.overlap), len(pieces) - options.tail + options.overlap
            pieces = pieces[ends[0] : ends[1]]
        note = min(options.note, self._request.max_tokens)
        rounds: list[int] = []
        room = await self._room(self._segment(head, tail, "", 1000, 1000), max(note, self._request.max_tokens))
        while True:
            parts = segments(pieces, self._size(room, pieces), overlap=min(options.overlap, room // 4))
            rounds.append(len(parts))
            notes = await self._notes(parts, head, tail, note)
            text = "\n".join(notes) or "(No part of the text answers it.)"
            pieces = await self._pieces(text)
            if len(pieces) <= self._size(room, pieces) or len(rounds) > ROUNDS:
                break
        self._tell(
            f"in segments: {rounds[0]} of at most {room} tokens, {options.overlap} of each in the next; answered from "
            f"the answers to them" + (f", in {len(rounds)} rounds" if len(rounds) > 1 else "")
        )
        asked = f"{head}\n[What the parts of the long text in between say]\n{text}\n[End]\n{tail}"
        return await self._ask(long.around(asked), on_text=on_text)

    async def by_pages(self, on_text: Callable[[str], None] | None) -> Completion:
        """The first page, the last ones, and those that have most to do with the question."""
        options, long = self._options, self._long
        room = await self._room(long.around(""), self._request.max_tokens)
        pieces = await self._pieces(long.text)
        budget = min(options.budget, room)
        size = self._size(options.page, pieces)
        texts = ["".join(pieces[at : at + size]) for at in range(0, len(pieces), size)]
        # A gap's mark takes tokens, too.
        most = max(1, budget // (options.page + 4))
        question = long.question or "".join([*pieces[: options.head], *pieces[-options.tail :]])
        chosen = pages(by_words(question, texts), most=most, sink=options.sink, recent=options.recent)
        shown = ""
        for last, at in zip([-1, *chosen], chosen, strict=False):
            shown += (" […] " if at != last + 1 else "") + texts[at]
        self._tell(f"in pages: {len(chosen)} of {len(texts)} with {options.page} tokens each; the others were not read")
        return await self._ask(long.around(shown), on_text=on_text)

    def _tell(self, how: str) -> None:
        self.how = how
        self._on_read(how)

    def _segment(self, head: str, tail: str, part: str, number: int, count: int) -> tuple[Message, ...]:
        return self._long.around(
            f"{head}\n[Part {number} of {count} of a long text]\n{part}\n[End of the part]\n{tail}\n"
            f"Answer from this part alone. When it says nothing on it, answer {NOTHING}."
        )

    async def _notes(self, parts: Sequence[str], head: str, tail: str, note: int) -> list[str]:
        found: dict[int, str] = {}
        plain = {"max_tokens": note, "grammar": None, "json_schema": None, "logprobs": 0}

        async def ask(at: int) -> None:
            said = self._segment(head, tail, parts[at], at + 1, len(parts))
            found[at] = (await self._ask(said, update=plain)).text.strip()

        await _together([partial(ask, at) for at in range(len(parts))], self._options.at_once)
        return [f"Part {at + 1}: {found[at]}" for at in sorted(found) if _says(found[at])]

    async def _ask(
        self,
        said: tuple[Message, ...],
        *,
        update: Mapping[str, object] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        request = self._request.model_copy(update={"messages": said, "long": "no", **(update or {})})
        answer = await self._model.complete(request, on_text=on_text)
        self.usage += answer.usage
        return answer

    async def _pieces(self, text: str) -> list[str]:
        return await self._model.pieces(text) if isinstance(self._model, Tokenised) else words(text)

    def _size(self, tokens: int, pieces: Sequence[str]) -> int:
        """How many of ``pieces`` are ``tokens``; words of unknown tokens are counted by three bytes a token."""
        if isinstance(self._model, Tokenised):
            return tokens
        bytes_each = sum(len(piece.encode()) for piece in pieces) / max(1, len(pieces))
        return max(1, int(tokens * 3 / max(3.0, bytes_each)))

    async def _room(self, said: tuple[Message, ...], answer: int) -> int:
        info = self._model.info
        around = await self._model.count(said)
        room = info.context - around - answer - RESERVE
        if room < LEAST:
            raise ContextTooLong(
                f"{around} tokens around the long text and max_tokens={answer} leave {max(0, room)} tokens of the "
                f"context of {info.name!r} ({info.context}) for it; shorten them, or choose a model with more context.",
                ids={"model": info.name},
            )
        return room


def _long_of(messages: Sequence[Message]) -> _Long:
    """The longest message; or a whole conversation, where no message is longer than the others together."""
    at = max(range(len(messages)), key=lambda n: len(messages[n].content))
    rest = sum(len(message.content) for n, message in enumerate(messages) if n != at)
    first = 1 if messages[0].role == "system" else 0
    if len(messages) - first >= 3 and len(messages[at].content) < rest:
        told = "\n".join(f"{message.role}: {message.content}" for message in messages[first:-1])
        last = messages[-1]
        return _Long("user", tuple(messages[:first]), "[The conversation so far]\n", told, (last,), last.content)
    question = "\n".join(message.content for message in messages[at + 1 :] if message.role == "user")
    return _Long(messages[at].role, tuple(messages[:at]), "", messages[at].content, tuple(messages[at + 1 :]), question)


def _says(note: str) -> bool:
    return bool(note) and note.strip(" .\"'").upper() != NOTHING


async def _together(work: Sequence[Callable[[], Awaitable[None]]], at_once: int) -> None:
    """Run ``work``, at most ``at_once`` of it at a time; the first failure ends the others."""
    limit = anyio.CapacityLimiter(at_once)
    failure: Exception | None = None

    async def one(group: anyio.abc.TaskGroup, piece: Callable[[], Awaitable[None]]) -> None:
        nonlocal failure
        try:
            async with limit:
                await piece()
        except Exception as error:
            # Kept out of the task group, which would wrap it.
            failure = failure or error
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for piece in work:
            group.start_soon(one, group, piece)
    if failure is not None:
        raise failure
