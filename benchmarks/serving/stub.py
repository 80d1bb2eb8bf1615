"""A program in an engine's place: sends as many chunks as it is asked for, at a pace, and computes nothing.

Run as ``python -m shuntyard.benchmarks.serving.stub``; its first line on stdout is its port.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from .leash import hold

PACE = 0.005
"""Seconds between two tokens, about what a small model on a fast machine does."""
LARGEST = 64 * 1024 * 1024
_TAIL = {"created": 0, "id": "chatcmpl-stub", "model": "stub", "object": "chat.completion.chunk"}
_START = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def main() -> None:
    """Serve until killed, or left alone (``leash``)."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    sys.stdout.write(f"{listener.extra(SocketAttribute.local_port)}\n")
    sys.stdout.flush()
    await listener.serve(_answer)


async def _answer(stream: SocketStream) -> None:
    reader = BufferedByteReceiveStream(stream)
    try:
        async with stream:
            while True:
                head = (await reader.receive_until(b"\r\n\r\n", 65_536)).lower()
                size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                if head.startswith(b"get"):
                    listed = b'{"object":"list","data":[{"id":"stub","owned_by":"llamacpp"}]}'
                    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(listed), listed))
                    continue
                await _generate(stream, json.loads(await reader.receive_exactly(size)))
                if b"connection: close" in head:
                    return
    except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
        return


async def _generate(stream: SocketStream, asked: dict[str, Any]) -> None:
    count = int(asked.get("max_tokens", 64))
    await stream.send(_START)
    await _send(stream, [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}])
    for number in range(count):
        await _send(stream, [{"finish_reason": None, "index": 0, "delta": {"content": f" {number}"}}])
        if number + 1 < count:
            await anyio.sleep(PACE)
    await _send(stream, [{"finish_reason": "length", "index": 0, "delta": {}}])
    usage = {"prompt_tokens": 8, "completion_tokens": count, "total_tokens": 8 + count}
    await _send(stream, [], usage=usage)
    await stream.send(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def _send(stream: SocketStream, choices: list[dict[str, Any]], **more: Any) -> None:
    # In llama.cpp's order and without blanks, as its chunks come.
    text = json.dumps({"choices": choices, **_TAIL, **more}, separators=(",", ":"))
    data = b"data: " + text.encode() + b"\n\n"
    await stream.send(b"%x\r\n%b\r\n" % (len(data), data))


if __name__ == "__main__":
    hold()
    anyio.run(main)
