"""1,000 remote agents report 50 events a second each: none is lost, and a chat beside them hardly notices.

The chat is one agent of our own with one reader at 50 events a second, first alone, then under the load."""

import json
import subprocess
import sys

from aster.v1 import agent_service_pb2, agent_service_pb2_grpc
from bench import agents
from bench.harness import ROOT, Bench, Server, median
from bench.load import EVENTS, Client, Result
from bench.report import Row

AGENTS, RATE, CONNECTIONS = 1000, 50, 10
P99_GOAL = 3.0  # of a chat under the load, against alone


def run(bench: Bench) -> list[Row]:
    seconds = bench.pick(6, 15)
    alone, beside, loads = [], [], []
    with bench.aster() as ours:
        for trial in range(bench.reps):
            alone.append(_chat(ours, f"alone-{trial}", seconds // 2))
            result, load = _under_load(ours, f"beside-{trial}", seconds)
            beside.append(result)
            loads.append(load)
        lost = sum(load["sent"] - load["stored"] for load in loads) + _missing(ours, loads)
    for chat, busy, load in zip(alone, beside, loads, strict=True):
        bench.note("studio", alone=vars(chat), beside=vars(busy), load=load)
    before = median([chat.latency_us["p99"] / 1e3 for chat in alone])
    during = median([chat.latency_us["p99"] / 1e3 for chat in beside])
    rate = median([load["stored"] / load["wall_s"] for load in loads])
    cpu = median([load["server_cpu_s"] / load["stored"] * 1e6 for load in loads])
    ratio = during / max(0.001, before)
    wanted = AGENTS * RATE
    note = f"wanted {wanted:,}/s; chat p99 {before:.2f} -> {during:.2f} ms; client {loads[0]['cpu_s']:.1f} s CPU"
    met = lost == 0 and rate >= 0.9 * wanted and ratio <= P99_GOAL
    goal = f"lost 0, p99 <= {P99_GOAL:g}x, rate >= 90%"
    return [Row("studio", f"{rate:,.0f} events/s, lost {lost}", cpu, ratio, "chat p99 alone", goal, met, note)]


def _chat(ours: Server, name: str, seconds: int) -> Result:
    agents.create(ours, name, f"flood:{RATE * seconds}@{RATE}")
    with Client(ours.port, agents.followers(name), conns=1, **EVENTS) as client:
        client.wait_open()
        agents.send(ours, name)
        return client.result()


def _under_load(ours: Server, name: str, seconds: int) -> tuple[Result, dict[str, float]]:
    command = [sys.executable, "-m", "bench.studio_load", ours.address, "--seconds", str(seconds)]
    command += ["--agents", str(AGENTS), "--rate", str(RATE), "--connections", str(CONNECTIONS)]
    before = ours.process.cpu_s()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        for _ in range(CONNECTIONS):
            load.stdout.readline()  # all are registered
        result = _chat(ours, name, seconds - 2)
        out, _ = load.communicate()
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    found["server_cpu_s"] = ours.process.cpu_s() - before
    return result, found


def _missing(ours: Server, loads: list[dict[str, float]]) -> int:
    """Events that were acknowledged and are not in the logs; each going on- and offline is one, too."""
    stored, token = 0, ""
    with ours.channel() as channel:
        stub = agent_service_pb2_grpc.AgentServiceStub(channel)
        while True:
            page = stub.ListAgents(
                agent_service_pb2.ListAgentsRequest(id_prefix="remote-", page_size=1000, page_token=token)
            )
            stored += sum(agent.status.latest_sequence for agent in page.agents)
            token = page.next_page_token
            if not token:
                break
    return int(sum(load["stored"] for load in loads)) + 2 * AGENTS * len(loads) - stored
