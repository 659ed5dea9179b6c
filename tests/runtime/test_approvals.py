"""Decisions of people: bound, taken once, reaching their own call (A1 to A7)."""

import asyncio
import random

import pytest
from events.fakes import FakeClock
from runtime.helpers import ASK_ALWAYS, World, call, check_events, of, results

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2
from asteros import clock, errors
from asteros.runtime import decisions
from asteros.runtime.agent import Agent
from asteros.runtime.approvals import ALLOWED, MAX_TIMEOUT, approval_timeout
from asteros.runtime.journal import snapshot
from asteros.runtime.mailbox import Accepted
from asteros.runtime.permissions import Hook, HookAnswer
from asteros.stores.base import PutAgent
from asteros.tools.base import JsonObject, ToolInfo

pytestmark = pytest.mark.anyio

SESSION = control_service_pb2.DECISION_SCOPE_SESSION
ALWAYS = control_service_pb2.DECISION_SCOPE_ALWAYS
ALLOW = common_pb2.PERMISSION_POLICY_ALLOW


async def _asking(world: World, *calls: object, **config: object) -> tuple[Agent, Accepted, list]:
    """An agent whose first step asks for every call."""
    calls = calls or (call("plain", "c1", text="x"),)
    agent = await world.agent(list(calls), ["ok"], permission_mode=ASK_ALWAYS, **config)  # type: ignore[arg-type]
    accepted = await world.say(agent)
    return agent, accepted, await world.asked(agent, len(calls))


async def test_every_answer_reaches_its_own_call(world: World) -> None:
    """A6: eight calls at once, answered in any order."""
    calls = [call("keyed", f"c{n}", text=str(n)) for n in range(8)]
    agent, accepted, asked = await _asking(world, *calls)
    assert [one.call.id for one in asked] == [f"c{n}" for n in range(8)], "asked at once, in the model's order"
    order = random.Random(3).sample(range(8), 8)
    for n in order:
        how = {"allow": n % 2 == 0, "note": f"note {n}"}
        if n == 4:
            how["edited_input_json"] = '{"text":"four"}'
        await world.approve(agent, asked[n].pending_id, **how)
    await world.ended(agent, accepted)
    told = results(await world.messages(agent))
    assert [told[f"c{n}"].get("result", told[f"c{n}"].get("note")) for n in range(8)] == [
        "did 0", "note 1", "did 2", "note 3", "did four", "note 5", "did 6", "note 7",
    ]  # fmt: skip
    assert world.box.did == ["keyed 0", "keyed 2", "keyed four", "keyed 6"], "run in the model's order"
    assert len(set(world.box.keys)) == 4
    check_events(await world.events(agent))


async def test_one_of_a_hundred_deciders_wins(world: World) -> None:
    """A3."""
    agent, accepted, (asked,) = await _asking(world)
    deciders = [world.approve(agent, asked.pending_id, allow=bool(n % 2), by=f"p{n}") for n in range(100)]
    outcomes = await asyncio.gather(*deciders, return_exceptions=True)
    await world.ended(agent, accepted)
    (resolved,) = of(await world.events(agent), "request_resolved")
    won = resolved.outcome == ALLOWED
    for n, outcome in enumerate(outcomes):
        if bool(n % 2) is won:  # the same decision again is OK
            assert outcome.resolution == resolved
        else:
            assert isinstance(outcome, errors.RequestAlreadyResolved)
            assert outcome.facts["decided_by"] == resolved.decided_by
            assert outcome.facts["resolve_time"] == resolved.resolve_time.ToJsonString()
    assert len(world.box.did) == won


async def test_the_same_decision_again_is_ok_and_a_contrary_one_is_not(world: World) -> None:
    agent, accepted, (asked,) = await _asking(world)
    first = await world.approve(agent, asked.pending_id)
    await world.ended(agent, accepted)
    for pending_id in (asked.pending_id, "c1"):
        assert (await world.approve(agent, pending_id, by="bob")).resolution == first.resolution
        with pytest.raises(errors.RequestAlreadyResolved):
            await world.approve(agent, pending_id, allow=False)
        with pytest.raises(errors.RequestAlreadyResolved):
            await world.approve(agent, pending_id, edited_input_json='{"text":"y"}')
    assert world.box.did == ["plain x"]


