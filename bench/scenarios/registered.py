"""100,000 registered agents in one data directory: start, memory, waking one, listing them.

A registered agent is a row; what is asked is whether the server treats it as one."""

import random
import time

from aster.v1 import agent_service_pb2
from bench import agents
from bench.harness import Bench, Server, median
from bench.load import Call, Result
from bench.load import run as load
from bench.report import Row

COUNT = 100_000
START_GOAL, RSS_GOAL, WAKE_GOAL, PAGE_GOAL = 3.0, 50.0, 10.0, 20.0  # s, MB, ms, ms
SERVICE = "/aster.v1.AgentService/"


def run(bench: Bench) -> list[Row]:
    data = bench.folder("registered")
    names = agents.register(data, COUNT)
    starts, grown, wakes, first_sends, pages, big_pages = [], [], [], [], [], []
    for number in range(bench.pick(1, 3)):
        with bench.aster() as empty:
            least = empty.process.rss_kib()
        with bench.aster(data) as ours:
            starts.append(ours.start_s)
            time.sleep(0.5)
            grown.append((ours.process.rss_kib() - least) / 1024)
            _calls(ours, "GetStatus", [agent_service_pb2.GetStatusRequest(agent_id=names[0])], 50)  # warm-up
            asleep = random.Random(number).sample(names, 400)
            starting = [agent_service_pb2.StartAgentRequest(agent_id=name) for name in asleep[:200]]
            sending = [agent_service_pb2.SendRequest(agent_id=name, message="hi") for name in asleep[200:]]
            wakes.append(_calls(ours, "StartAgent", starting, 200))
            first_sends.append(_calls(ours, "Send", sending, 200))
            middles = [f"agent-{number:03d}" for number in random.Random(7).sample(range(100), 20)]
            listed = [agent_service_pb2.ListAgentsRequest(id_prefix=prefix) for prefix in middles]
            pages.append(_calls(ours, "ListAgents", listed, 100))
            big = [agent_service_pb2.ListAgentsRequest(id_prefix=prefix, page_size=1000) for prefix in middles]
            big_pages.append(_calls(ours, "ListAgents", big, 20))
    bench.note("registered", starts=starts, grown=grown, wakes=[vars(wake) for wake in wakes])
    bench.note("registered pages", default=[vars(page) for page in pages], large=[vars(page) for page in big_pages])
    start, memory = median(starts), median(grown)
    wake, send, page = (_p50(results) for results in (wakes, first_sends, pages))
    return [
        Row("registered start", f"{start:.2f} s", goal=f"<= {START_GOAL:.0f} s", met=start <= START_GOAL),
        Row("registered memory", f"{memory:+.1f} MB", goal=f"<= {RSS_GOAL:.0f} MB", met=memory <= RSS_GOAL, note="RSS"),
        Row(
            "registered wake",
            f"StartAgent p50 {wake:.2f} ms, first Send {send:.2f} ms",
            median([result.us_call for result in wakes]),
            goal=f"<= {WAKE_GOAL:.0f} ms",
            met=max(wake, send) <= WAKE_GOAL,
            note=f"p99 {_p99(wakes):.1f} and {_p99(first_sends):.1f} ms",
        ),
        Row(
            "registered list",
            f"page of 50 p50 {page:.2f} ms",
            median([result.us_call for result in pages]),
            goal=f"<= {PAGE_GOAL:.0f} ms",
            met=page <= PAGE_GOAL,
            note=f"page of 1000 {_p50(big_pages):.1f} ms",
        ),
    ]


def _calls(ours: Server, method: str, requests: list[object], count: int) -> Result:
    """One call after the other."""
    options = {"rpcs": count, "items": 0}
    result = load(ours.port, Call.of(SERVICE + method, *requests), ours.process.cpu_s, options)
    if result.failed:
        raise RuntimeError(f"{result.failed} of {count} {method} failed: {result.codes} {result.extra}")
    return result


def _p50(results: list[Result]) -> float:
    return median([result.call_us["p50"] / 1e3 for result in results])


def _p99(results: list[Result]) -> float:
    return median([result.call_us["p99"] / 1e3 for result in results])
