"""The conversation that an agent has as a member of a Star: one for all runs of that Star, so that
members remember, and apart from what else the agent talks about."""

import contextlib

from aster.v1 import session_service_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import clock, errors
from asteros.runtime.agent import Agent
from asteros.stars import words


async def session_of(agent: Agent, star: pb.Star) -> str:
    """The id of the session; opened when it is first needed.

    A Star that is deleted and made again is another one."""
    name = f"{agent.ref.key}/{star.id}/{clock.nanos(star.create_time)}"
    session_id = words.derived("ses_", name)
    try:
        await agent.conversations.get(session_id)
    except errors.SessionNotFound:
        now = clock.timestamp(clock.now())
        session = session_service_pb2.Session(
            id=session_id,
            agent_id=agent.ref.id,
            title=f"Star {star.display_name or star.id}",
            status="active",
            create_time=now,
            update_time=now,
        )
        with contextlib.suppress(errors.SessionAlreadyExists):  # somebody was quicker
            await agent.conversations.add(session, None)
    return session_id
