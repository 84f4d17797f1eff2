"""Records that are held anyway, as a source offers them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srae_dist.data.records import Record, Records


def listed(records: Sequence[Record]) -> Records:
    """Make ``Records`` of a list."""
    splits = list(dict.fromkeys(record.split for record in records))
    domains = list(dict.fromkeys(record.domain for record in records))
    return Records(
        lambda row: (records[row].name, records[row].origin, records[row].place),
        tuple(splits),
        tuple(domains),
        np.array([splits.index(record.split) for record in records], np.int32),
        np.array([domains.index(record.domain) for record in records], np.int32),
        np.arange(len(records)),
    )
