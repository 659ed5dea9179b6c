"""EventService over the wire: lists in both directions, filters, cursors, streams of many agents."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import timestamp_pb2
from services.helpers import LIMIT, Server, pages, serving

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import common_pb2, event_pb2
from aster.v1 import event_service_pb2 as events
from asteros import clock

pytestmark = pytest.mark.anyio
EARLIEST = events.START_POSITION_EARLIEST


async def talked(server: Server, times: int = 2) -> str:
    agent_id = await server.agent()
    for _ in range(times):
        await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="a b"))
    return agent_id


async def listed(server: Server, **request: Any) -> list[event_pb2.EventFrame]:
    return list((await server.events.ListEvents(events.ListEventsRequest(**request))).frames)


def sequences(frames: Any) -> list[int]:
    return [frame.event.sequence for frame in frames]


async def read(stream: Any, count: int) -> list[event_pb2.EventFrame]:
    """The first ``count`` events of a stream, which is left then."""
    found: list[event_pb2.EventFrame] = []
    async with asyncio.timeout(LIMIT):
        while len(found) < count:
            found += [frame for frame in (await stream.read()).frames if frame.HasField("event")]
    stream.cancel()
    return found[:count]


# -- lists ---------------------------------------------------------------------------


async def test_forward_and_back(server: Server) -> None:
    agent_id = await talked(server)
    whole = await listed(server, agent_id=agent_id)
    assert sequences(whole) == list(range(1, len(whole) + 1))
    for backwards, wanted in ((False, sequences(whole)), (True, sequences(whole)[::-1])):
        request = events.ListEventsRequest(agent_id=agent_id, page_size=5, newest_first=backwards)
        found = await pages(server.events.ListEvents, request, "frames")
        assert len(found) >= 3
        assert [len(page) for page in found[:-1]] == [5] * (len(found) - 1)
        assert [number for page in found for number in sequences(page)] == wanted


async def test_filters(server: Server) -> None:
    agent_id = await talked(server)
    whole = await listed(server, agent_id=agent_id)
    turn_id = whole[0].event.turn_id
    chunks = [frame for frame in whole if frame.event.event_type == "progress.text_chunk"]
    monitor = [frame for frame in whole if frame.event.event_type.startswith("monitor.")]
    assert await listed(server, agent_id=agent_id, event_types=["text_delta"]) == chunks  # an alias
    assert (
        await listed(server, agent_id=agent_id, event_types=["progress.text_chunk"], newest_first=True) == chunks[::-1]
    )
    assert await listed(server, agent_id=agent_id, channels=[common_pb2.CHANNEL_MONITOR]) == monitor
    assert await listed(server, agent_id=agent_id, event_types=["monitor.*"]) == monitor
    assert await listed(server, agent_id=agent_id, event_types=["no.such.type"]) == []
    of_turn = await listed(server, agent_id=agent_id, turn_id=turn_id)
    assert of_turn == [frame for frame in whole if frame.event.turn_id == turn_id]
    assert 0 < len(of_turn) < len(whole)


async def test_filtered_pages(server: Server) -> None:
    """A page is full although most events are hidden; the pages together miss none."""
    agent_id = await talked(server, 6)
    for backwards in (False, True):
        request = events.ListEventsRequest(
            agent_id=agent_id, event_types=["progress.complete"], page_size=2, newest_first=backwards
        )
        found = await pages(server.events.ListEvents, request, "frames")
        assert [len(page) for page in found if page] == [2, 2, 2]


async def test_from_a_cursor_and_a_sequence(server: Server) -> None:
    agent_id = await talked(server)
    whole = await listed(server, agent_id=agent_id)
    for place in (0, 3, len(whole) - 1):
        rest = whole[place + 1 :]
        assert await listed(server, agent_id=agent_id, cursor=whole[place].cursor) == rest
        assert await listed(server, agent_id=agent_id, after_sequence=place + 1) == rest


async def test_all_agents(tmp_path: Path) -> None:
    """In the order of the whole log; a cursor of one agent's frame is a place in it."""
    async with serving(tmp_path) as server:
        first, second = await talked(server, 1), await talked(server, 1)
        whole = await listed(server)
        assert [frame.event.agent_id for frame in whole] == sorted(
            (frame.event.agent_id for frame in whole), key=[first, second].index
        )
        assert await listed(server, cursor=whole[3].cursor) == whole[4:]
        assert await listed(server, newest_first=True) == whole[::-1]
        found = await pages(server.events.ListEvents, events.ListEventsRequest(page_size=7), "frames")
        assert [frame for page in found for frame in page] == whole


# -- streams -------------------------------------------------------------------------


async def test_a_stream_begins_with_where_it_stands(server: Server) -> None:
    agent_id = await talked(server)
    latest = len(await listed(server, agent_id=agent_id))
    stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id))
    started = (await stream.read()).frames[0].started
    assert (started.oldest_sequence, started.latest_sequence) == (1, latest)
    assert started.log_epoch
    assert started.subscription_id.startswith("sub_")
    stream.cancel()


