"""Pieces that come quickly are taken together: fewer wakes, the same bytes, and none waits long."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_engine import events, served
from raw_engine import HEAD, RawEngine, chunk, paced, playing, said, text_of

from shuntyard.serving import coalesce
from shuntyard.serving.coalesce import LEARNING, MOST, Coalescer
from shuntyard.serving.wire import Wire, Wires

CHAT = "/v1/chat/completions"
ASKED = {"model": "raw", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
QUICK = 0.002
INTERVAL = 0.02


class Marks:
    """A connection that notes its marks, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.noted: list[int] = []
        self.now = 100.0

    def get_extra_info(self, name: str) -> Any:
        assert name == "socket"
        return self

    def is_closing(self) -> bool:
        return False

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        self.noted.append(value)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> Marks:
    made = Marks()
    monkeypatch.setattr(coalesce, "time", made)
    return made


def play(marks: Marks, gaps: list[float], size: int = 200) -> Coalescer:
    async def main() -> Coalescer:
        made = Coalescer(marks, INTERVAL)  # type: ignore[arg-type]
        due, since = marks.now, marks.now
        pending = 0
        for gap in gaps:
            due += gap
            pending += size
            if pending >= made.mark or due - since > 2 * INTERVAL:
                marks.now = since = due
                made.came(pending)
                pending = 0
        made.stop()
        return made

    return asyncio.run(main())


def test_the_mark_follows_the_pace(marks: Marks) -> None:
    made = play(marks, [0.005] * 100)
    assert made.mark == 700, "four pieces a wake, less half a piece"
    assert marks.noted == [700]


def test_pieces_that_come_slowly_come_one_by_one(marks: Marks) -> None:
    assert play(marks, [0.011] * 100).mark == 1 and marks.noted == []


def test_the_first_pieces_come_one_by_one(marks: Marks) -> None:
    play(marks, [0.001] * LEARNING)
    assert marks.noted == []


def test_a_pace_that_falls_lowers_the_mark(marks: Marks) -> None:
    made = play(marks, [0.002] * 60 + [0.03] * 60)
    assert max(marks.noted) > 1500 and made.mark == 1


def test_what_jitters_is_not_set_again_and_again(marks: Marks) -> None:
    play(marks, [0.004, 0.006] * 100)
    assert 1 <= len(marks.noted) <= 8, "of two hundred pieces"


def test_a_mark_is_bounded(marks: Marks) -> None:
    assert play(marks, [0.0001] * 2000, size=1000).mark == MOST


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of everything that woke a connection."""
    sizes: list[int] = []
    came = Wire.data_received

    def noted(self: Wire, data: bytes) -> None:
        sizes.append(len(data))
        came(self, data)

    monkeypatch.setattr(Wire, "data_received", noted)
    return sizes


NUMBERS = [f"{number} " for number in range(100)]


@pytest.mark.parametrize(("interval", "together"), [(0.02, True), (0.0, False)])
def test_a_reader_is_woken_for_several(monkeypatch: pytest.MonkeyPatch, interval: float, together: bool) -> None:
    sizes = counted(monkeypatch)
    with (
        playing(RawEngine(paced(NUMBERS, QUICK))) as engine,
        served(engine.settings(stream_interval=interval)) as client,
    ):
        found = events(client.post(CHAT, json=ASKED))
    assert text_of(found) == "".join(NUMBERS)
    assert (len(sizes) < 50) is together


def test_other_engines_connections_are_kept_and_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    ask = Wire.ask

    def noted(self: Wire, data: bytes, *, interval: float = 0.0) -> None:
        asked.append(data)
        assert not interval
        ask(self, data, interval=interval)

    monkeypatch.setattr(Wire, "ask", noted)
    with playing(RawEngine(paced(NUMBERS[:5]), owner="vllm")) as engine, served(engine.settings()) as client:
        assert text_of(events(client.post(CHAT, json=ASKED))) == "0 1 2 3 4 "
    assert len(asked) == 1 and b"Connection: close" not in asked[0]


def streamed(script: Callable[[socket.socket, dict[str, Any]], None], interval: float) -> Iterator[bytes]:
    """What a connection yields, as it comes."""
    with playing(RawEngine(script)) as engine, asyncio.Runner() as runner:
        wires = Wires()
        wire = runner.run(wires.post(engine.url, CHAT, b"{}", interval=interval))
        while piece := runner.run(asyncio.wait_for(wire.read(), 10)):
            yield piece
        wire.abort()


def test_the_end_of_an_answer_waits_for_nothing() -> None:
    # Half a minute is far beyond what the test waits for.
    assert b"".join(streamed(paced(NUMBERS[:60], QUICK), 30.0)).count(b"data: ") == 64


def test_what_waits_is_taken_when_the_engine_falls_silent() -> None:
    seen = threading.Event()

    def script(near: socket.socket, asked: dict[str, Any]) -> None:
        near.sendall(HEAD)
        for number in range(11):
            near.sendall(chunk(said(f"{number} ")))
            time.sleep(QUICK)
        # The rest comes only once the reader has had all of this.
        assert seen.wait(8.0)
        near.sendall(chunk(said("end")) + b"0\r\n\r\n")
        near.shutdown(socket.SHUT_RDWR)

    found = b""
    for piece in streamed(script, 0.05):
        found += piece
        if b'"10 "' in found:
            seen.set()
    assert seen.is_set() and b'"end"' in found


def test_a_system_that_knows_no_mark_wakes_for_every_piece(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Marks, level: int, option: int, value: int) -> None:
        raise OSError("not here")

    monkeypatch.setattr(Marks, "setsockopt", refused)
    assert play(marks, [0.005] * 100).mark == 1
