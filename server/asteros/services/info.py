"""ServerService: facts about this process."""

from collections.abc import Sequence

from aster.v1 import server_service_pb2 as pb
from asteros import __version__, clock
from asteros.sandbox.sandboxes import Sandboxes
from asteros.services.call import Call


class ServerServicer:
    """What GetServerInfo tells."""

    def __init__(
        self, name: str, store: str, interfaces: Sequence[str], sandboxes: Sandboxes, unavailable: Sequence[str]
    ) -> None:
        self._name = name
        self._store = store
        self._interfaces = interfaces
        self._sandboxes = sandboxes
        self._unavailable = unavailable
        self._began = clock.monotonic()

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, call: Call) -> pb.GetServerInfoResponse:  # noqa: ARG002
        info = pb.ServerInfo(
            name=self._name,
            version=__version__,
            uptime=clock.duration(clock.monotonic() - self._began),
            interfaces=self._interfaces,
            store=self._store,
            sandbox_tier=await self._sandboxes.tier(),
            unavailable_features=self._unavailable,
        )
        if call.caller.has("admin"):
            found = await self._sandboxes.found()
            info.sandbox_missing.extend(f"{one.tier}: {one.missing}" for one in found if one.kind is None)
        return pb.GetServerInfoResponse(server=info)
