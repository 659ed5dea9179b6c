"""10,000 subscriptions opened at once on 100 shared connections, then silence.

Memory is that of the server process before and after. Idle CPU is read twice: before
the first heartbeat is due, and (full runs) over one round of heartbeats, 15 s."""

import time

from aster.v1 import event_service_pb2
from bench import agents
from bench.harness import Bench, Server, median
from bench.load import EVENTS, Call, Client
from bench.report import Row

COUNT, CONNECTIONS, AGENTS = 10_000, 100, 1000
KIB_GOAL = 30.0
HEARTBEAT = 15.0  # seconds, the default


def run(bench: Bench) -> list[Row]:
    data = bench.folder("idle")
    names = agents.register(data, AGENTS)
    trials = []
    for _ in range(bench.pick(1, 3)):
        with bench.aster(data) as ours:
            trials.append(_storm(bench, ours, names))
    refused, kib = max(t["refused"] for t in trials), median([t["kib"] for t in trials])
    beats = [t["beats"] for t in trials if "beats" in t]
    opened = median([t["open_s"] for t in trials])
    cpu_us = median([t["open_cpu_s"] for t in trials]) / COUNT * 1e6
    quiet = median([t["idle"] for t in trials])
    beating = f", {median(beats):.1f} % with heartbeats" if beats else ""
    return [
        Row("idle memory", f"{kib:.1f} KiB each", goal=f"<= {KIB_GOAL:.0f} KiB", met=kib <= KIB_GOAL, note="RSS"),
        Row(
            "idle storm",
            f"{refused:.0f} refused",
            cpu_us,
            goal="0",
            met=not refused,
            note=f"{opened:.1f} s to open all",
        ),
        Row("idle CPU", f"{quiet:.1f} %{beating}", goal="< 0.5 %", met=quiet < 0.5, note="quiet; of one core"),
    ]


def _storm(bench: Bench, ours: Server, names: list[str]) -> dict[str, float]:
    call = Call.of(agents.SUBSCRIBE, *(event_service_pb2.SubscribeRequest(agent_id=name) for name in names))
    _warm(ours, names[0])
    cpu, rss = ours.process.cpu_s(), ours.process.rss_kib()
    hold = bench.pick(12, 45)
    options = {**EVENTS, "conns": CONNECTIONS, "streams": COUNT // CONNECTIONS, "hold": hold}
    began = time.perf_counter()
    with Client(ours.port, call, **options) as client:
        client.wait_open()
        trial = {"open_s": time.perf_counter() - began, "open_cpu_s": ours.process.cpu_s() - cpu}
        time.sleep(1.0)
        trial["kib"] = (ours.process.rss_kib() - rss) / COUNT
        trial["idle"] = _share(ours, 2.0)
        if not bench.quick:
            trial["beats"] = _share(ours, HEARTBEAT)
        result = client.result()
    trial["refused"] = float(result.failed + result.unanswered)
    bench.note("idle", trial=trial, client=vars(result))
    return trial


def _warm(ours: Server, name: str) -> None:
    """One subscription alone, so that what is made once is not counted."""
    call = Call.of(agents.SUBSCRIBE, event_service_pb2.SubscribeRequest(agent_id=name))
    with Client(ours.port, call, **EVENTS, hold=0.3) as client:
        client.result()
    time.sleep(0.3)


def _share(ours: Server, seconds: float) -> float:
    cpu, began = ours.process.cpu_s(), time.perf_counter()
    time.sleep(seconds)
    return (ours.process.cpu_s() - cpu) / (time.perf_counter() - began) * 100
