"""One busy agent, 1 to 1000 subscribers with a connection each, flood at full speed.

Our path: model, event, SQLite commit (FULL), filter by kind, envelope, natural
batches. Ceiling: the same number of bare grpc.aio streams in a tight loop, 256
frames encoded once per message. Both are measured in turn, so each repetition has a
ratio of its own; the median of these is shown. Beside it stands the bare server
with a shared log and one producer, without a store: what natural batches can do."""

import threading

from bench import agents
from bench.harness import Bench, Server, median
from bench.load import COUNT, Call, Client, Result
from bench.load import run as load
from bench.report import Row

# subscribers: events of ours, of the tight loop (per stream), of the shared log
SIZES = {
    1: (120_000, 2_560_000, 200_000),
    10: (100_000, 1_024_000, 120_000),
    100: (50_000, 64_000, 40_000),
    1000: (5000, 6400, 4000),
}
GOALS = {1: (0.35, 64), 100: (0.70, 256)}  # least ratio, and the batch of the ceiling it stands against
BURST = 16


def run(bench: Bench) -> list[Row]:
    rows = []
    with bench.aster() as ours, bench.ceiling() as bare:
        for number, readers in enumerate(SIZES):
            shrink = bench.pick(4, 1)
            counts = [max(256, n // shrink) for n in SIZES[readers]]
            name = agents.create(ours, f"fan-{number}", f"flood:{counts[0]}@0")
            batch = GOALS.get(readers, (0, 256))[1]
            _tight(bare, readers, max(256, counts[1] // 8), batch)  # warm-up, dropped
            _ours(ours, name, readers)
            trials = bench.repeat(
                lambda: (
                    _tight(bare, readers, counts[1], batch),  # noqa: B023
                    _ours(ours, name, readers),  # noqa: B023
                    _shared(bare, readers, counts[2]),  # noqa: B023
                )
            )
            rows.append(_row(bench, readers, batch, trials))
    return rows


def _tight(bare: Server, readers: int, count: int, batch: int) -> Result:
    call = agents.raw("Batched", n=count // batch * batch, batch=batch, readers=readers)
    return load(bare.port, call, bare.process.cpu_s, {**COUNT, "conns": readers})


def _ours(ours: Server, name: str, readers: int) -> Result:
    before = ours.process.cpu_s()
    with Client(ours.port, agents.followers(name), conns=readers, **COUNT) as client:
        client.wait_open()
        opened = ours.process.cpu_s()
        agents.send(ours, name)
        result = client.result()
    result.server_cpu_s = ours.process.cpu_s() - opened
    result.extra["open_cpu_s"] = opened - before
    return result


def _shared(bare: Server, readers: int, count: int) -> Result:
    follow = agents.raw("Follow", n=count)
    with Client(bare.port, follow, conns=readers, **COUNT) as client:
        client.wait_open()
        opened = bare.process.cpu_s()
        trigger = agents.raw("Publish", n=count, rate=0, burst=BURST, readers=readers)
        other = threading.Thread(target=_publish, args=(bare, trigger))
        other.start()
        result = client.result()
        other.join()
    result.server_cpu_s = bare.process.cpu_s() - opened
    return result


def _publish(bare: Server, trigger: Call) -> None:
    with bare.channel() as channel:
        channel.unary_unary(trigger.path)(trigger.requests[0], timeout=60)


def _row(bench: Bench, readers: int, batch: int, trials: list[tuple[Result, Result, Result]]) -> Row:
    label = f"fanout {readers}"
    for tight, ours, shared in trials:
        bench.note(label, tight=vars(tight), ours=vars(ours), shared=vars(shared))
    ratios = [ours.events_s / tight.events_s for tight, ours, _ in trials]
    ratio, rate = median(ratios), median([ours.events_s for _, ours, _ in trials])
    natural = median([ours.events_s / shared.events_s for _, ours, shared in trials])
    own = [ours for _, ours, _ in trials]
    least, _ = GOALS.get(readers, (0.0, 0))
    notes = [f"{natural:.2f}x shared log without store"]
    notes.append(f"{median([r.events / max(1, r.messages) for r in own]):.0f} events/message")
    notes.append(f"ceiling {median([t.events_s for t, _, _ in trials]) / 1e6:.2f}M/s")
    if len(ratios) > 1:
        notes.append(f"ratios {min(ratios):.2f}-{max(ratios):.2f}")
    if dropped := sum(r.dropped for r in own):
        notes.append(f"dropped {dropped / (dropped + sum(r.events for r in own)):.0%}")
    if max(r.client_share for t in trials for r in t[:2]) > 0.8:
        notes.append("client > 0.8 core: lower bound")
    return Row(
        label,
        f"{rate:,.0f} deliveries/s",
        median([r.us_event for r in own]),
        ratio,
        f"raw batch-{batch}",
        f">= {least:.2f}x" if least else "",
        ratio >= least if least else None,
        ", ".join(notes),
    )
