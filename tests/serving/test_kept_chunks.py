"""Answers that are kept for equal requests take the memory that they are counted with."""

import json
import tracemalloc

from shuntyard.serving.engines import Chunk

HEAD = {"object": "chat.completion.chunk", "model": "m", "id": "chatcmpl-1"}


def chunks(number: int) -> list[Chunk]:
    """Of an answer of one token, all of it read."""
    usage = {"prompt_tokens": number, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 3}}
    rows = [
        {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}]},
        {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
        {**HEAD, "choices": [], "usage": usage},
    ]
    found = [Chunk(json.dumps(row).encode()) for row in rows[:2]] + [Chunk.of(rows[2]), Chunk.said(b"7")]
    assert all(chunk.value for chunk in found)
    return found


def test_an_unread_chunk_says_the_same() -> None:
    for chunk in chunks(5):
        assert chunk.unread().value == chunk.value
        assert chunk.unread().plain == chunk.plain


def test_unread_chunks_take_about_what_they_count_as() -> None:
    tracemalloc.start()
    try:
        kept = [[chunk.unread() for chunk in chunks(number)] for number in range(500)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counted = sum(len(chunk) for answer in kept for chunk in answer)
    assert counted / 1.5 < size < counted * 1.5
