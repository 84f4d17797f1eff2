"""`srae-dist export`: encoder and decoder for programs that know nothing of this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from srae_dist.core.errors import UserError

if TYPE_CHECKING:
    from srae_dist.translation.translator import Translator


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder, a checkpoint folder or an ema.safetensors file."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the files.")],
    format_: Annotated[
        Literal["onnx", "torch", "both"],
        typer.Option("--format", help="ONNX files, torch.export's .pt2 files, or both."),
    ] = "both",
) -> None:
    """Write encoder and decoder as graphs for any batch size, checked against the model."""
    if out.exists():
        raise UserError(f"--out {out} exists already; name a new folder.")
    from srae_dist.core import atomic
    from srae_dist.runtime import checkpoint, console
    from srae_dist.runtime.lock import locked
    from srae_dist.translation.translator import load

    file = checkpoint.resolve(run)
    translator = load(file, device="cpu")
    partial = out.with_name(f".{out.name}.partial")
    try:
        with locked(partial):
            try:
                made = partial / "made"
                atomic.remove_folder(made)  # of an export that was killed
                made.mkdir()
                differences = write(translator, made, kinds=_kinds(format_))
                atomic.publish_folder(made, out)
            finally:
                atomic.remove_folder(partial)
    except OSError as error:
        raise UserError(
            f"--out {out} cannot be written: {error.strerror or error}; name another folder."
        ) from None
    console.facts(
        f"{out}: encoder and decoder, {translator.image_size} x {translator.image_size}",
        {
            "checkpoint": f"{file}, step {translator.step:,}",
            "domains": ", ".join(translator.domains),
            **{name: f"differs by {value:.1e} at most" for name, value in differences.items()},
            "model.json": "names, shapes and each domain's mean code",
        },
    )


def write(translator: Translator, folder: Path, *, kinds: tuple[str, ...]) -> dict[str, float]:
    """Write the files; return by name how much each differs from the model.

    Raises:
        UserError: one differs by more than a thousandth.
    """
    from srae_dist.core import atomic
    from srae_dist.translation import graphs

    facts: dict[str, Any] = {}
    differences: dict[str, float] = {}
    for graph in graphs.graphs(translator.autoencoder):
        program = graphs.trace(graph)
        facts[graph.name] = graph.describe()
        if "torch" in kinds:
            path = folder / f"{graph.name}.pt2"
            graphs.write_program(program, path)
            differences[path.name] = graphs.program_difference(graph, path)
        if "onnx" in kinds:
            path = folder / f"{graph.name}.onnx"
            graphs.write_onnx(graph, program, path)
            differences[path.name] = graphs.onnx_difference(graph, path)
    for name, difference in differences.items():
        if not difference <= graphs.TOLERANCE:
            raise UserError(
                f"{name} differs from the model by {difference:.1e}, more than "
                f"{graphs.TOLERANCE:g}; nothing is written. Please report it with your versions."
            )
    codes = dict(zip(translator.domains, translator.mean_codes.tolist(), strict=True))
    atomic.write_json(
        folder / "model.json",
        {
            "format": "srae_dist.export",
            "version": 1,
            "image_size": translator.image_size,
            "pixels": "float32 N 3 H W, red green blue, -1 (black) to 1 (white)",
            "step": translator.step,
            "domains": list(translator.domains),
            "mean_domain_codes": codes,
            "graphs": facts,
            "largest_difference": differences,
        },
    )
    return differences


def _kinds(format_: str) -> tuple[str, ...]:
    return ("torch", "onnx") if format_ == "both" else (format_,)
