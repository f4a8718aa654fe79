"""Activation steering: contrast pairs, activations, fitted vectors, their validation and random controls.

Importing this needs numpy and safetensors alone. What runs a model (`load_model`, `extract_activations`,
`additions`, `steering`) imports torch when it is called. Sweeps, heatmaps and pairs from logs are in modules
of their own: `inspect_af.steering.sweep`, `sweep_cells`, `sweep_report`, `heatmap`, `in_context`.
"""

from inspect_af.steering.activations import (
    Activations,
    ActivationsHeader,
    LayerActivations,
    Locus,
    load_activations,
    write_activations,
)
from inspect_af.steering.build import FitSettings, FittedVectors, fit_vectors, validate_vectors
from inspect_af.steering.controls import random_controls
from inspect_af.steering.discrimination import Discrimination, discriminate
from inspect_af.steering.extraction import extract_activations
from inspect_af.steering.extraction_model import LoadedModel, load_model
from inspect_af.steering.fit import PairedFit, fit_mean_difference, fit_paired_logistic
from inspect_af.steering.folds import grouped_folds
from inspect_af.steering.hooks import additions, steering
from inspect_af.steering.layers import parse_layers
from inspect_af.steering.pairs import (
    ContrastPair,
    Message,
    Origin,
    PairSet,
    PairSource,
    Span,
    Split,
    Transcript,
    load_pairs,
    pair_set,
    write_pairs,
)
from inspect_af.steering.report import (
    SteeringReport,
    control_bands,
    cosine_curve,
    report_text,
    steering_report,
)
from inspect_af.steering.validate import Validation, best_layers
from inspect_af.steering.vector import (
    LogisticFit,
    MeanDifferenceFit,
    RandomFit,
    SteeringVector,
    VectorHeader,
    load_vector,
    make_vector,
    with_validation,
)

__all__ = [
    "Activations",
    "ActivationsHeader",
    "ContrastPair",
    "Discrimination",
    "FitSettings",
    "FittedVectors",
    "LayerActivations",
    "LoadedModel",
    "Locus",
    "LogisticFit",
    "MeanDifferenceFit",
    "Message",
    "Origin",
    "PairSet",
    "PairSource",
    "PairedFit",
    "RandomFit",
    "Span",
    "Split",
    "SteeringReport",
    "SteeringVector",
    "Transcript",
    "Validation",
    "VectorHeader",
    "additions",
    "best_layers",
    "control_bands",
    "cosine_curve",
    "discriminate",
    "extract_activations",
    "fit_mean_difference",
    "fit_paired_logistic",
    "fit_vectors",
    "grouped_folds",
    "load_activations",
    "load_model",
    "load_pairs",
    "load_vector",
    "make_vector",
    "pair_set",
    "parse_layers",
    "random_controls",
    "report_text",
    "steering",
    "steering_report",
    "validate_vectors",
    "with_validation",
    "write_activations",
    "write_pairs",
]
