"""The verbs about API keys, in SQL."""

from __future__ import annotations

from nightrate.clock import Instant
from nightrate.domain.key import ApiKey
from nightrate.errors import Conflict, OverQuota
from nightrate.store import key_statements as sql
from nightrate.store.relational import Relational
from nightrate.store.rows import Row, columns

_NAMES = tuple(name.strip() for name in sql.KEY_COLUMNS.split(","))


class KeyVerbs(Relational):
    """See `Store`, keys."""

    async def add_key(self, key: ApiKey, most: int) -> None:
        """See `Store.add_key`."""
        values = columns(key)

        def call() -> None:
            if self._aggregate(sql.COUNT_LIVE_KEYS, values)[0] >= most:
                raise OverQuota(f"There are {most} keys already; revoke one of them first.")
            if self._one(sql.ADD_KEY, values) is None:
                raise Conflict(f"Key {key.key_id} exists already.")

        await self._write(call)

    async def list_keys(self) -> list[ApiKey]:
        """See `Store.list_keys`."""
        return [_key_of(row) for row in await self._read(sql.LIST_KEYS, {})]

    async def revoke_key(self, key_id: str, now: Instant) -> ApiKey | None:
        """See `Store.revoke_key`."""
        values = {"key_id": key_id, "now": now}
        row = await self._write(lambda: self._one(sql.REVOKE_KEY, values))
        return None if row is None else _key_of(row)

    async def touch_key(self, key_id: str, now: Instant, before: Instant) -> None:
        """See `Store.touch_key`."""
        values = {"key_id": key_id, "now": now, "before": before}
        await self._write(lambda: self._all(sql.TOUCH_KEY, values))


def _key_of(row: Row) -> ApiKey:
    return ApiKey(**dict(zip(_NAMES, row, strict=True)))
