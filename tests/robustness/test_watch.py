"""10,000 agents, 100 watchers: everybody sees every change once, also across kill -9."""

import asyncio
import contextlib
from pathlib import Path

import grpc
import pytest
from robustness import agents
from robustness.harness import ServerProcess, Stubs

from aster.v1 import agent_service_pb2 as pb
from aster.v1 import cosmos_service_pb2 as cosmos

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600)]
AGENTS, WATCHERS = 10_000, 100
AT_ONCE = 32  # creations in flight


class Watcher:
    """Follows the list over any number of servers; every change it has seen, in order."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs
        self.cursor = ""
        self.known: set[str] = set()  # what there is, as it has learned
        self.changes: list[str] = []  # cursors: the same change has the same for everybody
        self.wrong: list[str] = []
        self.snapshots = 0

    async def run(self) -> None:
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                request = cosmos.WatchResourcesRequest(cursor=self.cursor)
                self.snapshots += not self.cursor
                async for response in self._stubs.cosmos.WatchResources(request, wait_for_ready=True):
                    for change in response.changes:
                        self._take(change)
            await asyncio.sleep(0.02)

    def _take(self, change: cosmos.ResourceChange) -> None:
        name = change.resource.id
        if change.kind in (cosmos.CHANGE_KIND_SNAPSHOT, cosmos.CHANGE_KIND_REGISTERED):
            if name in self.known:
                self.wrong.append(f"{name} twice")
            self.known.add(name)
        elif change.kind == cosmos.CHANGE_KIND_UNREGISTERED:
            if name not in self.known:
                self.wrong.append(f"{name} is gone and never was")
            self.known.discard(name)
        if change.cursor:
            self.cursor = change.cursor
        if change.kind != cosmos.CHANGE_KIND_BOOKMARK and change.cursor:
            self.changes.append(change.cursor)


async def _create(stubs: Stubs, names: list[str]) -> None:
    """Creates agents whatever happens to the server; a repeated request makes none twice."""

    async def work() -> None:
        while names:
            name = names.pop()
            request = pb.CreateAgentRequest(agent_id=name, config=agents.model("echo"), request_id=f"make-{name}")
            while True:
                try:
                    await stubs.agents.CreateAgent(request, wait_for_ready=True)
                    break
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def test_every_watcher_sees_every_change_once(tmp_path: Path) -> None:
    first = [f"a{number:05}" for number in range(AGENTS // 2)]
    second = [f"b{number:05}" for number in range(AGENTS // 2)]
    server = ServerProcess(tmp_path)
    async with server, contextlib.AsyncExitStack() as stack:
        stubs = await stack.enter_async_context(Stubs(server.address))
        await _create(stubs, list(first))
        channels = [await stack.enter_async_context(Stubs(server.address)) for _ in range(10)]
        watchers = [Watcher(channels[number % 10]) for number in range(WATCHERS)]
        tasks = [asyncio.create_task(watcher.run()) for watcher in watchers]
        async with asyncio.timeout(60):
            while not all(watcher.cursor for watcher in watchers):
                await asyncio.sleep(0.05)
        creating = asyncio.create_task(_create(stubs, list(second)))
        await asyncio.sleep(2.0)
        await server.kill()
        await server.start()
        await creating
        for name in first[:100]:
            await stubs.agents.DeleteAgent(pb.DeleteAgentRequest(agent_id=name), wait_for_ready=True)
        expected = {*first[100:], *second}
        async with asyncio.timeout(120):
            while not all(watcher.known == expected for watcher in watchers):
                await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert [watcher.wrong for watcher in watchers if watcher.wrong] == []
    assert {watcher.snapshots for watcher in watchers} == {1}, "who has a cursor needs no second snapshot"
    assert {tuple(watcher.changes) for watcher in watchers} == {tuple(watchers[0].changes)}
    assert len(watchers[0].changes) == len(second) + 100
