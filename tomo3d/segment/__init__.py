"""Segmentation: from grey values to classes, their cleaning and choice, and how far they agree with others."""

from tomo3d.segment._agreement import agreement
from tomo3d.segment._classifier import PixelClassifier
from tomo3d.segment._classifier_file import load_classifier, save_classifier
from tomo3d.segment._clean import clean
from tomo3d.segment._ensembles import probability_ensemble, threshold_ensemble
from tomo3d.segment._hysteresis import hysteresis
from tomo3d.segment._local_thresholds import local_threshold, sauvola
from tomo3d.segment._mixture import gaussian_mixture
from tomo3d.segment._random_forest import classify, random_forest, train_classifier
from tomo3d.segment._random_walker import random_walker
from tomo3d.segment._select import select
from tomo3d.segment._thresholds import multi_otsu, otsu, threshold
from tomo3d.segment._watershed import marker_watershed, watershed

__all__ = [
    "PixelClassifier",
    "agreement",
    "classify",
    "clean",
    "gaussian_mixture",
    "hysteresis",
    "load_classifier",
    "local_threshold",
    "marker_watershed",
    "multi_otsu",
    "otsu",
    "probability_ensemble",
    "random_forest",
    "random_walker",
    "sauvola",
    "save_classifier",
    "select",
    "threshold",
    "threshold_ensemble",
    "train_classifier",
    "watershed",
]
