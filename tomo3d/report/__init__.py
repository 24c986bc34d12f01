"""One self-contained HTML page from what a run did: figures, numbers, parameters, limits, provenance."""

from tomo3d.report._page import write
from tomo3d.report._records import RunRecord, StepRecord, StoredPicture

__all__ = ["RunRecord", "StepRecord", "StoredPicture", "write"]
