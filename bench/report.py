"""One table for people, one JSON file for machines."""

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("grpcio", "protobuf", "uvloop", "aiosqlite")


@dataclass
class Row:
    """One line of the table."""

    scenario: str
    figure: str
    us_event: float | None = None  # server CPU
    ratio: float | None = None
    ceiling: str = ""  # what the ratio stands against
    goal: str = ""
    met: bool | None = None  # None: no goal, or skipped
    note: str = ""

    def cells(self) -> list[str]:
        cpu = (
            "-" if self.us_event is None else f"{self.us_event:.2f}" if self.us_event < 100 else f"{self.us_event:.0f}"
        )
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}x {self.ceiling}"
        met = {None: "-", True: "yes", False: "NO"}[self.met]
        return [self.scenario, self.figure, cpu, ratio, self.goal or "-", met, self.note]


HEAD = ["scenario", "figure", "CPU us/event", "ratio to ceiling", "goal", "met", "note"]


def table(rows: Iterable[Row]) -> str:
    """Markdown, padded so that it reads in a terminal too."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(HEAD), line(["-" * width for width in widths]), *map(line, lines[1:])])


def machine(root: Path) -> dict[str, Any]:
    """Where and with what a run was made."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().splitlines()[0].split()[1]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    )
    return {
        "cores": os.cpu_count(),
        "cpu": cpus[0].partition(":")[2].strip() if cpus else platform.machine(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit.stdout.strip(),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def write(path: Path, facts: dict[str, Any], rows: Iterable[Row], raw: list[dict[str, Any]]) -> None:
    """The whole run: machine, options, load average, table and every repetition."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {**facts, "rows": [asdict(row) for row in rows], "measurements": raw}
    path.write_text(json.dumps(whole, indent=1, default=str) + "\n")
