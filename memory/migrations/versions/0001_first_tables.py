"""Create the first tables: runs, plans, steps, ledger, approvals, trajectories with their indexes."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, task TEXT NOT NULL, status TEXT NOT NULL, started REAL NOT NULL, ended REAL,
        settings TEXT NOT NULL, limits TEXT NOT NULL, result TEXT, owner TEXT NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX runs_started ON runs (started)",
    """
    CREATE TABLE plans (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, revision INTEGER NOT NULL, plan TEXT NOT NULL,
        made REAL NOT NULL, PRIMARY KEY (run, revision)
    )
    """,
    """
    CREATE TABLE steps (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, revision INTEGER NOT NULL, path TEXT NOT NULL,
        attempt INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, effect TEXT NOT NULL,
        digest TEXT NOT NULL, state TEXT NOT NULL, result TEXT, written REAL NOT NULL,
        PRIMARY KEY (run, revision, path, attempt)
    )
    """,
    """
    CREATE TABLE ledger (
        id TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, revision INTEGER NOT NULL,
        path TEXT NOT NULL, asked_pico INTEGER NOT NULL, asked_tokens INTEGER NOT NULL, spent_pico INTEGER,
        spent_tokens INTEGER, made REAL NOT NULL
    )
    """,
    "CREATE INDEX ledger_run ON ledger (run)",
    """
    CREATE TABLE approvals (
        id TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, revision INTEGER NOT NULL,
        path TEXT NOT NULL, digest TEXT NOT NULL, tool TEXT NOT NULL, reason TEXT NOT NULL, preview TEXT NOT NULL,
        asked REAL NOT NULL, allowed INTEGER, decided_by TEXT NOT NULL DEFAULT '', decided REAL,
        UNIQUE (run, revision, path, digest)
    )
    """,
    """
    CREATE TABLE trajectories (
        id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL UNIQUE, task TEXT NOT NULL, normal TEXT NOT NULL,
        masked TEXT NOT NULL, terms TEXT NOT NULL, catalogue TEXT NOT NULL, outcome TEXT NOT NULL, plan TEXT NOT NULL,
        answer TEXT NOT NULL, usage TEXT NOT NULL, cost TEXT NOT NULL, learnt REAL NOT NULL
    )
    """,
    "CREATE INDEX trajectories_normal ON trajectories (normal)",
    """
    CREATE TABLE vectors (
        trajectory INTEGER NOT NULL REFERENCES trajectories (id) ON DELETE CASCADE, embedder TEXT NOT NULL,
        vector BLOB NOT NULL, PRIMARY KEY (trajectory, embedder)
    )
    """,
    """
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, op TEXT NOT NULL, trajectory INTEGER NOT NULL, embedder TEXT NOT NULL
    )
    """,
    """
    CREATE VIRTUAL TABLE trajectories_fts USING fts5 (terms, content = 'trajectories', content_rowid = 'id')
    """,
    "CREATE VIRTUAL TABLE trajectories_terms USING fts5vocab (trajectories_fts, row)",
    """
    CREATE TRIGGER trajectories_added AFTER INSERT ON trajectories BEGIN
        INSERT INTO trajectories_fts (rowid, terms) VALUES (new.id, new.terms);
    END
    """,
    """
    CREATE TRIGGER trajectories_removed AFTER DELETE ON trajectories BEGIN
        INSERT INTO trajectories_fts (trajectories_fts, rowid, terms) VALUES ('delete', old.id, old.terms);
    END
    """,
    """
    CREATE TRIGGER vectors_added AFTER INSERT ON vectors BEGIN
        INSERT INTO outbox (op, trajectory, embedder) VALUES ('put', new.trajectory, new.embedder);
    END
    """,
    """
    CREATE TRIGGER vectors_removed AFTER DELETE ON vectors BEGIN
        INSERT INTO outbox (op, trajectory, embedder) VALUES ('drop', old.trajectory, old.embedder);
    END
    """,
)


def upgrade() -> None:
    """Apply the change."""
    for statement in _STATEMENTS:
        op.execute(statement)
