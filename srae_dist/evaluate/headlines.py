"""The few numbers of each measure that a reader wants first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

from srae_dist.evaluation.report import Headline

if TYPE_CHECKING:
    from srae_dist.evaluation.section import Section

Values = Mapping[str, Any]

_FEW = 2  # pairs of domains that have a headline each; more share one


def of(section: Section) -> list[Headline]:
    """Return a section's headlines: none for a measure that is pictures."""
    return list(_HEADLINES[section.name](section.values)) if section.name in _HEADLINES else []


def _leakage(values: Values) -> Iterator[Headline]:
    chance = _percent(values["chance"])
    best = values["leakage"] + values["chance"]
    yield Headline("domain read from content codes", _percent(best), f"goal: chance, {chance}")
    yield Headline("domain read from domain codes", _percent(values["completeness"]), "goal: 100 %")
    for name, found in values["labels"].items():
        for source, goal in (("content", "high"), ("domain_code", "chance")):
            score = max(probe["accuracy"] for probe in found[f"from_{source}"].values())
            yield Headline(
                f"{name} read from {source.replace('_code', '')} codes",
                _percent(score),
                f"goal: {goal}; chance {_percent(found['chance'])}",
            )


def _classification(values: Values) -> Iterator[Headline]:
    auc = "" if values["test_auc"] is None else f", AUC {values['test_auc']:.3f}"
    yield Headline(
        f"{values['label']} classified by {values['code']} codes",
        _percent(values["test_accuracy"]),
        f"balanced {_percent(values['test_balanced_accuracy'])}{auc}; "
        f"majority {_percent(values['majority'])}",
    )


def _judges(values: Values) -> Iterator[Headline]:
    content, domain = values["content"], values["domain"]

    def beside(found: Values) -> str:
        return f"real images {_percent(found['ceiling'])}, sources {_percent(found['source'])}"

    yield from _pairs(
        f"{values['label']} still read",
        {pair: found["accuracy"] for pair, found in content.items()},
        _percent,
        lambda pair: f"and passing {_percent(content[pair]['both'])}; {beside(content[pair])}",
    )
    yield from _pairs(
        "pass as the target",
        {pair: found["passes"] for pair, found in domain.items()},
        _percent,
        lambda pair: beside(domain[pair]),
    )


def _truth(values: Values) -> Iterator[Headline]:
    yield Headline(
        "error to the truth, over reconstruction's",
        f"{values['ratio']:.2f}",
        f"1 is perfect; by the mean code {values['ratio_mean_code']:.2f}, "
        f"by moved codes {values['ratio_moved_code']:.2f}",
    )


def _factors(values: Values) -> Iterator[Headline]:
    if values["preserved"] is not None:
        note = "R2 over factors that true images show: 1 is perfect"
        yield Headline("factors read off translations", f"{values['preserved']:.2f}", note)


def _distances(values: Values) -> Iterator[Headline]:
    name = values["extractors"]["vgg"]["name"]
    yield from _pairs("KID", values["kid_vgg"], lambda kid: f"{kid:.3g}", lambda _: name)


def _pairs(
    label: str,
    values: Mapping[str, float | None],
    show: Callable[[float | None], str],
    note: Callable[[str], str],
) -> Iterator[Headline]:
    """One headline a pair, or of many pairs their mean."""
    known = {pair: value for pair, value in values.items() if value is not None}
    if len(known) > _FEW:
        low, high = show(min(known.values())), show(max(known.values()))
        yield Headline(label, show(fmean(known.values())), f"{len(known)} pairs: {low} to {high}")
        return
    for pair, value in known.items():
        yield Headline(f"{label}, {pair.replace('_to_', ' → ')}", show(value), note(pair))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


_HEADLINES: dict[str, Callable[[Values], Iterator[Headline]]] = {
    "leakage": _leakage,
    "classification": _classification,
    "judges": _judges,
    "truth": _truth,
    "factors": _factors,
    "distances": _distances,
}
