"""What tools and middlewares of an agent keep beside its history: small JSON values by name.

They survive a restart and are fenced like everything else an agent writes."""

import json
from collections.abc import Sequence

from asteros import errors
from asteros.runtime.journal import Journal
from asteros.stores.base import PutNote, Store
from asteros.tools.base import JsonValue

MAX_NOTE = 256 * 1024  # bytes of one value as JSON
MAX_NAME = 200  # characters
PLAN_NOTE = "plan_mode"  # of a session: it has entered (true) or left (false) plan mode by itself


class AgentNotes:
    """``tools.base.Notes`` of one session, or (scope "") of the whole agent."""

    def __init__(self, store: Store, journal: Journal, scope: str) -> None:
        self._store = store
        self._journal = journal
        self._scope = scope

    async def names(self) -> Sequence[str]:
        return list(await self._all())

    async def get(self, name: str) -> JsonValue:
        value = (await self._all()).get(name)
        return None if value is None else json.loads(value)

    async def put(self, name: str, value: JsonValue) -> None:
        if not 0 < len(name) <= MAX_NAME:
            raise errors.bad_field("name", f"a note's name has 1 to {MAX_NAME} characters")
        data = None if value is None else json.dumps(value, ensure_ascii=False).encode()
        if data is not None and len(data) > MAX_NOTE:
            raise errors.bad_field("value", f"a note has at most {MAX_NOTE} bytes and this one {len(data)}")
        await self._journal.write((), [PutNote(self._scope, name, data)])

    async def _all(self) -> dict[str, bytes]:
        return await self._store.notes(self._journal.ref.key, self._scope)
