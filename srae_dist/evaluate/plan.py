"""The measures of an evaluation, in the report's order: what each needs, and how it is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from srae_dist.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from srae_dist.evaluate.subject import Subject
    from srae_dist.evaluation.report import NotMeasured
    from srae_dist.evaluation.section import Section


@dataclass(frozen=True, slots=True)
class Measure:
    """One section of the report."""

    name: str  # of the section, and for --only
    title: str  # said while it runs, and where it cannot be taken
    obstacle: Callable[[Subject], str | None]  # why it cannot be taken; None if it can
    take: Callable[[Subject], Section]


def choose(only: Sequence[str]) -> tuple[Measure, ...]:
    """Return the measures that are asked for, in the report's order; all if none is named.

    Raises:
        UserError: one is unknown.
    """
    known = [measure.name for measure in MEASURES]
    for name in only:
        if name not in known:
            raise UserError(
                f"--only '{name}' is no measure; there are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    return tuple(measure for measure in MEASURES if not only or measure.name in only)


def nothing(subject: Subject) -> None:
    """Return that nothing stands in the way: the measure applies to every model."""


def needs_built_in_faces(subject: Subject) -> str | None:
    """Only of the built-in faces the true counterpart in every domain is known."""
    from srae_dist.evaluation.counterparts import is_built_in

    if is_built_in(subject.test):
        return None
    return (
        "Only the built-in faces (`srae-dist shard --faces N`) have a true counterpart in every "
        "domain; these images have no factors to draw it from."
    )


def needs_vgg(subject: Subject) -> str | None:
    """VGG's weights are not part of a checkpoint: they may lie elsewhere, or nowhere."""
    try:
        _ = subject.vgg
    except UserError as error:
        return str(error)
    return None


def needs_both(subject: Subject) -> str | None:
    """The truth is compared by VGG's features, too."""
    return needs_built_in_faces(subject) or needs_vgg(subject)


def take_figures(subject: Subject) -> Section:
    """Fig. 4 and 5: reconstructions and translations."""
    from srae_dist.evaluation.figures import figures

    return figures(
        subject.domains,
        real=[images.pixels for images in subject.test_of],
        reconstructed=subject.reconstructed,
        translated=subject.translated,
        split=subject.options.test_split,
    )


def take_leakage(subject: Subject) -> Section:
    """What fresh probes read from each code."""
    from srae_dist.evaluation.leakage import leakage

    return leakage(
        subject.train,
        subject.test,
        seeds=subject.options.seeds,
        in_training=subject.in_training,
    )


def take_classification(subject: Subject) -> Section:
    """Sec. 4.3: the domain by the domain code."""
    from srae_dist.evaluation.classification import classify

    return classify(subject.train, subject.test, seeds=subject.options.seeds)


def take_embedding(subject: Subject) -> Section:
    """Fig. 6 and 8: t-SNE of the codes."""
    from srae_dist.evaluation.embedding import embedding

    return embedding(subject.test, split=subject.options.test_split)


def take_neighbours(subject: Subject) -> Section:
    """Fig. 7: nearest images of other domains by content code."""
    from srae_dist.evaluation.neighbours import neighbours_section

    return neighbours_section(subject.test, subject.train)


def take_judges(subject: Subject) -> Section:
    """What classifiers of real images say of translations."""
    from srae_dist.evaluation.judges import judged

    return judged(
        subject.train,
        subject.test,
        subject.answers,
        label=subject.label,
        seeds=range(subject.options.seeds),
        device=subject.translator.device,
    )


def take_truth(subject: Subject) -> Section:
    """Translations against the true counterparts."""
    from srae_dist.evaluation.image_errors import FeatureDistance
    from srae_dist.evaluation.pairs import against_truth

    distance = FeatureDistance(subject.perceptual, device=subject.translator.device)
    return against_truth(subject.counterparts, subject.train, distance=distance)


def take_factors(subject: Subject) -> Section:
    """Factors read off translations."""
    from srae_dist.evaluation.regressor import preservation

    return preservation(subject.counterparts, device=subject.translator.device)


def take_distances(subject: Subject) -> Section:
    """KID and FID on VGG features; on Inception's, and LPIPS, where their weights are given."""
    from srae_dist.evaluation.distances import Images, distances
    from srae_dist.evaluation.features import Features, InceptionFeatures
    from srae_dist.evaluation.perceptual import Lpips

    options, device = subject.options, subject.translator.device
    features: list[Features] = [subject.vgg]
    if options.inception is not None:
        features.append(InceptionFeatures(options.inception, device=device))
    return distances(
        subject.domains,
        Images(
            real=[images.pixels for images in subject.test_of],
            train=[images.pixels for images in subject.train_of],
            reconstructed=subject.reconstructed,
            translated=subject.translated,
        ),
        features=features,
        pairwise=None if options.lpips is None else Lpips(options.lpips, device=device),
        split=options.test_split,
    )


def left_out(subject: Subject, sections: Sequence[Section]) -> list[NotMeasured]:
    """Return the parts of the measures that need weights nobody named."""
    from srae_dist.evaluation.report import NotMeasured
    from srae_dist.evaluation.weights import ALEXNET, INCEPTION

    if not any(section.name == "distances" for section in sections):
        return []
    parts = (
        ("inception", "FID and KID on Inception features", subject.options.inception, INCEPTION),
        ("lpips", "LPIPS", subject.options.lpips, ALEXNET),
    )
    return [
        NotMeasured(
            f"distances.{name}",
            title,
            f"It needs {known.title}: fetch them with `{known.fetch}` and name the file with "
            f"--{name} FILE.",
        )
        for name, title, given, known in parts
        if given is None
    ]


MEASURES = (
    Measure("figures", "Reconstructions and translations", nothing, take_figures),
    Measure("leakage", "What fresh probes read from the codes", nothing, take_leakage),
    Measure("classification", "Classification by domain codes", nothing, take_classification),
    Measure("embedding", "t-SNE of the codes", nothing, take_embedding),
    Measure("neighbours", "Nearest neighbours", nothing, take_neighbours),
    Measure("judges", "Translations judged", nothing, take_judges),
    Measure("truth", "Translation against the truth", needs_both, take_truth),
    Measure("factors", "Factors that a translation keeps", needs_built_in_faces, take_factors),
    Measure("distances", "Distances to real images", needs_vgg, take_distances),
)
