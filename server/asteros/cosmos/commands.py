"""What people ask of an agent that runs in another program: relayed to it, and waited for."""

import asyncio

from aster.v1 import agent_pb2, control_service_pb2, event_pb2
from aster.v1 import studio_service_pb2 as pb
from asteros import clock, errors
from asteros.cosmos.links import Link, RemoteTurn
from asteros.events.catalogue import Stamp
from asteros.events.cursor import Place
from asteros.runtime import decisions
from asteros.runtime.approvals import ALLOWED, DENIED, Resolved
from asteros.runtime.journal import snapshot
from asteros.runtime.mailbox import ENDED, Accepted, Input
from asteros.stores.base import AddRequest, PendingRow, PutTurn, RequestIdKnown, Row, Scope, Store

Pending = control_service_pb2.PendingRequest


async def start_turn(link: Link, said: Input, store: Store) -> Accepted:
    """Stores a turn and has the program begin it.

    :raises FieldViolation: there is something else than text.
    :raises WrongState: the program refused it.
    :raises RemoteAgentOffline, RequestIdReused:"""
    turn = agent_pb2.Turn(
        id=said.turn_id,
        agent_id=link.row.ref.id,
        session_id=said.session_id,
        state=agent_pb2.TURN_STATE_QUEUED,
        create_time=clock.timestamp(clock.now()),
    )
    command = pb.ConnectChat(turn_id=turn.id, message=_text(said), session_id=said.session_id)
    rows: list[Row] = [PutTurn(snapshot(turn), said.message, said.principal)]
    if said.request is not None:
        rows.append(AddRequest(said.request.request_id, said.request.digest, turn.id))
    place = link.journal.place
    try:
        await link.journal.write((), rows)
    except RequestIdKnown as before:
        return await _again(link, said, store, before)
    link.turns[turn.id] = RemoteTurn(turn, asyncio.get_running_loop().create_future())
    try:
        await _command(link, pb.ConnectCommand(agent_id=turn.agent_id, chat=command))
    except errors.AsterError as error:
        await _refused(link, turn, error)
        raise
    if turn.state == agent_pb2.TURN_STATE_QUEUED:
        turn.state = agent_pb2.TURN_STATE_RUNNING
        turn.start_time.CopyFrom(clock.timestamp(clock.now()))
        await link.journal.write((), [PutTurn(snapshot(turn))])
    return Accepted(snapshot(turn), place)


async def _again(link: Link, said: Input, store: Store, before: RequestIdKnown) -> Accepted:
    """The turn that an earlier request with the same id began."""
    assert said.request is not None
    row = await store.turn(link.row.key, before.target)
    if said.request.digest != before.digest or row is None:
        raise errors.RequestIdReused(said.request.request_id) from None
    return Accepted(row.turn, Place(link.row.key, 0, link.row.oldest_sequence - 1), repeated=True)


async def _refused(link: Link, turn: agent_pb2.Turn, error: errors.AsterError) -> None:
    link.turns.pop(turn.id, None)
    turn.state = agent_pb2.TURN_STATE_FAILED
    turn.error.CopyFrom(error.status())
    turn.end_time.CopyFrom(clock.timestamp(clock.now()))
    await link.journal.write((), [PutTurn(snapshot(turn))])


async def wait(link: Link, turn_id: str, store: Store) -> agent_pb2.Turn:
    """The turn, after its end. Cancelled: the turn goes on.

    :raises TurnNotFound:
    :raises RemoteAgentOffline: the program went away first."""
    running = link.turns.get(turn_id)
    if running is not None:
        return snapshot(await asyncio.shield(running.ended))
    row = await store.turn(link.row.key, turn_id)
    if row is None:
        raise errors.TurnNotFound(turn_id, agent_id=link.row.ref.id)
    if row.turn.state not in ENDED:  # from before its program dialled in again
        raise errors.RemoteAgentOffline("the program went away while the turn ran", agent_id=link.row.ref.id)
    return row.turn


