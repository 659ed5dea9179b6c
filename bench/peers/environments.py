"""A virtual environment per peer, made on first use from its hashed lock, in a folder git does not see."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.harness import ROOT
from bench.load import Skipped

FOLDER = ROOT / ".venv-peers"
LOCKS = Path(__file__).parent / "requirements"
MINUTES = 10.0  # that an install may take


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made when it is missing or its lock has changed.

    :raises Skipped: the index does not have what the lock names, or cannot be reached."""
    lock, folder = LOCKS / f"{name}.txt", FOLDER / name
    found, stamp = folder / "bin" / "python", folder / ".lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text().strip() == digest:
        return found
    print(f"bench: installing the peer {name} into {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    uv = Path(sys.executable).with_name("uv")
    install = (
        [str(uv), "pip", "install", "--python", str(found)] if uv.exists() else [str(found), "-m", "pip", "install"]
    )
    command = [*install, "--quiet", "--require-hashes", "-r", str(lock)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MINUTES * 60)
        why = done.stderr.strip()[-200:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"no end after {MINUTES:.0f} minutes"
    if why:
        shutil.rmtree(folder, ignore_errors=True)
        raise Skipped(f"the peer {name} could not be installed: {why}")
    stamp.write_text(digest)
    return found
