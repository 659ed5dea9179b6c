"""The life of an agent, its mailbox, and what callers may do at the same time (vector 9, R3, E9)."""

import asyncio
import itertools

import pytest
from events.fakes import settled
from runtime.helpers import World, call, check_events, check_history, kinds, of, shape, states

from aster.v1 import agent_pb2, common_pb2, session_service_pb2
from asteros import errors
from asteros.runtime import lifecycle, mailbox
from asteros.runtime.agent import request_of
from asteros.runtime.lifecycle import CLOSED, CREATED, RUNNING, STARTED, STOPPED, Lifecycle
from asteros.stores.base import AddRequest

pytestmark = pytest.mark.anyio

ALL = (CREATED, STARTED, RUNNING, STOPPED, CLOSED)
LEGAL = {
    (CREATED, STARTED), (STARTED, RUNNING), (RUNNING, STARTED), (STARTED, STOPPED), (STOPPED, STARTED),
    (CREATED, CLOSED), (STARTED, CLOSED), (RUNNING, CLOSED), (STOPPED, CLOSED),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), list(itertools.product(ALL, ALL)))
def test_every_step_of_the_life_cycle(before: int, after: int) -> None:
    life = Lifecycle(agent_pb2.AgentStatus(state=before))
    if before == after:
        assert life.change(after) == []
    elif (before, after) in LEGAL:
        (changed,) = life.change(after)
        assert (changed.previous_state, changed.state, life.status.state) == (before, after, after)
    else:
        with pytest.raises(errors.WrongState):
            life.change(after)
        assert life.status.state == before


def test_activity_is_a_field_of_its_own() -> None:
    life = Lifecycle(agent_pb2.AgentStatus(state=RUNNING, activity=lifecycle.WORKING))
    (changed,) = life.change(activity=lifecycle.WAITING)
    assert (changed.state, changed.previous_activity, changed.activity) == (
        RUNNING,
        lifecycle.WORKING,
        lifecycle.WAITING,
    )
    assert life.change(activity=lifecycle.WAITING) == []


async def test_a_whole_life(world: World) -> None:
    agent = await world.agent(["Hi."])
    await agent.start()
    await agent.start()
    await world.turn(agent)
    await agent.stop()
    await agent.stop()
    await agent.start()
    await agent.close()
    await agent.close()
    events = await world.events(agent)
    assert states(events) == "CREATED STARTED RUNNING STARTED STOPPED STARTED STOPPED CLOSED"
    for refused in (agent.start(), world.say(agent)):
        with pytest.raises(errors.AgentClosed):
            await refused
    row = await world.store.agent("default", "a1")
    assert row is not None
    assert row.status.state == CLOSED


async def test_a_new_agent_closes_from_created(world: World) -> None:
    agent = await world.agent(["Hi."])
    await agent.close()
    assert states(await world.events(agent)) == "CREATED CLOSED"


async def test_a_working_agent_does_not_stop(world: World) -> None:
    agent = await world.agent([call("held")])
    await world.say(agent)
    await world.seen(agent, "tool_progress")
    with pytest.raises(errors.WrongState):
        await agent.stop()
    assert not await world.registry.evict(agent.ref.key)


async def test_evicted_and_woken_it_goes_on(world: World) -> None:
    agent = await world.agent(["Hi."])
    await world.turn(agent)
    assert await world.registry.evict(agent.ref.key)
    again = await world.awake(agent.ref.key)
    assert again is not agent
    await world.turn(again)
    events = await world.events(again)
    assert states(events) == "CREATED STARTED RUNNING STARTED STOPPED STARTED RUNNING STARTED"
    check_events(events)
    assert shape(await world.messages(again)) == "u a u a"
    with pytest.raises(errors.LeaseLost):  # whoever still holds the old one
        await agent.conversations.system_message("late", "", None)


async def test_closing_ends_every_turn(world: World) -> None:
    agent = await world.agent([call("held")])
    turns = [await world.say(agent, str(n)) for n in range(3)]
    await world.seen(agent, "tool_progress")
    await agent.close()
    ended = [await world.ended(agent, turn) for turn in turns]
    assert {turn.state for turn in ended} == {agent_pb2.TURN_STATE_INTERRUPTED}
    events = await world.events(agent)
    assert events[-1].monitor.state_changed.state == CLOSED
    assert states(events).endswith("RUNNING STARTED STOPPED CLOSED")
    check_events(events)
    check_history(await world.messages(agent))


async def test_no_turn_slips_in_while_the_agent_closes(world: World) -> None:
    """R9: a turn accepted then would never end."""
    agent = await world.agent([call("held")])
    await world.say(agent)
    await world.seen(agent, "tool_progress")
    closing = asyncio.ensure_future(agent.close())
    outcomes = []
    while not closing.done():
        outcomes += await asyncio.gather(world.say(agent), return_exceptions=True)
        await asyncio.sleep(0)
    await closing
    assert await world.store.unfinished_turns(agent.ref.key) == []
    assert all(isinstance(o, errors.AgentClosed) or o.turn.state for o in outcomes)
    check_events(await world.events(agent))


# -- the mailbox --------------------------------------------------------------------


async def test_many_callers_are_served_in_their_order(world: World) -> None:
    """R3: 32 at once, and no history is interleaved."""
    agent = await world.agent(model="echo")
    accepted = await asyncio.gather(*(world.say(agent, f"m{n}") for n in range(32)))
    turns = [await world.ended(agent, one) for one in accepted]
    assert [turn.reply.content[0].text for turn in turns] == [f"m{n}" for n in range(32)]
    said = [m.content[0].text for m in await world.messages(agent)]
    assert said == [f"m{n // 2}" for n in range(64)]
    check_events(await world.events(agent))
    firsts = [turn.first_sequence for turn in turns]
    events = await world.events(agent)
    assert [events[first - 1].turn_id for first in firsts] == [turn.id for turn in turns]


