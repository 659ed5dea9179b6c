"""`asteros keys`: API keys of a data directory, also beside a running server."""

import argparse

from asteros import clock
from asteros.errors import ApiKeyNotFound, ConfigError
from asteros.services.access_table import SCOPES
from asteros.services.credentials import new_key
from asteros.stores.base import DEFAULT_TENANT, KeyRow
from asteros.stores.sqlite import SqliteStore


async def run(action: str, flags: argparse.Namespace) -> None:
    """
    :raises ApiKeyNotFound, ConfigError:"""
    store = SqliteStore(flags.data_dir, exclusive=False)
    await store.open()
    try:
        if action == "create":
            await _create(store, flags)
        elif action == "list":
            await _list(store)
        else:
            await _revoke(store, flags.id)
    finally:
        await store.aclose()


async def _create(store: SqliteStore, flags: argparse.Namespace) -> None:
    scopes = flags.scope or sorted(SCOPES)
    unknown = sorted(set(scopes) - SCOPES)
    if unknown:
        raise ConfigError(f"--scope {unknown[0]}: no such scope; there are {', '.join(sorted(SCOPES))}")
    if flags.days is not None and not 0 < flags.days <= 36_500:
        raise ConfigError("--days: must be above 0 and at most 36500")
    expire = None if flags.days is None else clock.now() + int(flags.days * 86400 * clock.NANOS)
    row, text = new_key(store.secret, DEFAULT_TENANT, flags.name, scopes, expire)
    await store.put_key(row)
    print(text)


async def _list(store: SqliteStore) -> None:
    for row in await store.keys(DEFAULT_TENANT, "", 10_000):
        print(_line(row))


def _line(row: KeyRow) -> str:
    key = row.key
    expired = key.HasField("expire_time") and clock.nanos(key.expire_time) <= clock.now()
    state = "revoked" if key.HasField("revoke_time") else "expired" if expired else "live"
    used = key.last_use_time.ToJsonString() if key.HasField("last_use_time") else "never"
    return f"{key.id}  {state:7}  {key.name}  last used {used}  {' '.join(key.scopes)}"


async def _revoke(store: SqliteStore, key_id: str) -> None:
    row = await store.key(key_id)
    if row is None:
        raise ApiKeyNotFound(key_id)
    if not row.key.HasField("revoke_time"):
        row.key.revoke_time.CopyFrom(clock.timestamp(clock.now()))
        await store.put_key(row)
    print(f"revoked {key_id}")
