"""The house rules, held by reading the source: layers, light imports, no pickle and the like."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "srae_dist"
FILES = sorted(PACKAGE.rglob("*.py"))
CONSOLE = "runtime/console.py"  # the one place that writes to the terminal

INITIALISER = "model/build.py"  # nn initialisers take no generator: it forks the global one

LAYERS = {
    "core": 0,
    "recipe": 1,
    **dict.fromkeys(("data", "model", "runtime"), 2),
    **dict.fromkeys(("objective", "evaluation", "translation"), 3),
    "engine": 4,
    **dict.fromkeys(("train", "shard", "batch_translate", "bench", "evaluate"), 5),
    **dict.fromkeys(("add_domain", "export", "recipe_check"), 5),
    "cli": 6,
    **dict.fromkeys(("__main__", "__init__"), 7),
}
HEAVY = {"torch", "torchvision", "accelerate", "datasets", "webdataset", "numpy", "PIL", "pydantic"}
MISSION = {
    *("torch", "torchvision", "accelerate", "datasets"),
    *("safetensors", "rich", "einops", "webdataset"),
}
PICKLERS = {"pickle", "cPickle", "_pickle", "marshal", "dill", "cloudpickle", "shelve", "joblib"}
PICKLING_CALLS = {"torch.load", "torch.save", "numpy.load"}

# torch functions that draw from the global generator unless they are given another
TORCH_DRAWS = {
    *("torch.rand", "torch.randn", "torch.randint", "torch.randperm", "torch.normal"),
    *("torch.bernoulli", "torch.multinomial", "torch.poisson"),
}
TENSOR_DRAWS = {
    *("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_", "cauchy_"),
    "geometric_",
}
GLOBAL_STATE = {
    *("torch.manual_seed", "torch.seed", "torch.set_rng_state", "torch.cuda.manual_seed"),
    *("torch.cuda.manual_seed_all", "torch.rand_like", "torch.randn_like", "torch.randint_like"),
    *("torch.nn.Dropout", "torch.nn.Dropout2d", "torch.nn.functional.dropout"),
}
NUMPY_ALLOWED = {"Generator", "Philox", "PCG64", "SeedSequence", "BitGenerator"}


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def unit(module: str) -> str:
    """The folder or top-level module of a dotted name: srae_dist.data.order -> data."""
    return [*module.split("."), "__init__"][1]


def unit_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def absolute(node: ast.ImportFrom, file: Path) -> str:
    """The module an ``import from`` names, relative dots resolved."""
    if not node.level:
        return node.module or ""
    parts = ["srae_dist", *file.relative_to(PACKAGE).parts[:-1]]
    return ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])


def imports(node: ast.AST, file: Path) -> Iterator[str]:
    """Every module imported anywhere below a node: functions and TYPE_CHECKING blocks too."""
    for item in ast.walk(node):
        if isinstance(item, ast.Import):
            yield from (alias.name for alias in item.names)
        elif isinstance(item, ast.ImportFrom):
            module = absolute(item, file)
            if module == "srae_dist":  # from srae_dist import data
                names = (alias.name for alias in item.names if alias.name != "__version__")
                yield from (f"srae_dist.{name}" for name in names)
            else:
                yield module
        elif isinstance(item, ast.Call) and called(item, file).endswith("import_module"):
            yield from (arg.value for arg in item.args[:1] if isinstance(arg, ast.Constant))


@cache
def aliases(file: Path) -> dict[str, str]:
    """Local name -> the dotted name it stands for, by the file's imports."""
    found: dict[str, str] = {}
    for item in ast.walk(tree(file)):
        if isinstance(item, ast.Import):
            for alias in item.names:
                local = alias.asname or alias.name.split(".")[0]
                found[local] = alias.name if alias.asname else local
        elif isinstance(item, ast.ImportFrom):
            for alias in item.names:
                found[alias.asname or alias.name] = f"{absolute(item, file)}.{alias.name}"
    return found


def called(call: ast.Call, file: Path) -> str:
    """The dotted name a call goes to, imports resolved: np.random.rand -> numpy.random.rand."""
    parts: list[str] = []
    node: ast.expr = call.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):  # of a local object's methods only the attributes count
        parts.append(aliases(file).get(node.id, "" if parts else node.id))
    return ".".join(reversed(parts))


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    for item in ast.walk(tree(file)):
        if isinstance(item, ast.Call):
            yield called(item, file), item


def has_keyword(call: ast.Call, name: str) -> bool:
    return any(keyword.arg == name for keyword in call.keywords)


def is_global_draw(name: str, call: ast.Call) -> bool:
    """Whether a call touches random state that someone else may touch too."""
    if name in GLOBAL_STATE or name.startswith(("torch.random.", "torch.default_generator.")):
        return True
    if name in TORCH_DRAWS or name.rpartition(".")[2] in TENSOR_DRAWS:
        return not has_keyword(call, "generator")
    if name == "numpy.random.default_rng":
        return not call.args
    if name.startswith("numpy.random."):
        return name.split(".")[2] not in NUMPY_ALLOWED
    return name.startswith("random.")


