"""Stars as steps of workflows: neither room knows the other."""

import contextlib

from aster.v1 import common_pb2
from asteros import errors
from asteros.events.hub import Hub
from asteros.runtime.history import text_of
from asteros.stars import words
from asteros.stars.stars import Stars
from asteros.stars.teams import Teams, new_run
from asteros.workflows.nested import StarAnswer


class StarSteps:
    """``workflows.nested.StarRunner``."""

    def __init__(self, stars: Stars, teams: Teams, hub: Hub) -> None:
        self._stars = stars
        self._teams = teams
        self._hub = hub

    async def run(
        self, tenant: str, star_id: str, task: str, *, key: str, principal: str, budget: common_pb2.Budget, run_id: str
    ) -> StarAnswer:
        """See ``StarRunner``."""
        name = _run_id(key)
        if await self._teams.store.run(tenant, name) is None:
            star = await self._stars.get(tenant, star_id)
            row = new_run(
                tenant, star, task, budget, principal, "", self._hub.head, run_id=name, workflow_run_id=run_id
            )
            await self._teams.begin(row, None)
        result = await self._teams.wait(tenant, name)
        turn = result.turn
        return StarAnswer(text_of(turn.reply), turn.id, turn.agent_id, result.usage, result.cost_usd, result.step_count)

    async def stop(self, tenant: str, star_id: str, *, key: str) -> None:  # noqa: ARG002
        """See ``StarRunner``."""
        self._teams.stop(tenant, _run_id(key), "the workflow was stopped")
        with contextlib.suppress(errors.AsterError):  # how it has ended does not matter
            await self._teams.wait(tenant, _run_id(key))


def _run_id(key: str) -> str:
    return words.derived("trn_", key, key)
