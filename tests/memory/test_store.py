import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from shuntyard.errors import StoreError, StoreTooNew, StoreUnwritable
from shuntyard.memory import tables
from shuntyard.memory.approvals import SqlApprovals
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import FILE, Store
from shuntyard.moves import Move
from shuntyard.protocols import Edited
from shuntyard.steps import StepKey


def python(code: str, *args: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_first_open_migrates_and_the_second_does_not_import_alembic(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from shuntyard.memory.store import Store
        Store.open(Path(sys.argv[1])).close()
        print("alembic" in sys.modules, "chromadb" in sys.modules)
    """
    home = tmp_path / "a" / "b"
    assert python(code, home).stdout.split() == ["True", "False"]
    assert python(code, home).stdout.split() == ["False", "False"]


def test_migrations_make_what_the_tables_say(store: Store) -> None:
    with store.read() as connection:
        for table in tables.metadata.sorted_tables:
            found = connection.exec_driver_sql(f"PRAGMA table_info({table.name})").all()
            # Key columns are reported as nullable unless the migration says NOT NULL as well.
            assert [(row.name, row.type, bool(row.notnull or row.pk)) for row in found] == [
                (column.name, str(column.type).replace("FLOAT", "REAL"), column.primary_key or not column.nullable)
                for column in table.columns
            ], table.name
            keys = {row.name for row in found if row.pk}
            assert keys == {column.name for column in table.primary_key}
            links = connection.exec_driver_sql(f"PRAGMA foreign_key_list({table.name})").all()
            assert {row[3] for row in links} == {key.parent.name for key in table.foreign_keys}


def test_head_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import shuntyard.memory.store as module

    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.HEAD]


@pytest.mark.anyio
async def test_questions_of_an_older_database_are_read_and_can_be_answered_with_other_arguments(
    tmp_path: Path,
) -> None:
    from alembic import command
    from alembic.config import Config

    import shuntyard.memory.store as module

    old = Store(tmp_path / FILE)
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with old.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.exec_driver_sql(
            "INSERT INTO runs (id, task, status, started, settings, limits, owner)"
            " VALUES ('r', 't', 'waiting', 0, '{}', '{}', '')"
        )
        connection.exec_driver_sql(
            "INSERT INTO approvals (id, run, revision, path, digest, tool, reason, preview, asked, decided_by)"
            " VALUES ('q', 'r', 0, 'n1', 'd', 'write_file', 'writes', 'p', 0, '')"
        )
    old.close()
    store = Store.open(tmp_path)
    approvals = SqlApprovals(store)
    (question,) = approvals.list_pending()
    assert (question.id, question.args, question.edited, question.taken) == ("q", {}, None, None)
    approvals.decide("q", True, by="ann", edited=Edited({"path": "b"}))
    assert await approvals.take(StepKey("r", 0, "n1"), "d") == Edited({"path": "b"}, by="ann")
    store.close()


def test_the_database_is_wal_checked_and_erases(store: Store) -> None:
    with store.write() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
        }
    assert values == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 20000,
    }


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreTooNew, match=r"'9999'.*upgrade Shuntyard"):
        Store.open(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_home_that_cannot_be_made_names_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="SHUNTYARD_HOME"):
        Store.open(tmp_path / "file" / "home")


def test_a_database_that_cannot_be_opened_names_the_mend(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreUnwritable, match="SHUNTYARD_HOME"):
        Store.open(tmp_path)


@pytest.mark.parametrize("bytes_", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_named(tmp_path: Path, bytes_: bytes) -> None:
    (tmp_path / FILE).write_bytes(bytes_)
    with pytest.raises(StoreError, match=FILE) as caught:
        Store.open(tmp_path)
    assert "damaged" in str(caught.value)
    assert (tmp_path / FILE).read_bytes() == bytes_


def test_a_full_disk_at_first_open_is_told(tmp_path: Path) -> None:
    done = python(
        """
        import resource, sys
        from pathlib import Path
        from shuntyard.errors import StoreUnwritable
        from shuntyard.memory.store import Store
        import alembic.command, alembic.config
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
        try:
            Store.open(Path(sys.argv[1]))
        except StoreUnwritable as error:
            print("told", error)
        """,
        tmp_path / "home",
    )
    assert done.stdout.startswith("told"), done.stderr
    Store.open(tmp_path / "home").close()


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs file permissions")
@pytest.mark.parametrize("mode", ["no database yet", "a database"])
def test_a_read_only_home_is_told(mode: str) -> None:
    home = Path(tempfile.mkdtemp())
    try:
        if mode == "a database":
            Store.open(home).close()
            (home / FILE).chmod(0o444)
        home.chmod(0o555)
        done = python(
            """
            import os, sys
            from pathlib import Path
            from shuntyard.errors import StoreUnwritable
            from shuntyard.memory.store import Store
            import alembic.command, alembic.config, shuntyard.memory.runs
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            try:
                Store.open(Path(sys.argv[1]))
            except StoreUnwritable as error:
                print("told", error)
            """,
            home,
        )
        assert done.stdout.startswith("told"), done.stderr
        assert "SHUNTYARD_HOME" in done.stdout
    finally:
        home.chmod(0o700)
        shutil.rmtree(home)


def test_two_processes_make_one_database(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from shuntyard.memory.store import Store
        from shuntyard.memory.runs import Runs
        store = Store.open(Path(sys.argv[1]))
        Runs(store).start("task")
        store.close()
    """
    jobs = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "home")], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    errors = [job.communicate(timeout=60)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 4, errors
    store = Store.open(tmp_path / "home")
    assert len(Runs(store).list()) == 4
    store.close()


def test_a_row_for_an_unknown_run_is_refused(store: Store) -> None:
    from shuntyard.steps import Plan

    with pytest.raises(StoreError, match=r"Runs\.start"):
        Runs(store).save_move("nobody", Move(plan=Plan(task="t", nodes=())))


def test_a_body_that_raises_leaves_nothing(store: Store) -> None:
    with pytest.raises(KeyError), store.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs (id, task, status, started, settings, limits) VALUES ('x', '', 'done', 0, '{}', '{}')"
        )
        raise KeyError
    assert Runs(store).list() == []


def test_runs_of_single_steps_go_on_with_single_steps_after_an_upgrade(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    import shuntyard.memory.store as module
    from shuntyard.steps import Plan

    old = Store(tmp_path / FILE)
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with old.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for run, planner, origin in (("r1", "react", "model"), ("r2", "dag", "model"), ("r3", "react", "person")):
            settings = f'{{"planner": "{planner}"}}'
            row = (run, "t", "running", 1.0, None, settings, "{}", None, "", None)
            connection.exec_driver_sql("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            plan = Plan(task="t", nodes=(), origin=origin).model_dump_json()
            connection.exec_driver_sql("INSERT INTO plans VALUES (?, 0, ?, 1.0)", (run, plan))
    old.close()
    store = Store.open(tmp_path)
    runs = Runs(store)
    assert [runs.moves(run)[0].again for run in ("r1", "r2", "r3")] == [True, False, False]
    assert [runs.get(run).planner for run in ("r1", "r2")] == ["react", "dag"] and runs.get("r1").choice is None
    store.close()
