"""Skill: instructions for a kind of work, from folders with a SKILL.md.

The folders are the operator's; what they hold is read at each call, so that an edit
takes effect at once. The list in the tool's description is that of the server's start."""

from dataclasses import dataclass, replace

import yaml

from asteros.tools.base import Files, JsonObject, PathRefused, RerunPolicy, ToolContext, ToolInfo
from asteros.tools.files import failure

MAIN = "SKILL.md"
MAX_SKILL = 256 * 1024  # bytes of one file
MAX_SKILLS = 200
MAX_LIST = 16_000  # characters of the list in the description


@dataclass(frozen=True, slots=True)
class Card:
    """The front matter of a SKILL.md."""

    name: str
    description: str
    folder: str
    body: str


class Skill:
    """{"ok", "skill", "content", "files"}: the text of a skill, and what else its folder holds."""

    info = ToolInfo(
        name="Skill",
        description="Reads the instructions of a skill. Follow them when the work at hand is what the skill is for.",
        input_schema={
            "type": "object",
            "properties": {
                "skill": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Name of the skill."},
                "params": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "maxLength": 10_000},
                    "maxProperties": 50,
                    "description": "file: another file of the skill. Others take the place of {{name}} in its text.",
                },
            },
            "required": ["skill"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,
        main_argument="skill",
    )

    def __init__(self, folders: Files | None = None) -> None:
        self._folders = folders

    @classmethod
    async def of(cls, folders: Files) -> "Skill":
        """The tool with the list of what there is now in its description."""
        made = cls(folders)
        cards = await made._cards()
        lines = "\n".join(f"- {card.name}: {card.description}" for card in cards)[:MAX_LIST]
        if cards:
            made.info = replace(cls.info, description=f"{cls.info.description}\n\nSkills:\n{lines}")
        return made

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:  # noqa: ARG002
        """Paths in ``params`` are confined to the skill's folder."""
        name: str = args["skill"]
        cards = await self._cards()
        card = next((card for card in cards if card.name.casefold() == name.casefold()), None)
        if card is None or self._folders is None:
            known = [card.name for card in cards]
            return {"ok": False, "error": "there is no such skill", "skill": name, "skills": known}
        params: dict[str, str] = args.get("params", {})
        try:
            text = await self._file(card, params["file"]) if "file" in params else card.body
            walk = await self._folders.walk(card.folder)
        except (PathRefused, OSError) as error:
            return failure(params.get("file", MAIN), error)
        for member, value in params.items():
            text = text.replace(f"{{{{{member}}}}}", value)
        files = [file.path for file in walk.files if file.path != MAIN]
        return {"ok": True, "skill": card.name, "content": text, "files": files}

    async def _file(self, card: Card, path: str) -> str:
        if ".." in path.split("/"):
            raise PathRefused("the path leaves the folder of the skill")
        assert self._folders is not None
        return (await self._folders.read(f"{card.folder}/{path}", MAX_SKILL)).decode(errors="replace").replace("\0", "")

    async def _cards(self) -> list[Card]:
        """Every skill, by name; a folder without a proper SKILL.md is none."""
        if self._folders is None:
            return []
        cards: dict[str, Card] = {}
        for entry in await self._folders.list("/"):
            if entry.kind == "dir" and len(cards) < MAX_SKILLS:
                card = await self._card(entry.name)
                if card is not None:
                    cards.setdefault(card.name.casefold(), card)
        return sorted(cards.values(), key=lambda card: card.name)

    async def _card(self, folder: str) -> Card | None:
        assert self._folders is not None
        try:
            data = await self._folders.read(f"{folder}/{MAIN}", MAX_SKILL)
            _, front, body = data.decode().replace("\0", "").split("---\n", 2)
            facts = yaml.safe_load(front)
            name, description = facts.get("name", folder), facts["description"]
        except (PathRefused, OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
            return None
        return Card(str(name), " ".join(str(description).split())[:1000], folder, body.lstrip("\n"))
