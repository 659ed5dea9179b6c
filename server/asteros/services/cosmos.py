"""CosmosService: everything this server hosts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aster.v1 import cosmos_service_pb2 as pb
from asteros import errors
from asteros.cosmos import bulk
from asteros.cosmos.registry import Registry
from asteros.cosmos.resources import resource
from asteros.events.hub import Hub
from asteros.events.subscription import WRITE_LIMIT
from asteros.services.call import Call
from asteros.services.paging import Pages
from asteros.stores.base import AgentFilter
from asteros.stores.resources import KINDS, STAR, WORKFLOW

AT_ONCE, MOST_AT_ONCE = 8, 64  # agents of ForEachAgent


class CosmosServicer:
    """Check, call, translate; the work is done in ``cosmos``."""

    def __init__(self, registry: Registry, hub: Hub, pages: Pages) -> None:
        self._registry = registry
        self._resources = registry.resources
        self._hub = hub
        self._pages = pages

    async def GetCosmos(self, request: pb.GetCosmosRequest, call: Call) -> pb.GetCosmosResponse:  # noqa: ARG002
        tenant = call.caller.tenant
        counts = await self._registry.deps.store.counts(tenant)
        registered = await self._resources.store.counts(tenant)
        cosmos = pb.Cosmos(
            max_agents=self._registry.limits.max_agents,
            awake_agent_count=self._registry.awake_of(tenant),
            max_awake_agents=self._registry.limits.max_awake,
            remote_agent_count=len(self._registry.remotes.connected(tenant)),
            star_count=registered.get(STAR, 0),
            workflow_count=registered.get(WORKFLOW, 0),
            subscription_count=self._hub.count_of(tenant),
            **counts,
        )
        return pb.GetCosmosResponse(cosmos=cosmos)

    async def ListResources(self, request: pb.ListResourcesRequest, call: Call) -> pb.ListResourcesResponse:
        size, token = self._pages.size(request), self._pages.start(call, request)
        kind, _, name = token.partition(" ")
        after = (int(kind), name) if token else (0, "")
        rows = await self._resources.store.page(call.caller.tenant, list(request.kinds) or KINDS, after, size + 1)
        response = pb.ListResourcesResponse(resources=map(resource, rows[:size]))
        if len(rows) > size:
            last = rows[size - 1]
            response.next_page_token = self._pages.token(call, request, f"{last.kind} {last.id}")
        return response

    async def WatchResources(self, request: pb.WatchResourcesRequest, call: Call) -> None:
        """One write that blocks too long ends the watch, as it ends a subscription (T1)."""
        async with self._resources.watch(call.caller.tenant, request.kinds, request.cursor) as watch:
            while True:
                cursor = watch.cursor
                try:
                    data = await watch.next()
                except errors.Draining:
                    raise errors.Draining(retry_after=1.0, cursor=cursor) from None
                await _write(call, data, cursor)

    async def EvictAgent(self, request: pb.EvictAgentRequest, call: Call) -> pb.EvictAgentResponse:
        row = await self._registry.put_out(call.caller.tenant, request.agent_id)
        return pb.EvictAgentResponse(agent=self._registry.view(row))

    async def ForEachAgent(self, request: pb.ForEachAgentRequest, call: Call) -> AsyncIterator[bytes]:
        if request.action == pb.AGENT_ACTION_INTERRUPT and not call.caller.has("runs:write"):
            raise errors.ScopeRequired("runs:write")
        only = AgentFilter(
            tuple(request.states), request.template_id, request.id_prefix, tuple(sorted(request.labels.items()))
        )
        at_once = min(request.max_concurrency or AT_ONCE, MOST_AT_ONCE)
        tenant, stop = call.caller.tenant, request.stop_on_error
        doing = bulk.for_each(self._registry, tenant, only, request.action, at_once=at_once, stop_on_error=stop)
        async with contextlib.aclosing(doing) as results:
            async for result in results:
                yield pb.ForEachAgentResponse(results=[result]).SerializeToString()
                if stop and result.HasField("error"):
                    raise errors.AgentActionFailed(result.error, result.agent_id)


async def _write(call: Call, data: bytes, cursor: str) -> None:
    try:
        async with asyncio.timeout(WRITE_LIMIT):
            await call.write(data)
    except TimeoutError:
        raise errors.SubscriberTooSlow(retry_after=0.1, cursor=cursor) from None
