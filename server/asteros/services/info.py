"""ServerService: facts about this process."""

from collections.abc import Sequence

from aster.v1 import server_service_pb2 as pb
from asteros import __version__, clock
from asteros.services.call import Call


class ServerServicer:
    """What GetServerInfo tells."""

    def __init__(self, name: str, store: str, interfaces: Sequence[str], unavailable: Sequence[str]) -> None:
        self._name = name
        self._store = store
        self._interfaces = interfaces
        self._unavailable = unavailable
        self._began = clock.monotonic()

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, call: Call) -> pb.GetServerInfoResponse:  # noqa: ARG002
        info = pb.ServerInfo(
            name=self._name,
            version=__version__,
            uptime=clock.duration(clock.monotonic() - self._began),
            interfaces=self._interfaces,
            store=self._store,
            sandbox_tier="none",
            unavailable_features=self._unavailable,
        )
        if call.caller.has("admin"):
            info.sandbox_missing.append("this version has no sandbox: Bash refuses every command")
        return pb.GetServerInfoResponse(server=info)
