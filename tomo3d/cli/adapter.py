"""From a stage function to a command: the same names, defaults and help, data arguments as file paths."""

from __future__ import annotations

import inspect
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import docstring_parser
from cyclopts import App, Parameter

from tomo3d.cli.console import print_table, typed_command
from tomo3d.cli.device import check_device
from tomo3d.pipeline import (
    Context,
    call,
    convert,
    data_types,
    is_path,
    item_of,
    kind_of,
    members,
    output_endings,
    reader_of,
    resolve,
    signature,
)

_NATIVE = (bool, int, float, str, types.NoneType)
_OUTPUT_HELP = "File of the result"


class _Default(str):
    """Text of a default that is no text itself, as help shows it; the function has the default.

    Where pydantic is loaded, cyclopts has it check that a default is of the type that the option is read as.
    """

    __slots__ = ()


def add_command(app: App, run: str) -> None:
    """Add the command of a stage function to the app of its stage."""
    function = resolve(run)
    text = docstring_parser.parse(inspect.getdoc(function) or "", docstring_parser.Style.NUMPYDOC)
    help_text = "\n\n".join(part for part in (text.short_description, text.long_description) if part)
    app.command(_command(run, function, text), name=run.partition(".")[2].replace("_", "-"), help=help_text)


def _command(run: str, function: Callable[..., Any], text: docstring_parser.Docstring) -> Callable[..., None]:
    """A function of paths and plain values, with the signature and help that cyclopts reads."""
    explained = {entry.arg_name: _one_line(entry.description) for entry in text.params}
    parameters = signature(function)
    positional = [_positional(parameter, explained) for parameter in parameters if is_positional(parameter)]
    positional.append(_argument("output", Path, _OUTPUT_HELP + _output_note(run)))
    options = [_option(parameter, explained) for parameter in parameters if not is_positional(parameter)]
    reading = _reading_options(parameters, {option.name for option in options})
    common = [
        _keyword("overwrite", bool, False, "Replace an existing output."),
        _keyword("device", Literal["cpu", "gpu"], "cpu", "Where to compute."),
    ]

    def command(*arguments: Any, **keywords: Any) -> None:
        names = [parameter.name for parameter in positional]
        given = dict(zip(names, arguments, strict=False)) | keywords
        given = {name: value for name, value in given.items() if not isinstance(value, _Default)}
        device = given.pop("device", "cpu")
        check_device(device, run)
        output, overwrite = given.pop("output"), given.pop("overwrite", False)
        options_read = {option.name: given.pop(option.name, None) for option in reading}
        value = call(
            run,
            {p.name: _value(given[p.name], p) for p in parameters if p.name in given},
            output,
            reading={name: _read_value(name, item, parameters) for name, item in options_read.items()
                     if item is not None},
            overwrite=overwrite,
            device=device,
            command=typed_command(),
        )  # fmt: skip
        if kind_of(type(value)) == "DataFrame":
            print_table(value)

    command.__name__ = function.__name__
    command.__signature__ = inspect.Signature([*positional, *options, *reading, *common])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*positional, *options, *reading, *common)}
    return command


def is_positional(parameter: inspect.Parameter) -> bool:
    """Whether a parameter is an argument of the command, not an option."""
    return parameter.kind is not inspect.Parameter.KEYWORD_ONLY and not is_table(parameter)


def is_table(parameter: inspect.Parameter) -> bool:
    """Whether a parameter takes several files by name: an option NAME=FILE that is given once for each."""
    return item_of(parameter.annotation) is not None and not data_types(parameter)


def _positional(parameter: inspect.Parameter, explained: Mapping[str, str]) -> inspect.Parameter:
    annotation = Path if data_types(parameter) else _plain_type(parameter.annotation)
    made = _argument(parameter.name, annotation, explained.get(parameter.name, ""))
    return made.replace(default=parameter.default)


def _argument(name: str, annotation: Any, help_text: str) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_ONLY, annotation=Annotated[annotation, Parameter(help=help_text)]
    )


