"""One run of F1: seeded traffic, listeners that come back, and a server that is killed.

The seed decides who says what, who listens to what, and when each kill falls. What the
operating system does with it differs from run to run; the plan does not."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from robustness import agents, collect
from robustness.harness import ServerProcess, Stubs
from robustness.recorder import ALL_CHANNELS, DROP_OLDEST, Listener, Pool, Record
from robustness.traffic import Traffic
from robustness.validators import History, problems

from aster.v1 import common_pb2

TALKERS = [*(f"echo-{n}" for n in range(5)), *(f"flood-{n}" for n in range(5)), *(f"demo-{n}" for n in range(4))]
APPENDERS = ["append-0", "append-1", "ask-0", "ask-1"]  # an agent for every turn
HOLDERS = ["hold-0", "hold-1"]
LISTENERS = 50
PER_CHANNEL = 5  # listeners that share a connection
KILL_WINDOW = (0.05, 0.5)  # seconds
EARLY = 0.15  # share of kills that do not wait until the server serves
PATIENCE = 30.0  # seconds for what must happen in the end; then it counts as lost

CHANNEL_CHOICES = (
    {common_pb2.CHANNEL_PROGRESS},
    {common_pb2.CHANNEL_CONTROL},
    {common_pb2.CHANNEL_MONITOR},
    {common_pb2.CHANNEL_PROGRESS, common_pb2.CHANNEL_CONTROL},
)


@dataclass
class Figures:
    """What a run amounted to."""

    kills: int = 0
    events: int = 0  # in the log
    checked: int = 0  # frames that listeners received, each compared with the log
    resumes: int = 0
    turns: int = 0
    unknown: int = 0  # calls without an answer that were repeated
    longest_start: float = 0.0
    wrong: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        longest = max(self.longest_start, other.longest_start)
        total = {name: value + getattr(other, name) for name, value in vars(self).items()}
        return Figures(**{**total, "longest_start": longest})


async def run(folder: Path, seed: int, kills: int) -> tuple[list[str], Figures]:
    """Runs the traffic through so many kills; what was wrong, and the figures."""
    server = ServerProcess(folder)
    agents.write_scripts(server.scripts_dir)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(server)
        stubs = await stack.enter_async_context(Stubs(server.address))
        pool = Pool()
        listeners = await _listeners(stack, server, pool, _records(random.Random(f"{seed} listeners")))
        traffic = Traffic(stubs, seed)
        traffic.watch(listeners[0])
        for agent_id in TALKERS:  # a listener cannot ask for an agent that is not there
            await traffic.create(agent_id)
        async with _running(listener.run() for listener in listeners), _running([traffic.approve_all()]):
            await _play(server, traffic, random.Random(f"{seed} kills"), kills)
            history = await _history(server, stubs, traffic, listeners, pool)
        code = await server.terminate()
    wrong = problems(history) + ([f"the drain ended with {code}"] if code else [])
    return wrong, _figures(history, server, traffic, kills, len(wrong))


async def _listeners(
    stack: contextlib.AsyncExitStack, server: ServerProcess, pool: Pool, records: list[Record]
) -> list[Listener]:
    """Every few of them share a connection, as the subscriptions of one client do."""
    listeners = []
    for number, record in enumerate(records):
        if number % PER_CHANNEL == 0:
            stubs = await stack.enter_async_context(Stubs(server.address))
        listeners.append(Listener(stubs, pool, record, buffer=1024 if record.policy == DROP_OLDEST else 16_384))
    return listeners


def _records(rng: random.Random) -> list[Record]:
    """The first listens to everything; the others to one agent, some, or all, many of them filtered."""
    records = [Record("all-0")]
    for number in range(1, LISTENERS):
        wish = rng.choice(("one", "one", "one", "some", "all"))
        count = {"one": 1, "some": 5, "all": 0}[wish]
        channels = frozenset(rng.choice(CHANNEL_CHOICES)) if rng.random() < 0.4 else ALL_CHANNELS
        record = Record(f"{wish}-{number}", frozenset(rng.sample(TALKERS, count)), channels)
        if rng.random() < 0.2:
            record.policy = DROP_OLDEST
        records.append(record)
    return records


@contextlib.asynccontextmanager
async def _running(work: Iterable[object]) -> AsyncIterator[None]:
    """Runs the coroutines beside the block and cancels them behind it; their failure fails it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]  # type: ignore[arg-type]
        yield
        for task in tasks:
            task.cancel()


async def _play(server: ServerProcess, traffic: Traffic, rng: random.Random, kills: int) -> None:
    """The traffic, the kills in it, and then what must still come to its end."""
    players = [asyncio.create_task(traffic.talk(agent_id)) for agent_id in TALKERS]
    players += [asyncio.create_task(traffic.append(name)) for name in APPENDERS]
    players += [asyncio.create_task(traffic.hold(agent_id)) for agent_id in HOLDERS]
    try:
        for _ in range(kills):
            await _kill(server, rng)
        traffic.stopping = True
        done, _ = await asyncio.wait(players, timeout=PATIENCE)
        released = [asyncio.create_task(traffic.release(held)) for held in traffic.held]
        players += released
        if released:
            done |= (await asyncio.wait(released, timeout=PATIENCE))[0]
        for player in done:
            player.result()
    finally:
        for player in players:
            player.cancel()
        await asyncio.gather(*players, return_exceptions=True)


async def _kill(server: ServerProcess, rng: random.Random) -> None:
    """Kills the server at a moment of the plan, now and then while it still starts."""
    await asyncio.sleep(rng.uniform(*KILL_WINDOW))
    await server.kill()
    while rng.random() < EARLY:
        await server.spawn()
        await asyncio.sleep(rng.uniform(*KILL_WINDOW))
        await server.kill()
    await server.start()


async def _history(
    server: ServerProcess, stubs: Stubs, traffic: Traffic, listeners: list[Listener], pool: Pool
) -> History:
    history = History([listener.record for listener in listeners], sent=traffic.sent, held=traffic.held)
    for agent_id in dict.fromkeys(traffic.created):
        history.log[agent_id] = await collect.log_of(stubs, pool, agent_id)
        history.turns[agent_id] = await collect.turns_of(stubs, agent_id)
        history.messages[agent_id] = await collect.messages_of(stubs, agent_id)
        if agent_id.partition("-")[0] in ("append", "ask", "hold"):
            history.marks[agent_id] = agents.marks(server.data_dir, agent_id)
    # Whoever has not come to the end of the log by then has lost something: `gapless` says what.
    await asyncio.gather(*(listener.reach(_newest(history, listener.record), PATIENCE) for listener in listeners))
    return history


def _newest(history: History, record: Record) -> dict[str, int]:
    """The last sequence of each agent that this listener is to see."""
    newest = {}
    for agent_id, events in history.log.items():
        wanted = [seen.sequence for seen in events if record.wants(agent_id, seen.channel)]
        if wanted:
            newest[agent_id] = wanted[-1]
    return newest


def _figures(history: History, server: ServerProcess, traffic: Traffic, kills: int, wrong: int) -> Figures:
    return Figures(
        kills=kills,
        events=sum(map(len, history.log.values())),
        checked=sum(len(record.seen) for record in history.records),
        resumes=sum(len(record.ends) for record in history.records),
        turns=len({turn_id for sent in history.sent for turn_id in sent.turn_ids}),
        unknown=traffic.unknown,
        longest_start=server.longest_start,
        wrong=wrong,
    )
