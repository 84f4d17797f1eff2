"""From what is asked to what works: inputs, domain codes, outputs, and the job's description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from srae_dist.core.atomic import sha256_file
from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.images import decode
from srae_dist.data.plan import Form
from srae_dist.data.records import check_split
from srae_dist.data.sources import read_file
from srae_dist.runtime.launch import exact_fp32
from srae_dist.translation.codes import DomainCodes, DrawnReferences, FixedCode, KeptStyle
from srae_dist.translation.inputs import FolderImages, Images, open_images
from srae_dist.translation.options import Format, Options, OutKind, Precision
from srae_dist.translation.outputs import FolderOutput, Output, ShardOutput
from srae_dist.translation.pipeline import Machine
from srae_dist.translation.translator import Translator

_FOLDER_SPLIT = "train"  # what the shards of a folder are named, as `srae-dist shard` does


def open_inputs(options: Options, translator: Translator) -> tuple[Images, Images | None]:
    """List the images to translate, and the references.

    Raises:
        UserError: there are none, or a split or domain is unknown.
    """
    inputs = open_images(
        options.source, split=options.split, domain=options.from_, cache_dir=options.cache_dir
    )
    if isinstance(inputs, FolderImages):
        if options.from_ is not None and not inputs.has_domain_folder:
            translator.domain_index(options.from_)
        if options.split is not None:
            if options.out_kind != OutKind.SHARDS.value:
                raise UserError(
                    f"--split picks samples of shards, which {options.source} is not; leave "
                    "it out, or give the split's own folder as INPUT."
                )
            check_split(options.split)
    if options.references is None:
        return inputs, None
    return inputs, open_images(options.references, domain=options.to, cache_dir=options.cache_dir)


def find_device(name: str | None, *, default: torch.device) -> torch.device:
    """Return the device to compute on.

    Raises:
        UserError: there is no such device here.
    """
    exact_fp32()
    if name is None:
        return default
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # torch's words for no device
        raise UserError(f"--device {name} is not a device of this machine; try cpu.") from None
    return device


def describe_job(
    options: Options,
    file: Path,
    translator: Translator,
    inputs: Images,
    references: Images | None,
    precision: str,
) -> dict[str, Any]:
    """Return everything that the translations depend on, as JSON."""
    code: dict[str, Any] = {"kind": "kept" if options.keep_style else "mean"}
    if options.reference is not None and options.reference.is_file():
        code = {"kind": "reference", "sha256": sha256_file(options.reference)}
    if references is not None:
        code = {"kind": "references", "path": references.place, "digest": references.digest}
    return {
        "checkpoint": {"step": translator.step, "sha256": sha256_file(file)},
        "input": {
            "path": inputs.place,
            "kind": inputs.kind,
            "images": len(inputs),
            "digest": inputs.digest,
        },
        "output": {
            "kind": options.out_kind or inputs.kind,
            "format": options.format,
            "quality": options.quality if options.format != Format.PNG.value else None,
            "size": options.size or translator.image_size,
        },
        "from": options.from_,
        "to": options.to,
        "domains": list(translator.domains),
        "split": options.split,
        "code": code,
        "sample": options.sample,
        "seed": options.seed,
        "batch": options.batch,
        "precision": precision,
    }


def build_output(
    options: Options, translator: Translator, inputs: Images, facts: dict[str, Any]
) -> Output:
    """Choose what writes the translations."""
    form = Form(options.size or translator.image_size, options.format, options.quality)
    if (options.out_kind or inputs.kind) == OutKind.FOLDER.value:
        return FolderOutput(options.out, inputs, form, batch=options.batch, facts=facts)
    return ShardOutput(
        options.out,
        inputs,
        form,
        split=options.split or _FOLDER_SPLIT,
        domains=translator.domains,
        target=translator.domain_index(options.to),
        facts=facts,
    )


def build_machine(
    options: Options,
    translator: Translator,
    references: Images | None,
    output: Output,
    precision: str,
) -> Machine:
    """Join model, domain codes and output."""
    codes: DomainCodes
    if references is not None:
        codes = DrawnReferences(translator, references, seed=options.seed)
    elif options.reference is not None:
        codes = FixedCode(encode_reference(translator, options.reference), str(options.reference))
    elif options.keep_style:
        known = options.from_ if options.from_ in translator.domains else None
        codes = KeptStyle(translator, to=options.to, source=known)
    else:
        codes = FixedCode(translator.mean_codes[translator.domain_index(options.to)], "mean")
    return Machine(
        translator,
        codes,
        output.encode,
        size=options.size or translator.image_size,
        batch=options.batch,
        bf16=precision == Precision.BF16.value,
        sample_seed=options.seed if options.sample else None,
    )


def encode_reference(translator: Translator, path: Path) -> torch.Tensor:
    """Return the domain code of an image file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        image = decode(read_file(path))
    except SampleError as error:
        raise UserError(f"--reference {path} cannot be read: {error}; give another.") from None
    return translator.encode(image).domain.mean[0]