async def test_by_the_id_of_the_call(world: World) -> None:
    agent, accepted, _ = await _asking(world)
    await world.approve(agent, "c1")
    assert (await world.ended(agent, accepted)).state == agent_pb2.TURN_STATE_COMPLETED


async def test_of_nothing(world: World) -> None:
    agent, *_ = await _asking(world)
    with pytest.raises(errors.PendingRequestNotFound):
        await world.approve(agent, "c2")
    answer = control_service_pb2.RespondToInputRequestRequest(pending_id="c1", text="yes")
    with pytest.raises(errors.PendingRequestNotFound):
        await decisions.answer(agent, answer, "ann")


async def test_a_decision_names_the_digest_it_saw(world: World) -> None:
    """A2."""
    agent, accepted, (asked,) = await _asking(world)
    assert len(asked.input_digest) == 64
    with pytest.raises(errors.ApprovalStale):
        await world.approve(agent, asked.pending_id, input_digest="0" * 64)
    await world.approve(agent, asked.pending_id, input_digest=asked.input_digest)
    await world.ended(agent, accepted)
    assert of(await world.events(agent), "request_resolved")[0].input_digest == asked.input_digest


async def test_the_digest_follows_everything_it_is_bound_to(world: World) -> None:
    def calls(text: str) -> object:
        return call("plain", "", text=text)

    same: dict[str, list] = {}
    for name, text, more in (
        ("a", "x", {}),
        ("b", "x", {}),
        ("c", "y", {}),
        ("d", "x", {"tool_permissions": {"look": ALLOW}}),
        ("e", "x", {"sandbox": {"work_dir": "other"}}),
    ):
        agent = await world.agent([calls(text)], ["ok"], agent_id=name, permission_mode=ASK_ALWAYS, **more)
        await world.say(agent)
        same[name] = (await world.asked(agent))[0].input_digest
    assert len(set(same.values())) == 5, "another agent, input, policy, workspace"


async def test_spacing_of_the_arguments_does_not_matter(world: World) -> None:
    agent, accepted, (asked,) = await _asking(world)
    edited = '{  "text" :\n"x" }'
    await world.approve(agent, asked.pending_id, edited_input_json=edited)
    await world.ended(agent, accepted)
    assert of(await world.events(agent), "request_resolved")[0].input_digest == asked.input_digest


@pytest.mark.parametrize("edited", ["{", '{"text":1}', '{"other":"x"}', '{"text":"a","text":"b"}'])
async def test_an_edited_input_must_fit_the_tool(world: World, edited: str) -> None:
    agent, _, (asked,) = await _asking(world)
    with pytest.raises(errors.InvalidArgument):
        await world.approve(agent, asked.pending_id, edited_input_json=edited)
    assert await world.store.open_pending("default", agent.ref.key, "", 9)


async def test_an_edit_counts_although_the_settings_changed_meanwhile(world: World) -> None:
    """A turn in progress keeps its policy; the decision must be bound to that one."""
    calls = [call("plain", "c1", text="1"), call("keyed", "c2", text="2")]
    agent, accepted, asked = await _asking(world, *calls)
    await world.approve(agent, asked[0].pending_id, scope=ALWAYS)
    await world.approve(agent, asked[1].pending_id, edited_input_json='{"text":"two"}')
    await world.ended(agent, accepted)
    assert world.box.did == ["plain 1", "keyed two"]
    assert len(of(await world.events(agent), "tool_approval_request")) == 2


