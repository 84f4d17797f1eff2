"""The wrong invocations: each is a row of docs/bad-use.md and a parameter of the test."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bad_use import mishaps as m
from tests.bad_use.mishaps import CHECKPOINT, SHARDS, Mishap


@dataclass(frozen=True)
class Case:
    """One wrong invocation."""

    group: str  # the command, or what several have in common
    wrong: str  # what is wrong, in a few words
    command: str
    says: tuple[str, ...]  # what the sentence must name: what, where, and what to do
    before: Mishap | None = None

    def __str__(self) -> str:
        return f"{self.group}: {self.wrong}"


MANIFEST = f"{SHARDS}/manifest.json"
TRAIN = "srae-dist train tiny.toml --set run.dir=runs/new"
TRANSLATE = "srae-dist batch-translate runs/tiny pictures --to anime --out translated"
EVALUATE = f"srae-dist evaluate runs/tiny {SHARDS} --only classification"
CLASSIFY = f"srae-dist classify runs/tiny {SHARDS}"
NEIGHBOURS = "srae-dist neighbours pictures/photo/a.png --in anime --run runs/tiny"
TWO = "--domain photo=pictures/photo --domain anime=pictures/anime"
MAKE = f"srae-dist shard {TWO} --out new --size 32"


def show(value: str) -> str:
    return f"srae-dist recipe show tiny.toml --set {value}"


RECIPE = [
    Case(
        "recipe",
        "no such file",
        "srae-dist recipe show tiny.tml",
        ("no recipe tiny.tml", "tiny.toml"),
    ),
    Case("recipe", "a folder", "srae-dist recipe show shards", ("shards",)),
    Case("recipe", "an empty name", "srae-dist recipe show ''", ("recipe",)),
    Case(
        "recipe",
        "not UTF-8",
        "srae-dist recipe show odd.toml",
        ("odd.toml", "UTF-8"),
        m.data("odd.toml", b"name = '\xff\xfe'"),
    ),
    Case("recipe", "an image", "srae-dist recipe show pictures/photo/a.png", ("a.png", "TOML")),
    Case(
        "recipe",
        "not TOML",
        "srae-dist recipe show odd.toml",
        ("odd.toml", "line 1"),
        m.text("odd.toml", "train: steps\n"),
    ),
    Case(
        "recipe",
        "extends itself",
        "srae-dist recipe show odd.toml",
        ("odd.toml", "extends"),
        m.text("odd.toml", 'extends = "odd.toml"\n'),
    ),
    Case(
        "recipe",
        "extends what is not there",
        "srae-dist recipe show odd.toml",
        ("odd.toml", "base.toml"),
        m.text("odd.toml", 'extends = "base.toml"\n'),
    ),
    Case(
        "recipe",
        "an unknown key",
        "srae-dist recipe check odd.toml",
        ("odd.toml:2", "train.stesp", "train.steps"),
        m.text("odd.toml", "[train]\nstesp = 5\n"),
    ),
    Case(
        "recipe",
        "an unknown section",
        "srae-dist recipe check odd.toml",
        ("odd.toml:1", "tran", "train"),
        m.text("odd.toml", "[tran]\nsteps = 5\n"),
    ),
    Case(
        "recipe",
        "nested too deep",
        "srae-dist recipe show odd.toml",
        ("odd.toml",),
        m.text("odd.toml", "x = " + "[" * 100_000),
    ),
    Case("--set", "a typing error", show("train.lrr=0.1"), ("--set", "train.lrr", "train.lr")),
    Case("--set", "no value", show("train.steps"), ("train.steps", "key=value")),
    Case("--set", "an empty value", show("data.root="), ("data.root", "not empty")),
    Case("--set", "text for a number", show("train.steps=many"), ("train.steps", "whole number")),
    Case("--set", "zero", show("train.steps=0"), ("train.steps = 0", "at least 1")),
    Case(
        "--set",
        "below zero",
        show("train.global_batch=-8"),
        ("train.global_batch = -8", "at least 1"),
    ),
    Case("--set", "not a number", show("train.lr=nan"), ("train.lr = nan", "finite")),
    Case(
        "--set",
        "infinite",
        show("objective.pixel_weight=inf"),
        ("objective.pixel_weight = inf", "finite"),
    ),
    Case(
        "--set",
        "huge",
        show("model.max_width=1000000"),
        ("model.max_width = 1000000", "at most 4,096"),
    ),
    Case("--set", "an unknown choice", show("train.precision=fp8"), ("train.precision", "fp16")),
    Case("--set", "one domain only", show("data.domains=photo"), ("data.domains", "two")),
    Case(
        "--set",
        "a micro-batch that does not divide",
        show("train.micro_batch=3"),
        ("train.micro_batch = 3", "train.global_batch = 8"),
    ),
    Case(
        "--set",
        "lanes that do not divide",
        show("data.lanes=3"),
        ("data.lanes = 3", "train.global_batch = 8"),
    ),
    Case(
        "--set",
        "a code size that halving does not reach",
        show("data.image_size=48"),
        ("data.image_size = 48", "model.code_size = 4"),
    ),
]

TRAINING = [
    Case(
        "train",
        "no shards",
        f"{TRAIN} --set data.root=shards/none",
        ("shards/none", "data.root", "srae-dist shard"),
    ),
    Case(
        "train",
        "a folder of pictures",
        f"{TRAIN} --set data.root=pictures",
        ("pictures", "srae-dist shard"),
    ),
    Case("train", "a file for a folder", f"{TRAIN} --set data.root=notes.txt", ("notes.txt",)),
    Case(
        "train",
        "a scheme that is not known",
        f"{TRAIN} --set data.root=ftp://host/shards",
        ("ftp://host/shards", "https://"),
    ),
    Case(
        "train",
        "a command for a URL",
        f"{TRAIN} --set 'data.root=pipe:cat shards'",
        ("pipe:", "https://"),
    ),
    Case(
        "train",
        "a server that is not there",
        f"{TRAIN} --set data.root=http://127.0.0.1:9/shards",
        ("http://127.0.0.1:9/shards", "cannot be reached"),
    ),
    Case(
        "train",
        "a damaged manifest",
        TRAIN,
        (MANIFEST, "damaged", "make the shards again"),
        m.cut(MANIFEST),
    ),
    Case(
        "train",
        "a manifest of another version",
        TRAIN,
        (MANIFEST, "version 1"),
        m.changed(MANIFEST, "version", value=1),
    ),
    Case(
        "train",
        "a manifest that names a file elsewhere",
        TRAIN,
        (MANIFEST, "../x", "safe"),
        m.changed(MANIFEST, "splits", "train", "index", value="../x"),
    ),
    Case(
        "train",
        "a damaged index",
        TRAIN,
        ("train.index.safetensors", "--index"),
        m.cut(f"{SHARDS}/train.index.safetensors"),
    ),
    Case(
        "train",
        "no index",
        TRAIN,
        ("train.index.safetensors", "missing"),
        m.gone(f"{SHARDS}/train.index.safetensors"),
    ),
    Case(
        "train",
        "a shard is missing",
        TRAIN,
        ("train-000000.tar", "missing"),
        m.gone(f"{SHARDS}/train-000000.tar"),
    ),
    Case(
        "train",
        "a shard is cut short",
        TRAIN,
        ("train-000000.tar", "bytes"),
        m.cut(f"{SHARDS}/train-000000.tar"),
    ),
    Case(
        "train",
        "other domains than the recipe's",
        f"{TRAIN} --set data.domains=photo,clay",
        ("photo, anime", "photo, clay", "data.domains"),
    ),
    Case(
        "train",
        "another size than the recipe's",
        f"{TRAIN} --set data.image_size=64",
        ("32 x 32", "data.image_size = 64"),
    ),
    Case(
        "train",
        "a size that halving does not bring to the codes",
        f"{TRAIN} --set model.code_size=5",
        ("32 x 32", "model.code_size = 5"),
    ),
    Case(
        "train",
        "no such split",
        f"{TRAIN} --set data.split=tset",
        (MANIFEST, "tset", "Did you mean 'test'"),
    ),
    Case(
        "train",
        "no weights for the loss network",
        f"{TRAIN} --set perceptual.weights=vgg.safetensors",
        ("perceptual.weights", "vgg.safetensors", "random"),
    ),
    Case(
        "train",
        "a text file as weights",
        f"{TRAIN} --set perceptual.weights=notes.txt",
        ("perceptual.weights", "notes.txt", "safetensors"),
    ),
    Case(
        "train",
        "no network to fetch the weights",
        f"{TRAIN} --set perceptual.weights=torchvision",
        ("perceptual.weights", "random"),
        m.no_network,
    ),
    Case(
        "train",
        "an unknown layer of the loss network",
        f"{TRAIN} --set perceptual.layers=relu9_1",
        ("perceptual.layers", "relu9_1"),
    ),
    Case(
        "train",
        "an unknown tracker",
        f"{TRAIN} --set run.trackers=tensorbord",
        ("run.trackers", "tensorbord", "tensorboard"),
    ),
    Case(
        "train",
        "fp16 without a GPU",
        f"{TRAIN} --set train.precision=fp16",
        ("train.precision", "bf16"),
    ),
    Case(
        "train",
        "the run folder is a file",
        "srae-dist train tiny.toml --set run.dir=notes.txt",
        ("notes.txt", "a file"),
    ),
    Case(
        "train",
        "the run folder cannot be made",
        "srae-dist train tiny.toml --set run.dir=/proc/runs",
        ("/proc/runs", "cannot be written"),
    ),
    Case("train", "the run folder is in use", TRAIN, ("runs/new", "in use"), m.in_use("runs/new")),
    Case(
        "train",
        "a run that was started with other values",
        "srae-dist train tiny.toml --set train.steps=2 --set train.lr=0.5",
        ("runs/tiny", "train.lr", "run.dir"),
    ),
    Case(
        "train",
        "a run whose only checkpoint is damaged",
        "srae-dist train tiny.toml",
        ("runs/tiny/checkpoints", "damaged", "run.dir"),
        m.cut(f"{CHECKPOINT}/ema.safetensors"),
    ),
    Case(
        "train",
        "a run of another version",
        "srae-dist train tiny.toml",
        ("step-00000001", "another version"),
        m.all_of(
            m.changed(f"{CHECKPOINT}/state.json", "recipe", "model", "depth", value=3), m.vouch
        ),
    ),
    Case("train", "a full disk", TRAIN, ("the disk is full",), m.full_disk),
    Case(
        "train",
        "a launch file of another precision",
        TRAIN,
        ("mixed_precision fp16", "train.precision = fp32"),
        m.environment(ACCELERATE_MIXED_PRECISION="fp16"),
    ),
    Case(
        "train",
        "a launch file with more processes than it starts",
        TRAIN,
        ("2 processes", "started 1"),
        m.launched("accelerate launch --cpu --num_processes 2 -m srae_dist.train"),
    ),
    Case(
        "train",
        "ranks that do not share the lanes",
        f"{TRAIN} --set train.global_batch=12",
        ("4 ranks", "2 lanes", "train.global_batch"),
        m.ranks(4),
    ),
    Case(
        "train", "ranks that do not share the batch", TRAIN, ("train.global_batch", "3"), m.ranks(3)
    ),
]

SHARDING = [
    Case("shard", "no source", "srae-dist shard --out new", ("--domain", "--folders")),
    Case("shard", "two sources", f"{MAKE} --faces 10", ("--domain and --faces",)),
    Case("shard", "no --out", f"srae-dist shard {TWO}", ("--out",)),
    Case(
        "shard",
        "one domain only",
        "srae-dist shard --domain photo=pictures/photo --out new",
        ("two",),
    ),
    Case(
        "shard",
        "a domain without a folder",
        "srae-dist shard --domain photo --out new",
        ("--domain", "NAME=DIR"),
    ),
    Case(
        "shard",
        "a domain twice",
        f"{MAKE} --domain photo=pictures/anime",
        ("--domain", "pictures/anime"),
    ),
    Case(
        "shard",
        "a domain's name that is a path",
        "srae-dist shard --domain ../a=pictures/photo --domain b=pictures/anime --out new",
        ("../a",),
    ),
    Case(
        "shard",
        "a folder that is not there",
        "srae-dist shard --domain photo=pictures/foto --domain anime=pictures/anime --out new",
        ("pictures/foto",),
    ),
    Case(
        "shard",
        "a file for a folder",
        "srae-dist shard --domain photo=notes.txt --domain anime=pictures/anime --out new",
        ("notes.txt", "folder"),
    ),
    Case(
        "shard",
        "an empty folder",
        "srae-dist shard --domain photo=empty --domain anime=pictures/anime --out new",
        ("empty", "no jpg, png or webp"),
    ),
    Case(
        "shard", "a root without domains", "srae-dist shard --folders empty --out new", ("empty",)
    ),
    Case(
        "shard",
        "nothing readable",
        "srae-dist shard --folders spoilt --out new",
        ("None of the 2 images", "anime/a.png"),
        m.unreadable_pictures,
    ),
    Case(
        "shard",
        "--out holds shards already",
        f"srae-dist shard {TWO} --size 32 --out {SHARDS}",
        (SHARDS, "--force"),
    ),
    Case("shard", "--out is a file", f"srae-dist shard {TWO} --out notes.txt", ("notes.txt",)),
    Case("shard", "--out cannot be made", f"srae-dist shard {TWO} --out /proc/new", ("/proc/new",)),
    Case(
        "shard",
        "--out below the images",
        f"srae-dist shard {TWO} --out pictures/photo/new",
        ("pictures/photo",),
    ),
    Case("shard", "a full disk", MAKE, ("new", "the disk is full"), m.full_disk),
    Case("shard", "--out is in use", MAKE, ("new", "Another process"), m.in_use("new")),
    Case("shard", "a size of nothing", f"{MAKE} --size 0", ("--size", "8")),
    Case("shard", "a size that is huge", f"{MAKE} --size 100000", ("--size", "4096")),
    Case("shard", "text for a number", f"{MAKE} --size big", ("--size", "valid integer")),
    Case("shard", "an unknown format", f"{MAKE} --format bmp", ("bmp", "jpg, png")),
    Case("shard", "no faces", "srae-dist shard --faces 0 --out new", ("--faces",)),
    Case("shard", "fewer than no faces", "srae-dist shard --faces -5 --out new", ("--faces",)),
    Case(
        "shard",
        "faces of an unknown domain",
        "srae-dist shard --faces 8 --domains photo,oil --out new",
        ("oil", "photo, anime"),
    ),
    Case("shard", "a share above one", f"{MAKE} --holdout 1.5", ("--holdout", "1.5")),
    Case("shard", "a share that is not a number", f"{MAKE} --holdout nan", ("--holdout", "nan")),
    Case("shard", "a limit without a number", f"{MAKE} --limit photo", ("--limit", "NAME=N")),
    Case("shard", "a limit of an unknown domain", f"{MAKE} --limit foto=1", ("foto", "photo")),
    Case("shard", "a part of too few", f"{MAKE} --part 3/2", ("--part '3/2'", "I/N")),
    Case("shard", "a wrong regular expression", f"{MAKE} --label-regex '('", ("--label-regex",)),
    Case(
        "shard",
        "an option of another source",
        f"{MAKE} --image-column image",
        ("--image-column", "--domain"),
    ),
    Case("shard", "an unknown option", f"{MAKE} --sise 32", ("--sise", "--size")),
    Case(
        "shard",
        "a data set that is not there",
        "srae-dist shard --dataset ./none --out new",
        ("--dataset", "./none"),
    ),
    Case("shard", "nothing to index", "srae-dist shard --index pictures", ("pictures", ".tar")),
    Case(
        "shard",
        "an index over an index",
        f"srae-dist shard --index {SHARDS}",
        (SHARDS, "manifest.json", "--force"),
    ),
    Case(
        "shard",
        "a tar file that is none",
        "srae-dist shard --index foreign",
        ("foreign/a.tar", "tar"),
        m.text("foreign/a.tar", "Buy milk.\n"),
    ),
    Case(
        "shard",
        "a link in a tar file",
        "srae-dist shard --index foreign",
        ("foreign/a.tar", "link"),
        m.linked_tar,
    ),
    Case(
        "shard",
        "a check of no shards",
        "srae-dist shard --check pictures",
        ("pictures", "shard folder"),
    ),
    Case(
        "shard",
        "a check's report that cannot be written",
        f"srae-dist shard --check {SHARDS} --json /proc/report.json",
        ("/proc/report.json",),
    ),
]

TRANSLATING = [
    Case(
        "batch-translate",
        "no such run",
        "srae-dist batch-translate runs/none pictures --to anime --out new",
        ("runs/none", "run folder"),
    ),
    Case(
        "batch-translate",
        "a run without a checkpoint",
        "srae-dist batch-translate empty pictures --to anime --out new",
        ("empty", "no complete checkpoint"),
    ),
    Case(
        "batch-translate",
        "a damaged checkpoint",
        TRANSLATE.replace("runs/tiny", CHECKPOINT),
        (CHECKPOINT, "damaged"),
        m.cut(f"{CHECKPOINT}/ema.safetensors"),
    ),
    Case(
        "batch-translate",
        "a checkpoint of another version",
        TRANSLATE,
        ("ema.safetensors", "version 1"),
        m.header(version=1),
    ),
    Case(
        "batch-translate",
        "a checkpoint that claims an enormous model",
        TRANSLATE,
        ("ema.safetensors", "width"),
        m.huge_model,
    ),
    Case(
        "batch-translate",
        "tensors of another program",
        "srae-dist batch-translate other.safetensors pictures --to anime --out new",
        ("other.safetensors", "srae_dist"),
        m.foreign_tensors("other.safetensors"),
    ),
    Case(
        "batch-translate",
        "a text file for a checkpoint",
        "srae-dist batch-translate notes.txt pictures --to anime --out new",
        ("notes.txt",),
    ),
    Case(
        "batch-translate",
        "an unknown domain to go to",
        TRANSLATE.replace("anime", "animee"),
        ("animee", "photo, anime"),
    ),
    Case(
        "batch-translate",
        "an unknown domain to come from",
        f"{TRANSLATE} --from foto",
        ("foto", "photo"),
    ),
    Case(
        "batch-translate",
        "no such input",
        "srae-dist batch-translate runs/tiny picture --to anime --out new",
        ("INPUT picture",),
    ),
    Case(
        "batch-translate",
        "a file that is no image",
        "srae-dist batch-translate runs/tiny notes.txt --to anime --out new",
        ("INPUT notes.txt", "no jpg, png or webp"),
    ),
    Case(
        "batch-translate",
        "an image into its own folder",
        "srae-dist batch-translate runs/tiny pictures/photo/a.png --to anime --out pictures/photo",
        ("INPUT pictures/photo/a.png", "--out pictures/photo", "choose another"),
    ),
    Case(
        "batch-translate",
        "an empty folder",
        "srae-dist batch-translate runs/tiny empty --to anime --out new",
        ("empty", "no jpg, png or webp"),
    ),
    Case(
        "batch-translate",
        "plain tar files",
        "srae-dist batch-translate runs/tiny foreign --to anime --out new",
        ("foreign", "--index"),
        m.text("foreign/a.tar", "Buy milk.\n"),
    ),
    Case(
        "batch-translate",
        "a split that the shards lack",
        f"srae-dist batch-translate runs/tiny {SHARDS} --to anime --out new --split tset",
        (MANIFEST, "tset"),
    ),
    Case(
        "batch-translate",
        "a URL of another kind",
        "srae-dist batch-translate runs/tiny ftp://host/shards --to anime --out new",
        ("ftp://host/shards", "https://"),
    ),
    Case(
        "batch-translate",
        "a server that is not there",
        "srae-dist batch-translate runs/tiny http://127.0.0.1:9/shards --to anime --out new",
        ("http://127.0.0.1:9/shards", "check the URL"),
    ),
    Case(
        "batch-translate",
        "a split of a folder",
        f"{TRANSLATE} --split test",
        ("--split", "pictures"),
    ),
    Case(
        "batch-translate",
        "--out below the input",
        "srae-dist batch-translate runs/tiny pictures --to anime --out pictures/new",
        ("pictures/new", "--out"),
    ),
    Case(
        "batch-translate",
        "--out is a file",
        "srae-dist batch-translate runs/tiny pictures --to anime --out notes.txt",
        ("notes.txt", "folder"),
    ),
    Case(
        "batch-translate",
        "--out cannot be made",
        "srae-dist batch-translate runs/tiny pictures --to anime --out /proc/new",
        ("/proc/new",),
    ),
    Case(
        "batch-translate",
        "--out holds other files",
        TRANSLATE.replace("translated", "runs"),
        ("runs", "--force"),
    ),
    Case(
        "batch-translate",
        "--out is in use",
        TRANSLATE,
        ("translated", "another process"),
        m.in_use("translated/.partial"),
    ),
    Case(
        "batch-translate", "a full disk", TRANSLATE, ("translated", "the disk is full"), m.full_disk
    ),
    Case(
        "batch-translate",
        "no such reference",
        f"{TRANSLATE} --reference none.png",
        ("--reference none.png",),
    ),
    Case(
        "batch-translate",
        "a folder for a reference",
        f"{TRANSLATE} --reference pictures",
        ("--reference pictures", "--references pictures"),
    ),
    Case(
        "batch-translate",
        "an image for references",
        f"{TRANSLATE} --references pictures/photo/a.png",
        ("--references pictures/photo/a.png", "with --reference"),
    ),
    Case(
        "batch-translate",
        "a text file for a reference",
        f"{TRANSLATE} --reference notes.txt",
        ("--reference notes.txt",),
    ),
    Case(
        "batch-translate",
        "a reference and references",
        f"{TRANSLATE} --reference notes.txt --references pictures",
        ("--reference", "--references"),
    ),
    Case(
        "batch-translate",
        "its own style, and another's",
        f"{TRANSLATE} --keep-style --references pictures",
        ("--keep-style", "--references"),
    ),
    Case(
        "batch-translate",
        "a device that is not there",
        f"{TRANSLATE} --device cuda:7",
        ("cuda:7", "cpu"),
    ),
    Case("batch-translate", "no images at a time", f"{TRANSLATE} --batch 0", ("--batch", "1")),
    Case("batch-translate", "a seed below zero", f"{TRANSLATE} --seed -1", ("--seed", "0")),
    Case(
        "batch-translate",
        "a quality that is not a number",
        f"{TRANSLATE} --quality nan",
        ("--quality", "valid integer"),
    ),
]

MEASURING = [
    Case("evaluate", "no such run", f"srae-dist evaluate runs/none {SHARDS}", ("runs/none",)),
    Case(
        "evaluate",
        "no shards",
        "srae-dist evaluate runs/tiny pictures",
        ("pictures", "shard folder"),
    ),
    Case(
        "evaluate",
        "an unknown measure",
        f"srae-dist evaluate runs/tiny {SHARDS} --only leakag",
        ("leakag", "Did you mean 'leakage'"),
    ),
    Case(
        "evaluate",
        "scored on what it learnt from",
        f"{EVALUATE} --test-split train",
        ("--test-split", "train"),
    ),
    Case(
        "evaluate",
        "domains that the model lacks",
        EVALUATE,
        ("photo, anime", "photo, clay"),
        m.header(domains=["photo", "clay"]),
    ),
    Case(
        "evaluate", "images of another size", EVALUATE, ("32 pixels", "--size 64"), m.larger_model
    ),
    Case(
        "evaluate",
        "weights that are not the published ones",
        f"{EVALUATE} --inception notes.txt",
        ("--inception", "notes.txt", "SHA-256"),
    ),
    Case(
        "evaluate", "no such weights", f"{EVALUATE} --vgg none.safetensors", ("none.safetensors",)
    ),
    Case("evaluate", "--out is a file", f"{EVALUATE} --out notes.txt", ("notes.txt", "--out")),
    Case("evaluate", "no such device", f"{EVALUATE} --device gpu", ("--device gpu", "cpu")),
    Case(
        "embed",
        "an unknown split",
        f"srae-dist embed runs/tiny {SHARDS} --split tset",
        ("tset", "test"),
    ),
    Case(
        "embed",
        "a perplexity below zero",
        f"srae-dist embed runs/tiny {SHARDS} --perplexity -1",
        ("perplexity", "-1"),
    ),
    Case(
        "embed",
        "--out is a file",
        f"srae-dist embed runs/tiny {SHARDS} --out notes.txt",
        ("notes.txt", "--out"),
    ),
    Case("classify", "an unknown classifier", f"{CLASSIFY} --probe svm", ("svm", "linear")),
    Case("classify", "a label that the shards lack", f"{CLASSIFY} --label age", ("age",)),
    Case("classify", "no view at all", f"{CLASSIFY} --views 0", ("--views", "1")),
    Case("classify", "--json is a folder", f"{CLASSIFY} --json empty", ("empty", "folder")),
    Case(
        "classify",
        "--json below a file",
        f"{CLASSIFY} --json notes.txt/a.json --per-domain 8 --probe knn --seeds 1",
        ("notes.txt/a.json",),
    ),
    Case(
        "neighbours",
        "no such picture",
        NEIGHBOURS.replace("a.png", "z.png"),
        ("pictures/photo/z.png",),
    ),
    Case(
        "neighbours",
        "a text file for a picture",
        NEIGHBOURS.replace("pictures/photo/a.png", "notes.txt"),
        ("notes.txt",),
    ),
    Case(
        "neighbours",
        "a folder for a picture",
        NEIGHBOURS.replace("pictures/photo/a.png", "pictures"),
        ("pictures",),
    ),
    Case(
        "neighbours",
        "an unknown domain",
        NEIGHBOURS.replace("--in anime", "--in animee"),
        ("animee", "anime"),
    ),
    Case("neighbours", "no neighbours", f"{NEIGHBOURS} -k 0", ("-k 0",)),
    Case(
        "neighbours",
        "a picture of no kind that is written",
        f"{NEIGHBOURS} --out a.gif",
        ("a.gif", ".png"),
    ),
    Case(
        "neighbours",
        "no trained run",
        NEIGHBOURS.replace("--run runs/tiny", ""),
        ("runs", "--run"),
        m.no_runs,
    ),
    Case(
        "neighbours",
        "a damaged index",
        NEIGHBOURS,
        ("neighbours-train.safetensors", "--rebuild"),
        m.all_of(m.indexed, m.cut(f"{CHECKPOINT}/neighbours-train.safetensors")),
    ),
    Case(
        "neighbours",
        "an index of another checkpoint",
        NEIGHBOURS,
        ("neighbours-train.safetensors", "another checkpoint", "--rebuild"),
        m.all_of(m.indexed, m.header(step=2)),
    ),
    Case(
        "add-domain",
        "a name that is taken",
        "srae-dist add-domain runs/tiny pictures --name anime --out new.safetensors",
        ("--name anime", "photo"),
    ),
    Case(
        "add-domain",
        "a name that is none",
        "srae-dist add-domain runs/tiny pictures --name a/b --out new.safetensors",
        ("--name a/b", "letters"),
    ),
    Case(
        "add-domain",
        "no such exemplars",
        "srae-dist add-domain runs/tiny nowhere --name ink --out new.safetensors",
        ("nowhere", "folder"),
    ),
    Case(
        "add-domain",
        "a folder without images",
        "srae-dist add-domain runs/tiny empty --name ink --out new.safetensors",
        ("empty", "jpg"),
    ),
    Case(
        "add-domain",
        "an exemplar that cannot be read",
        "srae-dist add-domain runs/tiny pictures --name ink --out new.safetensors",
        ("photo/b.png", "cannot be read"),
        m.text("pictures/photo/b.png", "no picture"),
    ),
    Case(
        "add-domain",
        "no folder of that name",
        "srae-dist add-domain runs/tiny pictures --from clay --name ink --out new.safetensors",
        ("--from clay", "pictures"),
    ),
    Case(
        "add-domain",
        "no such run",
        "srae-dist add-domain runs/none pictures --name ink --out new.safetensors",
        ("runs/none",),
    ),
    Case(
        "add-domain",
        "--out with another ending",
        "srae-dist add-domain runs/tiny pictures --name ink --out new.pt",
        ("new.pt", ".safetensors"),
    ),
    Case(
        "add-domain",
        "--out is there",
        "srae-dist add-domain runs/tiny pictures --name ink --out notes.safetensors",
        ("notes.safetensors", "exists already"),
        m.text("notes.safetensors", "Buy milk."),
    ),
    Case(
        "add-domain",
        "--out cannot be made",
        "srae-dist add-domain runs/tiny pictures --name ink --out notes.txt/new.safetensors",
        ("notes.txt",),
    ),
    Case(
        "export",
        "--out is there",
        "srae-dist export runs/tiny --out empty",
        ("empty", "exists already"),
    ),
    Case("export", "no such run", "srae-dist export runs/none --out new", ("runs/none",)),
    Case(
        "export",
        "--out cannot be made",
        "srae-dist export runs/tiny --out notes.txt/new",
        ("notes.txt",),
    ),
    Case(
        "export",
        "an unknown format",
        "srae-dist export runs/tiny --out new --format tflite",
        ("tflite", "onnx"),
    ),
    Case(
        "bench",
        "ranks that do not share the lanes",
        f"srae-dist bench order {SHARDS} --ranks 3 --global-batch 12",
        ("3 ranks",),
    ),
    Case("bench", "no shards", "srae-dist bench order pictures", ("pictures",)),
    Case("bench", "an unknown case", "srae-dist bench data --only 'gif 64'", ("gif 64", "jpg 64")),
    Case(
        "bench", "images that fill no batch", "srae-dist bench data --images 300", ("--images 300",)
    ),
    Case("bench", "--json is a folder", "srae-dist bench step --json empty", ("empty", "folder")),
    Case("bench", "an unknown recipe", "srae-dist bench step --recipe none", ("none",)),
    Case(
        "bench",
        "a size that halving does not bring to the codes",
        "srae-dist bench translate --recipe tiny.toml --size 48",
        ("48",),
    ),
    Case(
        "srae-dist", "an unknown command", "srae-dist translate", ("translate", "batch-translate")
    ),
    Case(
        "srae-dist", "an unknown command below another", "srae-dist recipe shwo", ("shwo", "show")
    ),
    Case("srae-dist", "an argument is missing", "srae-dist evaluate runs/tiny", ("SHARDS",)),
    Case(
        "srae-dist",
        "an option is missing",
        "srae-dist batch-translate runs/tiny pictures --out new",
        ("--to",),
    ),
    Case("srae-dist", "an option without its value", "srae-dist train tiny.toml --set", ("--set",)),
    Case("srae-dist", "one argument too many", "srae-dist recipe show tiny.toml again", ("again",)),
]

CASES = [*RECIPE, *TRAINING, *SHARDING, *TRANSLATING, *MEASURING]
