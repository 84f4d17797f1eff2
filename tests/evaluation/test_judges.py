"""Judges of translations: stripes whose height is the label, and whose ink is the domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from srae_dist.core.errors import UserError
from srae_dist.evaluation.answers import Answers, answers
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.judges import judged
from srae_dist.evaluation.section import Section
from srae_dist.evaluation.small_cnn import Fit

DOMAINS = ("red", "blue")
LABELS = ("high", "low", "middle")  # in order of their names, as classes are
ROWS = {"high": 3, "middle": 13, "low": 23}
FIT = Fit(steps=40, batch=16, lr=4e-3, width=8, shift=1)
SEEDS = (0, 1)


def stripes(labels: NDArray[np.str_], domain: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    """A bright stripe on a noisy page."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (len(labels), 32, 32, 3), np.uint8)
    for image, label, number in zip(images, labels, domain, strict=True):
        left = random.integers(0, 12)
        image[ROWS[label] : ROWS[label] + 6, left : left + 20, 2 * number] = 250
    return images


def images(count: int, seed: int) -> Encoded:
    """Images of both domains in turn; a content code names the label, a domain code the domain."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 3, count)
    labels = np.array(LABELS)[numbers]
    domain = np.arange(count) % 2
    return Encoded(
        pixels=stripes(labels, domain, seed),
        content=np.eye(3, dtype=np.float32)[numbers][:, :, None, None],
        domain_code=np.eye(2, dtype=np.float32)[domain],
        domain=domain,
        keys=tuple(map(str, range(count))),
        domains=DOMAINS,
        labels={"row": labels},
        factors={},
    )


def decode(content: NDArray[np.float32], codes: NDArray[np.float32]) -> NDArray[np.uint8]:
    labels = np.array(LABELS)[content[:, :, 0, 0].argmax(axis=1)]
    return stripes(labels, codes.argmax(axis=1), seed=9)


TRAIN, TEST = images(120, seed=1), images(60, seed=2)
CODES = np.eye(2, dtype=np.float32)


def judge(
    made: Answers,
    *,
    train: Encoded = TRAIN,
    label: str | None = "row",
    steps: int = FIT.steps,
    seeds: tuple[int, ...] = (0,),
) -> Section:
    fit = replace(FIT, steps=steps)
    return judged(train, TEST, made, label=label, seeds=seeds, content_fit=fit, domain_fit=fit)


@pytest.fixture(scope="module")
def perfect() -> Answers:
    return answers(TRAIN, TEST, decode=decode, mean_codes=CODES)


@pytest.fixture(scope="module")
def section(perfect: Answers) -> Section:
    """What is said of translations: to blue perfect ones, to red the sources themselves; those by
    reference to red are of the right domain, but always of one label."""
    low = np.eye(3, dtype=np.float32)[np.full(30, LABELS.index("low"))][:, :, None, None]
    only = decode(low, np.broadcast_to(CODES[0], (30, 2)))
    made = replace(
        perfect,
        by_mean_code=perfect.by_mean_code | {(1, 0): TEST.of(1).pixels},
        by_reference=perfect.by_reference | {(1, 0): only},
    )
    return judge(made, seeds=(0, 1))


def test_perfect_translations_are_read_as_real_ones(section: Section) -> None:
    content = section.values["content"]["red_to_blue"]
    assert content["accuracy"] == content["ceiling"] == content["reconstruction"] == 1.0
    assert content["by_reference"] == content["both"] == 1.0
    assert content["accuracy_std"] == content["both_std"] == 0.0
    assert content["per_label"] == dict.fromkeys(LABELS, 1.0)
    assert content["source"] < 0.9  # a judge of blue ink cannot read red
    assert content["chance"] == pytest.approx(1 / 3)
    assert content["images"] == 30
    domain = section.values["domain"]["red_to_blue"]
    assert domain["passes"] == domain["ceiling"] == domain["by_reference"] == 1.0
    assert domain["source"] == 0.0
    assert domain["chance"] == 0.5


def test_a_source_that_is_returned_does_not_pass(section: Section) -> None:
    domain = section.values["domain"]["blue_to_red"]
    assert domain["passes"] == domain["source"] == 0.0
    content = section.values["content"]["blue_to_red"]
    assert content["accuracy"] == content["source"] > 0
    assert content["both"] == 0.0


def test_the_majority_is_the_training_s_most_frequent_label(section: Section) -> None:
    labels = TRAIN.of(1).labels["row"]
    most = max(LABELS, key=lambda name: np.count_nonzero(labels == name))
    content = section.values["content"]["red_to_blue"]
    assert content["majority"] == np.mean(TEST.of(0).labels["row"] == most)


def test_tables_and_picture(section: Section) -> None:
    accuracy, passes, labels = section.tables
    assert accuracy.rows[0][:3] == ["red", "blue", "100.0 % ± 0.0"]
    assert passes.rows[1][:3] == ["blue", "red", "0.0 % ± 0.0"]
    assert labels.columns == ["from", "to", *sorted(LABELS)]
    for table in section.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert section.pictures[0].name == "judged"


def test_lost_content_is_seen(section: Section) -> None:
    assert section.values["domain"]["blue_to_red"]["by_reference"] == 1.0
    found = section.values["content"]["blue_to_red"]
    assert found["by_reference"] == np.mean(TEST.of(1).labels["row"] == "low")


def test_a_second_time_gives_the_same(perfect: Answers) -> None:
    state = torch.random.get_rng_state()
    one, two = (judge(perfect, steps=3).values for _ in range(2))
    assert one == two
    assert one != judge(perfect, steps=3, seeds=(1,)).values | {"seeds": [0]}
    assert torch.equal(torch.random.get_rng_state(), state)


def test_without_labels_the_domain_alone_is_judged(perfect: Answers) -> None:
    found = judge(perfect, label=None, steps=3)
    assert found.values["content"] == {}
    assert set(found.values["domain"]) == {"red_to_blue", "blue_to_red"}
    assert found.values["not_judged"] == []
    assert len(found.tables) == 1


def test_pairs_without_labels_are_named(perfect: Answers) -> None:
    labels = np.where(TRAIN.domain == 0, "", TRAIN.labels["row"])
    found = judge(perfect, train=replace(TRAIN, labels={"row": labels}), steps=3)
    assert list(found.values["content"]) == ["red_to_blue"]
    assert found.values["not_judged"] == ["blue_to_red"]
    assert "blue_to_red" in found.text


def test_a_label_that_nobody_trained_on_is_never_right(perfect: Answers) -> None:
    rows = (TRAIN.domain == 0) | (TRAIN.labels["row"] != "middle")
    found = judge(perfect, train=TRAIN.take(rows)).values["content"]["red_to_blue"]
    assert found["per_label"]["middle"] == 0.0
    assert found["per_label"]["high"] == 1.0
    assert found["chance"] == 0.5


def test_labels_that_are_not_there_are_refused(perfect: Answers) -> None:
    with pytest.raises(UserError, match="No image has a content label 'digit'"):
        judge(perfect, label="digit")
    same = np.full(len(TRAIN), "low")
    with pytest.raises(UserError, match="needs two labels"):
        judge(perfect, train=replace(TRAIN, labels={"row": same}))


def test_a_reference_lends_its_own_code(perfect: Answers) -> None:
    """Of two kinds of blue both are lent."""
    kinds = np.where(TRAIN.pixels[:, 0, 0, 0] % 2, 1, 2)[:, None] * TRAIN.domain_code
    seen: list[float] = []

    def spy(content: NDArray[np.float32], codes: NDArray[np.float32]) -> NDArray[np.uint8]:
        seen.extend(codes.max(axis=1).tolist())
        return decode(content, codes)

    answers(replace(TRAIN, domain_code=kinds), TEST, decode=spy, mean_codes=3 * CODES)
    assert len(seen) == 3 * len(TEST)
    assert {1.0, 2.0, 3.0} == set(seen)
