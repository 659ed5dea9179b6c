"""AgentService: create, talk to, watch over, close."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf import field_mask_pb2

from aster.v1 import agent_pb2, common_pb2
from aster.v1 import agent_service_pb2 as pb
from asteros import errors, ids
from asteros.cosmos import commands
from asteros.cosmos.links import Link
from asteros.cosmos.registry import Registry
from asteros.events import filters
from asteros.events.subscription import Options, Subscription
from asteros.runtime.agent import Agent, request_of
from asteros.runtime.journal import snapshot
from asteros.runtime.mailbox import ENDED, Accepted, Input
from asteros.services import validation
from asteros.services.access_table import CHANNEL_SCOPES
from asteros.services.background import Background
from asteros.services.call import Call
from asteros.services.paging import Pages
from asteros.services.streams import Streams
from asteros.stores.base import AgentFilter, AgentRef


class AgentsServicer:
    """Check, call, translate; the work is done in ``cosmos`` and ``runtime``."""

    def __init__(self, registry: Registry, streams: Streams, pages: Pages, background: Background) -> None:
        self._registry = registry
        self._store = registry.deps.store
        self._streams = streams
        self._pages = pages
        self._background = background

    # -- the resource ---------------------------------------------------------------

    async def CreateAgent(self, request: pb.CreateAgentRequest, call: Call) -> pb.CreateAgentResponse:
        _check_rights(call, request.config)
        known = request_of(request.request_id, call.method, request)
        row = await self._registry.create(call.caller.tenant, request, known)
        return pb.CreateAgentResponse(agent=self._registry.view(row))

    async def GetAgent(self, request: pb.GetAgentRequest, call: Call) -> pb.GetAgentResponse:
        row = await self._registry.row(call.caller.tenant, request.agent_id)
        return pb.GetAgentResponse(agent=self._registry.view(row))

    async def ListAgents(self, request: pb.ListAgentsRequest, call: Call) -> pb.ListAgentsResponse:
        size = self._pages.size(request)
        only = AgentFilter(
            tuple(request.states), request.template_id, request.id_prefix, tuple(sorted(request.labels.items()))
        )
        after = self._pages.start(call, request)
        rows = await self._store.agents(call.caller.tenant, after, size + 1, only)
        response = pb.ListAgentsResponse(agents=[self._registry.view(row) for row in rows[:size]])
        if len(rows) > size:
            response.next_page_token = self._pages.token(call, request, rows[size - 1].agent.id)
        return response

    async def UpdateAgent(self, request: pb.UpdateAgentRequest, call: Call) -> pb.UpdateAgentResponse:
        def change(stored: agent_pb2.Agent) -> agent_pb2.Agent:
            changed = _merged(stored, request)
            _check_rights(call, request.agent.config)
            wrong = validation.violations(pb.CreateAgentRequest(config=changed.config, labels=changed.labels))
            if wrong:
                raise errors.FieldViolation(*wrong)
            return changed

        row = await self._registry.update(call.caller.tenant, request.agent.id, request.agent.etag, change)
        return pb.UpdateAgentResponse(agent=self._registry.view(row))

    async def DeleteAgent(self, request: pb.DeleteAgentRequest, call: Call) -> pb.DeleteAgentResponse:
        await self._registry.delete(call.caller.tenant, request.agent_id, request.etag, request.force)
        return pb.DeleteAgentResponse()

    async def StartAgent(self, request: pb.StartAgentRequest, call: Call) -> pb.StartAgentResponse:
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            await agent.start()
        return pb.StartAgentResponse(agent=await self._view(call, request.agent_id))

    async def CloseAgent(self, request: pb.CloseAgentRequest, call: Call) -> pb.CloseAgentResponse:
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            await agent.close()
        return pb.CloseAgentResponse(agent=await self._view(call, request.agent_id))

    async def GetStatus(self, request: pb.GetStatusRequest, call: Call) -> pb.GetStatusResponse:
        return pb.GetStatusResponse(status=(await self._view(call, request.agent_id)).status)

    async def _view(self, call: Call, agent_id: str) -> agent_pb2.Agent:
        return self._registry.view(await self._registry.row(call.caller.tenant, agent_id))

    # -- talking ------------------------------------------------------------------------

    async def Send(self, request: pb.SendRequest, call: Call) -> pb.SendResponse:
        if (link := self._commanded(call, request)) is not None:
            accepted = await commands.start_turn(link, _input(request, call), self._store)
            return pb.SendResponse(turn=accepted.turn, cursor=self._streams.codec.encode(accepted.place))
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            accepted = await agent.mailbox.submit(_input(request, call))
        return pb.SendResponse(turn=accepted.turn, cursor=self._streams.codec.encode(accepted.place))

    async def Chat(self, request: pb.ChatRequest, call: Call) -> pb.ChatResponse:
        said = _input(request, call)
        if (link := self._commanded(call, request)) is not None:
            with self._attended_remote(link, said.turn_id, request.disconnect_policy):
                accepted = await commands.start_turn(link, said, self._store)
                turn = await commands.wait(link, accepted.turn.id, self._store)
        else:
            async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
                with self._attended(agent, said.turn_id, request.disconnect_policy):
                    accepted = await agent.mailbox.submit(said)
                    turn = await agent.mailbox.wait(accepted.turn.id)
        if turn.state != agent_pb2.TURN_STATE_COMPLETED:
            raise _failure(turn)
        return pb.ChatResponse(turn=turn, text=_text(turn.reply))

    async def Stream(self, request: pb.StreamRequest, call: Call) -> None:
        channels: Sequence[int] = list(request.channels) or sorted(CHANNEL_SCOPES)
        for channel in channels:
            self._streams.check_channel(call, channel)
        if (link := self._commanded(call, request)) is not None:
            await self._stream_remote(link, request, call, channels)
            return
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            said = _input(request, call)
            subscription = self._subscription(agent, said.turn_id, channels)
            try:
                with self._attended(agent, said.turn_id, request.disconnect_policy):
                    accepted = await agent.mailbox.submit(said)
                    if accepted.repeated:
                        subscription.close()
                        subscription = await self._again(agent.ref, accepted, channels)
                    await self._streams.follow(call, subscription)
            finally:
                subscription.close()

    def _commanded(self, call: Call, request: Any) -> Link | None:
        """The link of a remote agent that is to do something; None: it is one of ours, or not connected."""
        return self._registry.remotes.commanded(call.caller.tenant, request.agent_id)

    async def _stream_remote(self, link: Link, request: pb.StreamRequest, call: Call, channels: Sequence[int]) -> None:
        said = _input(request, call)
        wanted = filters.compiled(channels, turn_id=said.turn_id)
        options = Options(until_turn_complete=True, until_turn_id=said.turn_id)
        subscription = self._streams.now(link.row, link.journal.place.sequence, wanted, options)
        try:
            with self._attended_remote(link, said.turn_id, request.disconnect_policy):
                accepted = await commands.start_turn(link, said, self._store)
                if accepted.repeated:
                    subscription.close()
                    subscription = await self._again(link.row.ref, accepted, channels)
                await self._streams.follow(call, subscription)
        finally:
            subscription.close()

    @contextlib.contextmanager
    def _attended_remote(self, link: Link, turn_id: str, policy: int) -> Iterator[None]:
        def interrupt() -> None:
            if turn_id in link.turns:
                self._background.start(commands.interrupt(link, turn_id, "the caller went away", self._store))

        with self._interrupted(policy, interrupt):
            yield

    @contextlib.contextmanager
    def _attended(self, agent: Agent, turn_id: str, policy: int) -> Iterator[None]:
        def interrupt() -> None:
            if agent.mailbox.has(turn_id):
                self._background.start(agent.mailbox.interrupt(turn_id, "the caller went away"))

        with self._interrupted(policy, interrupt):
            yield

    @contextlib.contextmanager
    def _interrupted(self, policy: int, interrupt: Callable[[], None]) -> Iterator[None]:
        """The turn is interrupted when its caller goes away, unless it said otherwise (R6).

        A caller's leaving shows as a cancel, as a failed write or as a closed generator:
        whatever leaves this block but an answer or an error of ours."""
        answered = False
        try:
            yield
            answered = True
        except errors.AsterError:
            answered = True
            raise
        finally:
            if not (answered or policy == agent_pb2.DISCONNECT_POLICY_CONTINUE or self._streams.draining):
                interrupt()

    def _subscription(self, agent: Agent, turn_id: str, channels: Sequence[int]) -> Subscription:
        """A subscription in place before the turn begins, so that nothing is read from the store."""
        wanted = filters.compiled(channels, turn_id=turn_id)
        options = Options(until_turn_complete=True, until_turn_id=turn_id)
        return self._streams.now(agent.row, agent.journal.place.sequence, wanted, options)

    async def _again(self, ref: AgentRef, accepted: Accepted, channels: Sequence[int]) -> Subscription:
        """The stream of a turn that an earlier request began, from its beginning."""
        wanted = filters.compiled(channels, turn_id=accepted.turn.id)
        ended = accepted.turn.state in ENDED
        options = Options(
            until_turn_complete=True,
            until_turn_id=accepted.turn.id,
            end_at=self._streams.hub.head if ended else 0,
        )
        return await self._streams.after(ref, accepted.place.sequence, wanted, options)

    async def SendSystemMessage(self, request: pb.SendSystemMessageRequest, call: Call) -> pb.SendSystemMessageResponse:
        known = request_of(request.request_id, call.method, request)
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            if agent.lifecycle.closed:
                raise errors.AgentClosed(agent_id=request.agent_id)
            message_id = await agent.conversations.system_message(request.text, request.session_id, known)
        return pb.SendSystemMessageResponse(message_id=message_id)

    # -- turns ------------------------------------------------------------------------------

    async def GetTurn(self, request: pb.GetTurnRequest, call: Call) -> pb.GetTurnResponse:
        row = await self._registry.row(call.caller.tenant, request.agent_id)
        turn = await self._store.turn(row.key, request.turn_id)
        own = turn is not None and turn.principal == call.caller.principal and call.caller.has("runs:write")
        if not own and not call.caller.has("sessions:read"):
            raise errors.ScopeRequired("sessions:read")
        if turn is None:
            raise errors.TurnNotFound(request.turn_id, agent_id=request.agent_id)
        return pb.GetTurnResponse(turn=turn.turn)

    async def ListTurns(self, request: pb.ListTurnsRequest, call: Call) -> pb.ListTurnsResponse:
        # runs:write alone shows the caller's own turns.
        principal = "" if call.caller.has("sessions:read") else call.caller.principal
        row = await self._registry.row(call.caller.tenant, request.agent_id)
        size = self._pages.size(request)
        before = self._pages.start(call, request)
        turns = await self._store.turns(row.key, request.session_id, before, size + 1, principal)
        response = pb.ListTurnsResponse(turns=turns[:size])
        for turn in response.turns:
            turn.ClearField("reply")
        if len(turns) > size:
            response.next_page_token = self._pages.token(call, request, turns[size - 1].id)
        return response

    async def Interrupt(self, request: pb.InterruptRequest, call: Call) -> pb.InterruptResponse:
        if (link := self._commanded(call, request)) is not None:
            turn = await commands.interrupt(link, request.turn_id, request.reason, self._store)
            return pb.InterruptResponse(turn=turn)
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            turn = await agent.interrupt(request.turn_id, request.reason)
        return pb.InterruptResponse(turn=turn)


def _input(request: Any, call: Call) -> Input:
    """What Chat, Send and Stream have in common."""
    message = common_pb2.Message(role=common_pb2.ROLE_USER)
    if request.message:
        message.content.add(text=request.message)
    message.content.extend(request.content)
    return Input(
        message=message,
        session_id=request.session_id,
        request=request_of(request.request_id, call.method, request),
        reject_when_busy=request.busy_policy == agent_pb2.BUSY_POLICY_REJECT,
        principal=call.caller.principal,
        budget=request.budget if request.HasField("budget") else None,
        trace_id=call.trace_id,
        turn_id=ids.new("trn_"),
    )


def _failure(turn: agent_pb2.Turn) -> errors.AsterError:
    if turn.state == agent_pb2.TURN_STATE_INTERRUPTED:
        return errors.TurnInterrupted(turn_id=turn.id)
    return errors.TurnFailed(turn.error, turn.id)


def _text(message: common_pb2.Message) -> str:
    return "".join(block.text for block in message.content if block.WhichOneof("block") == "text")


def _check_rights(call: Call, config: agent_pb2.AgentConfig) -> None:
    """What needs more than agents:write (security, part 3)."""
    models = (config.model_config, *config.model_config.fallbacks)
    if any(model.base_url or model.api_key for model in models) and not call.caller.has("providers:admin"):
        raise errors.ScopeRequired("providers:admin")
    open_mode = config.permission_mode == agent_pb2.PERMISSION_MODE_AUTO_APPROVE
    if (open_mode or config.sandbox.allowed_hosts) and not call.caller.has("tools:admin"):
        raise errors.ScopeRequired("tools:admin")


_UPDATABLE = ("display_name", "labels", "config")


def _merged(stored: agent_pb2.Agent, request: pb.UpdateAgentRequest) -> agent_pb2.Agent:
    """The stored agent with the fields of the mask; an empty mask means the fields that are set.

    Maps and lists are replaced whole.

    :raises FieldViolation: a path of the mask is not updatable."""
    mask = field_mask_pb2.FieldMask(paths=request.update_mask.paths)
    if not mask.paths:
        mask.paths.extend(name for name in _UPDATABLE if _is_set(request.agent, name))
    for path in mask.paths:
        if path.split(".")[0] not in _UPDATABLE or not _known(path):
            raise errors.bad_field("update_mask", f"{path!r} cannot be updated")
    changed = snapshot(stored)
    for path in mask.paths:
        _replace(changed, request.agent, path.split("."))
    template_id = stored.config.template_id
    if changed.config.template_id not in ("", template_id):
        raise errors.bad_field("agent.config.template_id", "cannot be changed")
    changed.config.template_id = template_id
    _keep_keys_home(stored.config, changed.config)
    return changed


def _keep_keys_home(stored: agent_pb2.AgentConfig, changed: agent_pb2.AgentConfig) -> None:
    """A stored key is never sent to another host than the one it was stored for (security, part 7)."""
    homes = {model.api_key: _home(model) for model in (stored.model_config, *stored.model_config.fallbacks)}
    for model in (changed.model_config, *changed.model_config.fallbacks):
        if model.api_key and homes.get(model.api_key, _home(model)) != _home(model):
            model.ClearField("api_key")


def _home(model: agent_pb2.ModelConfig) -> tuple[str, str]:
    """What says where a model's calls go; without a provider it is found by the model's name."""
    return model.provider or model.model, model.base_url


def _is_set(agent: agent_pb2.Agent, name: str) -> bool:
    return any(field.name == name for field, _ in agent.ListFields())


def _known(path: str) -> bool:
    descriptor: Any = agent_pb2.Agent.DESCRIPTOR
    for part in path.split("."):
        field = descriptor.fields_by_name.get(part) if descriptor is not None else None
        if field is None:
            return False
        descriptor = field.message_type if not field.is_repeated else None
    return True


def _replace(target: Any, source: Any, parts: list[str]) -> None:
    name = parts[0]
    if len(parts) > 1:
        _replace(getattr(target, name), getattr(source, name), parts[1:])
        return
    target.ClearField(name)
    value = getattr(source, name)
    field = source.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(target, name).MergeFrom(value)
    elif field.message_type is not None:
        if source.HasField(name):
            getattr(target, name).CopyFrom(value)
    elif not field.has_presence or source.HasField(name):
        setattr(target, name, value)
