"""A recipe file, the files it extends and ``--set`` become one validated ``Recipe``.

Every source is first flattened to assignments ``section.key = value`` that know where they stand;
the later assignment wins. So every refusal can name the key, the value and the place.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from srae_dist.core.errors import UserError, did_you_mean
from srae_dist.core.urls import is_url, redacted
from srae_dist.recipe.keys import KEYS, SECTIONS, nearest_key, toml_value
from srae_dist.recipe.schema import Recipe

RECIPES = Path("recipes")  # where a bare name is looked up, before the ones that came with us
SHIPPED = Path(__file__).parents[1] / "recipes"  # a link to the checkout's; files in a wheel
RESOLVED = "recipe.toml"  # in a run folder
MOST_BYTES = 1 << 16  # of a recipe file
LONGEST_LINE = 4096  # characters; of a key of very many parts TOML's parser takes minutes
MOST_DEPTH = 6  # tables and lists in one another; a recipe has two
MOST_FILES = 16  # that extend one another
DEFAULT = "default"
SET = "--set"
_SHOWN = 8  # names of files in a message
_LONGEST = 80  # characters of a value in a message
_NAME = re.compile(r"(?!\.{1,2}\Z)[^/\\\0]{1,100}", re.DOTALL)  # of a folder
_HEADER = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_KEY = re.compile(r"\s*([\w-]+)\s*(?:\.\s*([\w-]+)\s*)?=")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe and, for every dotted key, where its value came from."""

    recipe: Recipe
    origins: dict[str, str]  # "default", "recipes/x.toml:12" or "--set"


@dataclass(frozen=True, slots=True)
class _Assignment:
    key: str  # dotted
    value: Any
    origin: str

    def __str__(self) -> str:
        value = redacted(toml_value(self.value))
        return f"{self.origin} has {redacted(self.key)} = {_short(value)}"


