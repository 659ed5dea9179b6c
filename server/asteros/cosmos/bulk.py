"""One thing done to many agents, some at once (ForEachAgent)."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from aster.v1 import cosmos_service_pb2 as pb
from asteros import errors
from asteros.cosmos.registry import Registry
from asteros.stores.base import AgentFilter

PAGE = 1000  # agents read at once
_Do = Callable[[Registry, str, str], Awaitable[None]]


async def for_each(
    registry: Registry, tenant: str, only: AgentFilter, action: int, *, at_once: int, stop_on_error: bool
) -> AsyncGenerator[pb.AgentActionResult, None]:
    """What became of each agent that fits now, as soon as it is known.

    Agents that come later are left alone. With ``stop_on_error`` the first failure is the
    last result. Closed or cancelled: what runs is cancelled, as its single call would be."""
    names = await _names(registry, tenant, only)
    names.reverse()
    results: asyncio.Queue[pb.AgentActionResult] = asyncio.Queue()
    count = len(names)

    async def work() -> None:
        while names:
            results.put_nowait(await _result(registry, tenant, names.pop(), _ACTIONS[action]))

    workers = [asyncio.create_task(work(), name="for each agent") for _ in range(min(at_once, count))]
    try:
        for _ in range(count):
            result = await results.get()
            yield result
            if stop_on_error and result.HasField("error"):
                return
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _names(registry: Registry, tenant: str, only: AgentFilter) -> list[str]:
    names: list[str] = []
    while page := await registry.deps.store.agents(tenant, names[-1] if names else "", PAGE, only):
        names += [row.agent.id for row in page]
    return names


async def _result(registry: Registry, tenant: str, agent_id: str, do: _Do) -> pb.AgentActionResult:
    try:
        await do(registry, tenant, agent_id)
    except Exception as error:  # of one agent: the others go on
        return pb.AgentActionResult(agent_id=agent_id, error=errors.status_of(error))
    return pb.AgentActionResult(agent_id=agent_id)


async def _start(registry: Registry, tenant: str, agent_id: str) -> None:
    async with registry.agent(tenant, agent_id) as agent:
        await agent.start()


async def _evict(registry: Registry, tenant: str, agent_id: str) -> None:
    await registry.put_out(tenant, agent_id)


async def _interrupt(registry: Registry, tenant: str, agent_id: str) -> None:
    async with registry.agent(tenant, agent_id) as agent:
        if agent.mailbox.current is not None:
            await agent.interrupt(agent.mailbox.current.turn.id, "interrupted with others")


async def _close(registry: Registry, tenant: str, agent_id: str) -> None:
    async with registry.agent(tenant, agent_id) as agent:
        await agent.close()


async def _delete(registry: Registry, tenant: str, agent_id: str) -> None:
    await registry.delete(tenant, agent_id, "", force=True)


_ACTIONS: dict[int, _Do] = {
    pb.AGENT_ACTION_START: _start,
    pb.AGENT_ACTION_EVICT: _evict,
    pb.AGENT_ACTION_INTERRUPT: _interrupt,
    pb.AGENT_ACTION_CLOSE: _close,
    pb.AGENT_ACTION_DELETE: _delete,
}
