"""The numbers on top of a report: the right ones, and never too many."""

from __future__ import annotations

from typing import Any

from srae_dist.evaluate import headlines
from srae_dist.evaluation.section import Section


def lines(name: str, **values: Any) -> list[tuple[str, str, str]]:
    found = headlines.of(Section(name, name, "", values))
    return [(line.label, line.value, line.note) for line in found]


def probes(*accuracies: float) -> dict[str, dict[str, float]]:
    return {f"probe{n}": {"accuracy": accuracy} for n, accuracy in enumerate(accuracies)}


def test_leakage_is_told_by_the_best_probe_beside_chance() -> None:
    labels = {
        "digit": {"from_content": probes(0.8, 0.9), "from_domain_code": probes(0.1), "chance": 0.1}
    }
    assert lines("leakage", chance=0.5, leakage=0.31, completeness=0.97, labels=labels) == [
        ("domain read from content codes", "81.0 %", "goal: chance, 50.0 %"),
        ("domain read from domain codes", "97.0 %", "goal: 100 %"),
        ("digit read from content codes", "90.0 %", "goal: high; chance 10.0 %"),
        ("digit read from domain codes", "10.0 %", "goal: chance; chance 10.0 %"),
    ]


def test_an_undefined_number_is_left_out() -> None:
    (line,) = lines(
        "classification",
        label="domain",
        code="domain",
        test_accuracy=0.8,
        test_balanced_accuracy=0.75,
        test_auc=None,
        majority=0.6,
    )
    assert line[1:] == ("80.0 %", "balanced 75.0 %; majority 60.0 %")
    assert lines("factors", preserved=None) == []


def test_a_label_that_is_read_tells_how_often_the_image_passes_too() -> None:
    digit = {"accuracy": 0.8, "both": 0.3, "ceiling": 0.9, "source": 0.7}
    style = {"passes": 0.4, "ceiling": 0.95, "source": 0.05}
    told = lines("judges", label="digit", content={"a_to_b": digit}, domain={"a_to_b": style})
    assert told == [
        (
            "digit still read, a → b",
            "80.0 %",
            "and passing 30.0 %; real images 90.0 %, sources 70.0 %",
        ),
        ("pass as the target, a → b", "40.0 %", "real images 95.0 %, sources 5.0 %"),
    ]


def test_many_pairs_share_one_headline() -> None:
    kids = {f"{n}_to_x": 0.01 * n for n in range(1, 4)}
    told = lines("distances", extractors={"vgg": {"name": "vgg16"}}, kid_vgg=kids)
    assert told == [("KID", "0.02", "3 pairs: 0.01 to 0.03")]


def test_pictures_have_no_headline() -> None:
    assert lines("figures", shown={}) == []
