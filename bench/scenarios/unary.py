"""GetStatus on 20 connections, one call in flight on each, against a bare echo of the same bytes."""

from aster.v1 import agent_service_pb2
from bench import agents
from bench.harness import Bench, Server, median
from bench.load import Call, Result
from bench.load import run as load
from bench.report import Row

CONNECTIONS, AGENTS = 20, 20


def run(bench: Bench) -> list[Row]:
    calls = bench.pick(6000, 20_000)
    data = bench.folder("unary")
    names = agents.register(data, AGENTS)
    requests = [agent_service_pb2.GetStatusRequest(agent_id=name) for name in names]
    status = Call.of("/aster.v1.AgentService/GetStatus", *requests)
    echo = Call("/raw.Raw/Echo", status.requests)
    with bench.aster(data) as ours, bench.ceiling() as bare:
        _round(ours, status, 1000)  # warm-up, dropped
        _round(bare, echo, 1000)
        trials = bench.repeat(lambda: (_round(bare, echo, calls), _round(ours, status, calls)))
    for plain, own in trials:
        bench.note("unary", bare=vars(plain), ours=vars(own))
    ratio = median([own.calls_s / plain.calls_s for plain, own in trials])
    rate, cpu = median([own.calls_s for _, own in trials]), median([own.us_call for _, own in trials])
    plain_rate, plain_cpu = median([p.calls_s for p, _ in trials]), median([p.us_call for p, _ in trials])
    p99 = median([own.call_us["p99"] / 1e3 for _, own in trials])
    note = f"raw {plain_rate:,.0f}/s, {plain_cpu:.0f} us; p99 {p99:.1f} ms"
    return [Row("unary GetStatus", f"{rate:,.0f} calls/s", cpu, ratio, "raw unary", note=note)]


def _round(server: Server, call: Call, count: int) -> Result:
    options = {"conns": CONNECTIONS, "rpcs": count, "items": 0}
    result = load(server.port, call, server.process.cpu_s, options)
    if result.failed:
        raise RuntimeError(f"{result.failed} of {count} calls failed: {result.codes} {result.extra}")
    return result
