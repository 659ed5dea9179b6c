"""Time from a Stream request to its first event and to its first text, both after their commits.

One call at a time, instant model. Warm: one connection stays. Fresh: each call pays
for its own connect, as a short-lived client does. Agents take turns, because a
conversation that grows is not what this measures. Against: an empty unary call of
ours (Health/Check passes every interceptor), and a bare gRPC stream of one event."""

from aster.v1 import agent_service_pb2
from bench import agents
from bench.harness import Bench, Server, median
from bench.load import EVENTS, Call, Result
from bench.load import run as load
from bench.report import Row

AGENTS = 40
WARM_GOAL, FRESH_GOAL = 2.5, 2.0  # performance.md G6


def run(bench: Bench) -> list[Row]:
    calls = bench.pick(200, 400)
    data = bench.folder("ttfe")
    names = agents.register(data, AGENTS)
    everything = _streams(names, [])
    text = _streams(names, agents.PROGRESS)
    empty = Call("/grpc.health.v1.Health/Check")
    bare_stream = agents.raw("One")
    with bench.aster(data) as ours, bench.ceiling() as bare:
        _one(ours, everything, AGENTS * 2)  # wakes every agent; dropped
        trials = bench.repeat(
            lambda: {
                "empty": _one(ours, empty, calls, items=0),
                "bare fresh": _one(bare, bare_stream, calls, fresh=1),
                "warm": _one(ours, everything, calls),
                "warm text": _one(ours, text, calls),
                "fresh": _one(ours, everything, calls, fresh=1),
                "fresh text": _one(ours, text, calls, fresh=1),
            }
        )
    for trial in trials:
        bench.note("ttfe", **{name: vars(result) for name, result in trial.items()})
    return [
        _row(trials, "ttfe warm, first event", "warm", "empty", "empty unary", WARM_GOAL),
        _row(trials, "ttfe warm, first text", "warm text", "empty", "empty unary", 0),
        _row(trials, "ttfe with connect, first event", "fresh", "bare fresh", "bare stream", FRESH_GOAL),
        _row(trials, "ttfe with connect, first text", "fresh text", "bare fresh", "bare stream", 0),
    ]


def _streams(names: list[str], channels: list[int]) -> Call:
    requests = [agent_service_pb2.StreamRequest(agent_id=name, message="hi", channels=channels) for name in names]
    return Call.of(agents.STREAM, *requests)


def _one(server: Server, call: Call, calls: int, **options: int) -> Result:
    """One call after the other on one slot."""
    shape = {**EVENTS, "ts": ""} if "items" not in options else {}
    result = load(server.port, call, server.process.cpu_s, {**shape, "rpcs": calls, **options})
    if result.failed:
        raise RuntimeError(f"{result.failed} of {result.calls} calls of {call.path} failed: {result.codes}")
    return result


def _row(trials: list[dict[str, Result]], label: str, ours: str, base: str, ceiling: str, most: float) -> Row:
    p50 = median([trial[ours].first_us["p50"] / 1e3 for trial in trials])
    p99 = median([trial[ours].first_us["p99"] / 1e3 for trial in trials])
    against = median([trial[base].first_us["p50"] / 1e3 for trial in trials])
    ratio = median([trial[ours].first_us["p50"] / max(1, trial[base].first_us["p50"]) for trial in trials])
    return Row(
        label,
        f"p50 {p50:.2f} p99 {p99:.2f} ms",
        median([trial[ours].us_call for trial in trials]),
        ratio,
        ceiling,
        f"<= {most:.1f}x" if most else "",
        ratio <= most if most else None,
        f"{ceiling} p50 {against:.2f} ms; CPU is of the whole turn",
    )
