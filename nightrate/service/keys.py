"""API keys: made, listed and revoked by the administrator, checked at every call.

Every key is held in memory, and read again from the store after a while: a call costs one HMAC at
most, an unknown key no look at the disk. What is changed through this object counts at once.
"""

from __future__ import annotations

import asyncio
import hmac

import msgspec

from nightrate import clock, limits, telemetry
from nightrate.domain.key import (
    ID_CHARACTERS,
    SECRET_BYTES,
    ApiKey,
    KeyWish,
    is_key_id,
    is_tenant,
    read_key,
    write_key,
)
from nightrate.errors import BadRequest, NotFound, StoreFault
from nightrate.service.vault import Vault
from nightrate.store.base import Store

_SECONDS_A_DAY = 86_400


class Keys:
    """The keys of one server."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._keys: dict[str, ApiKey] = {}
        self._read_at: float | None = None
        self._lock = asyncio.Lock()
        self._recording: set[asyncio.Task[None]] = set()
        self._nobody = vault.digest("")

    # checking ---------------------------------------------------------------------------------

    async def needed(self) -> bool:
        """Tell whether calls must bring a key: from the first one that was ever made on.

        Revoked and expired ones count, so that a server never falls open by itself.
        """
        await self._refresh()
        return bool(self._keys)

    async def any_live(self) -> bool:
        """Tell whether anybody could call at all."""
        await self._refresh()
        now = clock.now()
        return any(key.is_live(now) for key in self._keys.values())

    async def tenant_of(self, text: str) -> str | None:
        """Name the tenant of a key; None when it is none of ours, or not any more."""
        await self._refresh()
        parts = read_key(text)
        if parts is None:
            return None
        key_id, secret = parts
        key = self._keys.get(key_id)
        # An unknown id costs what a known one does.
        wanted = self._nobody if key is None else key.digest
        same = hmac.compare_digest(self._vault.digest(secret), wanted)
        now = clock.now()
        if key is None or not same or not key.is_live(now):
            return None
        if key.used_at is None or not 0 <= now - key.used_at < limits.KEY_USE_SECONDS * 1_000_000:
            self._note_use(key, now)
        return key.tenant

    def _note_use(self, key: ApiKey, now: clock.Instant) -> None:
        """Record a use while the call goes on."""
        self._keys[key.key_id] = msgspec.structs.replace(key, used_at=now)
        task = asyncio.create_task(self._record_use(key.key_id, now))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _record_use(self, key_id: str, now: clock.Instant) -> None:
        before = clock.later(now, -limits.KEY_USE_SECONDS)
        try:
            await self._store.touch_key(key_id, now, before)
        except StoreFault as fault:  # nobody's call fails for it
            telemetry.fault("the use of a key was not recorded", fault)

    async def _refresh(self) -> None:
        read_at = self._read_at
        if read_at is not None and clock.monotonic() - read_at < limits.KEY_CACHE_SECONDS:
            return
        async with self._lock:
            if self._read_at == read_at:  # nobody else has read them while we waited
                await self._read()

    async def _read(self) -> None:
        """Read every key; the lock is held, so that no older reading replaces a newer one."""
        self._keys = {key.key_id: key for key in await self._store.list_keys()}
        self._read_at = clock.monotonic()

    # administration ---------------------------------------------------------------------------

    async def create(self, wish: KeyWish) -> tuple[ApiKey, str]:
        """Make a key, and give it with its text: nobody can tell that a second time.

        Raises:
            BadRequest: a tenant, a name or an end that cannot be.
            OverQuota: there are too many.
        """
        _check(wish)
        key_id = clock.new_id(ID_CHARACTERS)
        secret, text = write_key(key_id, clock.secret_bytes(SECRET_BYTES))
        now = clock.now()
        days = wish.expires_in_days
        key = ApiKey(
            key_id=key_id,
            tenant=wish.tenant,
            name=wish.name,
            digest=self._vault.digest(secret),
            created_at=now,
            expires_at=None if days is None else clock.later(now, days * _SECONDS_A_DAY),
        )
        async with self._lock:
            await self._store.add_key(key, limits.KEYS_MAX)
            await self._read()
        return key, text

    async def list(self) -> list[ApiKey]:
        """Give every key that was ever made, the newest first."""
        async with self._lock:
            await self._read()
            return list(self._keys.values())

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key; no call that begins after this returned gets in with it.

        Raises:
            NotFound: there is none of that id.
        """
        found = None
        if is_key_id(key_id):
            async with self._lock:
                found = await self._store.revoke_key(key_id, clock.now())
                await self._read()
        if found is None:  # what was given is not repeated: it may be a whole key
            raise NotFound("There is no key of that id; `nightrate keys list` shows them.")
        return found

    async def close(self) -> None:
        """Finish what is being recorded."""
        await asyncio.gather(*self._recording)


def _check(wish: KeyWish) -> None:
    most = limits.TENANT_CHARACTERS_MAX
    if len(wish.tenant) > most or not is_tenant(wish.tenant):
        message = f"The name of a tenant has 1 to {most} of a-z, 0-9 and inner dashes."
        raise BadRequest(message, field="tenant")
    most = limits.KEY_NAME_CHARACTERS_MAX
    if len(wish.name) > most or not wish.name.isprintable():
        message = f"The name of a key has at most {most} printable characters."
        raise BadRequest(message, field="name")
    days, most = wish.expires_in_days, limits.KEY_DAYS_MAX
    if days is not None and not 1 <= days <= most:
        message = f"A key expires in 1 to {most} days, or never."
        raise BadRequest(message, field="expiresInDays")
