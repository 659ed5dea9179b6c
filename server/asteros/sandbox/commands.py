"""Commands of one agent in its box: in the foreground with a result, or as background shells."""

import asyncio
import contextlib
import logging
import os
import posixpath
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from asteros import clock, errors
from asteros.sandbox import cgroups
from asteros.sandbox.base import (
    DEFAULT_TIMEOUT,
    MAX_COMMAND,
    MAX_ENVIRONMENT,
    MAX_TIMEOUT,
    Command,
    CommandRefused,
    Finished,
    Kind,
    Limits,
    Room,
    Tier,
)
from asteros.sandbox.egress import Proxy
from asteros.sandbox.files import Workspace
from asteros.sandbox.netguard import Network
from asteros.sandbox.output import Capture
from asteros.sandbox.process import Box, Sink
from asteros.sandbox.quota import Uncountable
from asteros.sandbox.shells import MAX_SHELLS, Shell, Shells

_log = logging.getLogger(__name__)
QUOTA_INTERVAL = 0.25  # seconds between counts while a command runs


@dataclass(frozen=True, slots=True)
class Launcher:
    """Shuts boxes of one kind; shared by all agents."""

    kind: Kind
    limits: Limits
    groups: cgroups.Cgroups
    cidrs: Sequence[Network] = ()  # private ranges that allowed hosts may lead to

    @contextlib.asynccontextmanager
    async def box(self, command: Command, workspace: Workspace, hosts: Sequence[str], sink: Sink) -> AsyncIterator[Box]:
        """A running command, stopped when the workspace is full; what is left of it ends with the block.

        :raises SandboxUnavailable: the box cannot be shut as the agent needs it
        :raises OSError: no process could be started"""
        async with contextlib.AsyncExitStack() as stack:
            proxy = self._proxy(hosts)
            if proxy is not None:
                stack.push_async_callback(proxy.aclose)
            folders = self.groups.make(self.limits)
            stack.push_async_callback(cgroups.remove, folders)
            with workspace.held() as fd:
                channel = proxy.channel if proxy is not None else None
                room = Room(fd, _uid(workspace), self.limits, folders, channel)
                box = await Box.start(self.kind, command, room, sink)
            stack.callback(workspace.changed)
            stack.push_async_callback(box.aclose)
            if proxy is not None:
                proxy.start()
            if workspace.quota:
                watch = asyncio.create_task(_watch_quota(box, workspace), name="box quota")
                stack.callback(watch.cancel)
            yield box

    def _proxy(self, hosts: Sequence[str]) -> Proxy | None:
        if hosts and self.kind.tier is Tier.MEDIUM:
            raise errors.SandboxUnavailable(
                "allowed_hosts needs the strong sandbox tier", missing="a network of the box's own"
            )
        return Proxy(hosts, self.cidrs) if hosts and self.kind.tier is Tier.STRONG else None


