"""The HTTP bridge beside a home-made API (FastAPI + pydantic): fan-out over SSE and WebSocket, GET of an agent.

Fan-out: one busy agent, 100 connections, flood at full speed. FastAPI is fed in bursts of
the size in which our model gives way, and keeps nothing; ours has a commit before each
delivery. GET: the same JSON from both; FastAPI holds it in memory, ours passes the bridge,
every interceptor of the gRPC server and the registry."""

import json
import threading
import urllib.request
from pathlib import Path

from bench import agents
from bench.harness import Bench, Server, median
from bench.http_client import HttpClient, Plan, get, socket
from bench.http_client import run as load
from bench.load import Result
from bench.peers.peers import FASTAPI, started
from bench.report import Row

READERS, CONNECTIONS = 100, 20
BURST = 64  # chunks after which the scripted model gives way
FLOOR, GET_GOAL = 3.0, 0.8
HTTP = ("--http-port", "0")
FILTER = f"eventTypes=progress.text_chunk&untilTurnComplete=true&bufferSize={agents.BUFFER}"
Trial = tuple[Result, Result]  # FastAPI, ours


def run(bench: Bench) -> list[Row]:
    count = bench.pick(5_000, 20_000)
    with bench.aster(None, *HTTP) as ours:
        name = agents.create(ours, "busy", f"flood:{count}@0")
        sample = samples(ours, bench.folder("sample"))
        with started(bench, FASTAPI, str(sample)) as fastapi:
            return [
                _fan_out(bench, "SSE", count // 20, count, fastapi, ours, name),
                _fan_out(bench, "WebSocket", count // 20, count, fastapi, ours, name),
                _unary(bench, fastapi, ours, name),
            ]


def samples(ours: Server, folder: Path) -> Path:
    """What our server answers for an agent and for an event: the peer's models get the same shape."""
    name = agents.create(ours, "sample", "flood:1@0")
    base = f"http://127.0.0.1:{ours.http_port}/api/agents/{name}"
    asked = urllib.request.Request(
        f"{base}/events/stream?afterSequence=0&{FILTER}", headers={"accept": "text/event-stream"}
    )
    with urllib.request.urlopen(base, timeout=10) as answer:
        agent = json.load(answer)
    agents.send(ours, name)
    with urllib.request.urlopen(asked, timeout=10) as stream:
        data = [line[6:] for line in stream if line.startswith(b"data: ")]
    frame = next(found for found in map(json.loads, data) if "event" in found)
    path = folder / "sample.json"
    path.write_text(json.dumps({"agent": agent, "frame": frame}))
    return path


# -- fan-out ----------------------------------------------------------------------------


def _fan_out(bench: Bench, wire: str, few: int, count: int, fastapi: Server, ours: Server, name: str) -> Row:
    def both() -> Trial:
        return _fastapi(fastapi, wire, few), _ours(ours, wire, name, count)

    both()  # warm-up, dropped
    trials = bench.repeat(both)
    return _row(bench, f"bridge {wire} {READERS}", trials, count)


def _ours(ours: Server, wire: str, name: str, count: int) -> Result:
    path = f"/api/agents/{name}/{'events/stream' if wire == 'SSE' else 'ws'}?{FILTER}"
    plan = _plan(wire, path, count, '"eventType":"progress.text_chunk"')
    with HttpClient(ours.http_port, plan) as client:
        client.wait_open()
        opened = ours.process.cpu_s()
        agents.send(ours, name)
        result = client.result()
    result.server_cpu_s = ours.process.cpu_s() - opened
    return result


def _fastapi(fastapi: Server, wire: str, count: int) -> Result:
    plan = _plan(wire, f"/follow?count={count}", count, '"eventType":"progress.text_chunk"')
    with HttpClient(fastapi.http_port, plan) as client:
        client.wait_open()
        opened = fastapi.process.cpu_s()
        other = threading.Thread(target=_publish, args=(fastapi, count))
        other.start()
        result = client.result()
        other.join()
    result.server_cpu_s = fastapi.process.cpu_s() - opened
    return result


def _plan(wire: str, path: str, count: int, needle: str) -> Plan:
    request = get(path) if wire == "SSE" else socket(path)
    return Plan("follow", (request,), READERS, needle=needle, stop=count)


def _publish(fastapi: Server, count: int) -> None:
    url = f"http://127.0.0.1:{fastapi.http_port}/publish?count={count}&burst={BURST}&readers={READERS}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=120).close()


def _row(bench: Bench, label: str, trials: list[Trial], count: int) -> Row:
    for peer, own in trials:
        bench.note(label, fastapi=vars(peer), ours=vars(own))
    ratio = median([own.events_s / peer.events_s for peer, own in trials])
    own = [own for _, own in trials]
    notes = [
        f"FastAPI {median([p.events_s for p, _ in trials]):,.0f}/s, {median([p.us_event for p, _ in trials]):.1f} us"
    ]
    if lost := sum(max(0, READERS * count - result.events) for result in own):
        notes.append(f"dropped {lost / (READERS * count * len(own)):.1%}")
    if max(result.client_share for trial in trials for result in trial) > 0.8:
        notes.append("client > 0.8 core: lower bound")
    return Row(
        label,
        f"{median([result.events_s for result in own]):,.0f} deliveries/s",
        median([result.us_event for result in own]),
        ratio,
        f"FastAPI in bursts of {BURST}",
        f">= {FLOOR:.0f}x",
        ratio >= FLOOR,
        ", ".join(notes),
    )


# -- one call ------------------------------------------------------------------------------


def _unary(bench: Bench, fastapi: Server, ours: Server, name: str) -> Row:
    request = get(f"/api/agents/{name}", {"accept": "application/json"})

    def one(server: Server, calls: int) -> Result:
        result = load(server, Plan("unary", (request,), CONNECTIONS, calls=calls))
        if result.failed:
            raise RuntimeError(f"{result.failed} of {calls} calls failed: {result.codes}")
        return result

    calls = bench.pick(2000, 5000)
    for server in (fastapi, ours):
        one(server, calls // 4)  # warm-up, dropped
    trials = bench.repeat(lambda: (one(fastapi, calls), one(ours, calls)))
    for peer, own in trials:
        bench.note("bridge GET agent", fastapi=vars(peer), ours=vars(own))
    ratio = median([own.calls_s / peer.calls_s for peer, own in trials])
    peer_rate, peer_cpu = median([p.calls_s for p, _ in trials]), median([p.us_call for p, _ in trials])
    return Row(
        "bridge GET agent",
        f"{median([own.calls_s for _, own in trials]):,.0f} calls/s",
        median([own.us_call for _, own in trials]),
        ratio,
        "FastAPI, same JSON",
        f">= {GET_GOAL}x",
        ratio >= GET_GOAL,
        f"FastAPI {peer_rate:,.0f}/s, {peer_cpu:.0f} us",
    )
