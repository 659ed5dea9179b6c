"""50 events a second to 1 and to 100 readers: nothing to batch, so latency and CPU decide.

Latency runs from the event's create_time, stamped before the commit, to its receipt.
The bare server stamps when it publishes into a shared log, and has no store."""

from bench import agents
from bench.harness import Bench, Server, median
from bench.load import EVENTS, Client, Result
from bench.report import Row
from bench.scenarios.fanout import _publish

RATE = 50
P50_GOAL, P99_GOAL = 0.4, 2.0  # ms above the bare server (G4)


def run(bench: Bench) -> list[Row]:
    rows = []
    count = RATE * bench.pick(3, 8)
    with bench.aster() as ours, bench.ceiling() as bare:
        for readers in (1, 100):
            name = agents.create(ours, f"chat-{readers}", f"flood:{count}@{RATE}")
            trials = bench.repeat(lambda: (_bare(bare, readers, count), _ours(ours, name, readers)))  # noqa: B023
            rows.append(_row(bench, readers, trials))
    return rows


def _ours(ours: Server, name: str, readers: int) -> Result:
    with Client(ours.port, agents.followers(name), conns=readers, **EVENTS) as client:
        client.wait_open()
        before = ours.process.cpu_s()
        agents.send(ours, name)
        result = client.result()
    result.server_cpu_s = ours.process.cpu_s() - before
    return result


def _bare(bare: Server, readers: int, count: int) -> Result:
    with Client(bare.port, agents.raw("Follow", n=count), conns=readers, **EVENTS) as client:
        client.wait_open()
        before = bare.process.cpu_s()
        _publish(bare, agents.raw("Publish", n=count, rate=RATE, burst=1, readers=readers))
        result = client.result()
    result.server_cpu_s = bare.process.cpu_s() - before
    return result


def _row(bench: Bench, readers: int, trials: list[tuple[Result, Result]]) -> Row:
    for bare, ours in trials:
        bench.note(f"chat_pace {readers}", bare=vars(bare), ours=vars(ours))

    def of(which: int, key: str) -> float:
        return median([trial[which].latency_us[key] / 1e3 for trial in trials])

    more50, more99 = of(1, "p50") - of(0, "p50"), of(1, "p99") - of(0, "p99")
    return Row(
        f"chat_pace {readers} reader{'s' if readers > 1 else ''}",
        f"p50 {of(1, 'p50'):.2f} p99 {of(1, 'p99'):.2f} ms",
        median([ours.us_event for _, ours in trials]),
        of(1, "p50") / max(0.001, of(0, "p50")),
        "raw p50",
        f"<= +{P50_GOAL}/+{P99_GOAL} ms",
        more50 <= P50_GOAL and more99 <= P99_GOAL,
        f"raw {of(0, 'p50'):.2f}/{of(0, 'p99'):.2f} ms, {median([b.us_event for b, _ in trials]):.0f} us",
    )
