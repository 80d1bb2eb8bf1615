"""Let big values lie in files: steps and the results of runs name them; a replay names its parent."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE runs ADD COLUMN parent TEXT",
    "ALTER TABLE steps ADD COLUMN blob TEXT",
    "ALTER TABLE steps ADD COLUMN blob_bytes INTEGER",
    "ALTER TABLE steps ADD COLUMN blob_head TEXT",
    "CREATE INDEX steps_blob ON steps (blob) WHERE blob IS NOT NULL",
    """
    CREATE TABLE outcomes (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, node TEXT NOT NULL, blob TEXT NOT NULL,
        blob_bytes INTEGER NOT NULL, blob_head TEXT NOT NULL, PRIMARY KEY (run, node)
    )
    """,
    "CREATE INDEX outcomes_blob ON outcomes (blob)",
)


def upgrade() -> None:
    """Apply the change."""
    for statement in _STATEMENTS:
        op.execute(statement)
