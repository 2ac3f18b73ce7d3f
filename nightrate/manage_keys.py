"""``nightrate keys``: opens the data directory if it is free, else speaks to the server in it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

from nightrate import administer
from nightrate.administer import ask_opened, call_for, inline
from nightrate.dialects import administration as dialect
from nightrate.dialects.administration import KeyDocument, KeysDocument
from nightrate.domain.key import KeyWish
from nightrate.service.keys import Keys
from nightrate.service.vault import Vault
from nightrate.store.directory import DataDirectory
from nightrate.store.sqlite import SQLiteStore

T = TypeVar("T")


async def create_key(data: Path, wish: KeyWish) -> KeyDocument:
    """Make a key.

    Raises:
        Refused, RefusedByServer: a tenant, a name or an end that cannot be.
        StoreFault: the directory cannot be used.
    """

    async def here(keys: Keys) -> KeyDocument:
        return dialect.document_of(*await keys.create(wish))

    body = dialect.write_order(wish)
    return await ask_opened(
        data, _opened, here, lambda: call_for(data, "POST", "/keys", body, KeyDocument)
    )


async def list_keys(data: Path) -> list[KeyDocument]:
    """Give every key that was ever made, the newest first.

    Raises:
        StoreFault: the directory cannot be used, or there is none.
    """

    async def here(keys: Keys) -> list[KeyDocument]:
        return [dialect.document_of(key) for key in await keys.list()]

    administer.require_directory(data)
    return await ask_opened(
        data,
        _opened,
        here,
        lambda: call_for(data, "GET", "/keys", None, KeysDocument).keys,
    )


async def revoke_key(data: Path, key_id: str) -> KeyDocument:
    """End a key; with a running server, no later call gets in with it.

    Raises:
        NotFound, RefusedByServer: there is none of that id.
        StoreFault: the directory cannot be used, or there is none.
    """

    async def here(keys: Keys) -> KeyDocument:
        return dialect.document_of(await keys.revoke(key_id))

    administer.require_directory(data)
    body = dialect.write_revocation(key_id)
    return await ask_opened(
        data,
        _opened,
        here,
        lambda: call_for(data, "POST", "/keys:revoke", body, KeyDocument),
    )


@contextlib.asynccontextmanager
async def _opened(directory: DataDirectory) -> AsyncIterator[Keys]:
    """Open the store; nothing of it but keys is touched."""
    vault = Vault(directory.keys)
    store = SQLiteStore(directory.database, inline)
    try:
        yield Keys(store, vault)
    finally:
        await store.close()
