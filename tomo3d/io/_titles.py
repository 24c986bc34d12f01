"""What titles say: names of classes ("1 = film; 2 = carbon"), and the tilt axis."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

TITLE_CHARACTERS = 80
N_TITLES = 10
_ENTRY = re.compile(r"(-?\d+) = ?(.*)")  # the space after an empty name is lost at the end of a title
_SEPARATOR = "; "
ANGLES_LINE = "tilt angles (deg) = "  # then a list of numbers, in the description of a TIFF
_LINE = re.compile(r"(-?\d{1,10}) = ?(.*)")
_MOST_NAMES = 100_000
_AXIS = re.compile(r"tilt axis angle\s*=\s*([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)", re.IGNORECASE)


def name_titles(names: Mapping[int, str]) -> list[str]:
    """Titles that hold the names; what is not plain ASCII is escaped as in JSON.

    Raises
    ------
    ValueError
        If they do not fit into the header.
    """
    lines: list[str] = []
    for value, name in names.items():
        # A semicolon in a name must not end it; surrounding spaces must survive the header.
        text = json.dumps(name)[1:-1].replace(";", "\\u003b")
        if text != text.strip():
            text = text.replace(" ", "\\u0020")
        entry = f"{int(value)} = {text}"
        if lines and len(lines[-1]) + len(_SEPARATOR) + len(entry) <= TITLE_CHARACTERS:
            lines[-1] += _SEPARATOR + entry
        else:
            lines.append(entry)
    if len(lines) >= N_TITLES or any(len(line) > TITLE_CHARACTERS for line in lines):
        raise ValueError(
            f"the names of the classes must fit into {N_TITLES - 1} titles of {TITLE_CHARACTERS} characters, "
            f"got {len(lines)} titles of up to {max(map(len, lines))} characters: shorten them."
        )
    return lines


def read_names(titles: Sequence[str]) -> dict[int, str]:
    """The names in titles that tomo3d wrote; titles of other programs are left alone."""
    if not any(title.startswith("tomo3d ") for title in titles):
        return {}
    names = {}
    for title in titles:
        entries = [_ENTRY.fullmatch(entry) for entry in title.split(_SEPARATOR)]
        if all(entries):
            for entry in entries:
                if entry is not None:
                    names[int(entry[1])] = _unescaped(entry[2])
    return names


def name_lines(names: Mapping[int, str]) -> str:
    """Names of classes as text: "1 = film", one a line; a line break in a name becomes a space."""
    return "\n".join(f"{value} = {' '.join(name.split())}" for value, name in names.items())


def read_name_lines(text: str) -> dict[int, str]:
    """The names in a text that has nothing but such lines; none in any other text."""
    entries = [_LINE.fullmatch(line.strip()) for line in text.strip().splitlines()[:_MOST_NAMES]]
    return {int(entry[1]): entry[2] for entry in entries if entry} if all(entries) else {}


def read_angle_line(text: str) -> list[float] | None:
    """Tilt angles in a description that tomo3d wrote; None where there are none."""
    lines = [line.removeprefix(ANGLES_LINE) for line in text.splitlines() if line.startswith(ANGLES_LINE)]
    try:
        return [float(word) for word in lines[0].split(",")] if lines else None
    except ValueError:
        return None


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except json.JSONDecodeError:  # not written by us: the text as it stands
        return text


def title_axis(titles: Sequence[str]) -> float | None:
    """Tilt axis in degrees from the title that IMOD and SerialEM write; None where there is none."""
    for title in titles:
        if found := _AXIS.search(title):
            return float(found[1])
    return None
