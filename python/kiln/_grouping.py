"""Which rows of A belong to which group, of grouped_gemm()."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from ._options import Tensor

# C++'s Grouping::Kind.
KINDS = {"offsets": 0, "aligned_offsets": 1, "row_ids": 2, "masked": 3}


class GroupIssue(IntEnum):
    """What `index_report[0]` says of an entry of a grouping's index; what the entry counts as."""

    NONE = 0
    NEGATIVE = 1  # below 0 (a row id: below -1); counts as 0 (as -1)
    PAST_THE_END = 2  # too large an offset or number of rows; counts as the largest
    DESCENDING = 3  # an offset below an earlier one; the group is empty
    IN_THE_PADDING = 4  # an aligned group's end before its start; the group is empty
    NO_SUCH_GROUP = 5  # a row id of G or more; counts as -1
    MIXED_SEGMENT = 6  # a row id of another group than its segment's first; counts as -1


class Grouping(NamedTuple):
    """Which rows of A belong to which group (an expert's rows). Made by the four functions below.

    The index is an int32 vector in the memory of the call's device; nobody reads it on the host,
    and it may change between replays of a CUDA graph. No content of it can make a call touch
    memory that it should not: `index_report` tells of entries that are out of range.

    `expected_rows` is a hint, how many rows a group has, more or less (0: M / G). It may steer the
    choice of a kernel, never the result.
    """

    kind: str
    index: Tensor
    alignment: int = 128
    expected_rows: int = 0

    @classmethod
    def offsets(cls, end: Tensor, expected_rows: int = 0) -> Grouping:
        """int32 [G]: group g has the rows [end[g-1], end[g]), where end[-1] is 0."""
        return cls("offsets", end, 128, expected_rows)

    @classmethod
    def aligned_offsets(cls, end: Tensor, alignment: int = 128, expected_rows: int = 0) -> Grouping:
        """int32 [G]: group g has the rows [align(end[g-1], alignment), end[g])."""
        return cls("aligned_offsets", end, alignment, expected_rows)

    @classmethod
    def row_ids(cls, ids: Tensor, alignment: int = 128, expected_rows: int = 0) -> Grouping:
        """int32 [M]: the group of each row, or -1 for a row that is nobody's. The rows
        [i * alignment, (i + 1) * alignment) for any i hold one group's rows and -1 in any order."""
        return cls("row_ids", ids, alignment, expected_rows)

    @classmethod
    def masked(cls, rows: Tensor, expected_rows: int = 0) -> Grouping:
        """int32 [G]: group g has the first rows[g] rows of matrix g of A [G,Mmax,K]."""
        return cls("masked", rows, 128, expected_rows)
