"""What people decide about an agent's requests: approve, answer, let go on.

Here the answer of a person becomes the resolution of a stored request. Who decides
comes from the caller's credentials, never from the request (guarantee A7)."""

from collections.abc import Sequence

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2
from asteros import clock, errors, ids
from asteros.runtime import permission_rules
from asteros.runtime.agent import Agent
from asteros.runtime.approvals import ALLOWED, ANSWERED, DENIED, Resolved, to_the_end
from asteros.runtime.journal import snapshot
from asteros.runtime.permissions import ALLOW, DENY, input_digest
from asteros.stores.base import AddRule, PutAgent, Row
from asteros.tools.registry import BadToolInput

Pending = control_service_pb2.PendingRequest
MAX_RULES = 200
_POLICY = {ALLOWED: ALLOW, DENIED: DENY}


async def approve(agent: Agent, request: control_service_pb2.ApproveToolCallRequest, principal: str) -> Pending:
    """Allows or denies one tool call. Cancelled: it is decided all the same.

    :raises PendingRequestNotFound, FourEyesRequired, ApprovalStale, RequestAlreadyResolved:
    :raises FieldViolation: the edited input does not fit the tool, or no rule can say "always"."""
    return await to_the_end(_approve(agent, request, principal))


async def _approve(agent: Agent, request: control_service_pb2.ApproveToolCallRequest, principal: str) -> Pending:
    row = await agent.approvals.get(request.pending_id)
    pending = row.pending
    if not pending.HasField("tool_approval"):
        raise errors.PendingRequestNotFound(request.pending_id, agent_id=agent.ref.id)
    await _four_eyes(agent, pending, principal)
    outcome = ALLOWED if request.decision == control_service_pb2.DECISION_ALLOW else DENIED
    resolution = Resolved(
        outcome=outcome, decided_by=principal, note=request.note, input_digest=pending.tool_approval.input_digest
    )
    if request.HasField("edited_input_json"):
        resolution.edited_input_json = request.edited_input_json
        resolution.input_digest = _edited_digest(agent, pending, request.edited_input_json)
    async with agent.changing:  # a rule for ever is a change of the agent like UpdateAgent
        rules = _rules(agent, pending, request.scope, outcome)
        resolved = await agent.approvals.resolve(pending.id, resolution, digest=request.input_digest, rules=rules)
        if resolved.resolution.resolve_time == resolution.resolve_time:  # and not an equal decision before it
            _remember(agent, rules)
    return resolved


async def answer(agent: Agent, request: control_service_pb2.RespondToInputRequestRequest, principal: str) -> Pending:
    """Answers a question, or dismisses it.

    :raises PendingRequestNotFound, RequestAlreadyResolved, FieldViolation:"""
    pending = (await agent.approvals.get(request.pending_id)).pending
    if not pending.HasField("user_input"):
        raise errors.PendingRequestNotFound(request.pending_id, agent_id=agent.ref.id)
    resolution = answered(pending, request, principal)
    return await to_the_end(agent.approvals.resolve(pending.id, resolution))


def answered(
    pending: Pending, request: control_service_pb2.RespondToInputRequestRequest, principal: str
) -> event_pb2.RequestResolved:
    """What an answer says.

    :raises FieldViolation: an option that is not there, or more than one where one is asked for."""
    if request.dismiss:
        return Resolved(outcome=DENIED, decided_by=principal)
    labels = _chosen(pending.user_input, request.option_indexes)
    text = "\n".join([*labels, *([request.text] if request.text else [])])
    return Resolved(outcome=ANSWERED, decided_by=principal, answer=text)


async def go_on(agent: Agent, request: control_service_pb2.RespondToIterationLimitRequest, principal: str) -> Pending:
    """Lets a turn take more steps, or ends it.

    :raises PendingRequestNotFound, RequestAlreadyResolved:"""
    pending = (await agent.approvals.get(request.pending_id)).pending
    if not pending.HasField("iteration_limit"):
        raise errors.PendingRequestNotFound(request.pending_id, agent_id=agent.ref.id)
    return await to_the_end(agent.approvals.resolve(pending.id, extended(pending, request, principal)))


