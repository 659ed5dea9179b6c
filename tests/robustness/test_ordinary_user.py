"""The suites of the boxes once more, by a server that is an ordinary user.

The tests themselves run as root where the build does: here they run as nobody, in a
mount namespace that shows this interpreter and this checkout at paths anybody may walk."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
STAGE = Path("/mnt")
SUITES = ("tests/sandbox/test_boxes.py", "tests/sandbox/test_escapes.py")


def _mounts() -> list[tuple[Path, Path]]:
    """What is shown, and where."""
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    shown = [(Path(sys.base_prefix), STAGE / "python"), (packages, STAGE / "packages")]
    shown += [(ROOT / name, STAGE / "house" / name) for name in ("server", "tests", "clients")]
    return shown


def _script(command: list[str]) -> str:
    lines = ["set -e", f"mount -t tmpfs -o mode=755 none {STAGE}"]
    for source, target in _mounts():
        lines += [f"mkdir -p {target}", f"mount --bind {shlex.quote(str(source))} {target}"]
    lines += [f"cp {shlex.quote(str(ROOT / 'pyproject.toml'))} {STAGE}/house", f"cd {STAGE}/house"]
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return "\n".join([*lines, "exec " + shlex.join([*drop, *command])])


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="these suites run as an ordinary user already")
@pytest.mark.timeout(240)
def test_the_boxes_hold_for_an_ordinary_user() -> None:
    for tool in ("unshare", "setpriv"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not there to become an ordinary user")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made to show the checkout to an ordinary user")
    python = f"{STAGE}/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    command = [python, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES]
    house = STAGE / "house"
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": ":".join(
            map(str, (house / "server", house / "clients/python", house / "tests", STAGE / "packages"))
        ),
        "LD_LIBRARY_PATH": str(STAGE / "python/lib"),
        "CANARY": "a-canary-of-the-ordinary-user",
    }
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", _script(command)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stdout[-6000:], done.stderr[-2000:])
    assert done.returncode == 0
    assert " passed" in done.stdout