async def test_another_policy_asks_again(world: World) -> None:
    """A2: approved, then the server stops, then the policy changes: the approval was for something else."""
    agent, accepted, (asked,) = await _asking(world)
    await agent.mailbox.halt()
    await world.approve(agent, asked.pending_id)
    changed = agent.row.agent
    changed.config.tool_permissions["look"] = ALLOW
    await agent.journal.write((), [PutAgent(changed)])
    world.registry._forget(agent)
    again = await world.awake(agent.ref.key)
    second = (await world.asked(again, 2))[1]
    assert (second.call, second.reason) == (asked.call, "the policy changed since this call was approved")
    assert second.input_digest != asked.input_digest
    assert world.box.did == []
    await world.approve(again, second.pending_id)
    await world.ended(again, accepted)
    assert world.box.did == ["plain x"]
    check_events(await world.events(again))


async def test_approved_before_the_server_stopped_it_runs_once_after(world: World) -> None:
    agent, accepted, (asked,) = await _asking(world)
    await agent.mailbox.halt()
    await world.approve(agent, asked.pending_id)
    world.registry._forget(agent)
    again = await world.awake(agent.ref.key)
    await world.ended(again, accepted)
    assert world.box.did == ["plain x"]
    check_events(await world.events(again))


async def test_a_sleeping_agent_is_woken_by_its_decision(world: World) -> None:
    """Its turn no longer waits, and a crash right after finds it at work."""
    calls = [call("held", "c1")]
    agent, accepted, (asked,) = await _asking(world, *calls)
    await agent.mailbox.halt()
    world.registry._forget(agent)
    assert await world.store.agents_with_work() == []
    async with world.registry.agent("default", "a1") as again:
        await world.approve(again, asked.pending_id)
        await world.seen(again, "tool_progress")
        assert again.lifecycle.status.activity == agent_pb2.AGENT_ACTIVITY_WORKING
        stored = await world.store.turn(again.ref.key, accepted.turn.id)
        assert stored is not None
        assert (stored.turn.state, list(stored.turn.pending_ids)) == (agent_pb2.TURN_STATE_RUNNING, [])
        assert await world.store.agents_with_work() == [agent.ref.key]
        world.box.hold.set()
        await world.ended(again, accepted)


async def test_four_eyes(world: World) -> None:
    """A7: who started the turn may not decide."""
    agent = await world.agent([call("plain", "c1")], ["ok"], permission_mode=ASK_ALWAYS, four_eyes=True)
    accepted = await world.say(agent, principal="ann")
    (asked,) = await world.asked(agent)
    for allow in (True, False):
        with pytest.raises(errors.FourEyesRequired):
            await world.approve(agent, asked.pending_id, allow=allow, by="ann")
    await world.approve(agent, asked.pending_id, by="bob")
    await world.ended(agent, accepted)
    assert of(await world.events(agent), "request_resolved")[0].decided_by == "bob"


async def test_four_eyes_cannot_be_shut_while_a_call_waits(world: World) -> None:
    """Who may change the settings must not thereby decide alone."""
    agent = await world.agent([call("plain", "c1")], ["ok"], permission_mode=ASK_ALWAYS, four_eyes=True)
    accepted = await world.say(agent, principal="ann")
    (asked,) = await world.asked(agent)

    def relaxed(stored: agent_pb2.Agent) -> agent_pb2.Agent:
        changed = snapshot(stored)
        changed.config.four_eyes = False
        return changed

    await world.registry.update("default", "a1", "", relaxed)
    with pytest.raises(errors.FourEyesRequired):
        await world.approve(agent, asked.pending_id, by="ann")
    await world.approve(agent, asked.pending_id, by="bob")
    await world.ended(agent, accepted)


async def test_a_decider_who_leaves_has_decided(world: World) -> None:
    """The call is cancelled while its decision is written: it is stored, and the turn goes on."""
    agent, accepted, (asked,) = await _asking(world)
    commit, writing = world.store.commit, asyncio.Event()

    async def told(units: object, seal: object) -> object:
        writing.set()
        return await commit(units, seal)  # type: ignore[arg-type]

    world.store.commit = told  # type: ignore[method-assign, assignment]
    deciding = asyncio.create_task(world.approve(agent, asked.pending_id, scope=ALWAYS))
    await writing.wait()
    deciding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deciding
    await world.ended(agent, accepted)
    assert world.box.did == ["plain x"]
    assert len(agent.row.agent.config.permission_rules) == 1, "memory is in step with the store"


