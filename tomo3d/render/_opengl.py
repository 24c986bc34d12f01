"""Whether VTK can draw off screen here, found out in a process of its own.

On a machine without a usable OpenGL library VTK does not raise: the process dies
of a segmentation fault as the window is created. So the first use tries in a
child process, and only a machine where that worked draws in this one.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass

_SWITCH = "TOMO3D_OPENGL"
_TIMEOUT_S = 120.0  # the first import of VTK from a cold network disk takes tens of seconds
_PROBE = """
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow
window = vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
window.AddRenderer(vtkRenderer())
window.Render()
print("drawn by", window.GetClassName())
"""


class OpenGLError(RuntimeError):
    """Three-dimensional scenes cannot be drawn on this machine; the message says what is missing."""


@dataclass(frozen=True)
class OpenGLStatus:
    """Whether scenes can be drawn off screen, and if not, what is missing and how to get it."""

    is_available: bool
    reason: str


def opengl_status() -> OpenGLStatus:
    """Whether surfaces can be drawn off screen, tried once per process.

    Returns
    -------
    OpenGLStatus
        `is_available`, and `reason`: what draws, or what is missing and how to
        get it. The environment variable TOMO3D_OPENGL=off answers no untried.
    """
    if os.environ.get(_SWITCH, "").lower() in ("off", "0", "no"):
        return OpenGLStatus(False, f"switched off by the environment variable {_SWITCH}")
    missing = [name for name in ("vtkmodules", "pyvista") if importlib.util.find_spec(name) is None]
    if missing:
        return OpenGLStatus(
            False,
            f"{' and '.join(missing)} not installed: pip install 'tomo3d[viz]' brings what draws surfaces",
        )
    return _probe()


@functools.cache
def _probe() -> OpenGLStatus:
    advice = (
        "install an OpenGL that needs no screen (Debian, Ubuntu: apt-get install libegl1 libgl1-mesa-dri; "
        "Fedora: mesa-libEGL mesa-dri-drivers)"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return OpenGLStatus(False, f"VTK did not draw a test picture within {_TIMEOUT_S:g} s: {advice}")
    except OSError as error:
        return OpenGLStatus(False, f"a test process could not be started ({error})")
    if done.returncode == 0:
        return OpenGLStatus(True, done.stdout.strip())
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
    return OpenGLStatus(False, f"VTK could not draw a test picture (it ended with {how}): {advice}")


def require_opengl() -> None:
    """Raise OpenGLError unless scenes can be drawn here."""
    status = opengl_status()
    if not status.is_available:
        raise OpenGLError(f"a surface needs OpenGL to be drawn, which is not available: {status.reason}.")