def _option(parameter: inspect.Parameter, explained: Mapping[str, str]) -> inspect.Parameter:
    annotation = parameter.annotation
    kind = Path if data_types(parameter) else list[str] if is_table(parameter) else _plain_type(annotation)
    if types.NoneType in members(annotation):
        kind = kind | None
    default = parameter.default
    is_text = kind in (str, str | None)
    if is_text and not isinstance(default, (str, types.NoneType)) and default is not inspect.Parameter.empty:
        default = _Default(default)
    note = " NAME=FILE, once for each." if is_table(parameter) else ""
    return _keyword(parameter.name, kind, default, explained.get(parameter.name, "") + note)


def _keyword(name: str, annotation: Any, default: Any, help_text: str) -> inspect.Parameter:
    negative = "" if annotation is bool and default is False else None
    shown = Parameter(help=help_text, negative=negative)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, shown]
    )


def _plain_type(annotation: Any) -> Any:
    """What the command line parses itself (numbers, choices, fixed lists of them), or text for `convert`."""
    if is_path(annotation):
        return Path
    kinds = [kind for kind in members(annotation) if kind is not types.NoneType]
    if len(kinds) > 1:
        return str
    kind = kinds[0]
    if kind in _NATIVE or typing.get_origin(kind) is Literal:
        return kind
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and arguments and all(item in _NATIVE for item in arguments):
        return kind
    return str


def _value(value: Any, parameter: inspect.Parameter) -> Any:
    """An argument as the function takes it; data stay paths, which `call` reads."""
    if is_table(parameter) and value is not None:
        return _named_files(parameter, value)
    if data_types(parameter) or value is None or not isinstance(value, str):
        return value
    told: Exception | None = None
    for candidate in _readings(value, parameter.annotation):
        try:
            return convert(candidate, parameter.annotation, Context(Path(), lambda text, cls: None))
        except (ValueError, TypeError) as error:
            told = told or error
    raise type(told)(f"--{parameter.name.replace('_', '-')} {told}")  # type: ignore[misc]


def _named_files(parameter: inspect.Parameter, texts: list[str]) -> dict[str, Path]:
    """Paths by name, from NAME=FILE."""
    files: dict[str, Path] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not (name and path) or name in files:
            option = "--" + parameter.name.replace("_", "-")
            told = f"{name!r} twice" if name in files else repr(text)
            raise ValueError(f"{option} must be NAME=FILE, once for each name, got {told}.")
        files[name] = Path(path)
    return files


def _readings(text: str, annotation: Any) -> list[Any]:
    """What a text may mean, as TOML reads it: 2, [2, 1, 1], {a = 1}; then itself; then a list with commas."""
    if _plain_type(annotation) is str and str in members(annotation):
        return [text]
    return [_parse(text), [_parse(part.strip()) for part in text.split(",")]]


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _reading_options(parameters: list[inspect.Parameter], taken: set[str]) -> list[inspect.Parameter]:
    """Options of the readers of the data arguments, where the function has none of that name itself."""
    found: dict[str, inspect.Parameter] = {}
    for parameter in parameters:
        for option, text in _reader_parameters(parameter):
            if option.name not in taken:
                found.setdefault(option.name, _option(option, {option.name: f"Of the input file: {text}"}))
    return list(found.values())


def _reader_parameters(parameter: inspect.Parameter) -> list[tuple[inspect.Parameter, str]]:
    if not reader_of(parameter):
        return []
    reader = resolve(reader_of(parameter))
    text = docstring_parser.parse(inspect.getdoc(reader) or "", docstring_parser.Style.NUMPYDOC)
    explained = {entry.arg_name: _one_line(entry.description) for entry in text.params}
    return [
        (option, explained.get(option.name, ""))
        for option in signature(reader)
        if not is_positional(option) and not data_types(option)
    ]


def _read_value(name: str, value: Any, parameters: list[inspect.Parameter]) -> Any:
    option = next(
        option
        for parameter in parameters
        for option, _ in _reader_parameters(parameter)
        if option.name == name
    )
    return _value(value, option)


def _output_note(run: str) -> str:
    endings = output_endings(run)
    if "" in endings:
        return f" ({' '.join(endings[''])})."
    return "s, " + " and ".join(f"OUTPUT.{name}{known[0]}" for name, known in endings.items()) + "."


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
