from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_parts import TASKS, Letters, trajectory

from shuntyard.errors import ModelUnavailable
from shuntyard.memory import tables, wording
from shuntyard.memory.recall import TrajectoryMemory
from shuntyard.memory.store import Store
from shuntyard.memory.vectors import cosines, pack, unpack
from shuntyard.steps import Plan

pytestmark = pytest.mark.anyio


class Absent(Letters):
    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise ModelUnavailable("no file; pull it.")


@pytest.fixture(params=["words", "words and vectors"])
def memory(store: Store, request: pytest.FixtureRequest) -> Iterator[TrajectoryMemory]:
    memory = TrajectoryMemory(store, None if request.param == "words" else Letters())
    yield memory
    memory.close()


async def test_the_same_task_is_exact_only_for_the_same_tools(memory: TrajectoryMemory) -> None:
    for i, task in enumerate(TASKS):
        await memory.learn(trajectory(task, f"r{i}"))
    hint = (await memory.recall("  count the lines with  error in server.log. ", "c1"))[0]
    assert (hint.run, hint.exact, hint.similarity) == ("r2", True, 1.0)
    assert hint.plan.node("n1").args == {"note": "r2"}
    other = (await memory.recall(TASKS[2], "c2"))[0]
    assert (other.run, other.exact, other.similarity) == ("r2", False, 1.0)


async def test_a_likeness_is_offered_and_never_exact(memory: TrajectoryMemory) -> None:
    for i, task in enumerate(TASKS):
        await memory.learn(trajectory(task, f"r{i}"))
    hints = await memory.recall("Count all lines with WARNING or ERROR in /var/log/app.log", "c1")
    assert hints[0].run == "r2"
    assert not hints[0].exact
    assert 0.5 <= hints[0].similarity < 1


async def test_other_numbers_are_like_but_not_the_same(memory: TrajectoryMemory) -> None:
    await memory.learn(trajectory(TASKS[4], "r4"))
    hint = (await memory.recall("Convert 75 miles to kilometres", "c1"))[0]
    assert not hint.exact
    assert 0.95 < hint.similarity < 1


async def test_nothing_is_offered_for_another_kind_of_task(memory: TrajectoryMemory) -> None:
    assert await memory.recall("anything", "c1") == []
    for i, task in enumerate(TASKS):
        await memory.learn(trajectory(task, f"r{i}"))
    assert await memory.recall("Draw a purple elephant", "c1") == []
    assert await memory.recall('"?! * NEAR( -', "c1") == []
    assert await memory.recall("", "c1") == []


async def test_failed_and_empty_ones_are_kept_but_not_offered(memory: TrajectoryMemory, store: Store) -> None:
    await memory.learn(trajectory(TASKS[0], "bad", outcome="failed"))
    await memory.learn(trajectory(TASKS[0], "none", plan=Plan(task=TASKS[0], nodes=(), refusal="no tool")))
    assert await memory.recall(TASKS[0], "c1") == []
    with store.read() as connection:
        assert connection.execute(tables.count(tables.trajectories)).scalar_one() == 2


async def test_doing_it_again_replaces_the_older_run(memory: TrajectoryMemory, store: Store) -> None:
    for run in ("r1", "r2", "r2"):
        await memory.learn(trajectory(TASKS[0], run))
    await memory.learn(trajectory(TASKS[0], "r3", catalogue="c2"))
    assert [(hint.run, hint.exact) for hint in await memory.recall(TASKS[0], "c1")] == [("r2", True)]
    with store.read() as connection:
        assert connection.execute(tables.count(tables.trajectories)).scalar_one() == 2


async def test_what_is_forgotten_is_gone(memory: TrajectoryMemory, store: Store) -> None:
    await memory.learn(trajectory(TASKS[0], "r1"))
    assert memory.forget("r1")
    assert not memory.forget("r1")
    assert await memory.recall(TASKS[0], "c1") == []
    with store.read() as connection:
        assert connection.execute(tables.count(tables.vectors)).scalar_one() == 0


async def test_without_the_embedding_file_words_do_and_vectors_come_later(store: Store) -> None:
    absent = TrajectoryMemory(store, Absent())
    for i, task in enumerate(TASKS):
        await absent.learn(trajectory(task, f"r{i}"))
    assert (await absent.recall(TASKS[1], "c1"))[0].exact
    absent.close()
    embedder = Letters()
    memory = TrajectoryMemory(store, embedder)
    await memory.learn(trajectory("Something new", "r9"))
    with store.read() as connection:
        assert connection.execute(tables.count(tables.vectors)).scalar_one() == len(TASKS) + 1
    memory.close()


async def test_vectors_of_another_embedder_are_not_compared(store: Store) -> None:
    first = TrajectoryMemory(store, Letters("one"))
    await first.learn(trajectory(TASKS[0], "r0"))
    second = TrajectoryMemory(store, Letters("two"))
    assert second._vectors() == 0
    assert (await second.recall(TASKS[0], "c1"))[0].run == "r0"
    first.close()
    second.close()


async def test_plain_and_numpy_cosines_agree() -> None:
    vectors = Letters().embed([f"text number {i} {i * i}" for i in range(300)])
    blobs = [pack(vector) for vector in vectors]
    many = cosines(vectors[7], [*blobs, b"short"])
    few = cosines(vectors[7], blobs[:20])
    assert many[:20] == pytest.approx(few, abs=1e-5)
    assert many[-1] == -1.0
    assert max(range(300), key=many.__getitem__) == 7
    assert unpack(blobs[7]) == pytest.approx(vectors[7], abs=1e-3)


@given(st.text(max_size=200))
def test_any_text_can_be_worded(text: str) -> None:
    assert wording.normal(wording.normal(text)) == wording.normal(text)
    assert all(term.strip() and '"' not in term for term in wording.terms(wording.masked(text)))


def test_masking_hides_what_varies() -> None:
    assert wording.masked("Sum 'amount' above $1,200.50 in data/orders.csv, see https://x.org/a?b=1") == (
        "sum text above number in csv file , see address"
    )
    assert wording.masked("it's the user's 3rd file") == "it's the user's 3rd file"


async def test_a_paraphrase_is_found_with_the_real_embedder(store: Store) -> None:
    embed = pytest.importorskip("shuntyard.serving.embed")
    from shuntyard.settings import load

    settings = load(folder=Path("/"))
    if not embed.MiniLmEmbedder.available(settings):
        pytest.skip("all-minilm-l6-v2 is not in the cache")
    memory = TrajectoryMemory(store, embed.MiniLmEmbedder(settings))
    for i, task in enumerate(TASKS):
        await memory.learn(trajectory(task, f"r{i}"))
    for wording_, run in (
        ("Who is our biggest spender according to customers.csv", "r1"),
        ("How much do the orders in orders.csv come to altogether?", "r0"),
        ("Give the number of errors in server.log", "r2"),
    ):
        hints = await memory.recall(wording_, "c1")
        assert [hint.run for hint in hints][:1] == [run], wording_
    assert await memory.recall("Order a taxi to the airport", "c1") == []
    memory.close()
