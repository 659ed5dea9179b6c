"""StarsService: agents that work together."""

import contextlib
from collections.abc import Iterator
from typing import Any

from aster.v1 import agent_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import errors
from asteros.events import filters
from asteros.events.cursor import Place
from asteros.events.subscription import Options, Subscription
from asteros.runtime.agent import request_of
from asteros.runtime.history import text_of
from asteros.services.background import Background
from asteros.services.call import Call
from asteros.services.paging import Pages
from asteros.services.streams import Streams
from asteros.stars.stars import Stars
from asteros.stars.teams import Teams, new_run
from asteros.stores.stars import RunRow


class StarsServicer:
    """Check, call, translate; the work is done in ``stars``."""

    def __init__(self, stars: Stars, teams: Teams, streams: Streams, pages: Pages, background: Background) -> None:
        self._stars = stars
        self._teams = teams
        self._streams = streams
        self._pages = pages
        self._background = background

    # -- the resource -----------------------------------------------------------------

    async def CreateStar(self, request: pb.CreateStarRequest, call: Call) -> pb.CreateStarResponse:
        known = request_of(request.request_id, call.method, request)
        return pb.CreateStarResponse(star=_view(await self._stars.create(call.caller.tenant, request, known)))

    async def GetStar(self, request: pb.GetStarRequest, call: Call) -> pb.GetStarResponse:
        return pb.GetStarResponse(star=_view(await self._stars.get(call.caller.tenant, request.star_id)))

    async def ListStars(self, request: pb.ListStarsRequest, call: Call) -> pb.ListStarsResponse:
        size, after = self._pages.size(request), self._pages.start(call, request)
        found = await self._stars.store.page(call.caller.tenant, after, size + 1)
        response = pb.ListStarsResponse(stars=map(_view, found[:size]))
        if len(found) > size:
            response.next_page_token = self._pages.token(call, request, found[size - 1].id)
        return response

    async def DeleteStar(self, request: pb.DeleteStarRequest, call: Call) -> pb.DeleteStarResponse:
        self._teams.stop_all(call.caller.tenant, request.star_id, "the Star was deleted")
        await self._stars.delete(call.caller.tenant, request.star_id)
        return pb.DeleteStarResponse()

    async def JoinStar(self, request: pb.JoinStarRequest, call: Call) -> pb.JoinStarResponse:
        asked = pb.StarMember(
            name=request.name, agent_id=request.agent_id, role=request.role, a2a_card_url=request.a2a_card_url
        )
        return pb.JoinStarResponse(member=await self._stars.join(call.caller.tenant, request.star_id, asked))

    async def LeaveStar(self, request: pb.LeaveStarRequest, call: Call) -> pb.LeaveStarResponse:
        await self._stars.leave(call.caller.tenant, request.star_id, request.name, request.agent_id)
        return pb.LeaveStarResponse()

    async def ListStarMembers(self, request: pb.ListStarMembersRequest, call: Call) -> pb.ListStarMembersResponse:
        size, first = self._pages.size(request), int(self._pages.start(call, request) or 0)
        members = (await self._stars.get(call.caller.tenant, request.star_id)).members
        response = pb.ListStarMembersResponse(members=members[first : first + size])
        if len(members) > first + size:
            response.next_page_token = self._pages.token(call, request, str(first + size))
        return response

    # -- working ------------------------------------------------------------------------

    async def RunStar(self, request: pb.RunStarRequest, call: Call) -> pb.RunStarResponse:
        row = await self._begin(request, call)
        with self._attended(row, request.disconnect_policy):
            result = await self._teams.wait(row.tenant, row.id)
        return pb.RunStarResponse(
            turn=result.turn, text=text_of(result.turn.reply), usage=result.usage, cost_usd=result.cost_usd
        )

    async def StreamStar(self, request: pb.StreamStarRequest, call: Call) -> None:
        row = await self._begin(request, call)
        with self._attended(row, request.disconnect_policy):
            run = await self._teams.find(row)
            subscription = self._subscription(row, run.turns)
            self._background.start(self._end(row, subscription))
            try:
                await self._streams.follow(call, subscription)
            finally:
                subscription.close()

    def _subscription(self, row: RunRow, turns: filters.Turns) -> Subscription:
        """All events of the run: those that are stored, then those that come."""
        wanted = filters.Filter(star_id=row.star.id, turns=turns)
        return self._streams.from_place(row.tenant, wanted, Place(0, row.position), Options())

    async def _end(self, row: RunRow, subscription: Subscription) -> None:
        """Lets the stream end when the run has."""
        with contextlib.suppress(errors.AsterError):  # how it has ended is in its events
            await self._teams.wait(row.tenant, row.id)
        subscription.end_at(max(self._streams.hub.head, 1))

    async def _begin(self, request: Any, call: Call) -> RunRow:
        """The run that RunStar and StreamStar follow: a new one, or that of an equal request."""
        star = await self._stars.get(call.caller.tenant, request.star_id)
        row = new_run(
            call.caller.tenant,
            star,
            request.message,
            request.budget,
            call.caller.principal,
            call.trace_id,
            self._streams.hub.head,
        )
        known = request_of(request.request_id, "RunStar", _said(request))
        return await self._teams.begin(row, known)

    @contextlib.contextmanager
    def _attended(self, row: RunRow, policy: int) -> Iterator[None]:
        """The run is stopped when its caller goes away, unless it said otherwise (R6)."""
        answered = False
        try:
            yield
            answered = True
        except errors.AsterError:
            answered = True
            raise
        finally:
            if not (answered or policy == agent_pb2.DISCONNECT_POLICY_CONTINUE or self._streams.draining):
                self._teams.stop(row.tenant, row.id, "the caller went away")

    # -- talking ---------------------------------------------------------------------------

    async def SendStarMessage(self, request: pb.SendStarMessageRequest, call: Call) -> pb.SendStarMessageResponse:
        known = request_of(request.request_id, call.method, request)
        caller = call.caller
        message, turns = await self._stars.send(caller.tenant, request, known, caller.principal, call.trace_id)
        return pb.SendStarMessageResponse(message=message, turns=turns)

    async def ListStarMessages(self, request: pb.ListStarMessagesRequest, call: Call) -> pb.ListStarMessagesResponse:
        size, after = self._pages.size(request), int(self._pages.start(call, request) or 0)
        await self._stars.get(call.caller.tenant, request.star_id)
        found = await self._stars.store.messages(call.caller.tenant, request.star_id, after, size + 1)
        response = pb.ListStarMessagesResponse(messages=[message for _, message in found[:size]])
        if len(found) > size:
            response.next_page_token = self._pages.token(call, request, str(found[size - 1][0]))
        return response


def _view(star: pb.Star) -> pb.Star:
    """A Star as callers see it: with the defaults that it works by."""
    shown = pb.Star()
    shown.CopyFrom(star)
    shown.display_name = star.display_name or star.id
    shown.strategy = star.strategy or "leader"
    return shown


def _said(request: Any) -> pb.RunStarRequest:
    """RunStar and StreamStar of the same words are one request; how the caller listens makes none of it."""
    return pb.RunStarRequest(star_id=request.star_id, message=request.message, budget=request.budget)
