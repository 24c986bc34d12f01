"""Values of a recipe (what TOML or a command line can write) turned into what a parameter's annotation asks for."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tomo3d.pipeline._catalogue import did_you_mean, resolve
from tomo3d.pipeline._hints import hints, is_options, is_path, members, signature
from tomo3d.pipeline._kinds import item_of, kind_of

_WORDS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "the path of a file",
}
_SEQUENCES = (tuple, list, Sequence, Iterable)
Refer = Callable[[str, type], Any]


class InputError(TypeError):
    """An input names a step, but one that makes another type of result."""


@dataclasses.dataclass(frozen=True)
class Context:
    """What a value may refer to: the folder of the recipe, and results of earlier steps.

    `refer(text, cls)` returns what stands for the result named `text`, or None where `text` names
    none; it raises ValueError where `text` can only be a wrong name.
    """

    folder: Path
    refer: Refer


def convert(value: Any, annotation: Any, context: Context) -> Any:
    """The value as `annotation` wants it.

    Raises
    ------
    TypeError
        If the value is of another kind.
    ValueError
        If it is of the right kind but not one of those allowed.
    """
    alternatives = members(annotation)
    if len(alternatives) > 1:
        return _convert_union(value, annotation, alternatives, context)
    kind = alternatives[0]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is Literal:
        return _convert_literal(value, arguments)
    if kind in (bool, int, float, str):
        return _convert_scalar(value, kind)
    if is_path(kind):
        return _convert_path(value, context)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(_convert_literal(value, tuple(member.value for member in kind)))
    if kind is np.ndarray or origin is np.ndarray:
        return _convert_array(value)
    if origin in _SEQUENCES or kind in _SEQUENCES:
        return _convert_sequence(value, kind, arguments, context)
    if (origin or kind) in (Mapping, dict):
        return _convert_mapping(value, arguments or (str, Any), context)
    if (origin or kind) is Callable:
        return _convert_method(value, kind, context)
    if isinstance(kind, type):
        return _convert_object(value, kind, context)
    raise _wrong(value, kind)


def describe(annotation: Any) -> str:
    """What a parameter takes, in words."""
    words = []
    for kind in members(annotation):
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind is types.NoneType:
            continue
        if origin is Literal:
            words.append("one of " + ", ".join(repr(choice) for choice in arguments))
        elif kind in _WORDS:
            words.append(_WORDS[kind])
        elif is_path(kind):
            words.append(_WORDS[Path])
        elif origin is tuple and arguments and arguments[-1] is not Ellipsis:
            each = {describe(argument) for argument in arguments}
            words.append(f"a list of {len(arguments)} values ({', '.join(sorted(each))})")
        elif origin in _SEQUENCES or kind in _SEQUENCES or kind is np.ndarray or origin is np.ndarray:
            words.append("a list")
        elif (origin or kind) in (Mapping, dict):
            item = item_of(kind)
            words.append(f"a table of names and {describe(item)} each" if item else "a table")
        elif (origin or kind) is Callable:
            words.append(
                'a table that names a function and its parameters, as { run = "reconstruct.wbp", ... }'
            )
        else:
            name = getattr(kind, "__name__", str(kind))
            words.append(f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}")
    return " or ".join(dict.fromkeys(words))


def _wrong(value: Any, annotation: Any) -> TypeError:
    return TypeError(f"must be {describe(annotation)}, got {_show(value)}.")


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, (str, int, float)) else f"{value!r} (a {type(value).__name__})"


def _convert_union(value: Any, annotation: Any, alternatives: tuple[Any, ...], context: Context) -> Any:
    """The alternative that takes the value as it is goes first, so that 2 stays an integer in int | float."""
    if value is None and types.NoneType in alternatives:
        return None
    if is_path(annotation):  # str | Path: text in a recipe is a path from the recipe's folder
        alternatives = tuple(kind for kind in alternatives if kind is not str)
    ordered = sorted(alternatives, key=lambda kind: type(value) is not kind or kind is str)
    told: Exception | None = None
    for kind in ordered:
        if kind is types.NoneType:
            continue
        try:
            return convert(value, kind, context)
        except InputError as error:
            told = told or error
        except TypeError:
            continue
        except ValueError as error:  # the right kind, but not allowed: more telling than "wrong kind"
            told = told or error
    raise told or _wrong(value, annotation)


def _convert_literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if value == choice and type(value) is type(choice):
            return choice
    near = did_you_mean(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else "."
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"must be one of {listed}, got {_show(value)}{near if near.endswith('?') else '.'}")


def _convert_scalar(value: Any, kind: type) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise _wrong(value, kind)
    return value


def _convert_path(value: Any, context: Context) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise _wrong(value, Path)
    path = context.folder / Path(value).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"must be an existing file, got {str(value)!r}: there is no {path}.")
    return path


def _convert_array(value: Any) -> np.ndarray:
    numbers = np.array(value) if isinstance(value, list) else None
    if numbers is None or numbers.dtype.kind not in "iuf":
        raise TypeError(f"must be a list of numbers, got {_show(value)}.")
    return numbers


def _convert_sequence(value: Any, kind: Any, arguments: tuple[Any, ...], context: Context) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _wrong(value, kind)
    as_list = (typing.get_origin(kind) or kind) is list
    if not arguments or arguments[-1] is Ellipsis or not _is_tuple(kind):
        each = arguments[0] if arguments else Any
        wanted = [each] * len(value)
    else:
        wanted = list(arguments)
    if len(value) != len(wanted):
        raise ValueError(f"must be {describe(kind)}, got {len(value)} in {list(value)!r}.")
    converted = [convert(item, item_kind, context) for item, item_kind in zip(value, wanted, strict=True)]
    return converted if as_list else tuple(converted)


def _is_tuple(kind: Any) -> bool:
    """Whether this annotation is a tuple type."""
    return (typing.get_origin(kind) or kind) is tuple


def _convert_mapping(value: Any, arguments: tuple[Any, ...], context: Context) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a table, as {{ name = value }}, got {_show(value)}.")
    key_kind, item_kind = arguments
    converted = {}
    for key, item in value.items():
        if key_kind is int:  # keys are text in TOML
            try:
                key = int(key)
            except ValueError:
                raise TypeError(f"must have integers as keys, got {key!r}.") from None
        converted[key] = convert(item, item_kind, context)
    return converted


def _convert_method(value: Any, kind: Any, context: Context) -> functools.partial[Any]:
    """A function of the list with all its parameters but its first input, from { run = "stage.function", ... }."""
    if not (isinstance(value, Mapping) and isinstance(value.get("run"), str)):
        raise _wrong(value, kind)
    run = value["run"]
    function = resolve(run)
    wanted, made = (typing.get_args(kind) or (None, Any))[-1], hints(function).get("return", Any)
    if wanted is not Any and made is not wanted:
        raise ValueError(
            f"must run a function that makes {describe(wanted)}, got {run}, which makes {describe(made)}."
        )
    known = {
        p.name: p
        for p in signature(function)
        if p.kind is inspect.Parameter.KEYWORD_ONLY and not any(map(kind_of, members(p.annotation)))
    }  # data, as an alignment, are inputs of the step that runs the method
    given = {}
    for name, item in value.items():
        if name == "run":
            continue
        if name not in known:
            raise ValueError(f"runs {run}, which has no parameter {name!r}{did_you_mean(name, known)}")
        try:
            given[name] = convert(item, known[name].annotation, context)
        except (TypeError, ValueError) as error:
            raise type(error)(f"runs {run}: {name} {error}") from None
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and name not in given:
            raise ValueError(f"runs {run}, which needs {name} ({describe(parameter.annotation)}).")
    return functools.partial(function, **given)


def _convert_object(value: Any, kind: type, context: Context) -> Any:
    """A result of an earlier step by its id, or a dataclass from a table or the text that its parser takes."""
    if isinstance(value, kind):
        return value
    parser = getattr(kind, "parse", None)
    if isinstance(value, str):
        found = context.refer(value, kind)
        if found is not None:
            return found
        if parser is not None:
            return parser(value)
    if isinstance(value, Mapping) and is_options(kind):
        return _from_table(value, kind, context)
    raise _wrong(value, kind)


def _from_table(value: Mapping[str, Any], kind: type, context: Context) -> Any:
    known = hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    given = {key: item for key, item in value.items() if key != "type"}
    named = value.get("type", kind.__name__)
    if named != kind.__name__:
        raise TypeError(f"must be a table of type {kind.__name__!r}, got {named!r}.")
    for key in given:
        if key not in fields:
            raise ValueError(f"{kind.__name__} has no field {key!r}{did_you_mean(key, fields)}")
    converted = {}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if name in given:
            try:
                converted[name] = convert(given[name], known[name], context)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{name} {error}") from None
        elif required:
            raise ValueError(f"{kind.__name__} needs the field {name!r} ({describe(known[name])}).")
    return kind(**converted)
