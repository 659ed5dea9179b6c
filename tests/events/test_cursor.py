"""A cursor names one place of one log, and nothing else passes for it."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asteros.events.cursor import LENGTH, MAX_INDEX, CursorCodec, Place, SegmentCursors

CODEC = CursorCodec(b"k" * 32)
OTHER = CursorCodec(b"l" * 32)
ALPHABET = string.ascii_letters + string.digits + "-_"

keys = st.integers(1, 2**32 - 1)
numbers = st.integers(0, 2**48 - MAX_INDEX)
indexes = st.integers(0, MAX_INDEX - 1)


@given(keys, numbers, numbers)
@example(2**32 - 1, 2**48 - 1, 2**48 - 1)
@settings(max_examples=300)
def test_a_place_comes_back(key: int, position: int, sequence: int) -> None:
    cursor = CODEC.encode(Place(key, position, sequence))
    assert len(cursor) == LENGTH
    assert CODEC.decode(cursor) == Place(key, position, sequence)


@given(numbers)
def test_a_place_between_agents_has_no_sequence(position: int) -> None:
    assert CODEC.decode(CODEC.encode(Place(0, position))) == Place(0, position)


@given(keys, numbers, numbers, indexes)
@settings(max_examples=300)
def test_events_of_a_segment_count_up(key: int, position: int, sequence: int, index: int) -> None:
    cursor = SegmentCursors(CODEC, key, position, sequence)[index]
    assert CODEC.decode(cursor) == Place(key, position + index, sequence + index)


@given(keys, numbers, numbers, indexes)
def test_another_log_refuses_it(key: int, position: int, sequence: int, index: int) -> None:
    with pytest.raises(ValueError, match="check"):
        OTHER.decode(SegmentCursors(CODEC, key, position, sequence)[index])


def test_every_changed_character_is_refused() -> None:
    cursor = SegmentCursors(CODEC, 7, 123_456, 789)[21]
    assert CODEC.decode(cursor) == Place(7, 123_477, 810)
    for place in range(LENGTH):
        for char in ALPHABET + "=+/ é":
            if char != cursor[place]:
                with pytest.raises(ValueError):
                    CODEC.decode(cursor[:place] + char + cursor[place + 1 :])


@given(st.text(max_size=40))
@example("A" * LENGTH)
@example("A" * (LENGTH - 1))
@example("")
def test_made_up_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        CODEC.decode(text)


def test_parts_of_two_cursors_are_no_cursor() -> None:
    one, two = (SegmentCursors(CODEC, key, 10, 1) for key in (1, 2))
    for cut in range(1, LENGTH):
        mixed = one[3][:cut] + two[5][cut:]
        if mixed not in (one[3], two[5]):
            with pytest.raises(ValueError):
                CODEC.decode(mixed)


def test_cursors_of_a_log_are_distinct() -> None:
    made = {SegmentCursors(CODEC, key, 1, 1)[index] for key in range(1, 5) for index in range(MAX_INDEX)}
    assert len(made) == 4 * MAX_INDEX
