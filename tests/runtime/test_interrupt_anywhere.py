"""F26: a turn is interrupted after every number of steps of the loop; it ends once, its history is
whole and nothing is left behind. F25: many callers do everything at once to one agent."""

import asyncio
import contextlib
import gc
import random
from collections.abc import Sequence

import pytest
from runtime.helpers import ASK_ALWAYS, Action, World, call, check_events, check_history, of

from aster.v1 import agent_pb2
from asteros import errors, failpoints

pytestmark = pytest.mark.anyio
STEPS = 60  # of the loop; the longest scene takes fewer when nothing waits for the disk
SCENES: dict[str, tuple[list[Sequence[Action]], dict[str, object]]] = {
    "text": ([["one ", "two ", "three"]], {}),
    "tools": ([["hm", call("look"), call("plain"), call("keyed")], ["ok"]], {}),
    "asked": ([[call("plain", "c1")], ["ok"]], {"permission_mode": ASK_ALWAYS}),
}
ENDED = (agent_pb2.TURN_STATE_INTERRUPTED, agent_pb2.TURN_STATE_COMPLETED)


@pytest.mark.parametrize("scene", SCENES)
async def test_after_every_step_of_the_loop(world: World, scene: str) -> None:
    steps, config = SCENES[scene]
    model = world.script(*steps)
    gc.collect()
    before = len(asyncio.all_tasks())
    for count in range(STEPS):
        agent = await world.agent(agent_id=f"a{count}", model=model, **config)
        accepted = await world.say(agent)
        for _ in range(count):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            turn = await agent.mailbox.interrupt(accepted.turn.id, "enough")
        assert turn.state in ENDED
        check_events(await world.events(agent))
        check_history(await world.messages(agent))
        assert await world.store.open_pending("default", agent.ref.key, "", 9) == []
        assert agent.lifecycle.status.activity == agent_pb2.AGENT_ACTIVITY_IDLE
        assert not agent.mailbox.busy
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) <= before


async def test_everything_at_once(world: World) -> None:
    """Eight callers say, interrupt, approve and deny; no deadlock, and every turn ends once."""
    agent = await world.agent(["hm ", call("plain"), call("look")], [call("keyed")], ["ok"], permission_mode=ASK_ALWAYS)

    async def say(rng: random.Random) -> None:
        await world.say(agent)

    async def interrupt(rng: random.Random) -> None:
        await agent.mailbox.interrupt("", "enough")

    async def decide(rng: random.Random) -> None:
        for row in await world.store.open_pending("default", agent.ref.key, "", 9):
            await world.approve(agent, row.pending.id, allow=rng.random() < 0.7)

    async def caller(number: int) -> None:
        rng = random.Random(number)
        for _ in range(25):
            with contextlib.suppress(errors.WrongState, errors.RateLimited, errors.RequestAlreadyResolved):
                await rng.choice((say, say, interrupt, decide, decide, decide))(rng)

    async with asyncio.timeout(30):
        await asyncio.gather(*map(caller, range(8)))
        while agent.mailbox.busy:
            with contextlib.suppress(errors.RequestAlreadyResolved):
                await decide(random.Random(1))
            await asyncio.sleep(0)
    events = await world.events(agent)
    check_events(events)
    check_history(await world.messages(agent))
    assert len(of(events, "complete")) > 20


async def test_a_fault_at_the_very_end_leaves_the_turn_to_the_next_owner(world: World) -> None:
    """R9: whatever breaks, nobody waits for ever, and the turn still gets its one end."""
    failpoints.install({"ASTER_TESTING": "1", "ASTER_FAILPOINTS": "run.before_terminal=raise"})
    try:
        agent = await world.agent(["hi"])
        accepted = await world.say(agent)
        assert (await world.ended(agent, accepted)).state == agent_pb2.TURN_STATE_RUNNING
    finally:
        failpoints.install({})
    again = await world.awake(agent.ref.key)
    assert again is not agent
    assert (await world.ended(again, accepted)).state == agent_pb2.TURN_STATE_COMPLETED
    check_events(await world.events(again))
