"""Durable append through EventLog and SqliteStore, in a process of its own, without gRPC.

Two loads: one agent that writes as fast as there is room, as a turn does; and 100
agents with one event in flight each, the worst case for segments. Ceilings of the
same run: aiosqlite with one insert per commit (FULL, 100 waiting), and write +
fdatasync of groups of the size that our commits had.

One insert per commit is a measure of the disk, so the goal is judged where the disk
is named: with every sync made to last at least SYNC_US, for us and for the ceiling
alike (slow_sync.c). The same load on the disk as it is stands beside it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.harness import ROOT, Bench, median
from bench.load import slow_sync
from bench.report import Row

AGENTS = 100
GOAL = 30.0
SYNC_US = 125  # a cloud disk with a cache; a bare SSD takes ten times as long
LABELS = {"one": "1 AGENT", "many": f"{AGENTS} AGENTS"}
LOADS = (("one", "full", SYNC_US), ("one", "full", 0), ("one", "normal", 0), ("many", "full", 0), ("many", "normal", 0))


def run(bench: Bench) -> list[Row]:
    found: dict[tuple[str, str, int], list[dict[str, Any]]] = {load: [] for load in LOADS}
    singles: dict[int, list[dict[str, Any]]] = {SYNC_US: [], 0: []}
    for _ in range(bench.reps):
        for sync_us, trials in singles.items():
            trials.append(_child(bench, "single", "full", sync_us))
        for load, trials in found.items():
            trials.append(_child(bench, *load))
    return [_row(bench, load, trials, singles[load[2]]) for load, trials in found.items()]


def _row(bench: Bench, load: tuple[str, str, int], trials: list[dict[str, Any]], singles: list[dict[str, Any]]) -> Row:
    what, durability, sync_us = load
    disk = f"{sync_us} us/sync" if sync_us else "this disk"
    label = f"append {LABELS[what]}, {durability.upper()}, {disk}"
    bench.note(label, trials=trials, singles=singles)
    ratio = median([ours["events_s"] / single["events_s"] for ours, single in zip(trials, singles, strict=True)])
    grouped = median([trial["events_s"] / trial["disk_s"] for trial in trials])
    notes = [
        f"{grouped:.2f}x write+fdatasync of {median([trial['group'] for trial in trials]):.0f}",
        f"one insert per commit {median([single['events_s'] for single in singles]):,.0f}/s",
        f"fdatasync alone {median([single['disk_s'] for single in singles]):,.0f}/s",
    ]
    judged = bool(sync_us)
    return Row(
        label,
        f"{median([trial['events_s'] for trial in trials]):,.0f} events/s",
        median([trial["us_event"] for trial in trials]),
        ratio,
        "single-commit aiosqlite FULL",
        f">= {GOAL:.0f}x" if judged else "",
        ratio >= GOAL if judged else None,
        ", ".join(notes),
    )


def _child(bench: Bench, load: str, durability: str, sync_us: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "bench.scenarios.append",
        load,
        durability,
        str(bench.pick(0.7, 2.0)),
        str(bench.folder("append")),
    ]
    slow = {"LD_PRELOAD": str(slow_sync()), "SLOW_SYNC_US": str(sync_us)} if sync_us else {}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | slow, capture_output=True, text=True, check=False)
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
