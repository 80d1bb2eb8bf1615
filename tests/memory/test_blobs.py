"""Big values in files of their own: whole or clearly lost, once for all runs, collected when no row names them."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from shuntyard.errors import BlobDamaged
from shuntyard.memory import tables, values
from shuntyard.memory.blobs import Blobs
from shuntyard.memory.journal import SqlJournal, recorded
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import FILE, Store
from shuntyard.memory.sweep import sweep
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, RunResult, Step, StepKey, StepResult

pytestmark = pytest.mark.anyio

TABLE: list[Any] = [{"id": i, "name": f"row {i}", "share": i / 7} for i in range(9000)]


class Tool:
    """Stands where guard, budget and dispatch do; returns one big value and counts."""

    def __init__(self, value: Any = TABLE) -> None:
        self.value = value
        self.calls = 0

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        await step.before_effect()
        self.calls += 1
        return StepResult(value=self.value, seconds=0.5)


def step(run: str, path: str = "n1", **changes: Any) -> Step:
    return replace(Step(StepKey(run, 0, path), "tool", "query", {"sql": "select 1"}), **changes)


async def once(store: Store, run: str, tool: Tool, **changes: Any) -> StepResult:
    assume = changes.pop("assume", {})
    ctx = Ctx(run, store.home, lambda event: None)
    return await recorded(SqlJournal(store), run, assume=assume)(tool)(step(run, **changes), ctx)


def files(store: Store) -> list[Path]:
    return sorted(path for path in store.blobs.folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("content", [b"", b"x", b"null", b"[1, 2]" * 50000], ids=len)
def test_what_is_put_comes_back(tmp_path: Path, content: bytes) -> None:
    blobs = Blobs(tmp_path / "blobs")
    digest = blobs.put(content)
    assert (blobs.get(digest, len(content)), blobs.put(content)) == (content, digest)
    assert list(blobs.names()) == [digest]
    assert blobs.size() == (1, blobs.path(digest).stat().st_size)
    assert blobs.path(digest).relative_to(blobs.folder).parts[:2] == (digest[:2], digest[2:4])
    assert blobs.remove(digest) > 0 and blobs.remove(digest) == 0
    assert [path.name for path in blobs.folder.iterdir()] == ["new"]


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "bent": lambda path: path.write_bytes(path.read_bytes()[:200] + b"\0\1" + path.read_bytes()[202:]),
    "other": lambda path: path.write_bytes(gzip.compress(b"[]")),
    "bomb": lambda path: path.write_bytes(gzip.compress(b"0" * 50_000_000)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", [*DAMAGE])
def test_damage_is_found_and_the_same_content_mends_it(tmp_path: Path, damage: str) -> None:
    blobs = Blobs(tmp_path)
    content = b"".join(b"%d," % i for i in range(30000))
    digest = blobs.put(content)
    DAMAGE[damage](blobs.path(digest))
    with pytest.raises(BlobDamaged, match=digest):
        blobs.get(digest, len(content))
    if damage == "a folder":
        blobs.path(digest).rmdir()
    assert blobs.put(content) == digest
    assert blobs.get(digest, len(content)) == content


async def test_a_big_value_lies_in_a_file_and_comes_back_the_same(store: Store, run: str) -> None:
    live = await once(store, run, Tool())
    (row,) = Runs(store).steps(run)
    assert row.blob is not None and row.result is not None and row.result.value is None
    assert row.blob.head and len(row.blob.head) <= 80 and row.blob.bytes > values.BIG
    assert Runs(store).whole_step(run, row).result == live
    with sqlite3.connect(store.path) as raw:
        ((size,),) = raw.execute("SELECT length(result) FROM steps").fetchall()
    raw.close()
    assert size < 1000
    tool = Tool()
    again = await once(store, run, tool)
    assert again.replayed and tool.calls == 0
    assert again.model_copy(update={"replayed": False}).model_dump_json() == live.model_dump_json()


async def test_a_small_value_stays_in_its_row(store: Store, run: str) -> None:
    await once(store, run, Tool("x" * (values.BIG - 2)), path="n1")
    await once(store, run, Tool("x" * (values.BIG - 1000)), path="n2")
    assert [row.blob is not None for row in Runs(store).steps(run)] == [True, False]


async def test_the_same_value_is_kept_once_for_all_runs_and_results(store: Store) -> None:
    runs = Runs(store)
    ids = [runs.start("a task") for _ in range(3)]
    for run in ids:
        for path in ("n1", "n2[0]", "n2[1]"):
            await once(store, run, Tool(), path=path)
        results = {"n1": StepResult(value=TABLE), "n3": StepResult(value=3)}
        runs.finish(run, RunResult(run=run, task="a task", status="done", results=results))
        row = runs.get(run)
        assert row.result is not None and row.result.results["n1"].value is None
        assert runs.whole(row).result.results == results  # type: ignore[union-attr]
    assert len(files(store)) == 1
    assert (runs.size().blobs, runs.size().blob_bytes) == (1, files(store)[0].stat().st_size)
    assert runs.prune(keep=1).blobs == 0
    assert runs.whole_step(ids[2], runs.steps(ids[2])[0]).result.value == TABLE  # type: ignore[union-attr]
    pruned = runs.prune()
    assert (pruned.runs, pruned.blobs, files(store)) == (1, 1, [])


async def test_a_result_that_shrinks_on_resume_names_no_file_any_more(store: Store, run: str) -> None:
    runs = Runs(store)
    for value in (TABLE, "small"):
        result = RunResult(run=run, task="t", status="failed", results={"n1": StepResult(value=value)})
        runs.finish(run, result)
        assert runs.whole(runs.get(run)).result == result
    assert sweep(store).blobs == 1


async def test_secrets_are_gone_before_the_hash(store: Store, run: str) -> None:
    journal = SqlJournal(store, redact=lambda value: [str(part).replace("hunter2", "***") for part in value])  # type: ignore[union-attr]
    await journal.commit(step(run), StepResult(value=["hunter2"] * 60000))
    (path,) = files(store)
    text = gzip.decompress(path.read_bytes())
    assert b"hunter2" not in text and text.count(b"***") == 60000
    await SqlJournal(store).commit(step(run, "n2"), StepResult(value=["***"] * 60000))
    assert files(store) == [path]


def lose(store: Store, how: str) -> Path:
    (path,) = files(store)
    DAMAGE[how](path)
    return path


@pytest.mark.parametrize("how", ["missing", "bent"])
async def test_a_read_whose_value_is_lost_runs_again_and_mends_it(store: Store, run: str, how: str) -> None:
    await once(store, run, Tool())
    path = lose(store, how)
    (row,) = Runs(store).steps(run)
    with pytest.raises(BlobDamaged) as caught:
        Runs(store).whole_step(run, row)
    for part in (run, "'n1'", str(path), f"shuntyard resume {run}"):
        assert part in str(caught.value)
    tool = Tool()
    assert not (await once(store, run, tool)).replayed
    assert tool.calls == 1
    assert [Runs(store).whole_step(run, row).result.value for row in Runs(store).steps(run)] == [TABLE, TABLE]  # type: ignore[union-attr]


async def test_an_effect_whose_value_is_lost_is_in_doubt(store: Store, run: str) -> None:
    await once(store, run, Tool(), effect=Effect.WRITE)
    path = lose(store, "missing")
    tool = Tool()
    doubt = await once(store, run, tool, effect=Effect.WRITE)
    assert (doubt.status, tool.calls) == ("doubt", 0)
    assert doubt.failure is not None
    for part in (str(path), "--assume n1=done", "--assume n1=not-done"):
        assert part in doubt.failure.message
    assert (await once(store, run, tool, effect=Effect.WRITE, idempotent=True)).ok
    assert tool.calls == 1


@pytest.mark.parametrize(("word", "calls"), [("done", 0), ("not-done", 1)])
async def test_a_person_settles_a_lost_effect(store: Store, run: str, word: str, calls: int) -> None:
    await once(store, run, Tool(), effect=Effect.EXTERNAL)
    lose(store, "missing")
    tool = Tool()
    settled = await once(store, run, tool, effect=Effect.EXTERNAL, assume={"n1": word})
    assert (settled.status, tool.calls) == ("done", calls)
    assert (await once(store, run, tool, effect=Effect.EXTERNAL)).replayed


async def test_a_sweep_between_file_and_row_takes_nothing(store: Store, run: str, monkeypatch: Any) -> None:
    """The worst moment: the file is written, its row is not. The writer looks again inside its transaction."""
    put = store.blobs.put

    def swept(content: bytes) -> str:
        digest = put(content)
        other = Store.open(store.home)
        assert sweep(other).blobs == 1
        other.close()
        monkeypatch.undo()
        return digest

    monkeypatch.setattr(store.blobs, "put", swept)
    await once(store, run, Tool())
    assert (await once(store, run, Tool())).value == TABLE


def test_a_sweep_leaves_what_is_not_ours(store: Store) -> None:
    store.blobs.put(b"unnamed")
    place = store.blobs.folder / "ab" / "cd"
    place.mkdir(parents=True)
    for name in ("notes.txt", "abcd.json.gz", f"{'f' * 64}.json.gz"):
        (place / name).write_text("mine")
    assert sweep(store).blobs == 1
    assert len(files(store)) == 3


async def test_a_database_of_the_first_version_goes_on(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    import shuntyard.memory.store as module

    old = Store(tmp_path / FILE)
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with old.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        result = StepResult(value=TABLE).model_dump_json()
        connection.exec_driver_sql("INSERT INTO runs VALUES ('r1', 't', 'done', 1.0, 2.0, '{}', '{}', NULL, '')")
        row = ("r1", 0, "n1", 1, "tool", "query", "read", step("r1").digest, "done", result, 1.5)
        connection.exec_driver_sql("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    old.close()
    store = Store.open(tmp_path)
    assert Runs(store).get("r1").parent == ""
    replayed = await once(store, "r1", Tool())
    assert replayed.replayed and replayed.value == TABLE and files(store) == []
    store.close()


class Kept(RuleBasedStateMachine):
    """Steps, whole runs and files come and go in any order, with writers stopped half-way."""

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.home = Path(tempfile.mkdtemp())
        self.store = Store.open(self.home)
        self.named: dict[str, dict[str, bytes]] = {}
        self.half: list[tuple[str, str, values.Apart]] = []

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.home)

    @rule(target=runs)
    def start(self) -> str:
        run = Runs(self.store).start("t")
        self.named[run] = {}
        return run

    @rule(run=runs, node=st.sampled_from(["n1", "n2"]), letter=st.sampled_from("abc"))
    def write(self, run: str, node: str, letter: str) -> None:
        value = values.apart(self.store.blobs, letter * values.BIG, str)
        assert value is not None
        self.half.append((run, node, value))

    @rule()
    def commit(self) -> None:
        while self.half:
            run, node, value = self.half.pop()
            if run not in self.named:
                continue
            with self.store.write() as connection:
                values.hold(self.store.blobs, {node: value})
                row = {"run": run, "node": node, **values.columns(value.blob)}
                connection.execute(tables.upsert(tables.outcomes), row)
            self.named[run][node] = value.content

    @rule(run=runs)
    def forget(self, run: str) -> None:
        with self.store.write() as connection:
            connection.execute(tables.runs.delete().where(tables.runs.c.id == run))
        self.named.pop(run, None)

    @rule()
    def die(self) -> None:
        self.half.clear()

    @rule()
    def collect(self) -> None:
        sweep(self.store)
        wanted = {content for kept in self.named.values() for content in kept.values()}
        assert len(list(self.store.blobs.names())) == len(wanted)

    @invariant()
    def every_row_finds_its_file(self) -> None:
        with self.store.read() as connection:
            rows = connection.execute(tables.outcomes.select()).all()
        assert {(row.run, row.node) for row in rows} == {
            (run, node) for run, kept in self.named.items() for node in kept
        }
        for row in rows:
            assert self.store.blobs.get(row.blob, row.blob_bytes) == self.named[row.run][row.node]


Kept.TestCase.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestKept = Kept.TestCase
