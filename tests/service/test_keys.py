"""Keys are made, checked and revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from nightrate import clock, limits
from nightrate.domain.key import ApiKey, KeyWish
from nightrate.errors import BadRequest, NotFound, OverQuota, StoreFault
from nightrate.service.keys import Keys
from nightrate.service.vault import Vault
from nightrate.store.sqlite import SQLiteStore
from tests.service.home import inline

DAY = 86_400


class Bench:
    """Keys of one server, over a store that counts how often it is read."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.store = SQLiteStore(path / "state.sqlite", inline)
        self.vault = Vault(path / "keys")
        self.keys = Keys(self.store, self.vault)
        self.reads = 0
        self.touches: list[str] = []
        self._patch = patch
        listed, touched = self.store.list_keys, self.store.touch_key

        async def list_keys() -> list[ApiKey]:
            self.reads += 1
            await asyncio.sleep(0)  # others get their turn, as with a real disk
            return await listed()

        async def touch_key(key_id: str, now: int, before: int) -> None:
            self.touches.append(key_id)
            await touched(key_id, now, before)

        patch.setattr(self.store, "list_keys", list_keys)
        patch.setattr(self.store, "touch_key", touch_key)

    def wait(self, seconds: float) -> None:
        """Let so much time pass."""
        now, monotonic = clock.now(), clock.monotonic()
        self._patch.setattr(clock, "now", lambda: clock.later(now, seconds))
        self._patch.setattr(clock, "monotonic", lambda: monotonic + seconds)

    async def make(self, tenant: str = "acme", days: int | None = None) -> str:
        """Make a key and give its text."""
        _, text = await self.keys.create(KeyWish(tenant=tenant, expires_in_days=days))
        return text


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, monkeypatch)
    yield bench
    await bench.keys.close()
    await bench.store.close()


async def test_a_key_names_its_tenant(bench: Bench) -> None:
    ours, theirs = await bench.make("ours"), await bench.make("theirs")
    assert await bench.keys.tenant_of(ours) == "ours"
    assert await bench.keys.tenant_of(theirs) == "theirs"


async def test_neither_the_secret_nor_the_key_is_kept(bench: Bench, tmp_path: Path) -> None:
    text = await bench.make()
    await bench.store.close()
    kept = (tmp_path / "state.sqlite").read_bytes()
    assert text[3:11].encode() in kept
    assert text[12:].encode() not in kept
    bench.store = SQLiteStore(tmp_path / "state.sqlite", inline)


async def test_a_key_with_another_secret_or_id_is_none(bench: Bench) -> None:
    text, other = await bench.make(), await bench.make()
    assert await bench.keys.tenant_of(text[:12] + other[12:]) is None
    assert await bench.keys.tenant_of("nr_00000000_" + text[12:]) is None
    assert await bench.keys.tenant_of(text[:-1]) is None
    assert await bench.keys.tenant_of("") is None


async def test_a_key_of_another_server_is_none(bench: Bench, tmp_path: Path) -> None:
    text = await bench.make()
    for name in ("pepper.key", "sums"):
        (tmp_path / "keys" / name).unlink()
    assert await Keys(bench.store, Vault(tmp_path / "keys")).tenant_of(text) is None


async def test_keys_survive_a_restart(bench: Bench, tmp_path: Path) -> None:
    text = await bench.make()
    again = Keys(bench.store, Vault(tmp_path / "keys"))
    assert await again.needed()
    assert await again.tenant_of(text) == "acme"
    await again.close()


async def test_a_revoked_key_is_none_at_once(bench: Bench) -> None:
    text = await bench.make()
    assert await bench.keys.tenant_of(text) == "acme"
    revoked = await bench.keys.revoke(text[3:11])
    assert revoked.revoked_at is not None
    assert await bench.keys.tenant_of(text) is None
    assert (await bench.keys.revoke(text[3:11])).revoked_at == revoked.revoked_at


async def test_a_reading_that_began_before_a_revocation_does_not_undo_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = await bench.make()
    bench.wait(limits.KEY_CACHE_SECONDS)
    reading, go_on = asyncio.Event(), asyncio.Event()
    listed = bench.store.list_keys

    async def slow() -> list[ApiKey]:
        found = await listed()
        reading.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(bench.store, "list_keys", slow)
    check = asyncio.create_task(bench.keys.tenant_of(text))
    await reading.wait()
    revoking = asyncio.create_task(bench.keys.revoke(text[3:11]))
    await asyncio.sleep(0)
    go_on.set()
    assert await check == "acme"  # it came before
    await revoking
    assert await bench.keys.tenant_of(text) is None


async def test_an_expired_key_is_none(bench: Bench) -> None:
    text = await bench.make(days=2)
    bench.wait(2 * DAY - 1)
    assert await bench.keys.tenant_of(text) == "acme"
    assert await bench.keys.any_live()
    bench.wait(1)
    assert await bench.keys.tenant_of(text) is None
    assert not await bench.keys.any_live()


