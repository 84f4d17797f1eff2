"""Targets beyond shards: checkpoints, recipes, weights, indexes, references, lists, the cache.

An input of several files begins with a byte that says which of them it replaces.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from srae_dist.core.atomic import sha256_file
from srae_dist.core.errors import SampleError, UserError
from srae_dist.core.randomness import generator
from tests.fuzz import images_of
from tests.fuzz.mutations import VALUES, mutate, mutate_json
from tests.fuzz.target import Target, each


def rewrite_header(data: bytes, random: np.random.Generator) -> bytes:
    """Change a safetensors file's header as JSON: names, types, shapes, places, our own words."""
    (length,) = struct.unpack_from("<Q", data)
    head = json.loads(data[8 : 8 + length])
    ours = head.get("__metadata__", {})
    if "srae_dist" in ours and random.integers(0, 3):
        said = mutate_json(json.loads(ours["srae_dist"]), random).decode("utf-8", "replace")
        ours["srae_dist"] = said
        text = json.dumps(head).encode()
    else:
        text = mutate_json(head, random)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """A safetensors file with an odd header, or with odd bytes, mostly near its beginning."""
    if random.integers(0, 2):
        return rewrite_header(data, random)
    (length,) = struct.unpack_from("<Q", data)
    end = 8 + length if random.integers(0, 4) else len(data)
    return mutate(data[:end], random) + data[end:]


class Reader(Target, Protocol):
    """A target that knows what must be accepted."""

    def sound(self) -> list[bytes]:
        """Return inputs that nothing is wrong with."""
        ...


class Checkpoint:
    """A checkpoint's files, whose digests are right but for one input in eight."""

    FILES = ("ema.safetensors", "state.json", "checkpoint.json")

    def __init__(self, folder: Path) -> None:
        from srae_dist.recipe.schema import Recipe
        from tests.evaluate.runs import save_run

        self._run = save_run(folder / "run")
        self._folder = next((self._run / "checkpoints").iterdir())
        self._recipe = Recipe(name="tiny")
        state = {"step": 7, "recipe": self._recipe.model_dump(mode="json"), "micro_batch": 4}
        (self._folder / "state.json").write_text(json.dumps(state))
        self._files = {name: (self._folder / name).read_bytes() for name in self.FILES}
        self._vouch()
        self._files["checkpoint.json"] = (self._folder / "checkpoint.json").read_bytes()

    def sound(self) -> list[bytes]:
        return [bytes([n]) + self._files[name] for n, name in enumerate(self.FILES)]

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "checkpoint", number)
        which = int(random.choice(3, p=(0.7, 0.2, 0.1)))
        data = self._files[self.FILES[which]]
        if which == 0:
            return bytes([which]) + damaged(data, random)
        return bytes([which]) + mutate_json(json.loads(data), random)

    def feed(self, data: bytes) -> bool:
        from srae_dist.evaluate.find_run import find_shards
        from srae_dist.runtime import checkpoint
        from srae_dist.train.start import find_checkpoint
        from srae_dist.translation.translator import load

        which, content = data[0] % 3 if data else 0, data[1:]
        for name, sound in self._files.items():
            (self._folder / name).write_bytes(sound)
        (self._folder / self.FILES[which]).write_bytes(content)
        if which < 2 and len(content) % 8:
            self._vouch()
        file = self._folder / "ema.safetensors"
        return each(
            lambda: checkpoint.resolve(self._run),
            lambda: load(file, device="cpu"),
            lambda: load(self._folder, device="cpu"),
            lambda: find_shards(file),
            lambda: find_checkpoint(self._recipe, self._run),
        )

    def _vouch(self) -> None:
        listed = json.loads(self._files["checkpoint.json"])
        names = self.FILES[:2]
        listed["sha256"] = {name: sha256_file(self._folder / name) for name in names}
        (self._folder / "checkpoint.json").write_text(json.dumps(listed))


class RecipeFile:
    """A recipe, or a value of --set."""

    _WORDS = ("nan", "inf", "-1", "1e999", "9" * 5000, "[", "{", '"', "'''", "\0", "none", "true")
    _WORDS += (
        "photo,anime",
        "[[[[",
        "0x",
        "1_0",
        "1979-05-27",
        "a.b",
        "=",
        "\\u",
        "../x",
        "\ud800",
    )

    def __init__(self, folder: Path) -> None:
        from srae_dist.recipe.keys import KEYS

        self._path = folder / "odd.toml"
        shipped = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
        self._texts = [path.read_bytes() for path in shipped]
        for path, text in zip(shipped, self._texts, strict=True):  # some extend others
            (folder / path.name).write_bytes(text)
        self._keys = tuple(KEYS)
        self._texts += [b'extends = "odd.toml"\n', b'extends = "base.toml"\n[train]\nsteps = 5\n']
        (folder / "base.toml").write_bytes(self._texts[0])

    def sound(self) -> list[bytes]:
        return [*(b"\0" + text for text in self._texts[:-2]), b"\1train.steps=5"]

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "recipe", number)
        if random.integers(0, 2):
            return b"\0" + mutate(self._texts[int(random.integers(0, len(self._texts)))], random)
        key = self._keys[int(random.integers(0, len(self._keys)))]
        words = (*self._WORDS, *(json.dumps(value) for value in VALUES))
        value = "".join(words[int(random.integers(0, len(words)))] for _ in range(1 + number % 2))
        text = f"{key}={value}".encode("utf-8", "surrogatepass")
        return b"\1" + (mutate(text, random) if random.integers(0, 3) == 0 else text)

    def feed(self, data: bytes) -> bool:
        content = data[1:]
        if data[:1] == b"\1":
            text = content.decode("utf-8", "surrogateescape")
            self._path.write_text("")
            return each(lambda: self._load([text]))
        self._path.write_bytes(content)
        return each(lambda: self._load([]))

    def _load(self, overrides: list[str]) -> None:
        from srae_dist.recipe import load, save, show

        loaded = load.load_recipe(self._path, overrides=overrides)
        save.recipe_to_toml(loaded.recipe)
        json.dumps(save.recipe_without_paths(loaded.recipe))
        list(show.recipe_tables(loaded))


