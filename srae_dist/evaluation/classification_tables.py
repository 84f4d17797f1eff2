"""Tables and text of a classification, made of its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srae_dist.evaluation.probes import TITLES
from srae_dist.evaluation.scores import number, over_fits, percent
from srae_dist.evaluation.section import Table

SOURCES = {
    "domain": "the domain code",
    "content": "the content code",
    "both": "both codes",
}

MEANS = {
    "nearest_mean": "nearest class mean",
    "adapted": "nearest class mean, moved to the test images",
}


def make_tables(values: Mapping[str, Any]) -> list[Table]:
    """Return accuracies of all probes, and the chosen one's confusion matrices."""
    rows = [
        [
            TITLES[name] + (" (chosen)" if name == values["chosen"] else ""),
            percent(found["cv"], "accuracy"),
            percent(found["train"], "accuracy"),
            percent(found["test"], "accuracy"),
            percent(found["test"], "balanced_accuracy"),
            number(found["test"], "auc"),
        ]
        for name, found in values["probes"].items()
    ]
    for name, found in values.get("means", {}).items():
        rows.append(
            [
                MEANS[name],
                "-",
                percent(found["train"], "accuracy") if name == "nearest_mean" else "-",
                percent(found["test"], "accuracy"),
                percent(found["test"], "balanced_accuracy"),
                number(found["test"], "auc"),
            ]
        )
    chance, majority = f"{100 * values['chance']:.1f} %", f"{100 * values['majority']:.1f} %"
    rows.append(["always the most frequent class", "-", "-", majority, chance, "0.500"])
    columns = ("Probe", "Folds", "Training", "Test", "Test, balanced", "Test, AUC")
    confusion = values["probes"][values["chosen"]]
    return [
        Table("Accuracy", columns, rows),
        *(
            Table(
                f"Confusion, {title} images",
                ("Truth", *(f"answer {name}" for name in values["classes"])),
                [
                    [name, *(f"{count:,.1f}" for count in counts)]
                    for name, counts in zip(
                        values["classes"], confusion[part]["confusion"], strict=True
                    )
                ],
            )
            for part, title in (("train", "training"), ("test", "test"))
        ),
    ]


def describe(values: Mapping[str, Any]) -> str:
    """Say what was done, and how to read it."""
    images = values["images"]
    counts = ", ".join(
        f"{count:,} {name}"
        for name, count in zip(values["classes"], values["train_counts"], strict=True)
    )
    text = (
        f"Probes of {SOURCES[values['code']]} were fitted to '{values['label']}' on "
        f"{images['train']:,} training images ({counts}) and scored on {images['test']:,} held-out "
        f"ones; {over_fits(values['seeds'])}. "
        f"The probe was chosen by {values['chosen_by']}; the test images had no say. The "
        "model has been trained on these training images, so their folds look better than new "
        "images will. Confusion matrices are the chosen probe's, in images, a mean over seeds."
    )
    if values["prior"] == "equal":
        text += " Every class was taken to be as likely."
    if "means" in values:
        text += (
            " Moved: class means went to the middle of the test images nearest to them, all of "
            "them together and without labels, until none moved. It helps where the test images "
            "come from elsewhere, and can harm where they do not, or where a class is not there."
        )
    if values["test_images_of_unseen_classes"]:
        text += (
            f" {values['test_images_of_unseen_classes']:,} test images are of classes that "
            "training does not have; they count as errors."
        )
    return text
