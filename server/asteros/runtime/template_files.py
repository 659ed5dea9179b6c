"""Templates from a folder of YAML files, read again when a file changes.

A file holds one ``aster.v1.Template`` in its ProtoJSON names, and ``aliases``::

    id: devops-engineer          # the file's name when left out
    displayName: DevOps engineer
    description: Looks after deployments.
    aliases: [ops]
    defaults:
      systemPrompt: You are a careful DevOps engineer.
      tools: [filesystem, bash]
      middlewares: [filesystem, summarization]
      middlewareConfigJson: {summarization: '{"trigger": 0.7}'}"""

import re
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import json_format

from aster.v1 import template_service_pb2
from asteros.runtime.templates import Template
from asteros.runtime.yaml_folder import YamlFolder, document

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class TemplateFiles:
    """The templates of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = YamlFolder(folder, "template")
        self._templates: dict[str, Template] = {}  # by file name

    def changed(self) -> bool:
        """Looks at the folder if it is time to; whether ``all`` is another than before.

        A file that is broken is told in the log, and what it said before still holds."""
        gone, changed = self._folder.changes()
        before = dict(self._templates)
        for name in gone:
            self._templates.pop(name, None)
        for name in changed:
            self._read(name)
        return before != self._templates

    def all(self) -> Iterable[Template]:
        """As of the last look; in the order of the files' names."""
        return [self._templates[name] for name in sorted(self._templates)]

    def _read(self, name: str) -> None:
        try:
            self._templates[name] = parse(self._folder.read(name), Path(name).stem)
        except (OSError, ValueError) as error:
            self._folder.broken(name, error, kept=name in self._templates)


def parse(data: bytes, stem: str) -> Template:
    """The template of a file.

    :raises ValueError: what is wrong with it, in one line."""
    found = document(data, "id, displayName, description, aliases and defaults")
    aliases = found.pop("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) and _ID.fullmatch(alias) for alias in aliases):
        raise ValueError("aliases must be a list of ids")
    try:
        made = json_format.ParseDict(found, template_service_pb2.Template())
    except json_format.ParseError as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None
    made.id = made.id or stem
    if not _ID.fullmatch(made.id):
        raise ValueError("an id is 1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit")
    models = (made.defaults.model_config, *made.defaults.model_config.fallbacks)
    if any(model.api_key for model in models):
        raise ValueError("a key does not belong into a template, which everyone may read: use apiKeySecret")
    made.defaults.template_id = ""
    return Template(made.id, made.display_name or made.id, made.description, made.defaults, tuple(aliases))