class Neighbours:
    """The index of content codes, loaded and searched."""

    _WIDTH = 12

    def __init__(self, folder: Path) -> None:
        from srae_dist.evaluation import index_file
        from srae_dist.evaluation.build_index import build

        random = generator(0, "fuzz", "codes")
        codes = random.standard_normal((40, self._WIDTH)).astype(np.float32)
        self._codes, self._domain = codes, np.arange(40) % 2
        self._keys = np.array([f"{number:02d}" for number in range(40)], "S")
        self._origin = index_file.Origin("c" * 64, "s" * 64, "train", ("a", "b"))
        made = build(
            self._domain,
            self._keys,
            domains=("a", "b"),
            split="train",
            encode=lambda rows: (rows, codes[rows]),
        )
        self._path = folder / "neighbours-train.safetensors"
        index_file.save(self._path, made, self._origin)
        self._sound = self._path.read_bytes()

    def sound(self) -> list[bytes]:
        return [self._sound]

    def make(self, seed: int, number: int) -> bytes:
        return damaged(self._sound, generator(seed, "fuzz", "neighbours", number))

    def feed(self, data: bytes) -> bool:
        self._path.write_bytes(data)
        return each(self._search)

    def _search(self) -> None:
        from srae_dist.evaluation import index_file

        stored = index_file.load(
            self._path, self._origin, width=self._WIDTH, domain=self._domain, keys=self._keys
        )
        for domain in ("a", "b"):
            stored.index.search(self._codes[:3], own="a", domain=domain, k=2)


class Weights:
    """A file for the loss network, with the names that torchvision gives."""

    def __init__(self, folder: Path) -> None:
        import torch
        from safetensors.torch import save

        self._path = folder / "vgg.safetensors"
        names = {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,)}
        self._sound = save({name: torch.ones(shape) for name, shape in names.items()})

    def sound(self) -> list[bytes]:
        return [self._sound]

    def make(self, seed: int, number: int) -> bytes:
        return damaged(self._sound, generator(seed, "fuzz", "weights", number))

    def feed(self, data: bytes) -> bool:
        from srae_dist.evaluation.weights import INCEPTION, read_known
        from srae_dist.model.vgg import PerceptualNetwork

        self._path.write_bytes(data)
        each(lambda: read_known(self._path, INCEPTION, option="--inception"))
        return each(lambda: PerceptualNetwork(["relu1_1"], weights=str(self._path)))


class References:
    """An image that lends its domain code, and a folder of images to draw from."""

    def __init__(self, folder: Path) -> None:
        from srae_dist.translation.translator import load
        from tests.evaluate.runs import save_run

        self._translator = load(save_run(folder / "run"), device="cpu")
        self._folder = folder / "references"
        self._folder.mkdir(exist_ok=True)

    def sound(self) -> list[bytes]:
        return [images_of.seeds()[0]]

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "references", number)
        files = images_of.seeds()
        return mutate(files[int(random.integers(0, len(files)))], random)

    def feed(self, data: bytes) -> bool:
        import torch

        from srae_dist.translation.codes import DrawnReferences
        from srae_dist.translation.inputs import open_images
        from srae_dist.translation.setup import encode_reference

        path = self._folder / "a.png"
        path.write_bytes(data)
        drawn = DrawnReferences(self._translator, open_images(self._folder), seed=0)
        return each(
            lambda: encode_reference(self._translator, path),
            lambda: drawn.codes([drawn.lend("key")], torch.empty(0)),
        )


