"""The two errors that Python has no name for; everything else is a built-in exception."""


class FormatError(ValueError):
    """A file is not what it claims to be, or contradicts itself."""


class ConvergenceError(RuntimeError):
    """An iteration did not converge; the message carries its last residual."""