async def test_rejecting_while_busy(world: World) -> None:
    agent = await world.agent([call("held")])
    accepted = await world.say(agent, reject_when_busy=True)
    with pytest.raises(errors.AgentBusy) as busy:
        await world.say(agent, reject_when_busy=True)
    assert busy.value.facts["turn_id"] == accepted.turn.id


async def test_the_queue_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MAX_QUEUED", 3)
    agent = await world.agent([call("held")])
    await world.say(agent)
    await world.seen(agent, "tool_progress")
    for _ in range(3):
        await world.say(agent)
    with pytest.raises(errors.RateLimited):
        await world.say(agent)
    assert agent.mailbox.queued == 3


def _request(name: str, body: bytes = b"d") -> AddRequest:
    return AddRequest(name, body, "")


async def test_a_repeated_request_makes_one_turn(world: World) -> None:
    """E9: also while the first is still on its way, and long after."""
    agent = await world.agent(model="echo")
    at_once = await asyncio.gather(*(world.say(agent, "hi", request=_request("r1")) for _ in range(20)))
    await world.ended(agent, at_once[0])
    later = await world.say(agent, "hi", request=_request("r1"))
    assert {accepted.turn.id for accepted in (*at_once, later)} == {at_once[0].turn.id}
    assert later.repeated
    assert later.turn.state == agent_pb2.TURN_STATE_COMPLETED
    assert shape(await world.messages(agent)) == "u a"
    with pytest.raises(errors.RequestIdReused):
        await world.say(agent, "other", request=_request("r1", b"e"))


async def test_a_repeated_request_while_busy_disturbs_nobody(world: World) -> None:
    agent = await world.agent(
        [
            call("held"),
        ],
        ["some", {"pause": 0.01}, "more"],
    )
    first = await world.say(agent)
    await world.seen(agent, "tool_progress")
    queued = await asyncio.gather(*(world.say(agent, request=_request("r1")) for _ in range(5)))
    for _ in range(2):
        await agent.conversations.system_message("note", "", _request("r2"))
    taken = session_service_pb2.Session(id=agent.row.default_session_id, agent_id="a1")
    with pytest.raises(errors.SessionAlreadyExists):
        await agent.conversations.add(taken, None)
    world.box.hold.set()
    assert (await world.ended(agent, first)).state == agent_pb2.TURN_STATE_COMPLETED
    await world.ended(agent, queued[0])
    messages = await world.messages(agent)
    assert shape(messages).count("u") == 2
    assert shape(messages).count("s") == 1
    assert agent.lifecycle.status.message_count == len(messages)
    found = await world.store.session("default", agent.row.default_session_id)
    assert found is not None
    assert found[1].message_count == len(messages)


def test_the_digest_of_a_request_is_of_method_and_body() -> None:
    one, two = user_request("x"), user_request("y")
    made = [request_of("r", method, body) for method, body in (("Send", one), ("Chat", one), ("Send", two))]
    assert len({row.digest for row in made if row}) == 3
    assert request_of("r", "Send", user_request("x")) == made[0]
    assert request_of("", "Send", one) is None


def user_request(text: str) -> common_pb2.Message:
    return common_pb2.Message(content=[common_pb2.ContentBlock(text=text)])


async def test_sessions_keep_their_histories_apart(world: World) -> None:
    agent = await world.agent(model="echo")
    session = session_service_pb2.Session(id="second", agent_id="a1")
    assert await agent.conversations.add(session, None) == "second"
    turn = await world.turn(agent, "there", session_id="second")
    assert turn.session_id == "second"
    await world.turn(agent, "here")
    second = await world.store.messages("default", "second", 0, 0)
    assert [m.content[0].text for _, m in second] == ["there", "there"]
    assert [m.content[0].text for m in await world.messages(agent)] == ["here", "here"]
    with pytest.raises(errors.SessionNotFound):
        await world.say(agent, session_id="third")


async def test_waiting_can_be_given_up(world: World) -> None:
    agent = await world.agent([call("held")], ["ok"])
    accepted = await world.say(agent)
    waiting = asyncio.ensure_future(agent.mailbox.wait(accepted.turn.id))
    await settled()
    waiting.cancel()
    world.box.hold.set()
    assert (await world.ended(agent, accepted)).state == agent_pb2.TURN_STATE_COMPLETED
    with pytest.raises(errors.TurnNotFound):
        await agent.mailbox.wait("trn_no")


async def test_the_place_of_an_accepted_turn_misses_none_of_its_events(world: World) -> None:
    agent = await world.agent(model="echo")
    for _ in range(3):
        accepted = await world.say(agent)
        await world.ended(agent, accepted)
        mine = [event.sequence for event in await world.events(agent, accepted.turn.id)]
        assert mine[0] == accepted.place.sequence + 1
        assert kinds(await world.events(agent, accepted.turn.id)).startswith("state_changed")


async def test_uses_of_a_session_refuse_its_deletion(world: World) -> None:
    agent = await world.agent([call("held")])
    await world.say(agent)
    with pytest.raises(errors.WrongState):
        agent.refuse_session_in_use(agent.row.default_session_id)
    agent.refuse_session_in_use("other")
    assert of(await world.events(agent), "state_changed")
