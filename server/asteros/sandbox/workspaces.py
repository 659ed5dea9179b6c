"""The folders agents work in: which one is whose, and to whom it belongs.

A server that is root gives every agent a uid of its own, and the agent's folder to
that uid: commands run as it, and what one agent's command does, another's cannot see.
A folder that was there before keeps its owner: commands run as that."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from asteros import errors
from asteros.sandbox import trees
from asteros.sandbox.beneath import FOLDER
from asteros.sandbox.files import PathRefused, Workspace

MAX_UID = 2**32 - 2


class Workspaces:
    """One folder per agent, by its number in the store, or the folder its config names."""

    def __init__(self, folder: Path, roots: Sequence[Path] = (), *, uid_base: int = 100_000, quota: int = 0) -> None:
        """``folder``: where agents' own folders are. ``roots``: where named ones may be; none:
        a folder beside. ``quota``: bytes on disk of each; 0: no limit."""
        self._own = folder / "agents"
        self._roots = [root.absolute() for root in roots] or [(folder / "named").absolute()]
        self._uid_base = uid_base
        self._quota = quota

    def open(self, agent_key: int, work_dir: str) -> Workspace:
        """The workspace of an agent; blocking. OSError or PathRefused when there cannot be one."""
        uid = self.uid(agent_key)
        if work_dir:
            root, path = self._place(work_dir)
            with contextlib.closing(Workspace.open(root, owner=uid)) as base:
                return base.beneath(path, quota=self._quota)
        folder = self._own / str(agent_key)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, FOLDER | os.O_NOFOLLOW)
        if uid is not None and os.fstat(fd).st_uid == 0:
            _make_over(fd, uid)
        return Workspace(fd, quota=self._quota)

    def uid(self, agent_key: int) -> int | None:
        """Who an agent's commands run as; None: as the server, which is not root."""
        if os.geteuid() != 0:
            return None
        uid = self._uid_base + agent_key
        if uid > MAX_UID:
            raise OSError("there are no uids left for agents")
        return uid

    def remove(self, agent_key: int) -> None:
        """Deletes the folder an agent had for itself; blocking."""
        trees.remove(self._own / str(agent_key))

    def check(self, work_dir: str) -> None:
        """
        :raises FieldViolation: the folder is not inside a root"""
        try:
            self._place(work_dir or ".")
        except PathRefused:
            raise errors.bad_field(
                "config.sandbox.work_dir", "must be a folder inside the server's workspace root"
            ) from None

    def _place(self, work_dir: str) -> tuple[Path, str]:
        """The root and the path in it. Links are left to the opening, which stays beneath the root."""
        path = PurePosixPath(work_dir)
        if ".." in path.parts or "\0" in work_dir or work_dir.startswith("~"):
            raise PathRefused("the folder leaves the workspace root")
        if not path.is_absolute():
            return self._roots[0], str(path)
        for root in self._roots:
            if path.is_relative_to(root):
                return root, str(path.relative_to(root))
        raise PathRefused("the folder is not inside a workspace root")


def _make_over(folder: int, uid: int) -> None:
    """Gives a folder of the server's, and what its file tools made there, to an agent.
    The folder itself comes last: until then nobody but root can get in."""
    for _, folders, files, inner in os.fwalk(".", dir_fd=folder):
        for name in (*folders, *files):
            os.chown(name, uid, uid, dir_fd=inner, follow_symlinks=False)
    os.fchown(folder, uid, uid)
