"""The tables as SQLAlchemy sees them, and the statements that need SQL functions.

Migrations are the truth about the schema (a test compares the two). Money is integer pico-dollars
where SQL adds it up and decimal text where it is only kept; it is never a float.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Update,
    bindparam,
    func,
    null,
    select,
    text,
    union,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import Insert, insert

HEAD = "0004"
"""Newest migration; a database with a higher one is from a newer version."""

PICO = Decimal(10) ** 12
"""Pico-dollars per dollar: prices per million tokens stay exact to six decimals."""

metadata = MetaData()

_CASCADE = "CASCADE"

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("settings", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Column("result", Text),
    Column("owner", Text, nullable=False),
    Column("parent", Text),
    Column("choice", Text),
)

plans = Table(
    "plans",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete=_CASCADE), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("made", Float, nullable=False),
    Column("again", Integer),
    Column("memo", Text),
)

steps = Table(
    "steps",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete=_CASCADE), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("result", Text),
    Column("written", Float, nullable=False),
    Column("blob", Text),
    Column("blob_bytes", Integer),
    Column("blob_head", Text),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete=_CASCADE), primary_key=True),
    Column("node", Text, primary_key=True),
    Column("blob", Text, nullable=False),
    Column("blob_bytes", Integer, nullable=False),
    Column("blob_head", Text, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run", Text, ForeignKey("runs.id", ondelete=_CASCADE), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("asked_pico", Integer, nullable=False),
    Column("asked_tokens", Integer, nullable=False),
    Column("spent_pico", Integer),
    Column("spent_tokens", Integer),
    Column("made", Float, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run", Text, ForeignKey("runs.id", ondelete=_CASCADE), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("preview", Text, nullable=False),
    Column("asked", Float, nullable=False),
    Column("allowed", Integer),
    Column("decided_by", Text, nullable=False),
    Column("decided", Float),
    Column("args", Text),
    Column("edited", Text),
    Column("taken", Float),
    UniqueConstraint("run", "revision", "path", "digest"),
)

trajectories = Table(
    "trajectories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", Text, nullable=False, unique=True),
    Column("task", Text, nullable=False),
    Column("normal", Text, nullable=False),
    Column("masked", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("catalogue", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("usage", Text, nullable=False),
    Column("cost", Text, nullable=False),
    Column("learnt", Float, nullable=False),
)

vectors = Table(
    "vectors",
    metadata,
    Column("trajectory", Integer, ForeignKey("trajectories.id", ondelete=_CASCADE), primary_key=True),
    Column("embedder", Text, primary_key=True),
    Column("vector", LargeBinary, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("op", Text, nullable=False),
    Column("trajectory", Integer, nullable=False),
    Column("embedder", Text, nullable=False),
)

COMMITTED = select(
    func.coalesce(func.sum(func.coalesce(ledger.c.spent_pico, ledger.c.asked_pico)), 0),
    func.coalesce(func.sum(func.coalesce(ledger.c.spent_tokens, ledger.c.asked_tokens)), 0),
).where(ledger.c.run == bindparam("of"))
"""Pico-dollars and tokens of run ``of``: what was spent, or what was reserved while that is unknown."""

SETTLE = (
    ledger.update()
    .where(ledger.c.id == bindparam("reservation"))
    .values(spent_pico=bindparam("pico"), spent_tokens=bindparam("tokens"))
)
"""Settle one reservation; of one already settled, the newest figure counts."""

CLOSE = (
    ledger.update()
    .where(ledger.c.run == bindparam("of"), ledger.c.spent_pico.is_(None))
    .values(spent_pico=ledger.c.asked_pico, spent_tokens=ledger.c.asked_tokens)
)
"""Settle what is still open in run ``of`` at its worst case."""

_DIGESTS: BindParameter[Any] = bindparam("digests", expanding=True)

NAMED = union(
    select(steps.c.blob).where(steps.c.blob.in_(_DIGESTS)), select(outcomes.c.blob).where(outcomes.c.blob.in_(_DIGESTS))
)
"""Those of ``digests`` that some row names."""

USED = text(
    "SELECT coalesce(sum(json_extract(result, '$.usage.prompt')), 0),"
    " coalesce(sum(json_extract(result, '$.usage.completion')), 0),"
    " coalesce(sum(json_extract(result, '$.usage.cached')), 0) FROM steps WHERE run = :of"
)
"""Tokens of every attempt of run ``of``: prompt, completion, cached."""

PAID = text(
    "SELECT json_extract(result, '$.cost') FROM steps WHERE run = :of AND json_extract(result, '$.cost') <> '0'"
)
"""Dollars, as text, of the attempts of run ``of`` that cost anything."""

SUPERSEDED = text(
    "DELETE FROM steps WHERE run = :of AND attempt < (SELECT max(attempt) FROM steps AS newer"
    " WHERE newer.run = steps.run AND newer.revision = steps.revision AND newer.path = steps.path)"
)
"""Delete the attempts of run ``of`` that were made again."""

MATCHES = text(
    "SELECT trajectories.id AS id FROM trajectories_fts JOIN trajectories ON trajectories.id = trajectories_fts.rowid"
    " WHERE trajectories_fts MATCH :query AND trajectories.outcome = 'done'"
    " ORDER BY bm25(trajectories_fts) LIMIT :most"
)
"""Done trajectories by BM25, best first."""

FREQUENCIES = text("SELECT term, doc FROM trajectories_terms WHERE term IN :terms").bindparams(
    bindparam("terms", expanding=True)
)
"""In how many trajectories each term occurs."""

UNEMBEDDED = (
    select(trajectories.c.id, trajectories.c.masked)
    .where(
        trajectories.c.outcome == "done",
        ~select(vectors.c.trajectory)
        .where(vectors.c.trajectory == trajectories.c.id, vectors.c.embedder == bindparam("by"))
        .exists(),
    )
    .limit(bindparam("most"))
)
"""Done trajectories without a vector of embedder ``by``."""

IF_STILL_THERE = text(
    "INSERT OR IGNORE INTO vectors (trajectory, embedder, vector)"
    " SELECT :trajectory, :embedder, :vector WHERE EXISTS (SELECT 1 FROM trajectories WHERE id = :trajectory)"
)
"""Add a vector that was computed outside the transaction; another process may have been faster."""

SAMPLE = text(
    "SELECT trajectory, vector FROM vectors WHERE embedder = :by AND trajectory IN"
    " (SELECT trajectory FROM vectors WHERE embedder = :by ORDER BY random() LIMIT :most)"
)
"""Some vectors of an embedder, by chance."""

LAST_SEQ = text("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)")
"""Sequence number of the newest change ever written to the outbox, applied or not."""


class Prepared:
    """A statement that is compiled once and goes to the driver as it is: for what is written for every call."""

    def __init__(self, statement: Insert | Update, *, without: Collection[str] = ()) -> None:
        """Compile ``statement``, whose values are all parameters but those of the columns in ``without``."""
        given = [column.name for column in statement.table.columns if column.name not in without]
        compiled = statement.compile(dialect=sqlite.dialect(), column_keys=given if without else None)
        self._sql = str(compiled)
        self._names = tuple(compiled.positiontup or ())

    def bind(self, row: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The statement and the values of ``row`` as the driver takes them."""
        return self._sql, [row[name] for name in self._names]


def upsert(table: Table, *, without: Collection[str] = ()) -> Insert:
    """Return an insert of a whole row that replaces the row with the same primary key.

    Columns in ``without`` are not given and become null, which costs no parameters.
    """
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    others = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_={**others, **dict.fromkeys(without, null())})


def count(table: Table, *where: Any) -> Any:
    """Return a select of the number of rows of ``table`` that satisfy ``where``."""
    return select(func.count()).select_from(table).where(*where)


def to_pico(dollars: Decimal) -> int:
    """Return whole pico-dollars, rounded up: a limit is never crossed by rounding."""
    return int((dollars * PICO).to_integral_value(ROUND_CEILING))


def from_pico(pico: int) -> Decimal:
    """Return dollars, without trailing zeros."""
    dollars = (Decimal(pico) / PICO).normalize()
    return dollars if dollars else Decimal(0)
