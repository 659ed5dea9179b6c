"""99 readers at a fixed rate, with and without one subscriber that has stopped reading.

The stalled one has a window of 1 KiB and a buffer of 16 events, so it overflows
within the first second and stays so: its writes block, its events are counted out."""

import contextlib

from bench import agents
from bench.harness import Bench, Server, median
from bench.load import EVENTS, Client, Result
from bench.report import Row

READERS, RATE, GOAL = 99, 100, 1.2


def run(bench: Bench) -> list[Row]:
    count = RATE * bench.pick(3, 8)
    with bench.aster() as ours:
        name = agents.create(ours, "busy", f"flood:{count}@{RATE}")
        _round(ours, name, stalled=False)  # warm-up, dropped
        pairs = []
        for number in range(bench.pick(2, 5)):  # in turn, and in turn who is first
            order = (False, True) if number % 2 else (True, False)
            both = {stalled: _round(ours, name, stalled=stalled) for stalled in order}
            pairs.append((both[False], both[True]))
            bench.note("slow_reader", without=vars(both[False]), beside=vars(both[True]))
    without = median([a.latency_us["p99"] for a, _ in pairs]) / 1e3
    beside = median([b.latency_us["p99"] for _, b in pairs]) / 1e3
    ratio = median([b.latency_us["p99"] / max(1, a.latency_us["p99"]) for a, b in pairs])
    lost = sum(result.dropped for pair in pairs for result in pair)
    return [
        Row(
            "slow_reader 1 of 100",
            f"p99 {beside:.2f} ms beside it",
            median([b.us_event for _, b in pairs]),
            ratio,
            "without it",
            f"<= {GOAL}x",
            ratio <= GOAL,
            f"{without:.2f} ms without; {lost} events lost by the others",
        )
    ]


def _round(ours: Server, name: str, *, stalled: bool) -> Result:
    with contextlib.ExitStack() as stack:
        if stalled:
            call = agents.followers(name, buffer_size=16)
            lazy = stack.enter_context(Client(ours.port, call, **EVENTS, stall=1, window=1024, hold=60))
            lazy.wait_open()
        client = stack.enter_context(Client(ours.port, agents.followers(name), conns=READERS, **EVENTS))
        client.wait_open()
        before = ours.process.cpu_s()
        agents.send(ours, name)
        result = client.result()
        result.server_cpu_s = ours.process.cpu_s() - before
    return result