async def test_keys_are_needed_from_the_first_one_on_for_good(bench: Bench) -> None:
    assert not await bench.keys.needed()
    assert not await bench.keys.any_live()
    text = await bench.make()
    assert await bench.keys.needed()
    assert await bench.keys.any_live()
    await bench.keys.revoke(text[3:11])
    assert await bench.keys.needed()
    assert not await bench.keys.any_live()


# how often the store is asked ------------------------------------------------------------------


async def test_keys_are_read_once_for_many_calls(bench: Bench) -> None:
    text = await bench.make()
    before = bench.reads
    await asyncio.gather(*(bench.keys.tenant_of(text) for _ in range(50)))
    await asyncio.gather(*(bench.keys.tenant_of("nr_00000000_" + text[12:]) for _ in range(50)))
    assert bench.reads == before
    bench.wait(limits.KEY_CACHE_SECONDS)
    await asyncio.gather(*(bench.keys.tenant_of(text) for _ in range(50)))
    assert bench.reads == before + 1


async def test_a_change_by_others_counts_after_a_while(bench: Bench) -> None:
    text = await bench.make()
    await bench.store.revoke_key(text[3:11], clock.now())
    assert await bench.keys.tenant_of(text) == "acme"
    bench.wait(limits.KEY_CACHE_SECONDS)
    assert await bench.keys.tenant_of(text) is None


async def test_a_store_in_trouble_lets_nobody_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = await bench.make()

    async def broken() -> list[ApiKey]:
        raise StoreFault

    monkeypatch.setattr(bench.store, "list_keys", broken)
    bench.wait(limits.KEY_CACHE_SECONDS)
    with pytest.raises(StoreFault):
        await bench.keys.tenant_of(text)
    with pytest.raises(StoreFault):
        await bench.keys.needed()


async def test_a_use_is_recorded_once_a_minute(bench: Bench) -> None:
    text = await bench.make()
    for _ in range(3):
        await bench.keys.tenant_of(text)
    await bench.keys.close()
    bench.wait(limits.KEY_USE_SECONDS - 1)
    await bench.keys.tenant_of(text)
    await bench.keys.close()
    assert bench.touches == [text[3:11]]
    bench.wait(1)
    await bench.keys.tenant_of(text)
    await bench.keys.close()
    assert bench.touches == [text[3:11]] * 2
    assert (await bench.keys.list())[0].used_at == clock.now()


async def test_a_wrong_secret_is_no_use_of_a_key(bench: Bench) -> None:
    text = await bench.make()
    await bench.keys.tenant_of(text[:12] + "x" * 43)
    await bench.keys.close()
    assert bench.touches == []


async def test_a_use_that_cannot_be_recorded_fails_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(key_id: str, now: int, before: int) -> None:
        raise StoreFault(f"{key_id} {now} {before}")

    monkeypatch.setattr(bench.store, "touch_key", broken)
    text = await bench.make()
    assert await bench.keys.tenant_of(text) == "acme"
    await bench.keys.close()
    assert "the use of a key was not recorded" in caplog.text


# administration --------------------------------------------------------------------------------


async def test_keys_are_listed_as_they_were_made(bench: Bench) -> None:
    wish = KeyWish(tenant="t", name="laptop of Ada", expires_in_days=1)
    key, _ = await bench.keys.create(wish)
    assert (key.tenant, key.name, key.used_at, key.revoked_at) == ("t", wish.name, None, None)
    assert key.expires_at == clock.later(key.created_at, DAY)
    assert await bench.keys.list() == [key]


async def test_an_unknown_key_cannot_be_revoked_and_is_not_repeated(bench: Bench) -> None:
    text = await bench.make()
    for unknown in ("00000000", text, "../x"):
        with pytest.raises(NotFound) as caught:
            await bench.keys.revoke(unknown)
        assert unknown not in caught.value.message
    assert await bench.keys.tenant_of(text) == "acme"


@pytest.mark.parametrize(
    "wish",
    [
        KeyWish(tenant=""),
        KeyWish(tenant="A"),
        KeyWish(tenant="a/b"),
        KeyWish(tenant="a" * 41),
        KeyWish(name="x" * 101),
        KeyWish(name="a\nb"),
        KeyWish(expires_in_days=0),
        KeyWish(expires_in_days=-1),
        KeyWish(expires_in_days=3_651),
    ],
    ids=msgspec.json.encode,
)
async def test_a_key_that_cannot_be_is_refused(bench: Bench, wish: KeyWish) -> None:
    with pytest.raises(BadRequest):
        await bench.keys.create(wish)
    assert await bench.keys.list() == []


async def test_there_is_an_end_to_how_many_keys_there_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEYS_MAX", 1)
    await bench.make()
    with pytest.raises(OverQuota, match="revoke one"):
        await bench.make()
