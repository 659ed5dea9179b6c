"""A Star as a step of a workflow (``workflows.nested.StarRunner``)."""

import asyncio

import pytest
from services.helpers import STUCK, Server
from stars.helpers import events, finish, give, star_of

from aster.v1 import common_pb2
from asteros import errors, ids
from asteros.services.star_steps import StarSteps
from asteros.workflows.nested import StarAnswer

pytestmark = pytest.mark.anyio


async def _run(server: Server, key: str) -> StarAnswer:
    steps = StarSteps(server.house._stars, server.house._teams, server.house._streams.hub)
    return await steps.run(
        "default", "team", "go", key=key, principal="ann", budget=common_pb2.Budget(), run_id="wfr_1"
    )


async def test_the_same_key_is_the_same_run(server: Server) -> None:
    await star_of(server, {"boss": [[give("ann", "x", "a")], [finish("ok")]], "ann": "echo"})
    key = ids.new("wfs_")
    one, two = await asyncio.gather(_run(server, key), _run(server, key))
    assert one == two == await _run(server, key)
    assert (one.text, one.agent_id, one.steps) == ("ok", "boss", 3)
    found = await events(server)
    assert {event.workflow_run_id for event in found} == {"wfr_1"}
    assert len([event for event in found if event.event_type == "progress.complete"]) == 2


async def test_it_is_stopped(server: Server) -> None:
    await star_of(server, {"boss": server.script("stuck", STUCK)})
    key = ids.new("wfs_")
    running = asyncio.create_task(_run(server, key))
    await server.seen("boss", "progress.text_chunk")
    steps = StarSteps(server.house._stars, server.house._teams, server.house._streams.hub)
    await steps.stop("default", "team", key=key)
    with pytest.raises(errors.TurnInterrupted):
        await running
    await steps.stop("default", "team", key="wfs_nothing")
