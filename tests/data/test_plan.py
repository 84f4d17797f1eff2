"""Which records make which shard."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srae_dist.core.errors import UserError
from srae_dist.data.manifest import load_index, load_manifest
from srae_dist.data.plan import Form, count_shards, plan_shards, share_shards
from srae_dist.data.records import Record, Records, shuffled
from tests.data.listed import listed
from tests.data.test_writer import Noise, run

counts = st.lists(st.integers(0, 300_000), min_size=1, max_size=6).filter(any)


def records(a: int, b: int) -> Records:
    made = [Record("train", "a", str(i), f"a/{i}", "") for i in range(a)]
    made += [Record("train", "b", str(i), f"b/{i}", "") for i in range(b)]
    return shuffled(listed(made), seed=0)["train"]


@given(st.integers(1, 2_000_000), st.none() | st.integers(1, 5000))
def test_number_of_shards(samples: int, wanted: int | None) -> None:
    count = count_shards(samples, wanted)
    assert 1 <= count <= samples
    if wanted is None:
        assert count >= min(64, samples)
        assert -(-samples // count) <= 10_000
    else:
        assert count == min(wanted, samples)


@given(counts, st.none() | st.integers(1, 500))
def test_shards_shared_among_domains(counts: list[int], wanted: int | None) -> None:
    given_ = share_shards(counts, wanted)
    domains = sum(map(bool, counts))
    for count, shards in zip(counts, given_, strict=True):
        assert min(1, count) <= shards <= count
        assert wanted is not None or count <= shards * 10_000
    total = sum(given_)
    if wanted is None:
        assert total >= min(64, sum(counts))
    else:
        assert total == max(domains, min(wanted, sum(counts)))


def test_the_largest_shard_is_as_small_as_can_be() -> None:
    assert share_shards([70, 20, 10], 10) == [7, 2, 1]
    assert share_shards([1000, 1, 0], 5) == [4, 1, 0]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 100), st.sampled_from(("a", "b")))
def test_each_record_is_in_one_shard(a: int, b: int, shards: int, first: str) -> None:
    made = records(a, b)
    domains = ("a", "b") if first == "a" else ("b", "a")
    for layout in ("mixed", "domain"):
        form = Form(16, shards=shards, layout=layout)
        jobs = plan_shards({"train": made}, form, domains=domains, identity="")
        laid = [record for job in jobs for record in job.records]
        assert sorted(r.origin for r in laid) == sorted(r.origin for r in made)
        sizes = [len(job.records) for job in jobs]
        assert [job.first for job in jobs] == [sum(sizes[:n]) for n in range(len(jobs))]
        assert len({job.fingerprint for job in jobs}) == len(jobs)
        if layout == "mixed":
            assert laid == list(made) and max(sizes) - min(sizes) <= 1
        else:  # the domains in the manifest's order, each in the shuffled order
            assert laid == sorted(made, key=lambda r: domains.index(r.domain))
            assert all(len({r.domain for r in job.records}) == 1 for job in jobs)


@pytest.mark.parametrize(
    ("other", "identity"),
    [
        (Form(16, "png"), ""),
        (Form(16, quality=94), ""),
        (Form(17), ""),
        (Form(16, shrink=True), ""),
        (Form(16), "labels"),
    ],
)
def test_fingerprints_tell_what_bytes_depend_on(other: Form, identity: str) -> None:
    splits = {"train": records(3, 3)}
    one = plan_shards(splits, Form(16), domains=("a", "b"), identity="")
    two = plan_shards(splits, other, domains=("a", "b"), identity=identity)
    turned = plan_shards(splits, Form(16), domains=("b", "a"), identity="")
    prints = [{job.fingerprint for job in jobs} for jobs in (one, two, turned)]
    assert not prints[0] & prints[1] and not prints[0] & prints[2]


def test_what_a_form_cannot_be() -> None:
    with pytest.raises(UserError, match="--format 'jpeg' is not one of jpg, png, webp"):
        Form(16, "jpeg")
    with pytest.raises(UserError, match=r"--layout 'domains' .*Did you mean 'domain'"):
        Form(16, layout="domains")


def test_shards_of_one_domain_each(tmp_path: Path) -> None:
    run(tmp_path, Noise(count=21), form=Form(16, shards=4, layout="domain"))
    manifest = load_manifest(tmp_path)
    split = manifest.splits["train"]
    assert [shard.domains for shard in split.shards] == [
        {"a": 5, "b": 0},
        {"a": 6, "b": 0},
        {"a": 0, "b": 5},
        {"a": 0, "b": 5},
    ]
    index = load_index(tmp_path, split, 2)
    assert index.domain.tolist() == [0] * 11 + [1] * 10
    assert [index.key(row) for row in (0, 20)] == ["train-000000000", "train-000000020"]
