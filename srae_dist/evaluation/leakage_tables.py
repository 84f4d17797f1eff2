"""Tables and text of a leakage measurement, made of its values."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from srae_dist.evaluation.probes import TITLES
from srae_dist.evaluation.regression import REGRESSORS
from srae_dist.evaluation.scores import number, over_fits, percent
from srae_dist.evaluation.section import Table

CODES = {"content": "content code", "domain_code": "domain code"}
_COLUMNS = ("Probe", "Test accuracy", "Balanced accuracy", "Training accuracy")


def make_tables(values: Mapping[str, Any]) -> list[Table]:
    """Return a table of the domain, of each content label, and of the factors."""
    tables = [_domain_table(values)]
    tables += [_label_table(name, found) for name, found in values["labels"].items()]
    if values["factors"]:
        tables.append(_factor_table(values["factors"]))
    return tables


def _domain_table(values: Mapping[str, Any]) -> Table:
    rows: list[list[str]] = []
    for code, goal, player in (
        ("content", f"{100 * values['chance']:.1f} % (chance)", "q_c"),
        ("domain_code", "100 %", "q_d"),
    ):
        found = values[f"domain_from_{code}"]
        rows += [[CODES[code], goal, *cells] for cells in _rows(found)]
        known = values["in_training"].get(f"{player}_accuracy")
        if known is not None:
            told = [f"{player} in training (no result)", "-", "-", f"{100 * known:.1f} %"]
            rows.append([CODES[code], goal, *told])
    rows.append(["none", "-", "chance; majority", *_base_cells(values), "-"])
    return Table("Domain", ("Read from", "Goal", *_COLUMNS), rows)


def _rows(found: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """A row of cells for each probe."""
    return [
        [
            TITLES[name] + ("" if values["converged"] else " (not converged)"),
            percent(values, "accuracy"),
            percent(values, "balanced_accuracy"),
            percent(values, "train_accuracy"),
        ]
        for name, values in found.items()
    ]


def _base_cells(values: Mapping[str, Any]) -> list[str]:
    chance, majority = values["chance"], values["majority"]
    return [f"{100 * chance:.1f} %; {100 * majority:.1f} %", f"{100 * chance:.1f} %"]


def _label_table(name: str, values: Mapping[str, Any]) -> Table:
    rows = [
        [title, *cells] for code, title in CODES.items() for cells in _rows(values[f"from_{code}"])
    ]
    rows.append(["none", "chance; majority", *_base_cells(values), "-"])
    return Table(f"Content label '{name}'", ("Read from", *_COLUMNS), rows)


def _factor_table(values: Mapping[str, Any]) -> Table:
    places = [(f"from_{code}", kind) for code in CODES for kind in REGRESSORS]
    rows = [
        [name, *(number(found[source], kind) for source, kind in places)]
        for name, found in values.items()
    ]
    means = [
        [found[source][kind] for found in values.values() if found[source][kind] is not None]
        for source, kind in places
    ]
    rows.append(["mean", *(f"{fmean(column):.3f}" if column else "-" for column in means)])
    columns = [f"{CODES[code]}, {kind}" for code in CODES for kind in REGRESSORS]
    return Table("Factors: R2 (1 all of it, 0 no better than the mean)", ("Factor", *columns), rows)


def describe(values: Mapping[str, Any]) -> str:
    """Say what was done, and how to read it."""
    images, seeds, m = values["images"], values["seeds"], len(values["domains"])
    text = (
        f"Fresh probes were fitted on codes of {images['train']:,} training images and scored on "
        f"{images['test']:,} held-out ones, as many of each of the {m} domains. "
        f"{over_fits(seeds).capitalize()}. "
        "The content code should tell nothing of the domain, the domain code all of it. The best "
        f"probe, {TITLES[values['leakage_probe']]}, is {100 * values['leakage']:.1f} points above "
        "chance on the content code."
    )
    if values["in_training"]:
        text += (
            " The discriminators' accuracy in training, on training batches, is shown beside: one "
            "that was fooled proves nothing."
        )
    if not values["factors_converged"]:
        text += " Some regressors of factors had not converged."
    if values["labels_passed_over"]:
        text += (
            f" Not probed, for having one class, too many, or none in both splits: "
            f"{', '.join(values['labels_passed_over'])}."
        )
    return text
