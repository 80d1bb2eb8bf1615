from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
from memory_parts import TASKS, Letters, trajectory

from shuntyard.memory import tables
from shuntyard.memory.index import ChromaIndex
from shuntyard.memory.recall import TrajectoryMemory
from shuntyard.memory.store import Store

pytestmark = pytest.mark.anyio

BY = "letters-64"
OTHER_OWNER = """
    import sys
    from pathlib import Path
    from shuntyard.memory.index import ChromaIndex
    from shuntyard.memory.store import Store
    index = ChromaIndex(Store.open(Path(sys.argv[1])))
    print(index.refresh("letters-64"), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
async def memory(store: Store) -> TrajectoryMemory:
    memory = TrajectoryMemory(store, Letters(), index_from=0)
    for i, task in enumerate(TASKS):
        await memory.learn(trajectory(task, f"r{i}"))
    return memory


@pytest.fixture
def index(store: Store, memory: TrajectoryMemory) -> Iterator[ChromaIndex]:
    """The index as another process would open it later."""
    memory.close()
    index = ChromaIndex(store)
    yield index
    index.close()


def ids(store: Store) -> dict[str, int]:
    with store.read() as connection:
        return {row.task: row.id for row in connection.execute(tables.trajectories.select())}


def held(store: Store) -> set[str]:
    """What lies in Chroma, read past our own code."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(
        str(next((store.home / "index").iterdir())), Settings(anonymized_telemetry=False)
    )
    try:
        (collection,) = client.list_collections()
        found = collection.get(include=["documents", "metadatas"])
        assert not any(found["documents"] or []) and not any(found["metadatas"] or [])
        return set(found["ids"])
    finally:
        client.close()


async def test_the_index_answers_and_the_outbox_is_empty(memory: TrajectoryMemory, store: Store) -> None:
    asked: list[object] = []
    nearest = memory._index.nearest

    def spy(*arguments: object) -> list[int] | None:
        found = nearest(*arguments)  # type: ignore[arg-type]
        asked.append(found)
        return found

    memory._index.nearest = spy  # type: ignore[method-assign, assignment]
    hints = await memory.recall("Count the lines with ERROR or WARNING in app.log", "c1")
    assert hints[0].run == "r2"
    assert asked and asked[0][0] == ids(store)[TASKS[2]]  # type: ignore[index]
    memory.close()
    assert held(store) == {str(id) for id in ids(store).values()}
    with store.read() as connection:
        assert connection.execute(tables.count(tables.outbox)).scalar_one() == 0


async def test_every_vector_finds_itself_first(index: ChromaIndex, store: Store) -> None:
    embedder = Letters()
    from shuntyard.memory.wording import masked

    for task, id in ids(store).items():
        found = index.nearest(BY, embedder.embed([masked(task)])[0], 3)
        assert found is not None and found[0] == id and len(found) == 3


async def test_forgetting_and_doing_again_reach_the_index(memory: TrajectoryMemory, store: Store) -> None:
    memory.forget("r0")
    await memory.learn(trajectory(TASKS[1], "r7"))
    memory.close()
    assert held(store) == {str(id) for id in ids(store).values()}
    assert len(held(store)) == len(TASKS) - 1


async def test_a_deleted_folder_is_rebuilt_from_sql(index: ChromaIndex, store: Store) -> None:
    shutil.rmtree(store.home / "index")
    assert index.refresh(BY)
    index.close()
    assert held(store) == {str(id) for id in ids(store).values()}


async def test_a_damaged_folder_is_rebuilt_from_sql(index: ChromaIndex, store: Store) -> None:
    for file in (store.home / "index").rglob("*"):
        if file.is_file():
            file.write_bytes(b"nothing that Chroma knows" * 200)
    assert index.refresh(BY)
    index.close()
    assert held(store) == {str(id) for id in ids(store).values()}


async def test_an_index_that_lost_or_bent_something_is_rebuilt(index: ChromaIndex, store: Store) -> None:
    collection = index._collection(BY)
    some = str(ids(store)[TASKS[3]])
    collection.delete(ids=[some])
    index.close()
    assert index.refresh(BY)
    index.close()
    assert some in held(store)
    collection = index._collection(BY)
    everything = [str(id) for id in ids(store).values()]
    collection.update(ids=everything, embeddings=[[1.0] + [0.0] * 63] * len(everything))
    index.close()
    vector = Letters().embed([TASKS[4].casefold()])[0]
    assert index.nearest(BY, vector, 1) == [ids(store)[TASKS[4]]]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_a_second_process_compares_in_sql_and_the_index_catches_up(
    memory: TrajectoryMemory, store: Store
) -> None:
    memory.close()
    other = start(OTHER_OWNER, store.home)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "True\n"
        assert memory._index.nearest(BY, [0.0] * 64, 1) is None
        assert not memory._index.refresh(BY)
        await memory.learn(trajectory("Count the paragraphs of letter.txt", "r8"))
        assert (await memory.recall("Count the paragraphs in essay.txt", "c1"))[0].run == "r8"
    finally:
        other.kill()
        other.communicate()
    assert memory._index.refresh(BY)
    memory.close()
    assert held(store) == {str(id) for id in ids(store).values()}


async def test_churn_leaves_nothing_unreachable(store: Store) -> None:
    embedder = Letters()
    memory = TrajectoryMemory(store, embedder, index_from=10**9)
    index = ChromaIndex(store)
    texts = [f"{word} the {thing} of {place}" for word in TASKS for thing in "abcdef" for place in "uvwxyz"]
    for i, task in enumerate(texts):
        await memory.learn(trajectory(task, f"r{i}"))
        if i == 120:
            index.refresh(BY)
        if i > 60 and i % 2:
            memory.forget(f"r{i - 50}")
    from shuntyard.memory.wording import masked

    with store.read() as connection:
        rows = connection.execute(tables.trajectories.select()).all()
    for row in rows[::5]:
        found = index.nearest(BY, embedder.embed([masked(row.task)])[0], 40)
        assert found is not None and row.id in found
    index.close()
    memory.close()


def test_small_memories_never_import_chroma(store: Store) -> None:
    code = """
        import sys, anyio
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from memory_parts import Letters, trajectory
        from shuntyard.memory.recall import TrajectoryMemory
        from shuntyard.memory.store import Store
        async def main():
            memory = TrajectoryMemory(Store.open(Path(sys.argv[1])), Letters())
            await memory.learn(trajectory("count the words", "r1"))
            print(len(await memory.recall("count the words", "c1")), "chromadb" in sys.modules, "numpy" in sys.modules)
        anyio.run(main)
    """
    from pathlib import Path

    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), str(store.home), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1", "False", "False"], done.stderr
