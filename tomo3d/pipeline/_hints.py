"""Annotations of a function, resolved to types."""

from __future__ import annotations

import ast
import collections.abc
import dataclasses
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any


@cache
def hints(subject: Callable[..., Any] | type) -> dict[str, Any]:
    """Types of the parameters (or fields) of `subject`, and of its result as "return".

    Names that a module imports for type checkers only are imported here.
    """
    try:
        return typing.get_type_hints(subject)
    except NameError:
        names = _type_checking_names(subject.__module__)
        return typing.get_type_hints(subject, localns=names)


def signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Parameters of a function, with resolved annotations, but those that only Python can give."""
    known = hints(function)
    parameters = [
        parameter.replace(annotation=known.get(name, Any))
        for name, parameter in inspect.signature(function).parameters.items()
    ]
    return [parameter for parameter in parameters if not is_for_python(parameter)]


def is_for_python(parameter: inspect.Parameter) -> bool:
    """Whether this is an option that no file or text stands for: a callback, or an array to write to."""
    kinds = [kind for kind in members(parameter.annotation) if kind is not types.NoneType]
    return (
        parameter.kind is inspect.Parameter.KEYWORD_ONLY
        and parameter.default is not inspect.Parameter.empty
        and bool(kinds)
        and all(map(_has_no_text, kinds))
    )


def _has_no_text(kind: Any) -> bool:
    """Whether this is a function, an array to write to, or a table of those."""
    if typing.get_origin(kind) is collections.abc.Mapping:
        return _has_no_text(typing.get_args(kind)[1])
    return typing.get_origin(kind) is collections.abc.Callable or bool(getattr(kind, "_is_protocol", False))


def members(annotation: Any) -> tuple[Any, ...]:
    """Alternatives of a union; the annotation itself where it is none."""
    if typing.get_origin(annotation) is typing.Annotated:
        return members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(m for argument in typing.get_args(annotation) for m in members(argument))
    return (annotation,)


def is_options(annotation: Any) -> bool:
    """Whether this is a dataclass (of parameters or of results)."""
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation)


def is_path(annotation: Any) -> bool:
    """Whether a parameter takes the path of a file."""
    import os
    from pathlib import PurePath

    for member in members(annotation):
        origin = typing.get_origin(member) or member
        if origin is os.PathLike or (isinstance(origin, type) and issubclass(origin, PurePath)):
            return True
    return False


def _type_checking_names(module_name: str) -> dict[str, Any]:
    """What a module imports under `if TYPE_CHECKING:`, by name."""
    source = inspect.getsource(sys.modules[module_name])
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for name, value in _imports(node):
                found[name] = value
    return found


def _imports(block: ast.If) -> Iterator[tuple[str, Any]]:
    for node in block.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = importlib.import_module(alias.name)
                root = sys.modules[alias.name.partition(".")[0]]
                yield (alias.asname, module) if alias.asname else (root.__name__, root)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                yield alias.asname or alias.name, getattr(module, alias.name)
