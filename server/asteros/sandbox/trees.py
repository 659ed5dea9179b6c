"""Deletes folders that commands have filled: as deep as they like, without following a link."""

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from asteros.sandbox.beneath import FOLDER

_STEP = 200  # folders taken at once: each costs a descriptor and a frame


def remove(folder: Path) -> None:
    """Deletes a folder with all in it, as far as the file system lets it. Blocking."""
    for round_ in itertools.count():
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except RecursionError:
            _lift(folder, f"deep-{round_}")
        else:
            return


def _lift(folder: Path, name: str) -> None:
    """Moves what lies _STEP folders deep up into the folder itself."""
    top = os.open(folder, FOLDER | os.O_NOFOLLOW)
    try:
        _lift_from(top, top, _STEP, (f"{name}-{number}" for number in itertools.count()))
    finally:
        os.close(top)


def _lift_from(parent: int, top: int, depth: int, names: Iterator[str]) -> None:
    with os.scandir(parent) as entries:
        folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for folder in folders:
        if depth == 0:
            os.rename(folder, next(names), src_dir_fd=parent, dst_dir_fd=top)
            continue
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(folder, FOLDER | os.O_NOFOLLOW, dir_fd=parent)
            try:
                _lift_from(fd, top, depth - 1, names)
            finally:
                os.close(fd)