def load_recipe(path: Path, *, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe.

    Args:
        path: a TOML file, or the bare name of one in ``recipes/``.
        overrides: texts ``section.key=value``; they win over the files.

    Raises:
        UserError: a file is missing or not TOML, or a value is refused; one line per mistake.
    """
    path = _find(path)
    name, files = _read_chain(path)
    given = {item.key: item for item in (*files, *map(_parse_override, overrides))}
    return _validate(path, name, given)


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if path == Path():
        raise UserError(f"The recipe's name is empty; name a file.{_neighbours(path, path)}")
    if (path / RESOLVED).is_file():  # a run folder
        return path / RESOLVED
    known = [folder / f"{path}.toml" for folder in (RECIPES, SHIPPED)]
    for file in known if len(path.parts) == 1 else ():
        if file.is_file():
            return file
    if path.is_dir():
        raise UserError(f"{path} is a folder, but a recipe is a file.{_neighbours(path, path)}")
    if len(path.parts) > 1 or path.suffix:
        raise UserError(f"There is no recipe {path}.{_neighbours(path, path.parent)}")
    folder = RECIPES if RECIPES.is_dir() else SHIPPED
    raise UserError(f"There is no recipe {path}.{_neighbours(path, folder)}")


def _neighbours(path: Path, folder: Path) -> str:
    names = sorted(item.name for item in folder.glob("*.toml"))
    wanted = path.name if path.suffix else f"{path.name}.toml"
    where = "The current folder" if folder == Path() else f"The folder {folder}"
    if folder == SHIPPED:
        where = "srae_dist"
    listed = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
    return f" {where} has {listed or 'no recipes'}." + did_you_mean(wanted, names)


def _read_chain(path: Path) -> tuple[str, list[_Assignment]]:
    """Return the recipe's name and all files' assignments, the most basic file's first."""
    name = path.stem
    assignments: list[_Assignment] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        file, following = following, None
        seen.append(file.resolve())
        text, table = _read_toml(file)
        if "extends" in table:
            following = _extended(file, table.pop("extends"), seen)
        own_name = table.pop("name", None)
        if own_name is not None and file == path:
            name = _checked_name(file, own_name)
        assignments[:0] = _flatten(table, file, _line_numbers(text))
    return name, assignments


def _read_toml(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UserError(f"{file} has more than {MOST_BYTES:,} bytes; that is no recipe.")
        text = data.decode("utf-8-sig").replace("\r\n", "\n")  # Windows editors' marks
        if max(map(len, text.split("\n"))) > LONGEST_LINE:
            raise UserError(f"{file} has a line of more than {LONGEST_LINE:,} characters; cut it.")
        return text, _shallow(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {error}; mend it there.") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{file} is not a UTF-8 text file; a recipe is TOML: save it as UTF-8, or name another."
        ) from None
    except RecursionError:
        raise UserError(f"{file} nests values too deep; a recipe has sections and keys.") from None
    except ValueError:  # of whole numbers of thousands of digits
        raise UserError(f"{file} has a number that is too long; write a smaller one.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from None


def _shallow(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table as it is.

    Raises:
        RecursionError: it is nested deeper than anything that a recipe holds.
    """
    level: list[Any] = [table]
    for _ in range(MOST_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [value for items in inner for value in items if isinstance(value, dict | list)]
        if not level:
            return table
    raise RecursionError


def _extended(file: Path, value: Any, seen: list[Path]) -> Path:
    if not isinstance(value, str):
        raise UserError(
            f"{file} has extends = {toml_value(value)}, but it must be the name of one recipe file."
        )
    base = file.parent / value
    if not base.is_file():
        near = _neighbours(Path(value), base.parent)
        raise UserError(f'{file} has extends = "{value}", but there is no {base}.{near}')
    if base.resolve() in seen:
        raise UserError(
            f'{file} has extends = "{value}", but that file extends this one in turn; take one of '
            "the two out."
        )
    if len(seen) >= MOST_FILES:
        raise UserError(f"{file} is the end of a chain of {len(seen)} recipes; extend fewer.")
    return base


def _checked_name(file: Path, name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            f"{file} has name = {toml_value(name)[:_LONGEST]}, but it must be text that can name a "
            "folder, without slashes."
        )
    return name


def _flatten(
    table: Mapping[str, Any], file: Path, lines: Mapping[str, int]
) -> Iterator[_Assignment]:
    def assignment(key: str, value: Any) -> _Assignment:
        return _Assignment(key, value, f"{file}:{lines[key]}" if key in lines else str(file))

    for section, content in table.items():
        if section in SECTIONS and isinstance(content, dict):
            yield from (assignment(f"{section}.{key}", value) for key, value in content.items())
        else:
            yield assignment(section, content)


def _line_numbers(text: str) -> dict[str, int]:
    """Find where keys and sections stand; ``tomllib`` does not tell.

    Looks at line beginnings only, which is enough for the two levels of a recipe.
    """
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            section = header[1]
            lines.setdefault(section, number)
        elif key := _KEY.match(line):
            lines.setdefault(".".join(filter(None, (section, key[1], key[2]))), number)
    return lines


def _parse_override(text: str) -> _Assignment:
    if len(text) > LONGEST_LINE:
        raise UserError(f"--set '{_short(redacted(text))}' is too long; use a recipe file.")
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or is_url(key):
        raise UserError(
            f"--set '{_short(redacted(text))}' is not of the form section.key=value, as in "
            "--set train.steps=500."
        )
    return _Assignment(key, KEYS[key].kind.parse(value) if key in KEYS else value, SET)


def _validate(path: Path, name: str, given: Mapping[str, _Assignment]) -> LoadedRecipe:
    origins = {key: given[key].origin if key in given else DEFAULT for key in KEYS}
    problems = [_unknown(item) for item in given.values() if item.key not in KEYS]
    values: dict[str, Any] = {section: {} for section in SECTIONS}
    for item in given.values():
        if item.key in KEYS:
            section, _, field = item.key.partition(".")
            values[section][field] = item.value
    try:
        recipe = Recipe.model_validate({"name": name, **values})
    except ValidationError as error:
        problems += _refusals(path, error, given, origins)
    if problems:
        raise UserError("\n".join(problems))
    return LoadedRecipe(recipe, origins)


def _unknown(item: _Assignment) -> str:
    if item.key in SECTIONS:
        return f"{item}, but [{item.key}] is a section and holds keys."
    what = "key" if "." in item.key or not isinstance(item.value, dict) else "section"
    return f"{item}, but there is no such {what}.{nearest_key(item.key)}"


def _refusals(
    path: Path, error: ValidationError, given: Mapping[str, _Assignment], origins: Mapping[str, str]
) -> list[str]:
    """Say in our words what pydantic found: a wrong value, or values that do not go together."""
    sentences: dict[str, None] = {}  # a list with two wrong items is one mistake
    for detail in error.errors(include_url=False):
        key = ".".join(map(str, detail["loc"][:2]))
        if key in given:
            kind, value = KEYS[key].kind, given[key].value
            near = did_you_mean(str(value), map(str, kind.choices))
            sentences[f"{given[key]}, but it must be {kind.words()}.{near}"] = None
        else:
            message = str(detail["ctx"]["error"])
            named = [key for key in re.findall(r"\w+\.\w+", message) if key in KEYS]
            places = ", ".join(f"{key} from {origins[key]}" for key in dict.fromkeys(named))
            sentences[f"{path}: {message} ({places})."] = None
    return list(sentences)
