"""Keep with a run how it is planned, and with each plan whether its planner wants to go on from the results."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE runs ADD COLUMN choice TEXT",
    "ALTER TABLE plans ADD COLUMN again INTEGER",
    "ALTER TABLE plans ADD COLUMN memo TEXT",
    # Runs that stopped between two single steps go on with single steps.
    """
    UPDATE plans SET again = 1
    WHERE json_extract(plan, '$.origin') = 'model'
        AND run IN (SELECT id FROM runs WHERE json_extract(settings, '$.planner') = 'react')
    """,
)


def upgrade() -> None:
    """Apply the change."""
    for statement in _STATEMENTS:
        op.execute(statement)
