"""Which workflows there are: those that were created, and those of a folder of YAML files.

A file holds one ``aster.v1.Workflow`` in its ProtoJSON names. It is read again when it
changes, belongs to every tenant, and can be neither created anew nor deleted by a call."""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from google.protobuf import json_format

from aster.v1 import workflow_pb2
from asteros import clock, errors, ids
from asteros.errors import Violation
from asteros.runtime.journal import snapshot
from asteros.runtime.yaml_folder import YamlFolder, document
from asteros.stores.base import AddRequest, RequestIdKnown
from asteros.stores.workflows import WorkflowStore
from asteros.workflows.definition import FORM, ID, contained, violations
from asteros.workflows.expressions import Expressions

Workflow = workflow_pb2.Workflow


class Catalog:
    """Creates, finds and deletes workflows."""

    def __init__(
        self,
        store: WorkflowStore,
        expressions: Expressions,
        functions: Collection[str],
        folder: Path | None,
        changed: Callable[[], None],
    ) -> None:
        """``changed`` is called when a workflow was created or deleted."""
        self._store = store
        self._expressions = expressions
        self._functions = functions
        self._folder = YamlFolder(folder, "workflow") if folder is not None else None
        self._files: dict[str, Workflow] = {}  # by file name
        self._looking = asyncio.Lock()
        self._changed = changed

    async def create(self, tenant: str, workflow: Workflow, request: AddRequest | None) -> Workflow:
        """Stores a workflow; without an id it gets one.

        :raises FieldViolation: everything that is wrong with it.
        :raises WorkflowAlreadyExists, RequestIdReused:"""
        made = snapshot(workflow)
        made.id = workflow.id or ids.new("wfl_")
        made.create_time.CopyFrom(clock.timestamp(clock.now()))
        if not ID.fullmatch(made.id):
            raise errors.InvalidId("workflow_id", FORM)
        await self._refuse(tenant, made)
        if await self._of_files(made.id) is not None:
            raise errors.WorkflowAlreadyExists(made.id)
        if request is not None:
            request = AddRequest(request.request_id, request.digest, made.id)
        try:
            await self._store.create_workflow(tenant, made, request)
        except RequestIdKnown as known:
            if request is None or known.digest != request.digest:
                raise errors.RequestIdReused(request.request_id if request else "") from None
            return await self.get(tenant, known.target)
        self._changed()
        return made

    async def _refuse(self, tenant: str, workflow: Workflow) -> None:
        found = await violations(workflow, self._expressions, self._functions)
        if not found and await self._comes_back(tenant, workflow):
            found.append(Violation("root", "a workflow cannot contain itself, nor one that contains it"))
        if found:
            raise errors.FieldViolation(*found)

    async def _comes_back(self, tenant: str, workflow: Workflow) -> bool:
        """Whether the workflows inside lead back to this one."""
        todo, seen = contained(workflow.root), set[str]()
        while todo:
            inner = todo.pop()
            if inner == workflow.id:
                return True
            if inner not in seen and (found := await self._find(tenant, inner)) is not None:
                todo |= contained(found.root)
            seen.add(inner)
        return False

    async def get(self, tenant: str, workflow_id: str) -> Workflow:
        """
        :raises WorkflowNotFound:"""
        found = await self._find(tenant, workflow_id)
        if found is None:
            raise errors.WorkflowNotFound(workflow_id)
        return found

    async def _find(self, tenant: str, workflow_id: str) -> Workflow | None:
        return await self._of_files(workflow_id) or await self._store.workflow(tenant, workflow_id)

    async def page(self, tenant: str, after: str, limit: int) -> list[Workflow]:
        """By id, after the given one."""
        await self._look()
        files = {found.id: found for found in self._files.values() if found.id > after}
        stored = {found.id: found for found in await self._store.workflows(tenant, after, limit)}
        return sorted((stored | files).values(), key=lambda found: found.id)[:limit]

    async def delete(self, tenant: str, workflow_id: str) -> None:
        """
        :raises WorkflowNotFound:
        :raises WrongState: it is of a file."""
        if await self._of_files(workflow_id) is not None:
            raise errors.WrongState("the workflow is of a file of the server", workflow_id=workflow_id)
        if not await self._store.delete_workflow(tenant, workflow_id):
            raise errors.WorkflowNotFound(workflow_id)
        self._changed()

    # -- files ----------------------------------------------------------------------------

    async def _of_files(self, workflow_id: str) -> Workflow | None:
        await self._look()
        return next((found for found in self._files.values() if found.id == workflow_id), None)

    async def _look(self) -> None:
        """Reads what has changed in the folder. A broken file is told in the log."""
        if self._folder is None:
            return
        async with self._looking:
            gone, changed = await asyncio.to_thread(self._folder.changes)
            for name in gone:
                self._files.pop(name, None)
            for name in changed:
                try:
                    self._files[name] = await self._read(self._folder, name)
                except (OSError, ValueError) as error:
                    self._folder.broken(name, error, kept=name in self._files)

    async def _read(self, folder: YamlFolder, name: str) -> Workflow:
        """
        :raises OSError, ValueError:"""
        data = await asyncio.to_thread(folder.read, name)
        try:
            found = json_format.ParseDict(document(data, "id, displayName, description and root"), Workflow())
        except json_format.ParseError as error:
            raise ValueError(" ".join(str(error).split())[:300]) from None
        found.id = found.id or Path(name).stem
        if not ID.fullmatch(found.id):
            raise ValueError(f"an id {FORM}")
        if any(other.id == found.id for file, other in self._files.items() if file != name):
            raise ValueError(f"the id {found.id} stands in another file")
        wrong = await violations(found, self._expressions, self._functions)
        if wrong:
            raise ValueError("; ".join(f"{each.field}: {each.description}" for each in wrong)[:1000])
        return found
