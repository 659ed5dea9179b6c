"""API keys: ``ast_<id>_<secret>``, shown once, stored as an HMAC (security, part 2).

A fast hash is right for random keys of 256 bits; an unknown id does the same work as
a known one. What was looked up is remembered for a few seconds, so that a revoked key
is refused within REVOKE_SECONDS on every replica."""

import hashlib
import hmac
import re
import secrets
from collections import deque
from collections.abc import Mapping

from aster.v1 import access_service_pb2
from asteros import clock, errors
from asteros.services.access_table import SCOPES
from asteros.services.call import Caller
from asteros.stores.base import DEFAULT_TENANT, KeyRow, Store

REVOKE_SECONDS = 3.0  # how long a looked-up key is trusted
BAD_TRIES = 10  # per address and minute
_KEY = re.compile(r"ast_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
LOCAL = Caller("local", DEFAULT_TENANT, None)
# Metadata of the bridge: the address of its client, which counts beside the token alone.
CLIENT_ADDRESS, BRIDGE_TOKEN = "aster-client-address", "aster-bridge-token"


def new_key(
    store_secret: bytes, tenant: str, name: str, scopes: list[str], expire: int | None = None
) -> tuple[KeyRow, str]:
    """A new key and its text, which is stored nowhere."""
    key_id = secrets.token_hex(6)
    secret = secrets.token_urlsafe(32)
    key = access_service_pb2.ApiKey(
        id=key_id, name=name, scopes=sorted(set(scopes)), create_time=clock.timestamp(clock.now())
    )
    if expire is not None:
        key.expire_time.CopyFrom(clock.timestamp(expire))
    return KeyRow(tenant, key, _digest(store_secret, secret)), f"ast_{key_id}_{secret}"


def _digest(store_secret: bytes, secret: str) -> bytes:
    return hmac.digest(hashlib.sha256(store_secret + b"api keys").digest(), secret.encode(), "sha256")


class Credentials:
    """Finds the caller behind a request's metadata."""

    def __init__(self, store: Store, *, enabled: bool, api_key: str = "") -> None:
        self._store = store
        self.enabled = enabled
        self._api_key = api_key.encode()
        self._known: dict[str, tuple[float, KeyRow | None]] = {}
        self._bad: dict[str, deque[float]] = {}
        self.bridge_token = ""  # random for each start; "": no bridge

    async def caller(self, metadata: Mapping[str, str], peer: str) -> Caller:
        """
        :raises InvalidCredentials: one text for all causes.
        :raises AuthRateLimited: too many bad tries from this address."""
        if not self.enabled:
            return LOCAL
        address = self._address(metadata, peer)
        self._refuse_guessing(address)
        found = await self._find(_presented(metadata))
        if found is None:
            self._bad.setdefault(address, deque()).append(clock.monotonic())
            raise errors.InvalidCredentials("credentials are missing or not valid")
        return found

    async def valid(self, metadata: Mapping[str, str]) -> bool:
        """The credential of a call that was let in still holds."""
        return not self.enabled or await self._find(_presented(metadata)) is not None

    def _address(self, metadata: Mapping[str, str], peer: str) -> str:
        """Where a call comes from: what the bridge says about its own client, else the peer."""
        token = metadata.get(BRIDGE_TOKEN, "")
        if self.bridge_token and hmac.compare_digest(token.encode(), self.bridge_token.encode()):
            return metadata.get(CLIENT_ADDRESS, "")
        return peer.rpartition(":")[0]

    def _refuse_guessing(self, address: str) -> None:
        tries = self._bad.get(address)
        if not tries:
            return
        now = clock.monotonic()
        while tries and now - tries[0] > 60:
            tries.popleft()
        if not tries:
            del self._bad[address]
        elif len(tries) >= BAD_TRIES:
            raise errors.AuthRateLimited(retry_after=60 - (now - tries[0]))

    async def _find(self, presented: str) -> Caller | None:
        if self._api_key and hmac.compare_digest(presented.encode(), self._api_key):
            return Caller("api-key", DEFAULT_TENANT, SCOPES)
        match = _KEY.fullmatch(presented)
        key_id, secret = (match[1], match[2]) if match else ("0" * 12, "")
        row = await self._row(key_id)
        digest = _digest(self._store.secret, secret)
        if not hmac.compare_digest(digest, row.digest if row else bytes(32)) or row is None:
            return None
        return _caller(row)

    async def _row(self, key_id: str) -> KeyRow | None:
        now = clock.monotonic()
        known = self._known.get(key_id)
        if known is None or now - known[0] > REVOKE_SECONDS:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[key_id] = (now, await self._store.key(key_id))
            await self._used(known[1])
        return known[1]

    async def _used(self, row: KeyRow | None) -> None:
        """Notes the use of a key, to the minute."""
        if row is None or row.key.HasField("revoke_time"):
            return
        minute = clock.now() // (60 * clock.NANOS) * 60
        if row.key.last_use_time.seconds != minute:
            row.key.last_use_time.seconds = minute
            await self._store.note_key_use(row.key.id, minute)

    def forget(self, key_id: str) -> None:
        """A key was changed here: look it up anew."""
        self._known.pop(key_id, None)


def _caller(row: KeyRow) -> Caller | None:
    key = row.key
    if key.HasField("revoke_time"):
        return None
    if key.HasField("expire_time") and clock.nanos(key.expire_time) <= clock.now():
        return None
    return Caller(key.name or key.id, row.tenant, frozenset(key.scopes))


def _presented(metadata: Mapping[str, str]) -> str:
    """The credential of a request: ``authorization: Bearer <key>``, a bare key there, or ``x-api-key``."""
    value = metadata.get("authorization") or metadata.get("x-api-key") or ""
    scheme, _, rest = value.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" and rest else value.strip()
