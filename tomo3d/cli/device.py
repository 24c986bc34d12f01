"""`--device`: where to compute."""

from __future__ import annotations


def check_device(device: str) -> None:
    """Raise RuntimeError if `device` cannot be used, with what is missing and how to get it."""
    if device == "cpu":
        return
    from tomo3d.compute.backend import gpu_status

    status = gpu_status()
    if not status.is_available:
        raise RuntimeError(f"--device gpu needs CuPy and a CUDA device: {status.reason}.")
    raise RuntimeError(
        f"--device gpu: there is a GPU ({status.reason}), but this version of tomo3d computes on the CPU only."
    )
