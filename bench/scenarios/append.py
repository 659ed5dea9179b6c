"""Durable append through EventLog and SqliteStore, in a process of its own, without gRPC.

Two loads: one agent that writes as fast as there is room, as a turn does; and 100
agents with one event in flight each, the worst case for segments. Ceilings of the
same run: aiosqlite with one insert per commit (FULL, 100 waiting), and write +
fdatasync of groups of the size that our commits had."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.harness import ROOT, Bench, median
from bench.report import Row

AGENTS = 100
GOAL = 30.0


def run(bench: Bench) -> list[Row]:
    seconds = bench.pick(0.7, 2.0)
    rows = []
    found: dict[str, list[dict[str, Any]]] = {}
    singles = []
    for _ in range(bench.reps):
        singles.append(_child(bench, "single", "full", seconds))
        for load in ("one", "many"):
            for durability in ("full", "normal"):
                found.setdefault(f"{load} {durability}", []).append(_child(bench, load, durability, seconds))
    for label, trials in found.items():
        ratios = [trial["events_s"] / single["events_s"] for trial, single in zip(trials, singles, strict=True)]
        rows.append(_row(bench, label, trials, median(ratios)))
    slow = median([single["events_s"] for single in singles])
    bench.note("append single", trials=singles)
    synced = median([single["disk_s"] for single in singles])
    rows[0].note += f"; one insert per commit {slow:,.0f}/s, fdatasync alone {synced:,.0f}/s"
    return rows


def _row(bench: Bench, label: str, trials: list[dict[str, Any]], ratio: float) -> Row:
    bench.note(f"append {label}", trials=trials)
    rate = median([trial["events_s"] for trial in trials])
    disk = median([trial["events_s"] / trial["disk_s"] for trial in trials])
    group = median([trial["group"] for trial in trials])
    judged = label == "one full"
    return Row(
        f"append {label.replace('one ', '1 agent, ').replace('many ', f'{AGENTS} agents, ').upper()}",
        f"{rate:,.0f} events/s",
        median([trial["us_event"] for trial in trials]),
        ratio,
        "single-commit aiosqlite FULL",
        f">= {GOAL:.0f}x" if judged else "",
        ratio >= GOAL if judged else None,
        f"{disk:.2f}x write+fdatasync of {group:.0f}",
    )


def _child(bench: Bench, load: str, durability: str, seconds: float) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "bench.scenarios.append",
        load,
        durability,
        str(seconds),
        str(bench.folder("append")),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"append {load}: {done.stderr.strip()[-400:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# ---- in the child


async def _measure(load: str, durability: str, seconds: float, folder: Path) -> dict[str, float]:
    from asteros.events.catalogue import Stamp
    from asteros.events.hub import Hub
    from asteros.events.log import EventLog
    from asteros.stores.base import AgentRef, Scope
    from asteros.stores.sqlite import SqliteStore
    from bench.agents import register
    from bench.ceilings import disk

    count = 1 if load == "one" else AGENTS
    names = await asyncio.to_thread(register, folder, count)
    store = SqliteStore(folder, durability=durability)
    await store.open()
    log = EventLog(store, Hub())
    await log.start()
    writers = []
    for number, name in enumerate(names, 1):
        row = await store.acquire(number)
        scope = Scope(f"ses_{number:026d}", f"trn_{number:026d}")
        writers.append((AgentRef(row.key, row.tenant, name), row.epoch, Stamp(name, scope, 1), scope))

    end = 0.0

    async def busy(ref: Any, epoch: int, stamp: Any, scope: Any) -> None:
        """As a turn writes its text: never waits for a write, only for room."""
        written, number = None, 0
        while time.perf_counter() < end:
            for _ in range(64):
                written = log.append(ref, epoch, [stamp.text(f"tok{number} ")], (), scope)
                number += 1
                if not log.has_room:
                    await log.wait_for_room()
            await asyncio.sleep(0)
        await written

    async def patient(ref: Any, epoch: int, stamp: Any, scope: Any) -> None:
        number = 0
        while time.perf_counter() < end:
            await log.append(ref, epoch, [stamp.text(f"tok{number} ")], (), scope)
            number += 1

    work = busy if load == "one" else patient
    for length in (seconds / 4, seconds):  # the first is the warm-up
        events, groups, cpu, began = log.events_written, log.groups, time.process_time(), time.perf_counter()
        end = began + length
        await asyncio.gather(*(work(*writer) for writer in writers))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        events, groups = log.events_written - events, log.groups - groups
    size = len((await store.read_agent_segments(1, 0, 1))[0].slice(0, 1))
    await log.aclose()
    await store.aclose()
    group = max(1, round(events / groups))
    synced = disk.synced_groups(folder, size, group, min(0.5, seconds))
    return {"events_s": events / wall, "us_event": cpu / events * 1e6, "group": group, "disk_s": synced, "size": size}


async def _single(seconds: float, folder: Path) -> dict[str, float]:
    from bench.ceilings import disk

    synced = disk.synced_groups(folder, 250, 1, seconds / 4)
    return {"events_s": await disk.one_commit_each(folder, 250, AGENTS, seconds), "disk_s": synced}


if __name__ == "__main__":
    what, how, length, place = sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])
    job = _single(length, place) if what == "single" else _measure(what, how, length, place)
    try:
        import uvloop
    except ImportError:
        print(json.dumps(asyncio.run(job)))
    else:
        print(json.dumps(uvloop.run(job)))
