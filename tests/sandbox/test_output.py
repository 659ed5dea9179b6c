"""What commands write: kept within bounds, and plain."""

import pytest

from asteros.sandbox.output import KEPT, RING, Capture, Ring, plain


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\x1b[1;31mb\x1b[0mc", "abc"),
        (b"\x1b]0;title\x07x\x1b]8;;http://a\x1b\\y", "xy"),
        (b"\x1bPq...\x1b\\z\x1b(B!", "z!"),
        (b"a\x00b\x07c\x7f\td\r\ne\r", "abc\td\ne\r"),
        ("é€😀".encode() + b"\xff\xfe", "é€😀��"),
        (b"cut \x1b[3", "cut 3"),
        (b"\x1b" * 5 + b"end", "nd"),
    ],
)
def test_plain(data: bytes, text: str) -> None:
    assert plain(data) == text


@pytest.mark.parametrize("data", [b"\x1b]" * 200_000, b"\x1b[" + b"1;" * 500_000, b"\x1bP" * 200_000])
def test_plain_is_linear(data: bytes) -> None:
    plain(data)  # a pattern that tries again and again would take hours


@pytest.mark.parametrize("block", [1000, 65536, 10_000_000])
@pytest.mark.parametrize("size", [0, 1, KEPT - 1, KEPT, KEPT + 1, 3 * KEPT + 7])
def test_capture_keeps_both_ends(size: int, block: int) -> None:
    data = bytes(ord("a") + place // 1000 % 26 for place in range(size))
    capture = Capture()
    for start in range(0, size, block):
        capture.add(data[start : start + block])
    kept = capture.result()
    assert kept.size == size
    assert kept.cut == (size > KEPT)
    if not kept.cut:
        assert kept.text == data.decode()
    else:
        half = KEPT // 2
        note = f"\n... {size - KEPT} bytes left out ...\n"
        assert kept.text == data[:half].decode() + note + data[-half:].decode()


def test_ring() -> None:
    ring = Ring()
    ring.add(False, b"one\n")
    ring.add(True, b"two\n")
    ring.add(False, b"three\n")
    assert (ring.read(0), ring.read(2), ring.read(0, errors=False)) == (
        "one\ntwo\nthree\n",
        "e\ntwo\nthree\n",
        "one\nthree\n",
    )
    assert (ring.start, ring.end, ring.read(14), ring.read(99)) == (0, 14, "", "")


def test_ring_forgets_the_oldest() -> None:
    ring = Ring()
    for number in range(40):
        ring.add(False, bytes([ord("a") + number % 26]) * 65536)
    assert ring.end == 40 * 65536
    assert ring.end - ring.start <= RING
    assert len(ring.read(0)) == ring.end - ring.start
    ring.add(True, b"x" * (2 * RING))
    assert (ring.end - ring.start, len(ring.read(0))) == (RING, RING)
    ring.clear()
    assert (ring.read(0), ring.start, ring.end) == ("", ring.end, 40 * 65536 + 2 * RING)
