"""Token counts of one model call, as a provider told them."""

from aster.v1 import common_pb2


def usage(
    *,
    sent: int | None,
    produced: int | None,
    read: int | None = None,
    written: int | None = None,
    reasoning: int | None = None,
) -> common_pb2.TokenUsage:
    """Counts in our terms: ``read`` and ``written`` are parts of ``sent``, ``reasoning`` one of ``produced``.

    None counts as 0. Raises ValueError or TypeError for what is no number of tokens."""
    total = common_pb2.TokenUsage(
        input_tokens=sent or 0,
        output_tokens=produced or 0,
        total_tokens=(sent or 0) + (produced or 0),
        cached_input_tokens=read or 0,
        cache_write_tokens=written or 0,
        reasoning_tokens=reasoning or 0,
    )
    if any(count < 0 for _, count in total.ListFields()):
        raise ValueError("a negative number of tokens")
    return total
