import io
import time
from contextlib import closing

from rich.console import Console

from shuntyard.agents.board import Board, short
from shuntyard.agents.live import LiveSink, QuietConsole
from shuntyard.agents.sinks import JsonlSink, PlainSink, progress_sink
from shuntyard.events import (
    ApprovalAsked,
    Event,
    NodePlanned,
    Planned,
    Progress,
    Repaired,
    RunDone,
    RunStarted,
    StepDone,
    StepStarted,
    TextDelta,
    read_event,
)
from shuntyard.messages import Usage
from shuntyard.steps import Failure, Node, Plan

FIRST = Node(id="n1", tool="read_text", args={"path": "a.txt"})
SECOND = Node(id="n2", tool="count", args={"text": {"$ref": "n1"}, "how": {"$text": ["at most ", {"$ref": "n1.x"}]}})
USAGE = Usage(prompt=9, completion=1)
PLAN = Plan(task="count it", nodes=(FIRST, SECOND))


def a_run() -> list[Event]:
    at = {"run": "r1", "at": 1.0}
    return [
        RunStarted(**at, task="count it"),
        StepStarted(**at, path="compile", name="compile", kind="model"),
        Progress(**at, what="reading the prompt", done=100, total=400),
        TextDelta(**at, role="compile", text="1. read_text("),
        NodePlanned(**at, node=FIRST),
        StepStarted(**at, path="n1", name="read_text", kind="tool"),
        StepDone(
            **at, path="compile", name="compile", kind="model", status="done", usage=Usage(prompt=9, completion=1)
        ),
        Planned(**at, plan=PLAN),
        StepDone(**at, path="n1", name="read_text", kind="tool", status="done", seconds=0.5, summary="12 lines"),
        StepStarted(**at, path="n2", name="count", kind="tool"),
        StepDone(
            **at,
            path="n2",
            name="count",
            kind="tool",
            status="failed",
            failure=Failure(code="tool_error", message="no\x1b[2Jsuch thing"),
        ),
        RunDone(**at, status="failed", seconds=2.0, usage=USAGE),
    ]


def test_jsonl_lines_read_back_as_the_same_events() -> None:
    stream = io.StringIO()
    sink = JsonlSink(stream)
    for event in a_run():
        sink(event)
    sink.close()
    assert [read_event(line) for line in stream.getvalue().splitlines()] == a_run()


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_no_sink_raises_when_its_stream_is_gone() -> None:
    for sink in (JsonlSink(Gone()), PlainSink(Gone()), LiveSink(QuietConsole(file=Gone(), force_terminal=True))):
        with closing(sink):
            for event in a_run():
                sink(event)


def test_plain_lines_name_what_happened_without_control_characters() -> None:
    stream = io.StringIO()
    with closing(PlainSink(stream, heartbeat=0)) as sink:
        for event in a_run():
            sink(event)
    text = stream.getvalue()
    assert "n2 = count(text=$1" in text and "after n1" in text
    assert "n1 read_text: done, 0.50 s  12 lines" in text
    assert "n2 count: failed" in text and "such thing" in text
    assert "\x1b" not in text


def test_plain_display_is_never_silent() -> None:
    stream = io.StringIO()
    with closing(PlainSink(stream, heartbeat=0.1)) as sink:
        for event in a_run()[:4]:
            sink(event)
        before = stream.getvalue()
        time.sleep(0.5)
    assert "planning… 1 tokens" in stream.getvalue()[len(before) :]


def test_board_follows_maps_repairs_and_totals() -> None:
    now = [0.0]
    board = Board(clock=lambda: now[0])
    for event in a_run():
        board.take(event)
    assert board.usage == USAGE
    assert {id: row.status for id, row in board.rows.items()} == {"n1": "done", "n2": "failed"}
    at = {"run": "r1", "at": 1.0}
    for index in range(3):
        board.take(StepStarted(**at, path=f"n3[{index}]", name="count", kind="tool"))
    board.take(StepDone(**at, path="n3[1]", name="count", kind="tool", status="done"))
    assert (board.rows["n3"].items_done, board.rows["n3"].items, board.rows["n3"].status) == (1, 3, "running")
    board.take(NodePlanned(**at, node=Node(id="n9", tool="count")))
    board.take(Repaired(**at, problems=("n9 misses text",)))
    assert "n9" not in board.rows and "n1" in board.rows


def test_headline_says_what_a_person_waits_for() -> None:
    now = [0.0]
    board = Board(clock=lambda: now[0])
    events = a_run()
    for event in events[:2]:
        board.take(event)
    now[0] = 3.0
    assert board.headline() == "planning: the model reads the prompt, 3 s"
    board.take(events[2])
    assert board.headline().startswith("reading the prompt 25%")
    board.take(events[3])
    assert board.headline().startswith("planning… 1 tokens")


def test_live_display_keeps_the_final_tree_in_a_narrow_terminal() -> None:
    for width, encoding in ((100, "utf-8"), (30, "ascii")):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, errors="replace")
        console = Console(file=stream, force_terminal=True, width=width, height=20)
        with closing(LiveSink(console)) as sink:
            for event in a_run():
                sink(event)
            with sink.pause():
                sink(ApprovalAsked(run="r1", at=1, approval="a1", path="n2", tool="count", reason="", preview=""))
        stream.flush()
        text = raw.getvalue().decode(encoding)
        assert "n1" in text and "read_text" in text
        if width == 100:
            assert "12 lines" in text and "✗" in text


def test_a_plan_taller_than_the_terminal_keeps_what_runs_in_sight() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=10)
    at = {"run": "r1", "at": 1.0}
    sink = LiveSink(console)
    for number in range(1, 31):
        sink(NodePlanned(**at, node=Node(id=f"n{number}", tool="count")))
        sink(StepStarted(**at, path=f"n{number}", name="count", kind="tool"))
        if number != 7:
            sink(StepDone(**at, path=f"n{number}", name="count", kind="tool", status="done"))
    console.print("mark")
    time.sleep(0.3)
    seen = stream.getvalue().rpartition("mark")[2]
    sink.close()
    assert "n7 " in seen and "and 24 more" in seen
    assert all(f"n{number} " in stream.getvalue() for number in range(1, 31))


def test_pipes_and_dumb_terminals_get_plain_lines() -> None:
    sink = progress_sink(io.StringIO())
    assert isinstance(sink, PlainSink)
    sink.close()


def test_short_is_one_line_without_control_characters() -> None:
    assert short("a\nb\tc\x1b" + "d" * 99, 10) == "a b c ddd…"
