"""`--device`: where to compute."""

from __future__ import annotations

from tomo3d.pipeline import check_function


def check_device(device: str, run: str | None = None) -> None:
    """Raise RuntimeError if `device` cannot be used, with what is missing and how to get it.

    Raises
    ------
    ValueError
        If the function `run`, where one is given, computes on the CPU only.
    """
    if device == "cpu":
        return
    if run is not None:
        check_function(run, device)
    from tomo3d.compute.backend import gpu_status

    status = gpu_status()
    if not status.is_available:
        raise RuntimeError(f"--device gpu needs CuPy and a CUDA device: {status.reason}.")
