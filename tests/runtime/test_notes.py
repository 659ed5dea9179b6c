"""Notes of tools and middlewares: small values in the store, by name."""

import pytest
from runtime.helpers import World

from asteros import errors
from asteros.runtime.notes import MAX_NAME, MAX_NOTE, AgentNotes

pytestmark = pytest.mark.anyio


async def test_notes_are_kept_by_name(world: World) -> None:
    agent = await world.agent()
    notes = AgentNotes(world.store, agent.journal, "")
    await notes.put("plan", {"steps": ["一", 2], "done": False})
    await notes.put("a", 0)
    again = AgentNotes(world.store, agent.journal, "")
    assert await again.get("plan") == {"steps": ["一", 2], "done": False}
    assert await again.names() == ["a", "plan"]
    await again.put("a", None)
    assert await again.names() == ["plan"]
    assert await again.get("a") is None


async def test_a_session_has_notes_of_its_own(world: World) -> None:
    agent = await world.agent()
    await AgentNotes(world.store, agent.journal, "s1").put("x", 1)
    assert await AgentNotes(world.store, agent.journal, "s2").get("x") is None
    assert await AgentNotes(world.store, agent.journal, "").get("x") is None


@pytest.mark.parametrize(("name", "value"), [("", 1), ("n" * (MAX_NAME + 1), 1), ("n", "x" * MAX_NOTE)])
async def test_what_is_too_large_is_refused(world: World, name: str, value: object) -> None:
    agent = await world.agent()
    with pytest.raises(errors.InvalidArgument):
        await AgentNotes(world.store, agent.journal, "").put(name, value)


async def test_whoever_lost_the_agent_writes_no_notes(world: World) -> None:
    agent = await world.agent()
    notes = AgentNotes(world.store, agent.journal, "")
    await world.store.acquire(agent.ref.key)
    with pytest.raises(errors.LeaseLost):
        await notes.put("x", 1)
