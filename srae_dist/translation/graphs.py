"""Encoder and decoder as graphs for other programs: ``torch.export`` and ONNX, any batch size."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import repeat
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from srae_dist.core.errors import UserError
from srae_dist.core.randomness import generator
from srae_dist.core.tensors_only import tensors_only
from srae_dist.model.autoencoder import AutoEncoder

TOLERANCE = 1e-3  # largest difference to the model itself; codes and pixels are of the order of 1
_BATCH, _MOST = 2, 1 << 16  # images that are traced with; the most that a graph accepts
_OPSET = 18
_AT_A_BORDER = 1e-3  # share of rounded numbers


@dataclass(frozen=True, slots=True)
class Graph:
    """One of the two, with what it takes and gives: names and shapes, N being any number."""

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    step: float = 0.0  # between the values that numbers of the first output are rounded to

    def describe(self) -> dict[str, dict[str, list[int | str]]]:
        """Return the shapes of inputs and outputs by name."""
        with torch.inference_mode():
            given = self.module(*self.example)
        return {
            "inputs": _shapes(self.inputs, self.example),
            "outputs": _shapes(self.outputs, _tuple(given)),
        }


class _Encoder(nn.Module):
    def __init__(self, autoencoder: AutoEncoder) -> None:
        super().__init__()
        self.trunk = autoencoder.trunk  # its parts alone: all that is held here is written
        self.content, self.domain = autoencoder.content, autoencoder.domain
        self.eyes = autoencoder.eyes

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        h = self.trunk(images)
        seen = h if self.eyes is None else self.eyes(images)[-1]
        content, domain = self.content(h), self.domain(seen)
        return content.mean, content.sigma, domain.mean, domain.sigma


class _Decoder(nn.Module):
    def __init__(self, autoencoder: AutoEncoder) -> None:
        super().__init__()
        self.decoder = autoencoder.decoder
        self.size = autoencoder.code_size

    def forward(self, content: Tensor, domain: Tensor) -> Tensor:
        maps = repeat(domain, "n j -> n j a b", a=self.size, b=self.size)
        x: Tensor = self.decoder(content, maps)
        return x.clamp(-1.0, 1.0)


def graphs(autoencoder: AutoEncoder) -> tuple[Graph, Graph]:
    """Return encoder and decoder of a model on the CPU, in fp32.

    Images are float N 3 H W in [-1, 1]; codes are means and sigmas, as ``Translator.encode`` gives.
    """
    size = autoencoder.image_size
    noise = generator(0, "export").uniform(-1.0, 1.0, size=(_BATCH, 3, size, size))
    images = torch.from_numpy(noise.astype(np.float32))
    with torch.no_grad():
        codes = autoencoder.encode(images)
    content, domain = (code.mean.clone() for code in (codes.content, codes.domain))
    return (
        Graph(
            "encoder",
            _Encoder(autoencoder).eval(),
            (images,),
            ("images",),
            ("content_mean", "content_sigma", "domain_mean", "domain_sigma"),
            step=2.0 / (levels - 1) if (levels := autoencoder.content.levels) else 0.0,
        ),
        Graph(
            "decoder",
            _Decoder(autoencoder).eval(),
            (content, domain),
            ("content", "domain"),
            ("images",),
        ),
    )


def trace(graph: Graph) -> ExportedProgram:
    """Trace a graph for any batch size."""
    batch = Dim("batch", min=1, max=_MOST)
    shapes = tuple({0: batch} for _ in graph.example)
    with torch.no_grad():
        return torch.export.export(graph.module, graph.example, dynamic_shapes=shapes)


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write a ``.pt2`` file for ``torch.export.load`` and AOTInductor."""
    with _quietly():
        torch.export.save(program, path)


def write_onnx(graph: Graph, program: ExportedProgram, path: Path) -> None:
    """Write an ONNX file, weights inside.

    Raises:
        UserError: the packages for it are not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError(
            "ONNX needs packages that are not installed; run `pip install '.[onnx]'` in "
            "srae_dist's source folder, or export with --format torch."
        ) from None
    with _quietly():
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            verbose=False,
        )
        assert made is not None
        made.save(str(path), external_data=False)


def program_difference(graph: Graph, path: Path) -> float:
    """Return the largest difference between a ``.pt2`` file's answers and the model's.

    The file is the one that was written just now; torch would unpickle parts of it without limits.
    """
    with tensors_only():
        module = torch.export.load(path).module()
    return max(_difference(graph, given, module(*given)) for given in _questions(graph))


def onnx_difference(graph: Graph, path: Path) -> float:
    """Return how much an ONNX file's answers, by onnxruntime, differ from the model's at most.

    Raises:
        UserError: onnxruntime is not installed.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        raise UserError(
            "Checking ONNX files needs onnxruntime; run `pip install '.[onnx]'` in srae_dist's "
            "source folder."
        ) from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for given in _questions(graph):
        feed = dict(zip(graph.inputs, (tensor.numpy() for tensor in given), strict=True))
        answers = tuple(torch.from_numpy(answer) for answer in session.run(graph.outputs, feed))
        worst = max(worst, _difference(graph, given, answers))
    return worst


def _questions(graph: Graph) -> Iterator[tuple[Tensor, ...]]:
    """Yield inputs of other batch sizes than the one that was traced."""
    yield graph.example
    yield tuple(tensor[:1] for tensor in graph.example)
    yield tuple(torch.cat([tensor, tensor.flip(0), tensor[:1]]) for tensor in graph.example)


@torch.inference_mode()
def _difference(
    graph: Graph, given: tuple[Tensor, ...], answer: Tensor | tuple[Tensor, ...]
) -> float:
    truth = graph.module(*given)
    gaps = [(a - b).abs() for a, b in zip(_tuple(truth), _tuple(answer), strict=True)]
    if graph.step:
        gaps[0] = _but_for_rounding(gaps[0], graph.step)
    return max(float(gap.max()) for gap in gaps)


def _but_for_rounding(gap: Tensor, step: float) -> Tensor:
    """Return gaps of rounded numbers, 0 for the very few that lie so near to the border of two
    levels that the last digit decides."""
    other = (gap - step).abs() < TOLERANCE
    few = int(other.sum()) <= max(1, _AT_A_BORDER * gap.numel())
    return gap.masked_fill(other, 0.0) if few else gap


def _tuple(given: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return given if isinstance(given, tuple) else (given,)


def _shapes(names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> dict[str, list[int | str]]:
    return {name: ["N", *tensor.shape[1:]] for name, tensor in zip(names, tensors, strict=True)}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's notes on its own insides from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
