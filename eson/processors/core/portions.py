"""How much of each partition to ask a broker for, so that an answer holds whole batches of many partitions."""

from __future__ import annotations


def portions(octets: int, partitions: int, largest: int) -> tuple[int, int]:
    """What a whole answer and what each partition of it may hold, in octets, of at most `octets` in all.

    `partitions`: how many have something to give; `largest`: octets of the largest batch seen of late, 0 if unknown.  A
    broker fills an answer partition by partition and cuts the last batch of each: without limits one partition takes all,
    and its batches must be sent one after the other; with a limit between two batches much of what comes is of no use.
    The first batch of an answer comes whole, whatever its size.
    """
    share = max(1, octets // max(1, partitions))
    if not largest:
        return octets, share
    usual = largest + (largest >> 6)
    if usual > octets:
        return octets, octets
    each = max(1, share // usual) * usual
    return octets // each * each, each