async def test_a_decision_for_the_session(world: World) -> None:
    calls = [call("plain", "c1", text="1"), call("plain", "c2", text="2")]
    agent = await world.agent(calls[:1], calls[1:], ["ok"], permission_mode=ASK_ALWAYS)
    accepted = await world.say(agent)
    (asked,) = await world.asked(agent)
    await world.approve(agent, asked.pending_id, scope=SESSION)
    await world.ended(agent, accepted)
    assert world.box.did == ["plain 1", "plain 2"], "the second call did not ask"
    assert await world.store.session_rules(agent.ref.key, agent.row.default_session_id) == {"plain": ALLOW}


async def test_a_decision_for_always_becomes_a_rule_for_calls_like_this(world: World) -> None:
    agent, accepted, (asked,) = await _asking(world, call("plain", "c1", text="a*b"))
    await world.approve(agent, asked.pending_id, scope=ALWAYS)
    await world.ended(agent, accepted)
    row = await world.store.agent("default", "a1")
    assert row is not None
    (rule,) = row.agent.config.permission_rules
    assert (rule.tool, rule.argument, rule.policy) == ("plain", "a?b", ALLOW)


async def test_an_edited_input_is_judged_again(world: World) -> None:
    """A person may not edit a call into what the policy denies."""
    rules = [agent_pb2.PermissionRule(tool="plain", argument="secret*", policy=common_pb2.PERMISSION_POLICY_DENY)]
    agent, accepted, (asked,) = await _asking(world, permission_rules=rules)
    await world.approve(agent, asked.pending_id, edited_input_json='{"text":"secrets"}')
    await world.ended(agent, accepted)
    assert world.box.did == []
    assert results(await world.messages(agent))["c1"]["reason"] == "TOOL_DENIED"
    last = of(await world.events(agent), "governance")[-1]
    assert (last.rule, last.decision) == ("permission_rules", "deny")


# -- a hook (rule 3) ---------------------------------------------------------------------


def _with_hook(monkeypatch: pytest.MonkeyPatch, hook: Hook) -> None:
    """Every turn has this hook, as if a middleware had brought it."""
    monkeypatch.setattr("asteros.runtime.agent.hook_of", lambda onion, context: hook)


async def test_what_a_hook_changed_is_what_is_asked_shown_and_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hook(tool: ToolInfo, args: JsonObject) -> HookAnswer | None:
        return HookAnswer(args={"text": "changed"}) if args.get("text") == "x" else None

    _with_hook(monkeypatch, hook)
    agent, accepted, (asked,) = await _asking(world)
    assert asked.call.input_json == '{"text":"changed"}'
    await world.approve(agent, asked.pending_id, input_digest=asked.input_digest)
    await world.ended(agent, accepted)
    assert world.box.did == ["plain changed"]
    assert of(await world.events(agent), "tool_start")[0].call.input_json == '{"text":"changed"}'


