"""Replay of a long log from its beginning by 1 and by 100 readers, beside the same events live.

Live, readers share what the writer has just made; replay reads the store for each of them.
Both show the text chunks of one turn through the same filter."""

import itertools
from collections.abc import Callable

from bench import agents
from bench.harness import Bench, Server, median
from bench.load import COUNT, Client, Result
from bench.report import Row

READERS = (1, 100)
GOAL = 0.5


def run(bench: Bench) -> list[Row]:
    count = bench.pick(20_000, 100_000)
    with bench.aster() as ours:
        return [_row(bench, ours, readers, count) for readers in READERS]


def _row(bench: Bench, ours: Server, readers: int, count: int) -> Row:
    numbers = itertools.count()

    def both() -> tuple[Result, Result]:
        name = agents.create(ours, f"resume-{readers}-{next(numbers)}", f"flood:{count}@0")
        live = _read(ours, name, readers, lambda: agents.send(ours, name))
        return live, _read(ours, name, readers, lambda: None, after_sequence=0)

    trials = bench.repeat(both)
    label = f"resume {readers}"
    for live, replay in trials:
        bench.note(label, live=vars(live), replay=vars(replay))
    ratio = median([replay.events_s / live.events_s for live, replay in trials])
    lost = sum(readers * count - replay.events for _, replay in trials)
    rate = median([replay.events_s for _, replay in trials])
    return Row(
        label,
        f"{rate:,.0f} events/s",
        median([replay.us_event for _, replay in trials]),
        ratio,
        "live",
        f">= {GOAL}x, none lost",
        ratio >= GOAL and not lost,
        f"{count:,} events each, live {median([live.events_s for live, _ in trials]):,.0f}/s; {lost} lost",
    )


def _read(ours: Server, name: str, readers: int, begin: Callable[[], None], **fields: int) -> Result:
    before = ours.process.cpu_s()
    with Client(ours.port, agents.followers(name, **fields), conns=readers, **COUNT) as client:
        client.wait_open()
        begin()
        result = client.result()
    result.server_cpu_s = ours.process.cpu_s() - before
    return result
