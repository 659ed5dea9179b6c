"""SessionService: conversations and their messages."""

from aster.v1 import session_service_pb2 as pb
from asteros import clock, errors, ids
from asteros.cosmos.registry import Registry
from asteros.runtime import history
from asteros.runtime.agent import request_of
from asteros.services.call import Call
from asteros.services.paging import Pages


class SessionsServicer:
    """Check, call, translate."""

    def __init__(self, registry: Registry, pages: Pages) -> None:
        self._registry = registry
        self._store = registry.deps.store
        self._pages = pages

    async def CreateSession(self, request: pb.CreateSessionRequest, call: Call) -> pb.CreateSessionResponse:
        now = clock.timestamp(clock.now())
        session = pb.Session(
            id=request.session_id or ids.new("ses_"),
            agent_id=request.agent_id,
            title=request.title,
            metadata=request.metadata if request.HasField("metadata") else None,
            create_time=now,
            update_time=now,
            status="active",
        )
        known = request_of(request.request_id, call.method, request)
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            if agent.lifecycle.closed:
                raise errors.AgentClosed(agent_id=request.agent_id)
            session_id = await agent.conversations.add(session, known)
        return pb.CreateSessionResponse(session=await self._session(call, session_id))

    async def ForkSession(self, request: pb.ForkSessionRequest, call: Call) -> pb.ForkSessionResponse:
        source = await self._session(call, request.session_id)
        now = clock.timestamp(clock.now())
        forked = pb.Session(
            id=request.new_session_id or ids.new("ses_"),
            agent_id=source.agent_id,
            title=request.title or source.title,
            metadata=source.metadata if source.HasField("metadata") else None,
            create_time=now,
            update_time=now,
            status="active",
            parent_session_id=source.id,
        )
        known = request_of(request.request_id, call.method, request)
        async with self._registry.agent(call.caller.tenant, source.agent_id) as agent:
            if agent.lifecycle.closed:
                raise errors.AgentClosed(agent_id=source.agent_id)
            session_id = await agent.conversations.fork(source, request.message_id, forked, known)
        return pb.ForkSessionResponse(session=await self._session(call, session_id))

    async def GetSession(self, request: pb.GetSessionRequest, call: Call) -> pb.GetSessionResponse:
        return pb.GetSessionResponse(session=await self._session(call, request.session_id))

    async def ListSessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        tenant, size = call.caller.tenant, self._pages.size(request)
        key = (await self._registry.row(tenant, request.agent_id)).key if request.agent_id else 0
        token = self._pages.start(call, request)
        before = None
        if token:
            time, _, last = token.partition(" ")
            before = (int(time), last)
        skip = 0 if token else request.skip
        rows, total = await self._store.sessions(tenant, key, before, skip, size + 1)
        response = pb.ListSessionsResponse(sessions=rows[:size], total_size=total)
        if len(rows) > size:
            last_row = rows[size - 1]
            after = f"{clock.nanos(last_row.update_time)} {last_row.id}"
            response.next_page_token = self._pages.token(call, request, after)
        return response

    async def DeleteSession(self, request: pb.DeleteSessionRequest, call: Call) -> pb.DeleteSessionResponse:
        session = await self._session(call, request.session_id)
        async with self._registry.agent(call.caller.tenant, session.agent_id) as agent:
            if session.id == agent.row.default_session_id:
                raise errors.WrongState("the default session goes with its agent", session_id=session.id)
            agent.refuse_session_in_use(session.id)
            agent.conversations.forget(session.id)
            await self._store.delete_session(call.caller.tenant, session.id)
        return pb.DeleteSessionResponse()

    async def ListMessages(self, request: pb.ListMessagesRequest, call: Call) -> pb.ListMessagesResponse:
        await self._session(call, request.session_id)
        size = self._pages.size(request)
        after = int(self._pages.start(call, request) or 0)
        rows = await self._store.messages(call.caller.tenant, request.session_id, after, size + 1)
        response = pb.ListMessagesResponse(messages=[history.unsealed(message) for _, message in rows[:size]])
        if len(rows) > size:
            response.next_page_token = self._pages.token(call, request, str(rows[size - 1][0]))
        return response

    async def _session(self, call: Call, session_id: str) -> pb.Session:
        found = await self._store.session(call.caller.tenant, session_id)
        if found is None:
            raise errors.SessionNotFound(session_id)
        return found[1]
