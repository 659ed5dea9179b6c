"""`asteros doctor`: what this machine offers, tried and not guessed, and the fix for what is missing."""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from asteros import clock
from asteros.config import Options
from asteros.sandbox import probe
from asteros.sandbox.base import Tier
from asteros.sandbox.beneath import FOLDER, Beneath
from asteros.sandbox.cgroups import Cgroups
from asteros.sandbox.workspaces import Workspaces

SYNC_SECONDS = 0.25  # spent on measuring the disk
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``wrong``: the server lacks something because of it."""

    what: str
    state: str
    fix: str = ""
    wrong: bool = False


def run(options: Options, flags: argparse.Namespace) -> int:
    """Prints the report; 0 when nothing is wrong, else 1."""
    findings = asyncio.run(_all(options))
    if flags.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = "!!" if finding.wrong else "ok" if not finding.fix else "--"
            print(f"{mark}  {finding.what:<22} {finding.state}" + (f"\n    fix: {finding.fix}" if finding.fix else ""))
    return int(any(finding.wrong for finding in findings))


async def _all(options: Options) -> list[Finding]:
    findings = [finding async for finding in _sandbox(options)]
    return [*findings, _cgroups(), *await asyncio.to_thread(lambda: [*_disk(options), *_ports(options)])]


async def _sandbox(options: Options) -> AsyncIterator[Finding]:
    """Every tier, also those below the one that is used."""
    uid = Workspaces(options.data_dir, uid_base=options.sandbox_uid_base).uid(0)
    used: Tier | None = None
    for tier in (Tier.STRONG, Tier.MEDIUM):
        found = await probe.probe(tier, uid)
        if found.kind is None:
            yield Finding(f"sandbox tier {tier}", f"not offered: {found.missing}", found.fix)
        else:
            yield Finding(f"sandbox tier {tier}", "offered: nothing got out in the trial")
            if used is None and (tier is Tier.STRONG or options.sandbox_min_tier != Tier.STRONG):
                used = tier
    if used is None:
        yield Finding("commands (Bash)", "refused: SANDBOX_UNAVAILABLE", "see the tiers above", wrong=True)
    else:
        who = "the server's own user" if uid is None else f"uid {options.sandbox_uid_base} plus the agent's number"
        yield Finding("commands (Bash)", f"run in the {used} tier as {who}")


def _cgroups() -> Finding:
    groups = Cgroups()
    if not groups.version:
        return Finding("cgroups", "not used: limits hold per process", "let the server write its cgroup (optional)")
    return Finding("cgroups", f"version {groups.version} limits {' and '.join(groups.controllers)} of each box")


def _disk(options: Options) -> Iterator[Finding]:
    folder = options.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            rate = _syncs(file.fileno())
    except OSError as error:
        fix = f"make {folder} writable, or choose another --data-dir"
        yield Finding("data directory", f"{folder}: {error.strerror}", fix, wrong=True)
        return
    yield Finding("data directory", f"{folder} is writable")
    fix = "commits wait for the disk; a faster one, or --durability normal" if rate < 100 else ""
    yield Finding("fdatasync", f"{rate:.0f} a second", fix)
    with contextlib.closing(_Folder(folder)) as opened:
        has = Beneath(opened.fd).by_kernel
    fix = "" if has else "Linux 5.6 or newer; until then file tools follow no links at all"
    yield Finding("openat2", "available" if has else "not available", fix)


class _Folder:
    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, FOLDER)

    def close(self) -> None:
        os.close(self.fd)


def _syncs(fd: int) -> float:
    """Appended blocks that reach the disk in a second, one after the other."""
    began = clock.monotonic()
    count = 0
    while (took := clock.monotonic() - began) < SYNC_SECONDS:
        os.write(fd, b"x" * _BLOCK)
        os.fdatasync(fd)
        count += 1
    return count / took


def _ports(options: Options) -> Iterator[Finding]:
    for name, host, port in (
        ("gRPC", options.host, options.grpc_port),
        ("metrics", "127.0.0.1", options.metrics_port),
    ):
        if port <= 0:
            continue
        try:
            with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                yield Finding(f"{name} port", f"{host}:{port} is free")
        except OSError as error:
            fix = f"end what listens there, or choose another with --{name.lower()}-port"
            yield Finding(f"{name} port", f"{host}:{port}: {error.strerror}", fix, wrong=True)