async def interrupt(link: Link, turn_id: str, reason: str, store: Store) -> agent_pb2.Turn:
    """Has the program stop a turn; the turn as it stands then, which may be before its last event.

    :raises TurnNotFound, WrongState, RemoteAgentOffline:"""
    stopping = pb.ConnectInterrupt(turn_id=turn_id, reason=reason)
    result = await _command(link, pb.ConnectCommand(agent_id=link.row.ref.id, interrupt=stopping))
    turn_id = turn_id or result.turn.id
    running = link.turns.get(turn_id)
    if running is not None:
        return snapshot(running.turn)
    row = await store.turn(link.row.key, turn_id) if turn_id else None
    if row is not None:
        return row.turn
    return agent_pb2.Turn(id=turn_id, agent_id=link.row.ref.id, state=result.turn.state)


async def approve(link: Link, request: control_service_pb2.ApproveToolCallRequest, principal: str) -> Pending:
    """Allows or denies one tool call of the program.

    :raises PendingRequestNotFound, ApprovalStale, WrongState, RemoteAgentOffline:
    :raises FieldViolation: the decision is to reach further; rules are the program's own."""
    row = _asked(link, request.pending_id, "tool_approval")
    if request.scope > control_service_pb2.DECISION_SCOPE_ONCE:
        raise errors.bad_field("scope", "a remote agent keeps its own rules: only once")
    digest = row.pending.tool_approval.input_digest
    if request.input_digest and request.input_digest != digest:
        raise errors.ApprovalStale(pending_id=row.pending.id)
    outcome = ALLOWED if request.decision == control_service_pb2.DECISION_ALLOW else DENIED
    resolution = Resolved(outcome=outcome, decided_by=principal, note=request.note, input_digest=digest)
    if request.HasField("edited_input_json"):
        resolution.edited_input_json = request.edited_input_json
    return await _resolve(link, row, resolution)


async def answer(link: Link, request: control_service_pb2.RespondToInputRequestRequest, principal: str) -> Pending:
    """Answers a question of the program, or dismisses it.

    :raises PendingRequestNotFound, FieldViolation, WrongState, RemoteAgentOffline:"""
    row = _asked(link, request.pending_id, "user_input")
    return await _resolve(link, row, decisions.answered(row.pending, request, principal))


async def go_on(link: Link, request: control_service_pb2.RespondToIterationLimitRequest, principal: str) -> Pending:
    """Lets a turn of the program take more steps, or ends it.

    :raises PendingRequestNotFound, WrongState, RemoteAgentOffline:"""
    row = _asked(link, request.pending_id, "iteration_limit")
    return await _resolve(link, row, decisions.extended(row.pending, request, principal))


def _asked(link: Link, pending_id: str, kind: str) -> PendingRow:
    row = link.requests.find(pending_id)
    if row is None or row.pending.WhichOneof("request") != kind:
        raise errors.PendingRequestNotFound(pending_id, agent_id=link.row.ref.id)
    return row


async def _resolve(link: Link, row: PendingRow, resolution: event_pb2.RequestResolved) -> Pending:
    """Tells the program how its request was decided, then stores that."""
    agent_id = link.row.ref.id
    resolution.resolve_time.CopyFrom(clock.timestamp(clock.now()))
    told = snapshot(resolution)
    told.pending_id = row.call_id  # the program's own name for it
    await _command(link, pb.ConnectCommand(agent_id=agent_id, resolved=told))
    if link.requests.find(row.pending.id) is not None:  # else the program has reported it already
        resolution.pending_id = row.pending.id
        closed = link.requests.close(row, resolution)
        scope = Scope(row.pending.session_id, row.pending.turn_id)
        await link.journal.write([Stamp(agent_id, scope).event(resolution)], [closed], scope)
    return row.pending


async def _command(link: Link, command: pb.ConnectCommand) -> pb.ConnectCommandResult:
    result = await link.connection.command(command)
    if result.HasField("error") and result.error.code:
        raise errors.WrongState(
            f"the remote agent refused: {result.error.message or 'it gave no reason'}", agent_id=link.row.ref.id
        )
    return result


def _text(said: Input) -> str:
    for index, block in enumerate(said.message.content):
        if block.WhichOneof("block") != "text":
            raise errors.bad_field(f"content[{index}]", "a remote agent takes text alone")
    return "".join(block.text for block in said.message.content)
