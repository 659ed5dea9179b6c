"""Streamed runs of 50 chunks over SSE, 100 at a time, a new connection and a new conversation each, beside the peers.

Every system has the same model without delay. Ours wakes a sleeping agent for each run
and commits every event before it is shown; what the others store stands in the note.
The ratio is of runs, which are equal work: systems have 50 to 60 events in one."""

from collections.abc import Iterator
from itertools import count

from bench import agents
from bench.harness import Bench, Server, median
from bench.http_client import Plan, post
from bench.http_client import run as load
from bench.load import Result, Skipped
from bench.peers.peers import CHUNKS, FASTAPI, PEERS, Peer, started
from bench.report import Row
from bench.scenarios.bridge import HTTP, samples

CLIENTS, GOAL = 100, 5.0
RUNS = 400  # of ours and of FastAPI in one repetition
PEER_RUNS = 150


def run(bench: Bench) -> list[Row]:
    data = bench.folder("peers")
    others = bench.pick(0, len(PEERS)) + 1
    names = iter(agents.register(data, RUNS * (bench.reps + 1) * others, f"flood:{CHUNKS}@0"))
    with bench.aster(data, *HTTP) as ours:
        sample = str(samples(ours, bench.folder("sample")))
        rows = [_row(bench, FASTAPI, ours, names, sample)]
        return rows + [_row(bench, peer, ours, names) for peer in PEERS[: others - 1]]


def _row(bench: Bench, peer: Peer, ours: Server, names: Iterator[str], *arguments: str) -> Row:
    label = f"runs beside {peer.name}"
    try:
        with started(bench, peer, *arguments) as server:
            trials = _trials(bench, peer, server, ours, names)
    except Skipped as why:
        return Row(label, "skipped", note=str(why))
    for other, own in trials:
        bench.note(label, peer=vars(other), ours=vars(own))
    ratio = median([own.calls_s / other.calls_s for other, own in trials])
    other_rate, other_cpu = median([o.calls_s for o, _ in trials]), median([o.us_call for o, _ in trials])
    notes = [f"{peer.name} {other_rate:,.0f} runs/s, {other_cpu / CHUNKS:.0f} us/chunk, stores {peer.stores}"]
    if failed := sum(other.failed for other, _ in trials):
        notes.append(f"{failed} of its {sum(other.calls for other, _ in trials)} failed")
    goal = peer is not FASTAPI
    return Row(
        label,
        f"{median([own.calls_s for _, own in trials]):,.0f} runs/s",
        median([own.us_call / CHUNKS for _, own in trials]),
        ratio,
        peer.name,
        f">= {GOAL:.0f}x" if goal else "",
        ratio >= GOAL if goal else None,
        ", ".join(notes),
    )


def _trials(
    bench: Bench, peer: Peer, server: Server, ours: Server, names: Iterator[str]
) -> list[tuple[Result, Result]]:
    sessions = (f"bench-{number}" for number in count())
    many = RUNS if peer is FASTAPI else PEER_RUNS

    def theirs(runs: int) -> Result:
        chosen = [next(sessions) for _ in range(runs)]
        before = tuple(map(peer.before, chosen)) if peer.before else ()
        return _load(server, tuple(map(peer.run, chosen)), before)

    def own() -> Result:
        chosen = tuple(post(f"/api/agents/{next(names)}/stream", {"message": "hi"}) for _ in range(RUNS))
        result = _load(ours, chosen, ())
        if result.failed:
            raise RuntimeError(f"{result.failed} of our runs failed: {result.codes}")
        return result

    theirs(many // 3), own()  # warm-up, dropped
    return bench.repeat(lambda: (theirs(many), own()))


def _load(server: Server, requests: tuple[bytes, ...], before: tuple[bytes, ...]) -> Result:
    plan = Plan("runs", requests, CLIENTS, calls=len(requests), needle="data: ", least=CHUNKS, before=before)
    return load(server, plan)
