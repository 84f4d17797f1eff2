"""Translations judged: is the content still what it was, and do they pass as the target domain?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from srae_dist.evaluation import grids
from srae_dist.evaluation.answers import Answers
from srae_dist.evaluation.content_judge import check_label, judge_content
from srae_dist.evaluation.domain_judge import judge_domains, train_judges
from srae_dist.evaluation.encode import Pixels
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.scores import percent
from srae_dist.evaluation.section import Picture, Section, Table
from srae_dist.evaluation.small_cnn import Fit

CONTENT_FIT = Fit(steps=500, shift=2)
DOMAIN_FIT = Fit(steps=300, shift=2)
SEEDS = (0, 1, 2)
SHOWN = 10  # labels in the picture, and in the table of single labels

_SHOWN_TO_JUDGES = {
    "by_reference": "by a reference",
    "reconstruction": "reconstructions",
    "ceiling": "real images",
    "source": "sources",
}


def judged(
    train: Encoded,
    test: Encoded,
    made: Answers,
    *,
    label: str | None,
    seeds: Sequence[int] = SEEDS,
    content_fit: Fit = CONTENT_FIT,
    domain_fit: Fit = DOMAIN_FIT,
    device: str | torch.device = "cpu",
) -> Section:
    """Let fresh judges, trained on real training images, look at translations of test images.

    Args:
        made: what the model makes of ``test``.
        label: the content label to be read; None judges the domain alone.

    Returns:
        A section "judges". ``values["content"]["usps_to_mnist"]`` (an empty table without a label)
        has ``accuracy`` of the target's judge on translations by the mean code, the same
        ``by_reference``, on the ``source`` images unchanged, on ``reconstruction`` and on real
        images (``ceiling``) of the target; and ``both``, the share of the translations that is
        read rightly and passes as the target domain, too. Each is a mean over seeds beside
        ``..._std``. Beside them ``chance``, ``majority``, ``per_label``, ``images``,
        ``train_images``. ``values["domain"]["usps_to_mnist"]`` has ``passes``, the share of the
        translations that is taken for the target domain's, ``by_reference``, ``source``,
        ``reconstruction`` and ``ceiling`` likewise, ``chance`` and ``images``. Pairs without
        labelled images are named in ``values["not_judged"]``.

    Raises:
        UserError: no image has the label, or no pair can be judged by it.
    """
    if label is not None:
        check_label(train, test, label)
    judges = train_judges(train, settings=domain_fit, seeds=seeds, device=device)
    domain = judge_domains(judges, test, made)
    content: dict[str, dict[str, Any]] = {}
    if label is not None:
        content = judge_content(
            train,
            test,
            made,
            label=label,
            domain_judges=judges,
            settings=content_fit,
            seeds=seeds,
            device=device,
        )
    left = [name for name in domain if label is not None and name not in content]
    return Section(
        name="judges",
        title="Translations judged by classifiers",
        text=_text(label, len(seeds), content_fit, domain_fit, left),
        values={
            "label": label,
            "seeds": list(seeds),
            "content": content,
            "domain": domain,
            "not_judged": left,
        },
        tables=_tables(test.domains, content, domain, label),
        pictures=[_picture(test, made, label)] if label is not None else [],
    )


def _tables(
    domains: Sequence[str],
    content: Mapping[str, dict[str, Any]],
    domain: Mapping[str, dict[str, Any]],
    label: str | None,
) -> list[Table]:
    ends = {f"{s}_to_{t}": [s, t] for s in domains for t in domains if s != t}
    heads = ["from", "to", "translations", *_SHOWN_TO_JUDGES.values()]
    read = [*heads[:3], "and pass as target", *heads[3:]]
    tables = [
        Table(
            "Share that passes as the target domain (sources: the untranslated images)",
            [*heads, "chance"],
            [
                [*ends[name], *_scores(found, "passes"), f"{100 * found['chance']:.1f} %"]
                for name, found in domain.items()
            ],
        )
    ]
    if not content:
        return tables
    rows = [
        [*ends[name], *_scores(found, "accuracy", "both")]
        + [f"{100 * found[guess]:.1f} %" for guess in ("chance", "majority")]
        for name, found in content.items()
    ]
    title = f"Accuracy of the content label '{label}' as the target's judge reads it"
    tables.insert(0, Table(title, [*read, "chance", "majority"], rows))
    names = sorted({name for found in content.values() for name in found["per_label"]})
    if len(names) <= SHOWN:
        each = [
            [*ends[name], *(_share(found["per_label"].get(one)) for one in names)]
            for name, found in content.items()
        ]
        tables.append(Table("Translations read rightly, by label", ["from", "to", *names], each))
    return tables


def _scores(found: Mapping[str, Any], *headlines: str) -> list[str]:
    return [percent(found, name) for name in (*headlines, *_SHOWN_TO_JUDGES)]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _picture(test: Encoded, made: Answers, label: str) -> Picture:
    """Show one test image of each label, and its translations."""
    rows: list[tuple[str, Pixels]] = []
    for s, source in enumerate(test.domains):
        mine = test.of(s)
        names = [name for name in np.unique(mine.labels[label]) if name][:SHOWN]
        shown = [int(np.flatnonzero(mine.labels[label] == name)[0]) for name in names]
        if not shown:
            continue
        rows.append((source, mine.pixels[shown]))
        for t, target in enumerate(test.domains):
            if t != s:
                rows.append((f"· as {target}", made.by_mean_code[s, t][shown]))
                rows.append(("· by a reference", made.by_reference[s, t][shown]))
    caption = (
        f"The first test image of each '{label}', and its translations by the target domain's "
        "mean code and by the domain code of a training image."
    )
    return Picture("judged", caption, grids.grid(rows))


def _text(label: str | None, seeds: int, content: Fit, domain: Fit, left: Sequence[str]) -> str:
    parts = [
        f"Small convolutional networks, one for each of {seeds} seeds, were trained on real "
        "training images, every class drawn equally, and shown test images that the model had "
        "translated with the target domain's mean code, or each with the domain code of a "
        "training image (by a reference). ± is the standard deviation over the judges' seeds.",
        f"The domain judge ({_how(domain)}) tells the real domains "
        "apart. It never saw a translation: one that passes looks more like the target domain "
        "than like the others, which is less than looking real.",
    ]
    if label is not None:
        parts.append(
            f"Each target domain's content judge ({_how(content)}) reads "
            f"'{label}'. On real test images it shows what can be reached at most, and on the "
            "sources as they are, what is right before anything is translated. A translation that "
            "only returns its source scores that much, so what counts is the share that is read "
            "rightly and passes as the target, too."
        )
    if left:
        parts.append(f"Not judged, for want of labels: {', '.join(left)}.")
    return " ".join(parts)


def _how(settings: Fit) -> str:
    return f"{settings.steps} steps of {settings.batch} images, shifted by {settings.shift} or less"
