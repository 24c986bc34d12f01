"""A recipe bound to the signatures of its functions, before any data are read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tomo3d.pipeline._catalogue import did_you_mean, resolve
from tomo3d.pipeline._hints import hints, is_options, is_path, members, signature
from tomo3d.pipeline._kinds import (
    OTHER_EXTENSIONS,
    READERS,
    extension,
    file_fields,
    item_of,
    kind_of,
    result_fields,
)
from tomo3d.pipeline._recipe import Recipe, Step
from tomo3d.pipeline._values import Context, InputError, convert, describe
from tomo3d.planning import plan_of


@dataclass(frozen=True)
class Reference:
    """The result of an earlier step, or one field of it."""

    step: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.step}.{self.field}" if self.field else self.step


@dataclass(frozen=True)
class BoundStep:
    """One call: a function, its arguments (a Reference stands for the result of an earlier step), its result."""

    id: str
    run: str
    function: Callable[..., Any] = field(repr=False)
    arguments: Mapping[str, Any]
    positional: tuple[str, ...]
    result: Any
    given: Mapping[str, Any]
    ending: str = ""  # of the files of its results, where they can have it; "" for the usual ones

    def __post_init__(self) -> None:
        for name in self.names:
            if not name or set(name) & set("/\\\0"):
                raise ValueError(f"{self.positional[0]} must have names that files can bear, got {name!r}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the results where there is one for each item of the first argument; empty for all else."""
        return tuple(self.arguments[self.positional[0]]) if item_of(self.result) else ()

    @property
    def fields(self) -> dict[str, Any]:
        """Types that later steps may use, by field."""
        return result_fields(self.result, self.names)

    @property
    def is_source(self) -> bool:
        """Whether this step only reads a file: the file itself is its stored result."""
        return self.run.startswith("io.") or self.run in READERS.values()

    @property
    def outputs(self) -> dict[str, str]:
        """File name of each field that is stored ("" for a whole result); empty where nothing is."""
        fields = None if self.is_source else file_fields(self.result, self.names)
        return {name: output_name(self.id, name, cls, self.ending) for name, cls in (fields or {}).items()}

    @property
    def is_streamed(self) -> bool:
        """Whether its volume is written slab by slab while it is computed: into Zarr, where the function can."""
        return (
            self.ending == ".zarr"
            and kind_of(self.result) == "Volume"
            and plan_of(self.function) is not None
            and "out" in inspect.signature(self.function).parameters
        )

    @property
    def references(self) -> tuple[Reference, ...]:
        """Results of earlier steps that this one takes."""
        return tuple(_references(list(self.arguments.values())))

    def references_of(self, name: str) -> tuple[Reference, ...]:
        """Results of earlier steps that one argument takes."""
        return tuple(_references(self.arguments[name]))

    def call_arguments(self, replace: Callable[[Any], Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as the function takes them, each through `replace` where it is a Reference."""
        values = {name: substitute(value, replace) for name, value in self.arguments.items()}
        return [values.pop(name) for name in self.positional], values


@dataclass(frozen=True)
class BoundRecipe:
    """A recipe whose every step fits the function that it runs."""

    recipe: Recipe
    steps: tuple[BoundStep, ...]


def plan(recipe: Recipe) -> BoundRecipe:
    """Bind every step of a recipe to the signature of its function.

    Parameters
    ----------
    recipe : Recipe
        As `load` reads it.

    Returns
    -------
    BoundRecipe
        Steps with all their arguments, defaults included. No data are read.

    Raises
    ------
    ValueError
        If a stage, function, parameter or input is not known, missing, ambiguous or not allowed.
    TypeError
        If a value or an input is of the wrong kind.
    FileNotFoundError
        If an input file does not exist.
    """
    bound: list[BoundStep] = []
    for step in recipe.steps:
        try:
            bound.append(_bind(step, bound, recipe))
        except (ValueError, TypeError, OSError) as error:
            raise type(error)(f"step {step.id!r}: {error}") from None
    return BoundRecipe(recipe, tuple(bound))


class Named:
    """Context in which an error gets the step as a note; its type and text stay as they are."""

    def __init__(self, step: BoundStep) -> None:
        self._note = f"step {step.id!r}, {step.run}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(self._note)


def output_name(stem: str, field_name: str, cls: Any, ending: str = "") -> str:
    """File name of a result, or of one field of it."""
    return f"{stem}.{field_name}{extension(cls, ending)}" if field_name else f"{stem}{extension(cls, ending)}"


def substitute(value: Any, replace: Callable[[Any], Any]) -> Any:
    """The value with every Reference in it replaced."""
    if isinstance(value, Reference):
        return replace(value)
    if isinstance(value, (list, tuple)):
        return type(value)(substitute(item, replace) for item in value)
    if isinstance(value, dict):
        return {key: substitute(item, replace) for key, item in value.items()}
    return value


def _references(value: Any) -> Iterator[Reference]:
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        yield from _references(list(value.values()))


def _bind(step: Step, earlier: list[BoundStep], recipe: Recipe) -> BoundStep:
    function = resolve(step.run)
    parameters = {parameter.name: parameter for parameter in signature(function)}
    for name in step.values:
        if name not in parameters:
            raise ValueError(f"{step.run} has no parameter {name!r}{did_you_mean(name, parameters)}")
    later = {other.id for other in recipe.steps} - {other.id for other in earlier}
    folder = recipe.path.absolute().parent
    arguments = {}
    for name, parameter in parameters.items():
        context = Context(folder, functools.partial(_refer, parameter, earlier, later))
        if name in step.values:
            arguments[name] = _given(step, parameter, context)
        elif parameter.default is not inspect.Parameter.empty:
            arguments[name] = parameter.default
        else:
            arguments[name] = _default_input(step, parameter, parameters, earlier)
    positional = tuple(n for n, p in parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY)
    result = hints(function).get("return", Any)
    bound = BoundStep(
        step.id, step.run, function, arguments, positional, result, dict(step.values), step.ending
    )
    _check_ending(bound)
    return bound


def _check_ending(step: BoundStep) -> None:
    """Raise ValueError unless a result of the step can have the ending that is asked for."""
    if not step.ending or any(name.endswith(step.ending) for name in step.outputs.values()):
        return
    kinds = [str(kind_of(cls)) for cls in (file_fields(step.result, step.names) or {}).values()]
    known = sorted({ending[1:] for kind in kinds for ending in OTHER_EXTENSIONS.get(kind, ())})
    told = f"must be one of {', '.join(known)}" if known and not step.is_source else "must be left out"
    raise ValueError(f"{step.run}: format {told}, got {step.ending[1:]!r}.")


def _given(step: Step, parameter: inspect.Parameter, context: Context) -> Any:
    try:
        return convert(step.values[parameter.name], parameter.annotation, context)
    except (ValueError, TypeError, OSError) as error:
        raise type(error)(f"{step.run}: {parameter.name} {error}") from None


def data_types(parameter: inspect.Parameter) -> tuple[Any, ...]:
    """Types of results that a parameter takes: all kinds with files; other results only as positional data."""
    positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    return tuple(
        cls
        for cls in members(parameter.annotation)
        if kind_of(cls) or (positional and is_options(cls) and not hasattr(cls, "parse"))
    )


def _refer(
    parameter: inspect.Parameter, earlier: list[BoundStep], later: set[str], text: str, cls: type
) -> Reference | None:
    """The Reference that `text` names; None where `text` may still be something else than an id."""
    step_id, _, field_name = text.partition(".")
    source = next((step for step in earlier if step.id == step_id), None)
    if cls not in (
        *data_types(parameter),
        item_of(parameter.annotation),
    ):  # a parameter: its text is an id only if that step makes the type
        made = source.fields.get(field_name) if source else None
        return Reference(step_id, field_name) if _is_a(made, cls) else None
    if source is None and step_id in later:
        raise ValueError(f"must name an earlier step, and {step_id!r} is this step itself or a later one.")
    if source is None:
        near = did_you_mean(step_id, [step.id for step in earlier])
        raise ValueError(f"must name an earlier step that makes {describe(cls)}, got {text!r}{near}")
    fields = source.fields
    if field_name not in fields:
        fields.pop("")
        raise ValueError(f"{step_id!r} has no field {field_name!r}{did_you_mean(field_name, fields)}")
    made = fields[field_name]
    if not _is_a(made, cls):
        several = sorted(name for name, other in fields.items() if name and _is_a(other, cls))
        hint = f"; name one of {', '.join(f'{step_id}.{name}' for name in several)}" if several else ""
        raise InputError(
            f"must be {describe(parameter.annotation)}, got {text!r}, which makes {describe(made)}{hint}."
        )
    return Reference(step_id, field_name)


def _is_a(made: Any, wanted: Any) -> bool:
    return any(
        m is wanted or (isinstance(m, type) and isinstance(wanted, type) and issubclass(m, wanted))
        for m in members(made)
    )


def _default_input(
    step: Step,
    parameter: inspect.Parameter,
    parameters: Mapping[str, inspect.Parameter],
    earlier: list[BoundStep],
) -> Reference:
    """The latest earlier result that a required input left out of the recipe takes."""
    wanted = data_types(parameter)
    if not wanted:
        raise ValueError(f"{step.run} needs {parameter.name} ({describe(parameter.annotation)}).")
    rivals = [
        other.name
        for other in parameters.values()
        if other.name != parameter.name
        and other.default is inspect.Parameter.empty
        and set(data_types(other)) & set(wanted)
    ]
    if rivals:
        raise ValueError(
            f"{step.run} takes {parameter.name} and {', '.join(rivals)}, of one type: "
            f'name the step of each, as {parameter.name} = "ID".'
        )
    for source in reversed(earlier):
        fields = source.fields
        found = [name for name, made in fields.items() if any(_is_a(made, cls) for cls in wanted)]
        if len(found) > 1 and "" not in found:
            names = ", ".join(f"{source.id}.{name}" for name in found)
            raise ValueError(f"{step.run}: {parameter.name} must be one of {names}; name it.")
        if found:
            return Reference(source.id, "" if "" in found else found[0])
    words = describe(parameter.annotation)
    raise ValueError(f"{step.run} needs {parameter.name} ({words}), and no earlier step makes one.")


def input_files(step: BoundStep) -> dict[str, Path]:
    """Paths of the files that a step reads, by parameter."""
    paths = {}
    for parameter in signature(step.function):
        value = step.arguments[parameter.name]
        if isinstance(value, Path) and is_path(parameter.annotation):
            paths[parameter.name] = value
    return paths
