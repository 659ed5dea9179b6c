"""The sandboxes of one server: which tier it offers, and commands for its agents."""

import asyncio
import logging
from collections.abc import Sequence

from aster.v1 import agent_pb2
from asteros import clock, errors
from asteros.sandbox import probe
from asteros.sandbox.base import Limits, Tier
from asteros.sandbox.cgroups import Cgroups
from asteros.sandbox.commands import AgentCommands, Launcher
from asteros.sandbox.egress import valid_host
from asteros.sandbox.files import Workspace
from asteros.sandbox.landlock import Unboxed
from asteros.sandbox.netguard import Network
from asteros.sandbox.probe import Found
from asteros.sandbox.shells import Shells
from asteros.sandbox.workspaces import Workspaces

_log = logging.getLogger(__name__)
LOCAL, NONE = "local", "none"
MAX_HOSTS = 100


class Sandboxes:
    """Offers the strongest tier this machine has, and never less than the operator asks for."""

    def __init__(
        self,
        workspaces: Workspaces,
        *,
        min_tier: Tier = Tier.MEDIUM,
        allow_unsandboxed: bool = False,
        limits: Limits = Limits(),
        cidrs: Sequence[Network] = (),
    ) -> None:
        """``cidrs``: private networks that allowed hosts may lead to."""
        self._workspaces = workspaces
        self._tiers = [Tier.STRONG] if min_tier is Tier.STRONG else [Tier.STRONG, Tier.MEDIUM]
        self._allow_unsandboxed = allow_unsandboxed
        self._limits = limits
        self._cidrs = cidrs
        self._groups: Cgroups | None = None
        self._found: list[Found] = []
        self._lock = asyncio.Lock()

    async def found(self) -> Sequence[Found]:
        """The tiers that were looked for, the strongest first, up to the one that is offered.

        Probed at the first call, in some hundredths of a second, and remembered."""
        async with self._lock:
            if not self._found:
                for tier in self._tiers:
                    self._found.append(await probe.probe(tier, self._workspaces.uid(0)))
                    if self._found[-1].kind is not None:
                        break
                self._report()
        return self._found

    async def tier(self) -> Tier:
        """What the kind "local" means here; NONE: it is refused."""
        last = (await self.found())[-1]
        return Tier.NONE if last.kind is None else last.tier

    def check(self, config: agent_pb2.SandboxConfig) -> None:
        """Refuses a config that cannot be kept here.

        :raises FieldViolation:"""
        if config.kind == NONE and not self._allow_unsandboxed:
            raise errors.bad_field("config.sandbox.kind", "'none' is not allowed by this server's operator")
        if config.kind not in ("", LOCAL, NONE):
            raise errors.bad_field("config.sandbox.kind", f"{config.kind!r} is not supported; use 'local'")
        if len(config.allowed_hosts) > MAX_HOSTS or not all(map(valid_host, config.allowed_hosts)):
            raise errors.bad_field("config.sandbox.allowed_hosts", f"must be NAME or NAME:PORT, at most {MAX_HOSTS}")
        self._workspaces.check(config.work_dir)

    def commands(self, workspace: Workspace, config: agent_pb2.SandboxConfig, shells: Shells) -> AgentCommands:
        """Commands in a workspace, as an agent's config says. Costs nothing until one is run."""
        limit = clock.seconds(config.timeout) if config.HasField("timeout") else 0.0

        async def launcher() -> Launcher:
            return await self._launcher(config.kind)

        return AgentCommands(launcher, workspace, shells, limit=limit, hosts=tuple(config.allowed_hosts))

    async def _launcher(self, kind: str) -> Launcher:
        """
        :raises SandboxUnavailable: never less than was asked for"""
        if self._groups is None:
            self._groups = await asyncio.to_thread(Cgroups)
        if kind == NONE:
            if not self._allow_unsandboxed:  # it was allowed when the agent was made
                raise errors.SandboxUnavailable(
                    "commands without a sandbox are not allowed", missing="an operator's leave"
                )
            return Launcher(Unboxed(), self._limits, self._groups)
        found = await self.found()
        if found[-1].kind is None:
            missing = "; ".join(f"{one.tier}: {one.missing}" for one in found)
            raise errors.SandboxUnavailable(
                "no sandbox is available on this server, so commands are not run", missing=missing
            )
        return Launcher(found[-1].kind, self._limits, self._groups, self._cidrs)

    def _report(self) -> None:
        for found in self._found:
            if found.kind is None:
                _log.warning("sandbox tier %s is not offered: %s (%s)", found.tier, found.missing, found.fix)
            else:
                _log.info("sandbox tier: %s", found.tier)