STARTS = ["position", "after_sequence", "cursor", "start_time"]


@pytest.mark.parametrize("start", STARTS)
async def test_starts(server: Server, start: str) -> None:
    agent_id = await talked(server)
    whole = await listed(server, agent_id=agent_id)
    where: dict[str, Any] = {
        "position": EARLIEST,
        "after_sequence": 3,
        "cursor": whole[2].cursor,
        "start_time": timestamp_pb2.Timestamp(seconds=1),
    }
    skipped = 3 if start in ("after_sequence", "cursor") else 0
    request = events.SubscribeRequest(agent_id=agent_id, **{start: where[start]})
    found = await read(server.events.Subscribe(request), len(whole) - skipped)
    assert found == whole[skipped:]  # frame for frame what a list shows, cursors too


@pytest.mark.parametrize("days", [12, None])
async def test_start_in_the_future(server: Server, days: int | None) -> None:
    """Nothing old; what comes is not held back. None: as far away as a timestamp goes."""
    seconds = clock.now() // clock.NANOS + days * 86_400 if days else 253_402_300_799
    agent_id = await talked(server, 1)
    latest = len(await listed(server, agent_id=agent_id))
    for of in ({"agent_id": agent_id}, {}):
        request = events.SubscribeRequest(start_time=timestamp_pb2.Timestamp(seconds=seconds), **of)
        stream = server.events.Subscribe(request)
        await stream.read()
        await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x"))
        first = (await read(stream, 1))[0]
        assert first.event.sequence > latest
        latest = len(await listed(server, agent_id=agent_id))


async def test_now(server: Server) -> None:
    agent_id = await talked(server)
    latest = len(await listed(server, agent_id=agent_id))
    stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id))
    await stream.read()
    await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x"))
    whole = await listed(server, agent_id=agent_id)
    assert await read(stream, len(whole) - latest) == whole[latest:]


@pytest.mark.parametrize("channel", ["Progress", "Control", "Monitor"])
async def test_one_channel(server: Server, channel: str) -> None:
    agent_id, event = await server.asking()
    number = common_pb2.Channel.Value(f"CHANNEL_{channel.upper()}")
    wanted = await listed(server, agent_id=agent_id, channels=[number])
    assert wanted
    request = getattr(events, f"Subscribe{channel}Request")(agent_id=agent_id, position=EARLIEST)
    found = await read(getattr(server.events, f"Subscribe{channel}")(request), len(wanted))
    assert found == wanted
    assert (event.id in [frame.event.id for frame in found]) == (channel == "Control")


async def test_several_agents(server: Server) -> None:
    first, second, third = [await talked(server, 1) for _ in range(3)]
    request = events.SubscribeRequest(agent_id=first, agent_ids=[second, first], position=EARLIEST)
    wanted = len(await listed(server, agent_id=first)) + len(await listed(server, agent_id=second))
    found = await read(server.events.Subscribe(request), wanted)
    assert {frame.event.agent_id for frame in found} == {first, second}
    assert third not in {frame.event.agent_id for frame in found}


async def test_until_the_turn_ends(server: Server) -> None:
    """Ends with OK behind the complete event; also when the turn ended long ago."""
    agent_id = await talked(server, 2)
    turns = [frame.event.turn_id for frame in await listed(server, agent_id=agent_id, event_types=["complete"])]
    for turn_id in turns:
        request = events.SubscribeRequest(
            agent_id=agent_id, turn_id=turn_id, until_turn_complete=True, position=EARLIEST
        )
        async with asyncio.timeout(LIMIT):
            found = [frame async for response in server.events.Subscribe(request) for frame in response.frames]
        kinds = [frame.event.event_type for frame in found if frame.HasField("event")]
        assert kinds[-1] == "progress.complete"
        assert kinds.count("progress.complete") == 1


async def test_heartbeat(server: Server) -> None:
    """On a quiet agent after the second that was asked for, with a cursor that resumes."""
    agent_id = await talked(server, 1)
    request = events.SubscribeRequest(
        agent_id=agent_id, event_types=["control.*"], position=EARLIEST, heartbeat_interval={"seconds": 1}
    )
    stream = server.events.Subscribe(request)
    async with asyncio.timeout(5):
        await stream.read()
        beat = (await stream.read()).frames[0]
    stream.cancel()
    assert beat.HasField("heartbeat")
    # It has passed the hidden events: nothing is left behind it.
    assert await listed(server, agent_id=agent_id, cursor=beat.cursor) == []


async def test_streams_are_let_go(server: Server) -> None:
    agent_id = await server.agent()
    before = server.house._streams.hub.count
    streams = [server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id)) for _ in range(20)]
    for stream in streams:
        await stream.read()
    assert server.house._streams.hub.count == before + 20
    for stream in streams:
        stream.cancel()
    async with asyncio.timeout(LIMIT):
        while server.house._streams.hub.count != before:
            await asyncio.sleep(0)