def crosses(importer: str, imported: str) -> bool:
    """Whether an import goes up or sideways."""
    return importer != imported and LAYERS[imported] >= LAYERS[importer]


def upward(file: Path) -> list[str]:
    ours = (name for name in imports(tree(file), file) if name.split(".")[0] == "srae_dist")
    return [f"{name_of(file)} -> {name}" for name in ours if crosses(unit_of(file), unit(name))]


def found(source: str, tmp_path: Path) -> Path:
    file = tmp_path / "sample.py"
    file.write_text(source, encoding="utf-8")
    return file


def test_every_module_has_a_layer() -> None:
    assert {unit_of(file) for file in FILES} <= LAYERS.keys()


def test_imports_point_down() -> None:
    assert [line for file in FILES for line in upward(file)] == []


@pytest.mark.parametrize(
    ("importer", "imported", "wrong"),
    [
        ("data", "core", False),
        ("data", "data", False),
        ("data", "model", True),
        ("objective", "evaluation", True),
        ("core", "recipe", True),
        ("train", "shard", True),
        ("cli", "train", False),
    ],
)
def test_the_rule_itself(importer: str, imported: str, wrong: bool) -> None:
    assert crosses(importer, imported) is wrong


def test_imports_are_found_wherever_they_hide(tmp_path: Path) -> None:
    source = (
        "import srae_dist.a.b\n"
        "from srae_dist import c, __version__\n"
        "if TYPE_CHECKING:\n    from srae_dist.d import x\n"
        "def f():\n    from srae_dist.e import y\n"
        "import importlib\nimportlib.import_module('srae_dist.f')\n"
    )
    file = found(source, tmp_path)
    ours = {name for name in imports(tree(file), file) if name.startswith("srae_dist")}
    assert ours == {f"srae_dist.{name}" for name in ("a.b", "c", "d", "e", "f")}


def test_no_pickle() -> None:
    assert [
        f"{name_of(file)}: {name}"
        for file in FILES
        for name in (*imports(tree(file), file), *(name for name, _ in calls(file)))
        if name.split(".")[0] in PICKLERS or name in PICKLING_CALLS
    ] == []


def test_no_global_random_state() -> None:
    assert [
        f"{name_of(file)}:{call.lineno}: {name}"
        for file in FILES
        for name, call in calls(file)
        if is_global_draw(name, call) and name_of(file) != INITIALISER
    ] == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("import numpy as np\nnp.random.rand(3)", True),
        ("import numpy as np\nnp.random.Generator(np.random.Philox(1))", False),
        ("import numpy as np\nnp.random.default_rng()", True),
        ("from numpy.random import shuffle\nshuffle([1])", True),
        ("import random\nrandom.random()", True),
        ("from random import choice\nchoice([1])", True),
        ("import torch\ntorch.randn(3)", True),
        ("import torch\ntorch.randn(3, generator=g)", False),
        ("import torch\ntorch.manual_seed(1)", True),
        ("def f(random):\n    random.uniform(0, 1)", False),
        ("x.normal_()", True),
        ("x.normal_(generator=g)", False),
    ],
)
def test_global_random_state_is_recognised(tmp_path: Path, source: str, wrong: bool) -> None:
    file = found(source, tmp_path)
    assert any(is_global_draw(name, call) for name, call in calls(file)) is wrong


def test_only_the_console_prints() -> None:
    def prints(name: str) -> bool:
        return (
            name in ("print", "rich.print", "rich.console.Console")
            or name.startswith(("sys.stdout.", "sys.stderr."))
            or name in ("typer.echo", "typer.secho", "click.echo", "click.secho")
        )

    assert [
        f"{name_of(file)}:{call.lineno}: {name}"
        for file in FILES
        for name, call in calls(file)
        if prints(name) and name_of(file) != CONSOLE
    ] == []


def test_commands_import_nothing_heavy_at_the_top() -> None:
    # what `bench` measures with is imported by its commands when they run
    measuring = [file for file in FILES if unit_of(file) == "bench" and file.name != "commands.py"]
    top = [file for file in FILES if LAYERS[unit_of(file)] >= 5 and file not in measuring]
    assert [
        f"{name_of(file)}: {name}"
        for file in top
        for node in tree(file).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imports(node, file)
        if name.split(".")[0] in HEAVY
    ] == []


def test_the_mission_packages_do_a_job() -> None:
    used = {name.split(".")[0] for file in FILES for name in imports(tree(file), file)}
    assert used >= MISSION


def test_public_names_have_docstrings() -> None:
    assert [
        f"{name_of(file)}:{node.lineno}: {node.name}"
        for file in FILES
        for node in tree(file).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ] == []


def test_no_keyword_bags() -> None:
    assert [
        f"{name_of(file)}:{node.lineno}: {node.name}"
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg
    ] == []


def test_modules_say_their_idea() -> None:
    assert [name_of(file) for file in FILES if not ast.get_docstring(tree(file))] == []


@pytest.mark.parametrize("module", ["srae_dist", "srae_dist.cli"])
def test_import_is_light(module: str) -> None:
    heavy = "{'torch', 'numpy', 'PIL', 'datasets', 'webdataset', 'accelerate', 'pydantic'}"
    code = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
