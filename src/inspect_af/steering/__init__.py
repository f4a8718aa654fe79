"""Activation steering: contrast pairs, activations, fitted vectors, their validation and random controls.

What a script needs most is named here; the rest is in the modules `pairs`, `in_context`, `activations`,
`fit`, `vector`, `model`, `sweep` and `heatmap`. Importing this needs numpy alone; what runs a
model imports torch when it is called.
"""

from inspect_af.steering.activations import (
    Activations,
    ActivationsHeader,
    extract_activations,
    load_activations,
    write_activations,
)
from inspect_af.steering.fit import (
    FitSettings,
    SteeringReport,
    fit_vectors,
    steering_report,
    validate_vectors,
)
from inspect_af.steering.model import LoadedModel, additions, load_model, steering
from inspect_af.steering.pairs import (
    ContrastPair,
    Locus,
    Message,
    Origin,
    PairSet,
    Span,
    Split,
    Transcript,
    load_pairs,
    pair_set,
    write_pairs,
)
from inspect_af.steering.vector import (
    LogisticFit,
    MeanDifferenceFit,
    RandomFit,
    SteeringVector,
    Validation,
    VectorHeader,
    best_layers,
    load_vector,
    make_vector,
    parse_layers,
    random_controls,
    with_validation,
)

__all__ = [
    "Activations",
    "ActivationsHeader",
    "ContrastPair",
    "FitSettings",
    "LoadedModel",
    "Locus",
    "LogisticFit",
    "MeanDifferenceFit",
    "Message",
    "Origin",
    "PairSet",
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
    "extract_activations",
    "fit_vectors",
    "load_activations",
    "load_model",
    "load_pairs",
    "load_vector",
    "make_vector",
    "pair_set",
    "parse_layers",
    "random_controls",
    "steering",
    "steering_report",
    "validate_vectors",
    "with_validation",
    "write_activations",
    "write_pairs",
]
