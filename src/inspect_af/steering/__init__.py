"""Activation steering: contrast pairs, activations, fitted vectors, their validation and random controls.

Contrast pairs are in `pairs` and `in_context`, activations in `activations`, estimators and reports in `fit`,
vectors in `vector`, hooks in `model`, what a vector does in `effect`, `sweep` and `heatmap`. Importing these
needs numpy alone; what runs a model imports torch when it is called.
"""
