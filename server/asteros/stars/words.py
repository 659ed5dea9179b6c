"""What is said in a Star: to whom, by whom, and under which id."""

import hashlib
import re
from collections.abc import Sequence

from aster.v1 import stars_service_pb2 as pb
from asteros import clock, errors, ids

CALLER = ""  # from outside; as receiver: all


def mentioned(text: str, members: Sequence[pb.StarMember]) -> list[pb.StarMember]:
    """The members that a text names as "@name", in the order they joined; the longest name that fits counts."""
    names = sorted((member.name for member in members), key=len, reverse=True)
    if not names:
        return []
    pattern = re.compile(rf"@({'|'.join(map(re.escape, names))})(?![\w-])")
    found = set(pattern.findall(text))
    return [member for member in members if member.name in found]


def receivers(star: pb.Star, text: str, to_member: str, from_member: str) -> list[pb.StarMember]:
    """Who gets a message: the one named, those the text mentions, or all; never who speaks.

    :raises StarMemberNotFound:"""
    if to_member:
        return [member_of(star, to_member)]
    found = mentioned(text, star.members) or star.members
    return [member for member in found if member.name != from_member]


def member_of(star: pb.Star, name: str) -> pb.StarMember:
    """
    :raises StarMemberNotFound:"""
    found = next((member for member in star.members if member.name == name), None)
    if found is None:
        raise errors.StarMemberNotFound(name, star_id=star.id)
    return found


def heard(text: str, from_member: str) -> str:
    """A text as its receiver reads it: with who says it, if that is a member."""
    return f"[from:{from_member}] {text}" if from_member else text


def message(text: str, from_member: str, to_member: str, said_with: str = "") -> pb.StarMessage:
    """A message to store; with ``said_with`` it has the same id whenever the same thing is said again."""
    return pb.StarMessage(
        id=derived("stm_", said_with) if said_with else ids.new("stm_"),
        from_member=from_member,
        to_member=to_member,
        text=text,
        create_time=clock.timestamp(clock.now()),
    )


def derived(prefix: str, name: str, beside: str = "") -> str:
    """An id that follows from a name alone. With ``beside``, a ULID, it sorts where that does."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    head = beside.partition("_")[2][:10] or "0" + ids.encoded(number >> 80, 9)
    return f"{prefix}{head}{ids.encoded(number, 16)}"