class AgentCommands:
    """``tools.base.Commands`` for one agent, for as long as its turn runs."""

    def __init__(
        self,
        launcher: Callable[[], Awaitable[Launcher]],
        workspace: Workspace,
        shells: Shells,
        *,
        limit: float = 0,
        hosts: Sequence[str] = (),
    ) -> None:
        """``limit``: seconds of one command by the agent's config; 0: none is set."""
        self._launcher = launcher
        self._workspace = workspace
        self._limit = limit
        self._hosts = hosts
        self.shells = shells

    async def run(self, command: Command) -> Finished:
        """Runs a command to its end, its time limit or the quota. Cancelled: all of it is ended.

        :raises SandboxUnavailable: the box could not be shut; nothing was run
        :raises CommandRefused, PathRefused, OSError: the command or its folder is none"""
        command = await self._checked(command)
        launcher = await self._launcher()
        streams = (Capture(), Capture())
        began = clock.monotonic()
        timed_out = False

        def sink(is_error: bool, data: bytes) -> None:
            streams[is_error].add(data)

        async with launcher.box(command, self._workspace, self._hosts, sink) as box:
            try:
                async with asyncio.timeout(command.timeout):
                    await box.wait()
            except TimeoutError:
                timed_out = True
                await box.stop()
            _require_shut(box, launcher.kind.tier, streams[True])
        took = clock.monotonic() - began
        out, err = (stream.result() for stream in streams)
        tier = launcher.kind.tier
        return Finished(box.exit_code, out, err, took, tier, timed_out=timed_out, over_quota=box.over_quota)

    async def start(self, command: Command, shell_id: str = "") -> Shell:
        """Starts a command in the background. It outlives the turn, but not the agent's time in memory.

        :raises ResourceExhausted: as many run as may
        :raises SandboxUnavailable, CommandRefused, PathRefused, OSError: as ``run``"""
        command = await self._checked(command)
        if self.shells.running >= MAX_SHELLS:
            raise errors.ResourceExhausted(f"{MAX_SHELLS} background shells run already; end one first")
        if (taken := self.shells.get(shell_id)) is not None and taken.running:
            raise CommandRefused(f"the shell {shell_id} runs already")
        launcher = await self._launcher()
        shell = Shell(shell_id or self.shells.new_id(), command, launcher.kind.tier)
        self.shells.add(shell)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        shell.task = asyncio.create_task(self._keep(launcher, shell, started), name=f"shell {shell.id}")
        try:
            await asyncio.shield(started)
        except BaseException:
            shell.task.cancel()
            self.shells.forget(shell.id)
            raise
        return shell

    async def _keep(self, launcher: Launcher, shell: Shell, started: "asyncio.Future[None]") -> None:
        """The life of a background shell."""
        try:
            workspace = self._workspace.copy()  # the turn closes its own
            with contextlib.closing(workspace):
                async with launcher.box(shell.command, workspace, self._hosts, shell.write) as box:
                    shell.box = box
                    started.set_result(None)
                    await box.wait()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            shell.over()

    async def _checked(self, command: Command) -> Command:
        """The command with a folder that is one, within the limits, and nothing a process could not take."""
        folder = posixpath.normpath("/" + command.folder).lstrip("/") or "."
        await self._workspace.require_folder(folder)
        if len(command.text.encode()) > MAX_COMMAND:
            raise CommandRefused(f"a command is limited to {MAX_COMMAND} bytes; write it to a file and run that")
        variables = [f"{name}={value}" for name, value in command.environment.items()]
        if not all(name and "=" not in name for name in command.environment):
            raise CommandRefused("a variable has a name that cannot be one")
        if sum(map(len, variables)) > MAX_ENVIRONMENT:
            raise CommandRefused(f"the variables are limited to {MAX_ENVIRONMENT} characters")
        if "\0" in "".join((command.text, *variables)):
            raise CommandRefused("the command contains a NUL character")
        limit = self._limit or MAX_TIMEOUT
        timeout = min(command.timeout or self._limit or DEFAULT_TIMEOUT, limit, MAX_TIMEOUT)
        return replace(command, folder=folder, timeout=timeout)


def _require_shut(box: Box, tier: Tier, stderr: Capture) -> None:
    """
    :raises SandboxUnavailable: the box could not be shut, so nothing has run"""
    refusal = box.refusal()
    said = stderr.result().text
    if not refusal and tier is Tier.STRONG and box.exit_code == 1 and said.startswith("bwrap: "):
        refusal = said.strip()[:200]
    if refusal:
        _log.error("a box could not be shut: %s", refusal)
        raise errors.SandboxUnavailable(missing=refusal)


def _uid(workspace: Workspace) -> int | None:
    """Who a command runs as: the workspace's owner, where the server can become that.

    :raises SandboxUnavailable: that would be root"""
    if os.geteuid() != 0:
        return None
    if workspace.owner == 0:
        raise errors.SandboxUnavailable(
            "the working folder belongs to root, and commands run as the owner of their folder",
            missing="an owner other than root",
        )
    return workspace.owner


async def _watch_quota(box: Box, workspace: Workspace) -> None:
    """Ends a command that fills the workspace, or makes it uncountable. One that finds it full may
    run, to make room, as long as it does not add to it."""
    with contextlib.suppress(Uncountable):
        await _within(workspace)
    box.over_quota = True
    box.kill()


async def _within(workspace: Workspace) -> None:
    """Returns when the workspace holds more than it may."""
    limit = max(workspace.quota, await workspace.used(sys.maxsize))
    took = 0.0
    while True:
        # A large workspace is counted less often: a tenth of the time at most.
        await clock.sleep(max(QUOTA_INTERVAL, 10 * took))
        began = clock.monotonic()
        if await workspace.used(limit) > limit:
            return
        took = clock.monotonic() - began
