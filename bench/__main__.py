"""``python -m bench``: runs scenarios and prints one table."""

import argparse
import os
import sys
import time
from pathlib import Path

from bench import load, report
from bench.harness import HERE, ROOT, Bench, workspace
from bench.scenarios import SCENARIOS, about


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures this server against its ceilings.")
    parser.add_argument("--quick", action="store_true", help="one short repetition, about a minute")
    parser.add_argument("--only", metavar="A,B", default="", help="only these scenarios")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file (default: bench/results/<time>.json)")
    parser.add_argument("--list", action="store_true", help="name the scenarios and stop")
    flags = parser.parse_args()
    if flags.list:
        for name in SCENARIOS:
            print(f"{name:12} {about(name)}")
        return 0
    wanted = [name for name in flags.only.split(",") if name] or list(SCENARIOS)
    if unknown := [name for name in wanted if name not in SCENARIOS]:
        parser.error(f"no such scenario: {', '.join(unknown)}; --list names them")
    return _run(wanted, flags)


def _run(wanted: list[str], flags: argparse.Namespace) -> int:
    began, rows = time.perf_counter(), []
    stamp = time.strftime("%Y%m%dT%H%M%S")
    facts = {"time": stamp, "quick": flags.quick, "scenarios": wanted, "machine": report.machine(ROOT)}
    facts["load_before"] = os.getloadavg()
    with workspace() as work:
        bench = Bench(flags.quick, work)
        for name in wanted:
            start = time.perf_counter()
            found = _scenario(name, bench)
            rows += found
            print(f"bench: {name} took {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    facts |= {"load_after": os.getloadavg(), "repetitions": bench.reps, "seconds": time.perf_counter() - began}
    out = flags.out or HERE / "results" / f"{stamp}.json"
    report.write(out, facts, rows, bench.raw)
    print(report.table(rows))
    before, after = facts["load_before"][0], facts["load_after"][0]
    machine = f"{facts['machine']['cores']} cores, load {before:.1f} -> {after:.1f}"
    print(f"\n{bench.reps} repetition(s), {facts['seconds']:.0f} s, {machine}; {out}")
    return 1 if any(row.figure.startswith("failed") for row in rows) else 0


def _scenario(name: str, bench: Bench) -> list[report.Row]:
    """A scenario's rows. One that cannot run, or fails, is a row that says so: the others go on."""
    try:
        load.build()
        return SCENARIOS[name](bench)
    except load.Skipped as why:
        return [report.Row(name, "skipped", note=str(why))]
    except Exception as error:
        bench.note(name, error=repr(error))
        return [report.Row(name, "failed", met=False, note=" ".join(f"{type(error).__name__}: {error}".split())[:200])]


if __name__ == "__main__":
    sys.exit(main())
