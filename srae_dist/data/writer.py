"""Records to shards: planned, made by several processes or machines, merged, published.

Every shard is made from start to end by one process (data/packing.py) and depends on nothing but
its own records, so what an earlier run finished is kept, and it does not matter who made it.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from srae_dist.core.errors import UserError
from srae_dist.data.manifest import MANIFEST, Index, Manifest, Split, load_manifest
from srae_dist.data.packing import Packed, Task, finished, stamp_of
from srae_dist.data.plan import Form, Job, plan_shards
from srae_dist.data.pool import pack_all
from srae_dist.data.publish import Written, check_free, listed_bad, publish, save_split_index
from srae_dist.data.records import Records, Source
from srae_dist.data.workplace import (
    WAIT_TO_BEGIN,
    WAIT_TO_END,
    Part,
    Site,
    alone,
    explained,
    recover,
)

Advance = Callable[[int], None]
Progress = Callable[[int], contextlib.AbstractContextManager[Advance]]  # of so many records
Tell = Callable[[str], None]

WHOLE = Part()


@contextlib.contextmanager
def in_silence(total: int) -> Iterator[Advance]:
    """Show no progress."""
    yield lambda count: None


def write(
    out: Path,
    source: Source,
    splits: Mapping[str, Records],
    *,
    form: Form,
    part: Part = WHOLE,
    processes: int = 1,
    force: bool = False,
    progress: Progress = in_silence,
    tell: Tell = lambda text: None,
) -> Written | None:
    """Write each split's records, in their order, as shards of ``out``; splits there are kept.

    Equal records and form give equal bytes, whatever the processes, the parts, and how often it
    was stopped. Returns None where other parts have shards still to make. ``progress`` shows how
    far this part's records are, ``tell`` says what a user should know.

    Raises:
        UserError: ``out`` is in use, cannot be written, holds a split of that name and not
            ``force``, has other domains, size or format; or no image of a split can be read.
    """
    several = part.count > 1
    with explained(out), contextlib.ExitStack() as locks:
        domains = _agreed_domains(out, source.domains, form, tuple(splits))
        jobs = plan_shards(splits, form, domains=domains, identity=source.reader.identity())
        partial = locks.enter_context(alone(out, wait=WAIT_TO_BEGIN if several else 0.0))
        recovered = recover(partial, out, part)
        if _agreed_domains(out, source.domains, form, tuple(splits)) != domains:
            raise UserError(f"{out} has just been changed by another process; try again.")
        site = Site(out, partial, part, _plan_of(jobs))
        if recovered == site.plan or site.is_published():
            tell(f"{out} holds these shards already.")
            return Written(load_manifest(out), tuple(splits), listed_bad(out, tuple(splits)))
        check_free(out, tuple(splits), force=force)
        with site.at_work():
            task = Task(partial, source.reader, form, domains)
            _sweep(site, jobs)
            if several:
                locks.close()
            _make(site, task, jobs, processes, progress, tell)
            if several:
                locks.enter_context(alone(out, wait=WAIT_TO_END))
            return _end(site, task, jobs, splits, tell)


def _agreed_domains(
    out: Path, domains: tuple[str, ...], form: Form, splits: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the domains in the order the folder has them, if what it keeps is alike."""
    if not (out / MANIFEST).exists():
        return domains
    there = load_manifest(out)
    if set(there.splits) <= set(splits):
        return domains  # nothing stays that must be alike
    for what, old, new in (
        ("domains", ", ".join(sorted(there.domains)), ", ".join(sorted(domains))),
        ("image size", there.image_size, form.size),
        ("format", there.image_format, form.format),
    ):
        if old != new:
            raise UserError(
                f"{out} has the {what} {old}, the new split {new}; one folder has one {what}: "
                "make them equal, or choose another --out."
            )
    return there.domains


def _plan_of(jobs: Sequence[Job]) -> str:
    return hashlib.sha256("".join(job.fingerprint for job in jobs).encode("ascii")).hexdigest()


def _sweep(site: Site, jobs: Sequence[Job]) -> None:
    """Delete what is no finished shard of this plan; what other parts are at work at is theirs."""
    kept = []
    for job in jobs:
        others = not site.part.owns(job.number) and not site.is_new
        if others or stamp_of(site.partial, job) is not None:
            kept.append(job.stem)
    site.sweep(kept)


def _make(
    site: Site, task: Task, jobs: Sequence[Job], processes: int, progress: Progress, tell: Tell
) -> None:
    """Make this part's shards, but for those that an earlier run made of the same images."""
    mine = [job for job in jobs if site.part.owns(job.number)]
    todo = []
    for job in mine:
        stamp = stamp_of(site.partial, job)
        if stamp is None or stamp != task.reader.stamp(job.records):
            site.forget(job.stem)
            todo.append(job)
    if kept := len(mine) - len(todo):
        tell(f"kept {kept} of {len(mine)} shards that an earlier run finished.")
    with progress(sum(len(job.records) for job in todo)) as advance:
        pack_all(task, todo, count=processes, advance=advance)


def _end(
    site: Site, task: Task, jobs: Sequence[Job], splits: Mapping[str, Records], tell: Tell
) -> Written | None:
    """Publish if all shards of all parts are finished."""
    if site.is_published():
        tell(f"{site.out} holds all shards: another part has published them.")
        return None
    missing = sum(stamp_of(site.partial, job) is None for job in jobs)
    if missing or site.others_at_work():
        site.leave_finished()
        others = "another part is still at work, and"
        if missing:
            left = f"{missing} of {len(jobs)} shards still to finish"
            others = f"other parts have {left}, and the last one"
        tell(f"part {site.part} is done; {others} publishes {site.out}.")
        return None
    done = [finished(site.partial, job) for job in jobs]
    made: dict[str, Split] = {}
    bad = []
    for split, records in splits.items():
        packed = [p for job, p in zip(jobs, done, strict=True) if p and job.split == split]
        bad += [entry for item in packed for entry in item.bad]
        if not any(item.shard.samples for item in packed):
            shutil.rmtree(site.partial)
            raise UserError(
                f"None of the {len(records)} images of split '{split}' can be read, so nothing is "
                f"written; the first is {bad[-len(records)].origin}: {bad[-len(records)].reason}."
            )
        made[split] = _merge(site.partial, split, packed)
    form = task.form
    manifest = Manifest(task.domains, form.size, form.format, made)
    final = publish(site.partial, site.out, manifest, bad=bad)
    site.leave_published()
    return Written(final, tuple(splits), tuple(bad))


def _merge(folder: Path, split: str, packed: Sequence[Packed]) -> Split:
    """Write the index of a split from what is known of its shards."""
    counts = [item.shard.samples for item in packed]
    index = Index(
        np.repeat(np.arange(len(packed), dtype=np.uint32), counts),
        np.concatenate([item.domain for item in packed]),
        np.concatenate([item.offset for item in packed]),
        np.concatenate([item.size for item in packed]),
        np.concatenate([item.keys for item in packed]),
    )
    shards, blocks = [item.shard for item in packed], [item.blocks for item in packed]
    return save_split_index(folder, split, index, shards, blocks)