class Results:
    """What earlier runs of the commands have left, and later ones read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "out"
        job = {"output": {"kind": "folder"}, "checkpoint": {"step": 1, "sha256": "0" * 64}}
        line = {"input": "a.png", "output": "a.png", "from": None, "code": "mean", "sha256": "0"}
        summary = {"format": "srae_dist.translation", "version": 1, "job": job, "failed": 0}
        bad = {"split": "train", "domain": "a", "origin": "a.png", "reason": "cut"}
        parts = {"plan": "p", "parts": 2, "launch": "", "finished": [1], "missed": []}
        log = {"step": 3, "q_c_accuracy": 0.5, "loss": 1.0}
        self._job = job
        self._values: tuple[tuple[str, Any], ...] = (
            ("translation.json", {**summary, "images": 1, "translated": 1}),
            (".partial/job.json", job),
            (".partial/units/00000000.json", {"done": [line], "failed": [], "shard": None}),
            ("translations.jsonl", line),
            ("report.json", {"figures": ["figures/a.png"]}),
            ("bad_files.jsonl", bad),
            (".partial/parts.json", parts),
            ("log.jsonl", log),
        )

    def sound(self) -> list[bytes]:
        return [
            bytes([n]) + json.dumps(value).encode() for n, (_, value) in enumerate(self._values)
        ]

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "results", number)
        which = int(random.integers(0, len(self._values)))
        return bytes([which]) + mutate_json(self._values[which][1], random)

    def feed(self, data: bytes) -> bool:
        from srae_dist.data import publish, workplace
        from srae_dist.evaluation import in_training, report
        from srae_dist.runtime.runlog import RunLog
        from srae_dist.translation import job
        from srae_dist.translation.inputs import Unit

        which = data[0] % len(self._values) if data else 0
        shutil.rmtree(self._folder, ignore_errors=True)
        for number, (name, value) in enumerate(self._values):
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[1:] + b"\n" if number == which else json.dumps(value).encode())
        out = self._folder
        return each(
            lambda: job.look(out, self._job, force=True),
            lambda: job.look(out, self._job, force=False),
            lambda: job.Progress(out).load(Unit(0, 0, 1)),
            lambda: report._figures_of(out / "report.json"),
            lambda: publish.listed_bad(out, ["train"]),
            lambda: workplace.load_state(out / ".partial"),
            lambda: in_training.read_in_training(out / "log.jsonl", step=5),
            lambda: RunLog(out / "log.jsonl").cut(5),
            lambda: job.begin(out, self._job, job.State.OTHER),
        )


class Cached:
    """A block of a remote shard: what a server sends, or what somebody did to the cache."""

    def __init__(self, folder: Path) -> None:
        from srae_dist.data.block_cache import BlockCache
        from srae_dist.data.blocks import RemoteShards
        from srae_dist.data.digests import digests_of_file
        from srae_dist.data.manifest import Shard, Split

        self._sent = self._sound = images_of.seeds()[0] * 20
        path = folder / "shard"
        path.write_bytes(self._sound)
        file = digests_of_file(path)
        shard = Shard("a.tar", 1, file.bytes, file.sha256(), {"a": 1})
        self._cache = BlockCache(folder / "cache", limit=1 << 30)
        self._digest = file.digests()[0].tobytes().hex()
        store: Any = self
        split = Split((shard,), "i", "0")
        self._shards = RemoteShards(store, split, file.digests(), self._cache)

    def read_range(self, file: str, offset: int, size: int) -> bytes:
        return self._sent

    def sound(self) -> list[bytes]:
        return [b"\0" + self._sound, b"\1" + self._sound]

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "cached", number)
        return bytes([int(random.integers(0, 2))]) + mutate(self._sound, random)

    def feed(self, data: bytes) -> bool:
        self._shards.close()
        self._shards._failed.clear()
        place = self._cache.path(self._digest)
        place.unlink(missing_ok=True)
        self._sent = self._sound
        if data[:1] == b"\0":
            self._sent = data[1:]
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data[1:])
        return each(self._read)

    def _read(self) -> None:
        if self._shards.read(0, 0, len(self._sound)) != self._sound:
            raise AssertionError("bytes were believed that are not what the index says")


class HttpAnswers:
    """What a web server says of the part of a file that it sends."""

    _SOUND = (
        (206, "bytes 0-99/1000"),
        (206, "bytes 5-7/*"),
        (200, ""),
        (416, "bytes */3"),
        (503, ""),
    )

    def __init__(self, folder: Path) -> None:
        pass

    def sound(self) -> list[bytes]:
        return [struct.pack("<H", 206) + b"bytes 0-99/1000"]

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "answers", number)
        status, text = self._SOUND[int(random.integers(0, len(self._SOUND)))]
        return struct.pack("<H", status) + mutate(text.encode() or b"0", random)

    def feed(self, data: bytes) -> bool:
        import requests

        from srae_dist.data import web
        from srae_dist.data.transport import Passing

        answer = requests.Response()
        answer.status_code = int.from_bytes(data[:2], "little")
        text = data[2:].decode("latin-1")
        answer.headers.update({"Content-Range": text, "Content-Length": text})
        try:
            due, total = web._coming(answer, 0, 100, 0)
        except (Passing, FileNotFoundError, SampleError, UserError):
            return False
        if not 0 <= due <= 100 or (total is not None and total < due):
            raise AssertionError(f"{due} bytes of {total} are waited for")
        return True


READERS: dict[str, Callable[[Path], Reader]] = {
    "checkpoint": Checkpoint,
    "recipe": RecipeFile,
    "neighbours": Neighbours,
    "weights": Weights,
    "references": References,
    "results": Results,
    "cached": Cached,
    "answers": HttpAnswers,
}
