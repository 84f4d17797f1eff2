"""Leakage: chance where a code holds nothing, points above it where it leaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srae_dist.evaluation.in_training import read_in_training
from srae_dist.evaluation.leakage import leakage
from srae_dist.evaluation.section import Section
from tests.evaluation.coded import coded


def cells(section: Section, title: str) -> list[list[str]]:
    """The rows of a table."""
    return next(list(map(list, t.rows)) for t in section.tables if t.title.startswith(title))


def test_a_clean_split_has_no_leakage_and_is_complete() -> None:
    section = leakage(coded((150, 150), seed=1), coded((200, 200), seed=2), seeds=2)
    values = section.values
    assert abs(values["leakage"]) < 0.1
    assert values["completeness"] > 0.99
    assert values["chance"] == values["majority"] == 0.5
    assert values["domain_from_domain_code"]["mlp"]["accuracy"] > 0.99
    assert values["labels"] == values["factors"] == {}
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert all(len(row) == len(t.columns) for t in section.tables for row in t.rows)


def test_a_leak_is_found_and_named() -> None:
    train, test = coded((150, 150), seed=1, leak=6.0), coded((100, 100), seed=2, leak=6.0)
    values = leakage(train, test, seeds=1).values
    assert values["leakage"] > 0.45
    best = values["domain_from_content"][values["leakage_probe"]]
    assert values["leakage"] == pytest.approx(best["accuracy"] - 0.5)
    assert best["accuracy"] == max(
        found["accuracy"] for found in values["domain_from_content"].values()
    )


def test_a_rare_domain_makes_no_leakage() -> None:
    """On nine images of one domain for each of the other, 90 % are no achievement."""
    values = leakage(coded((540, 60), seed=1), coded((900, 100), seed=2), seeds=1).values
    assert values["images"] == {"train": 120, "test": 200}
    assert abs(values["leakage"]) < 0.13


def test_a_label_that_is_split_apart_is_passed_over() -> None:
    train, test = coded((30, 30), seed=1, labels=2), coded((20, 20), seed=2, labels=2)
    test.labels["digit"][:] = "9"
    assert leakage(train, test, seeds=1).values["labels_passed_over"] == ["digit"]


def test_labels_are_read_from_each_code() -> None:
    train = coded((90, 90), seed=1, labels=3, label_gap=9.0)
    test = coded((100, 100), seed=2, labels=4, label_gap=9.0)
    train.labels["digit"][:20] = ""
    section = leakage(train, test, seeds=1)
    found = section.values["labels"]["digit"]
    unseen = int(np.count_nonzero(test.labels["digit"] == "3"))
    assert found["test_images_of_unseen_classes"] == unseen > 0
    assert found["classes"] == ["0", "1", "2"]
    assert found["images"] == {"train": 160, "test": 200}
    assert found["from_content"]["mlp"]["accuracy"] > 0.9 * (1 - unseen / 200)
    assert found["from_domain_code"]["mlp"]["accuracy"] < 0.5
    assert len(cells(section, "Content label 'digit'")) == 7


def test_labels_that_are_names_are_passed_over_and_told() -> None:
    train, test = coded((20, 20), seed=1), coded((20, 20), seed=2)
    labels = {"patient": np.array(list(train.keys)), "one": np.full(40, "a")}
    section = leakage(replace(train, labels=labels), replace(test, labels=labels), seeds=1)
    assert section.values["labels"] == {}
    assert section.values["labels_passed_over"] == ["patient", "one"]
    assert "patient, one" in section.text


def test_factors_are_read_from_each_code() -> None:
    train, test = coded((150, 150), seed=1, factors=True), coded((80, 80), seed=2, factors=True)
    section = leakage(train, test, seeds=2)
    found = section.values["factors"]
    assert found["yaw"]["from_content"]["ridge"] > 0.9
    assert found["yaw"]["from_content"]["ridge_std"] < 0.05
    assert found["yaw"]["from_domain_code"]["ridge"] < 0.1
    assert found["light"]["from_content"]["mlp"] < 0.2
    assert [row[0] for row in cells(section, "Factors")] == ["yaw", "light", "mean"]


def test_training_s_own_discriminators_stand_beside_and_change_nothing() -> None:
    train, test = coded((60, 60), seed=1), coded((60, 60), seed=2)
    bare = leakage(train, test, seeds=1)
    beside = leakage(train, test, seeds=1, in_training={"q_c_accuracy": 0.512})
    assert {**beside.values, "in_training": {}} == bare.values
    assert beside.values["in_training"] == {"q_c_accuracy": 0.512}
    extra = [row for row in cells(beside, "Domain") if row not in cells(bare, "Domain")]
    assert [row[2:] for row in extra] == [["q_c in training (no result)", "-", "-", "51.2 %"]]


def test_the_log_is_read_up_to_the_checkpoint(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [{"step": step, "q_c_accuracy": 0.5 + step / 1000} for step in range(1, 61)]
    lines += [{"step": 61, "q_c_accuracy": 1.0}, {"step": 55.5, "q_c_accuracy": None}]
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 5')
    assert read_in_training(log, step=60) == {
        "q_c_accuracy": pytest.approx(np.mean([0.5 + step / 1000 for step in range(42, 61)]))
    }
    assert read_in_training(tmp_path / "none.jsonl", step=60) == {}