def extended(
    pending: Pending, request: control_service_pb2.RespondToIterationLimitRequest, principal: str
) -> event_pb2.RequestResolved:
    """What a decision about more steps says."""
    if request.decision != control_service_pb2.DECISION_ALLOW:
        return Resolved(outcome=DENIED, decided_by=principal)
    steps = request.additional_steps or pending.iteration_limit.iteration_limit
    return Resolved(outcome=ALLOWED, decided_by=principal, answer=str(steps))


async def _four_eyes(agent: Agent, pending: Pending, principal: str) -> None:
    if agent.four_eyes(pending.turn_id) and await agent.starter_of(pending.turn_id) == principal:
        raise errors.FourEyesRequired(
            "another person than the one who started the turn must decide", pending_id=pending.id
        )


def _edited_digest(agent: Agent, pending: Pending, edited: str) -> str:
    """The digest of an edited input, which must fit the tool."""
    call = pending.tool_approval.call
    tool = agent.deps.tools.get(call.name)
    if tool is None:
        raise errors.ToolNotFound(call.name)
    try:
        args = agent.deps.tools.parse_input(tool, edited)
    except BadToolInput as error:
        raise errors.bad_field("edited_input_json", str(error)) from None
    canonical = agent.deps.tools.canonical(args)
    version, workspace = agent.bound_to(pending.turn_id)
    return input_digest(tool.info.name, canonical, agent.ref.id, version, workspace)


def _chosen(asked: event_pb2.UserInputRequest, indexes: Sequence[int]) -> list[str]:
    if len(indexes) > 1 and not asked.multi_select:
        raise errors.bad_field("option_indexes", "only one option may be chosen")
    if any(not 0 <= index < len(asked.options) for index in indexes):
        raise errors.bad_field("option_indexes", f"must be from 0 to {len(asked.options) - 1}")
    return [asked.options[index].label for index in indexes]


def _rules(
    agent: Agent, pending: Pending, scope: control_service_pb2.DecisionScope, outcome: event_pb2.ResolutionOutcome
) -> list[Row]:
    """What a decision leaves behind beyond its call."""
    policy: common_pb2.PermissionPolicy = _POLICY[outcome]
    call = pending.tool_approval.call
    if scope == control_service_pb2.DECISION_SCOPE_SESSION:
        return [AddRule(pending.session_id, call.name, policy)]
    if scope == control_service_pb2.DECISION_SCOPE_ALWAYS:
        return [PutAgent(_with_rule(agent, call, policy))]
    return []


def _with_rule(agent: Agent, call: common_pb2.ToolCall, policy: common_pb2.PermissionPolicy) -> agent_pb2.Agent:
    """The agent with a rule for calls like this one.

    :raises ResourceExhausted, FieldViolation:"""
    changed = snapshot(agent.row.agent)
    if len(changed.config.permission_rules) >= MAX_RULES:
        raise errors.ResourceExhausted(f"an agent has at most {MAX_RULES} permission rules")
    tool = agent.deps.tools.get(call.name)
    if tool is None:  # gone since; its name still counts
        rule = agent_pb2.PermissionRule(tool=call.name, policy=policy)
    else:
        args = agent.deps.tools.parse_input(tool, call.input_json)
        rule = permission_rules.for_calls_like(tool.info, args, policy)
    changed.config.permission_rules.append(rule)
    changed.etag = ids.ulid()
    changed.update_time.CopyFrom(clock.timestamp(clock.now()))
    return changed


def _remember(agent: Agent, rules: Sequence[Row]) -> None:
    """Brings what is in memory in step with what was stored."""
    for rule in rules:
        match rule:
            case PutAgent(changed):
                agent.updated(changed)
            case AddRule(session_id, tool, policy):
                agent.remember_rule(session_id, tool, policy)
