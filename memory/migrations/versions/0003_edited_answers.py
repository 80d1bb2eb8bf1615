"""Let a person answer a question with other arguments; an answer that was taken stands."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE approvals ADD COLUMN args TEXT",
    "ALTER TABLE approvals ADD COLUMN edited TEXT",
    "ALTER TABLE approvals ADD COLUMN taken REAL",
)


def upgrade() -> None:
    """Apply the change."""
    for statement in _STATEMENTS:
        op.execute(statement)