async def test_a_hook_that_changes_an_approved_call_asks_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A2: the digest is made after all middleware; what was approved was something else."""
    wanted = ["y"]

    async def hook(tool: ToolInfo, args: JsonObject) -> HookAnswer | None:
        return HookAnswer(args={"text": wanted[0]})

    _with_hook(monkeypatch, hook)
    agent, accepted, (asked,) = await _asking(world)
    assert asked.call.input_json == '{"text":"y"}'
    wanted[0] = "z"
    await world.approve(agent, asked.pending_id)
    second = (await world.asked(agent, 2))[1]
    assert second.call.input_json == '{"text":"z"}'
    assert world.box.did == []
    await world.approve(agent, second.pending_id)
    await world.ended(agent, accepted)
    assert world.box.did == ["plain z"]
    check_events(await world.events(agent))


@pytest.mark.parametrize("changed", [{"text": 1}, {"other": "x"}])
async def test_what_a_hook_makes_must_fit_the_tool(
    world: World, monkeypatch: pytest.MonkeyPatch, changed: JsonObject
) -> None:
    async def hook(tool: ToolInfo, args: JsonObject) -> HookAnswer | None:
        return HookAnswer(args=changed)

    _with_hook(monkeypatch, hook)
    agent = await world.agent([call("plain", "c1")], ["ok"])
    await world.turn(agent)
    assert world.box.did == []
    assert of(await world.events(agent), "governance")[0].decision == "deny"


# -- time -----------------------------------------------------------------------------


async def test_expiry_is_that_of_the_stored_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A5: no waiter's timer; the decision itself finds that it comes too late."""
    agent, accepted, (asked,) = await _asking(world, approval_timeout={"seconds": 60})
    expires = clock.nanos(asked.expire_time)
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: expires - 1)
    await agent.approvals.expire(asked.pending_id)
    assert await world.store.open_pending("default", agent.ref.key, "", 9)
    monkeypatch.setattr(clock, "now", lambda: expires)
    with pytest.raises(errors.RequestAlreadyResolved) as late:
        await world.approve(agent, asked.pending_id)
    monkeypatch.setattr(clock, "now", now)
    assert late.value.facts["outcome"] == "EXPIRED"
    await world.ended(agent, accepted)
    assert world.box.did == []
    check_events(await world.events(agent))


async def test_an_approval_that_runs_out_before_the_call_can_run(world: World, fake_clock: FakeClock) -> None:
    """A5, at dispatch: approved in time, but the call had to wait for another, for too long."""
    calls = [call("held", "c1"), call("plain", "c2")]
    agent, accepted, asked = await _asking(world, *calls, approval_timeout={"seconds": 60})
    for one in asked:
        await world.approve(agent, one.pending_id)
    await world.seen(agent, "tool_progress")
    fake_clock.seconds += 61
    world.box.hold.set()
    await world.ended(agent, accepted)
    assert world.box.did == ["held "]
    told = results(await world.messages(agent))["c2"]
    assert (told["ok"], told["reason"]) == (False, "TOOL_DENIED")
    notes = of(await world.events(agent), "governance")
    assert (notes[-1].rule, notes[-1].decision, notes[-1].call_id) == ("approval", "deny", "c2")
    check_events(await world.events(agent))


async def test_a_clock_that_jumps_back_revives_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """F21: what has expired stays expired, whatever the clock says later."""
    agent, accepted, (asked,) = await _asking(world, approval_timeout={"seconds": 60})
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + 7200 * clock.NANOS)
    await agent.approvals.expire(asked.pending_id)
    monkeypatch.setattr(clock, "now", now)
    with pytest.raises(errors.RequestAlreadyResolved):
        await world.approve(agent, asked.pending_id)
    await world.ended(agent, accepted)
    assert world.box.did == []


@pytest.mark.parametrize(("given", "seconds"), [(None, 86_400), (60, 60), (10**9, MAX_TIMEOUT)])
def test_how_long_a_request_waits(given: int | None, seconds: float) -> None:
    config = agent_pb2.AgentConfig()
    if given is not None:
        config.approval_timeout.seconds = given
    assert approval_timeout(config) == seconds


async def test_registry_counts_expired_requests(world: World, fake_clock: FakeClock) -> None:
    agent, accepted, _ = await _asking(world, approval_timeout={"seconds": 60})
    fake_clock.seconds += 61
    expiring = asyncio.ensure_future(world.registry._expire())
    await fake_clock.advance(1)
    await expiring
    await world.ended(agent, accepted)
    outcome = of(await world.events(agent), "request_resolved")[0].outcome
    assert outcome == event_pb2.RESOLUTION_OUTCOME_EXPIRED
