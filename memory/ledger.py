"""The ledger: what runs have reserved and spent, never admitted past a limit, also between processes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from ..protocols import Amount
from ..steps import StepKey
from . import tables
from .store import Store


class SqlLedger:
    """Ledger in the store. A reservation that nobody settles counts at its worst case."""

    def __init__(self, store: Store) -> None:
        """Write to ``store``."""
        self._store = store

    async def reserve(self, key: StepKey, ask: Amount, admit: Callable[[Amount], None]) -> str:
        """Reserve ``ask`` when ``admit`` accepts the sum with it, and return the reservation's id.

        The sum is read and the row written in one transaction that excludes every other writer, so
        concurrent reservations cannot pass a limit together. Raises what ``admit`` raises.
        """
        pico = tables.to_pico(ask.cost)
        reservation = f"v{secrets.token_hex(8)}"
        with self._store.write() as connection:
            committed = connection.execute(tables.COMMITTED, {"of": key.run}).one()
            admit(Amount(tables.from_pico(committed[0] + pico), committed[1] + ask.tokens))
            connection.execute(
                tables.ledger.insert(),
                {
                    "id": reservation,
                    "run": key.run,
                    "revision": key.revision,
                    "path": key.path,
                    "asked_pico": pico,
                    "asked_tokens": ask.tokens,
                    "made": time.time(),
                },
            )
        return reservation

    async def settle(self, reservation: str, spent: Amount) -> None:
        """Replace a reservation by what was spent."""
        values = {"reservation": reservation, "pico": tables.to_pico(spent.cost), "tokens": spent.tokens}
        with self._store.write() as connection:
            connection.execute(tables.SETTLE, values)

    async def spent(self, run: str) -> Amount:
        """Return what ``run`` has spent, with open reservations at their worst case."""
        with self._store.read() as connection:
            pico, tokens = connection.execute(tables.COMMITTED, {"of": run}).one()
        return Amount(tables.from_pico(pico), tokens)

    def close(self, run: str) -> int:
        """Settle what a crash or a cancellation left open in ``run`` at its worst case; returns how many."""
        with self._store.write() as connection:
            return connection.execute(tables.CLOSE, {"of": run}).rowcount
