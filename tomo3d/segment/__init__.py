"""Segmentation: from grey values to classes by thresholds, the cleaning of classes, and their choice."""

from tomo3d.segment._clean import clean
from tomo3d.segment._select import select
from tomo3d.segment._thresholds import multi_otsu, otsu, threshold

__all__ = ["clean", "multi_otsu", "otsu", "select", "threshold"]
