"""Every key of a recipe as data: its dotted name, kind of value, default and meaning.

Read off the schema once, so that messages, ``--set``, the saved recipe and docs/recipes.md speak
of the same keys in the same words.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from srae_dist.core.errors import did_you_mean
from srae_dist.recipe.schema import Recipe, Section

_BOUNDS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "multiple_of": "a multiple of {}",
    "min_length": "not empty",
}
_NOUNS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    str: ("text", "texts"),
}


@dataclass(frozen=True)
class Kind:
    """What values a key takes."""

    base: Any  # bool, int, float, str, Literal or tuple
    choices: tuple[Any, ...]  # of a Literal
    items: tuple[Kind, ...]  # of a tuple; one for any number of them
    fixed: bool  # a tuple of exactly len(items)
    bounds: tuple[str, ...]
    optional: bool

    def words(self) -> str:
        """Describe the values, as in "a whole number, at least 1"."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        return self._bounded("a list of ", number=0)

    def parse(self, text: str) -> Any:
        """Read ``text`` from a command line; what does not fit is left for validation to refuse."""
        text = text.strip()
        if self.optional and text.lower() == "none":
            return None
        if self.items:
            value = _toml_or_text(text)
            if isinstance(value, list):
                return value
            bare = text.removeprefix("[").removesuffix("]").strip()  # shells eat the quotes
            return [self.items[0].parse(item) for item in bare.split(",")] if bare else []
        if self.base is str or isinstance(next(iter(self.choices), None), str):
            value = _toml_or_text(text)
            return value if isinstance(value, str) else text
        return _toml_or_text(text)

    def _bounded(self, before: str, *, number: int) -> str:
        if self.items:
            count = f"{len(self.items)} " if self.fixed else ""
            return f"{before}{count}{self.items[0]._bounded('lists of ', number=1)}"
        noun = _NOUNS[self.base][number]
        return f"{noun}, {' and '.join(self.bounds)}" if self.bounds else noun


@dataclass(frozen=True)
class Key:
    """One key of a recipe."""

    name: str  # dotted: section.key
    kind: Kind
    default: Any
    meaning: str

    def of(self, recipe: Recipe) -> Any:
        """Return the key's value in a recipe."""
        section, _, field = self.name.partition(".")
        return getattr(getattr(recipe, section), field)


def toml_value(value: Any) -> str:
    """Write a value as TOML does; ``None``, which TOML lacks, as ``none``."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            return (
                f"{{{', '.join(f'{name} = {toml_value(item)}' for name, item in value.items())}}}"
            )
    return str(value)


def nearest_key(name: str) -> str:
    """Suggest the known key or section that a wrong name was meant to be."""
    last = name.rpartition(".")[2]
    elsewhere = [key for key in KEYS if key.endswith(f".{last}")]
    if elsewhere:
        return f" Did you mean '{elsewhere[0]}'?"
    return did_you_mean(name, KEYS if "." in name else [*SECTIONS, *KEYS])


def _toml_or_text(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # no TOML, a number without end, or nested too deep
        return text
    value = table["value"]
    return text if len(table) > 1 or isinstance(value, dict) else value  # no key takes a table


def _kind(annotation: Any, metadata: Iterable[Any] = (), optional: bool = False) -> Kind:
    """Take an annotation apart: Annotated and ``X | None`` around a plain type."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _kind(arguments[0], [*metadata, *arguments[1:]], optional)
    if NoneType in arguments:
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return _kind(inner, metadata, True)
    origin = get_origin(annotation) or annotation
    items = [item for item in arguments if item is not Ellipsis] if origin is tuple else []
    return Kind(
        base=origin,
        choices=arguments if origin is Literal else (),
        items=tuple(map(_kind, items)),
        fixed=Ellipsis not in arguments,
        bounds=tuple(_bounds(metadata)),
        optional=optional,
    )


def _bounds(metadata: Iterable[Any]) -> Iterable[str]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _bounds(item.metadata)
        for name, words in _BOUNDS.items():
            bound = getattr(item, name, None)
            if bound is not None:
                yield words.format(_number(bound))


def _number(value: float) -> str:
    if value != int(value):
        return str(value)
    zeros = len(str(int(value))) - 1
    return f"10^{zeros}" if zeros > 9 and value == 10**zeros else f"{int(value):,}"


def _section(field: FieldInfo) -> type[Section]:
    assert isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    return field.annotation


SECTIONS: dict[str, type[Section]] = {
    name: _section(field) for name, field in Recipe.model_fields.items() if name != "name"
}
KEYS: dict[str, Key] = {
    key.name: key
    for section, fields in SECTIONS.items()
    for key in (
        Key(
            f"{section}.{name}",
            _kind(field.annotation, field.metadata),
            field.default,
            " ".join((field.description or "").split()),
        )
        for name, field in fields.model_fields.items()
    )
}
