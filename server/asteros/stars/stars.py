"""Stars as such: created, joined, left, and spoken to."""

import logging
import re

from aster.v1 import agent_pb2, common_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import clock, errors, ids
from asteros.cosmos.registry import Registry
from asteros.runtime.mailbox import Input
from asteros.stars import words
from asteros.stars.sessions import session_of
from asteros.stars.strategies import Strategies
from asteros.stores.base import AddRequest, RequestIdKnown

_log = logging.getLogger(__name__)
MAX_MEMBERS = 100
WORKER = "worker"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAME = re.compile(r"[^\x00-\x20\x7f@/\\]{1,128}")


class Stars:
    """The Stars of one server."""

    def __init__(self, registry: Registry, strategies: Strategies) -> None:
        self._registry = registry
        self._strategies = strategies
        self.store = registry.deps.store.stars()

    async def get(self, tenant: str, star_id: str) -> pb.Star:
        """
        :raises StarNotFound:"""
        star = await self.store.get(tenant, star_id)
        if star is None:
            raise errors.StarNotFound(star_id)
        return star

    async def create(self, tenant: str, request: pb.CreateStarRequest, known: AddRequest | None) -> pb.Star:
        """Stores a Star with its first members; the one that an equal request has made.

        :raises InvalidId, FieldViolation, AgentNotFound, RequestIdReused:
        :raises StarAlreadyExists, StarMemberAlreadyExists:"""
        if request.star_id and not _ID.fullmatch(request.star_id):
            raise errors.InvalidId("star_id", "must be 1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit")
        self._strategies.get(request.strategy)
        if len(request.members) > MAX_MEMBERS:
            raise errors.bad_field("members", f"at most {MAX_MEMBERS} are allowed")
        star = pb.Star(
            id=request.star_id or ids.new("star_"),
            display_name=request.display_name,
            create_time=clock.timestamp(clock.now()),
            strategy=request.strategy,
            limits=request.limits if request.HasField("limits") else None,
        )
        for index, member in enumerate(request.members):
            star.members.append(await self._member(tenant, member, f"members[{index}]."))
        if known is not None:
            known = AddRequest(known.request_id, known.digest, star.id)
        try:
            await self.store.create(tenant, star, known)
        except RequestIdKnown as before:
            if known is None or before.digest != known.digest:
                raise errors.RequestIdReused(request.request_id) from None
            return await self.get(tenant, before.target)
        self._registry.resources.ring()
        for member in star.members:
            _joined(star.id, member)
        return star

    async def delete(self, tenant: str, star_id: str) -> None:
        """
        :raises StarNotFound:"""
        if not await self.store.delete(tenant, star_id):
            raise errors.StarNotFound(star_id)
        self._registry.resources.ring()

    async def join(self, tenant: str, star_id: str, asked: pb.StarMember) -> pb.StarMember:
        """Adds a member; as it was stored.

        :raises FieldViolation, StarNotFound, AgentNotFound, StarMemberAlreadyExists:"""
        await self.get(tenant, star_id)
        member = await self._member(tenant, asked, "")
        await self.store.join(tenant, star_id, member, MAX_MEMBERS)
        self._registry.resources.ring()
        _joined(star_id, member)
        return member

    async def leave(self, tenant: str, star_id: str, name: str, agent_id: str) -> None:
        """Takes a member out, by name or by agent.

        :raises StarNotFound, StarMemberNotFound:"""
        await self.get(tenant, star_id)
        if not await self.store.leave(tenant, star_id, name, agent_id):
            raise errors.StarMemberNotFound(name or agent_id, star_id=star_id)
        self._registry.resources.ring()

    async def _member(self, tenant: str, asked: pb.StarMember, path: str) -> pb.StarMember:
        """A member as it is stored: with a name, a role and the time."""
        if asked.a2a_card_url:
            raise errors.NotAvailable("a2a_members")
        if not asked.agent_id:
            raise errors.bad_field(f"{path}agent_id", "is required")
        name = asked.name or asked.agent_id
        if not _NAME.fullmatch(name):
            raise errors.bad_field(f"{path}name", "must be 1 to 128 characters, none of them blank, @, / or \\")
        row = await self._registry.row(tenant, asked.agent_id)
        if row.agent.HasField("remote"):
            raise self._registry.remotes.refusal(row)
        return pb.StarMember(
            name=name,
            agent_id=asked.agent_id,
            role=asked.role or WORKER,
            join_time=clock.timestamp(clock.now()),
        )

    # -- talking ------------------------------------------------------------------------------

    async def send(
        self, tenant: str, request: pb.SendStarMessageRequest, known: AddRequest | None, principal: str, trace_id: str
    ) -> tuple[pb.StarMessage, list[agent_pb2.Turn]]:
        """Stores a message and begins a turn of each receiver; the same again for an equal request.

        :raises StarNotFound, StarMemberNotFound, RequestIdReused: and what beginning a turn raises."""
        star = await self.get(tenant, request.star_id)
        if request.from_member:
            words.member_of(star, request.from_member)
        to = words.receivers(star, request.text, request.to_member, request.from_member)
        message = words.message(request.text, request.from_member, request.to_member)
        if known is not None:
            known = AddRequest(known.request_id, known.digest, message.id)
        try:
            await self.store.say(tenant, star.id, [message], known)
        except RequestIdKnown as before:
            found = await self.store.message(tenant, before.target)
            if known is None or before.digest != known.digest or found is None:
                raise errors.RequestIdReused(request.request_id) from None
            message = found
        turns = [await self._begin(tenant, star, message, member, principal, trace_id) for member in to]
        return message, turns

    async def _begin(
        self, tenant: str, star: pb.Star, said: pb.StarMessage, member: pb.StarMember, principal: str, trace_id: str
    ) -> agent_pb2.Turn:
        turn_id = words.derived("trn_", f"{said.id}/{member.name}", said.id)
        async with self._registry.agent(tenant, member.agent_id) as agent:
            row = await agent.deps.store.turn(agent.ref.key, turn_id)
            if row is not None:
                return row.turn
            heard = common_pb2.Message(role=common_pb2.ROLE_USER)
            heard.content.add(text=words.heard(said.text, said.from_member))
            accepted = await agent.mailbox.submit(
                Input(
                    message=heard,
                    session_id=await session_of(agent, star),
                    principal=principal,
                    trace_id=trace_id,
                    turn_id=turn_id,
                    star_id=star.id,
                )
            )
            return accepted.turn


def _joined(star_id: str, member: pb.StarMember) -> None:
    _log.info("[Stars Join] Agent '%s' joined stars '%s'", member.agent_id, star_id)
