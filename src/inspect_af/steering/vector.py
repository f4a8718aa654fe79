"""A steering vector: one direction per layer, its header with its validation, and its treatment.

The file is safetensors with `vector`, float32 [layer, d_model], and a JSON header. At inference
h <- h + multiplier * v_l at every selected layer l and every token. Vectors are not of unit norm.
"""

from __future__ import annotations

import hashlib
import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from inspect_af.config import (
    Record,
    is_file,
    is_number,
    is_remote,
    reaching,
    require,
    shown,
    user_path,
    write_whole,
    writing,
)
from inspect_af.errors import ConfigError, InspectAFError, TreatmentError, problems
from inspect_af.steering.pairs import Locus, PairSource, Split
from inspect_af.types import Family, Steer, Tier

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]

MOST_LAYERS = 10_000  # no model has as many, so a longer range is refused before it is spelt out

_KEY = "inspect_af"  # of a file's header in the metadata of the safetensors file
_PICKLE = (b"\x80", b"PK\x03\x04", b"\x93NUMPY")  # pickle, zip (torch.save, npz), npy
_PART = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?", re.ASCII)


def parse_layers(text: str, available: Sequence[int]) -> tuple[int, ...]:
    """Reads `all`, `12`, `20-40` or several joined by commas: ascending, both ends included, counted from 0.

    A ConfigError where the text is malformed; a TreatmentError where a layer is not `available`.
    """
    if text.strip() == "all":
        return tuple(sorted(set(available)))
    given = f"layers {text[:80]!r}"
    named: set[int] = set()
    n_named = 0
    for part in text.split(",", MOST_LAYERS):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ConfigError(f"{given}; give 'all', a layer such as 12, or a range such as 20-40")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ConfigError(f"{given}: {first}-{last} runs backwards; write {last}-{first}")
        n_named += last - first + 1
        if max(last, n_named) >= MOST_LAYERS:
            raise ConfigError(f"{given}: no model has that many layers; give a shorter range")
        named.update(range(first, last + 1))
    if missing := named - set(available):
        raise TreatmentError(
            f"{given}: no vector for {shown_layers(sorted(missing))}; there are vectors for "
            f"{shown_layers(sorted(available))}"
        )
    return tuple(sorted(named))


def shown_layers(layers: Sequence[int]) -> str:
    """`0-3,7` for 0, 1, 2, 3, 7; what `parse_layers` reads."""
    consecutive = groupby(enumerate(layers), lambda placed: placed[1] - placed[0])
    runs = [[layer for _, layer in run] for _, run in consecutive]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


class LayersHeader(Record):
    """What is known of arrays that have a row for every layer; all arrays of a file have the same shape."""

    schema_version: Literal[1] = 1
    model: str  # name of the model, as transformers loads it
    revision: str | None = None
    base: str | None = None
    """Digest of the model's directory; None where it was none on this machine, and in older files."""
    d_model: int = Field(ge=1)
    layers: tuple[int, ...] = Field(min_length=1)
    """Decoder layers after which the stream is meant, counted from 0, ascending, [layer]."""
    mean_norms: tuple[float, ...]
    """Mean norm of the residual stream over the tokens of extraction, [layer]: the unit of doses."""

    @model_validator(mode="after")
    def _layers_ascend(self) -> LayersHeader:
        if self.layers[0] < 0 or any(later <= earlier for earlier, later in pairwise(self.layers)):
            raise ValueError(f"layers must ascend and not be negative, not {list(self.layers)}")
        if len(self.mean_norms) != len(self.layers) or min(self.mean_norms) <= 0:
            raise ValueError("mean_norms must hold a positive number for every layer")
        return self

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of each of the arrays."""


class Discrimination(Record):
    """Positive against negative sides of the same pairs, by one score."""

    n_pairs: int = Field(ge=1)
    auroc: float = Field(ge=0, le=1)
    """Chance that a positive scores higher than a negative of any pair; ties count half."""
    tpr_at_5_fpr: float = Field(ge=0, le=1)
    """Share of positives above the lowest threshold that at most 5 % of negatives exceed."""
    paired_accuracy: float = Field(ge=0, le=1)
    """Share of pairs whose positive side scores higher; ties count half."""
    mean_gap: float  # mean over pairs of positive minus negative, in units of the score


class BothScores(Record):
    """Single activations of both sides, ranked by two scores."""

    projection: Discrimination  # by h . v / ||v||
    cosine: Discrimination  # by h . v / (||h|| ||v||), which does not depend on the activation's length


class CrossValidation(BothScores):
    """Means over folds; in each, scale and vector come from the other folds' pairs."""

    difference_auroc: float = Field(ge=0, le=1)
    """AUROC of d . v against -d . v: the samples that the regression is fitted to."""
    fold_auroc: tuple[float, ...]  # AUROC by projection in each fold, [fold]


class SplitScores(BothScores):
    """The vector of all training pairs, on the pairs of one split."""

    split: Split


class LayerValidation(Record):
    """What is known about one layer's vector."""

    layer: int
    norm: float  # Euclidean
    cross_validated: CrossValidation | None  # None for a vector that was not fitted to these pairs
    splits: tuple[SplitScores, ...]  # `train` is in-sample where the vector was fitted to these pairs

    def on(self, split: Split) -> SplitScores | None:
        """The results of one split; None where it has no pairs."""
        return next((scores for scores in self.splits if scores.split == split), None)


class Folds(Record):
    """How the training pairs were divided."""

    n: int = Field(ge=2)
    seed: int


class Validation(Record):
    """A vector against the pairs of one file of activations."""

    concept: str  # of the pairs, which may be another than the vector's
    source: PairSource
    locus: Locus
    pairs_digest: str
    n_pairs: dict[Split, int]
    shared_groups: int = Field(ge=0)
    """Requests or topics that occur both in training and in another split: less unseen than they look."""
    folds: Folds | None
    layers: tuple[LayerValidation, ...]
    random_auroc: dict[Split, tuple[float, ...]] = Field(default_factory=dict)
    """AUROC of the best of some random directions, either way round, [layer]; empty in older files."""


def best_layers(validation: Validation | None, n: int = 5) -> tuple[int, ...]:
    """The layers that cross-validate best, best first; none where nothing was cross-validated.

    By AUROC of single activations along the vector, then AUROC of differences, then the mean gap in cosine,
    which tells layers apart where both AUROCs reach 1; of equals the earlier layer.
    """
    ranked = [
        (-found.projection.auroc, -found.difference_auroc, -found.cosine.mean_gap, layer.layer)
        for layer in (validation.layers if validation else ())
        if (found := layer.cross_validated)
    ]
    return tuple(layer for *_, layer in sorted(ranked)[:n])


class MeanDifferenceFit(Record):
    """Mean of positive minus negative."""

    method: Literal["mean-difference"] = "mean-difference"
    locus: Locus
    n_pairs: int = Field(ge=1)


class LogisticFit(Record):
    """Paired logistic regression without intercept, mapped back to activation coordinates."""

    method: Literal["logistic"] = "logistic"
    c: float = Field(gt=0)
    """Inverse strength of the penalty, as scikit-learn counts it on the 2 N samples. Not in source."""
    scale: Literal["root mean square of differences", "none"] = "root mean square of differences"
    """What features were divided by before the fit; `none` is not the source's method."""
    locus: Locus
    n_pairs: int = Field(ge=1)


class RandomFit(Record):
    """Independent Gaussian directions at another vector's norms."""

    method: Literal["random"] = "random"
    seed: int
    index: int = Field(ge=1)  # which of the controls drawn with that seed, from 1
    matched_to: str  # first 16 hexadecimal digits of the sha256 of the vector whose norms these are


Fit = Annotated[LogisticFit | MeanDifferenceFit | RandomFit, Field(discriminator="method")]


class VectorHeader(LayersHeader):
    """What a vector is, which model it is for, and how it was made."""

    typical_norms: tuple[float, ...] | None = None
    """The norm that an activation would have if all its features were as large as the middle one, [layer]; a
    few features may be nearly all of `mean_norms`. None in older files."""
    concept: str
    family: Family | None
    """None for a random control, and for a concept that belongs to neither family of the hypothesis pair."""
    source: PairSource | Literal["random"]
    fit: Fit
    pairs_digest: str  # of the pairs fitted to; for a control, of those behind the vector whose norms it has
    validation: Validation | None = None
    orthogonal_to: str | None = None
    """First 16 hexadecimal digits of the sha256 of the vector whose direction was taken out, if one was."""

    @model_validator(mode="after")
    def _parts_agree(self) -> VectorHeader:
        random = self.source == "random"
        if random != (self.fit.method == "random") or (random and self.family is not None):
            raise ValueError(
                f"source {self.source}, fit {self.fit.method} and family {self.family} do not go together: "
                "a random control is fitted to nothing and has no family"
            )
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.layers), self.d_model

    @property
    def estimator(self) -> str:
        """`mean-difference`, `regression` (the source's), `logistic` (without standardisation), `random`."""
        scaled = isinstance(self.fit, LogisticFit) and self.fit.scale != "none"
        return "regression" if scaled else self.fit.method

    def text(self) -> str:
        """As JSON; what older files do not have stays away where it is not set, so that digests stay."""
        later = ("typical_norms", "orthogonal_to", "base")
        unset: dict[str, Any] = {name: True for name in later if getattr(self, name) is None}
        if self.validation is not None and not self.validation.random_auroc:
            unset["validation"] = {"random_auroc"}
        return self.model_dump_json(exclude=unset)


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A vector that was checked; made by `make_vector` or `load_vector`."""

    header: VectorHeader
    values: Float32Array  # [layer, d_model], read-only
    sha256: str  # of the file's content, 64 hexadecimal digits

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of `sha256`, by which logs name the vector."""
        return self.sha256[:16]

    @property
    def norms(self) -> FloatArray:
        """Euclidean norm at each layer, [layer]."""
        return np.asarray(np.linalg.norm(self.values.astype(np.float64), axis=1))

    def at(self, layer: int) -> Float32Array:
        """The direction of one layer, [d_model]; a TreatmentError where there is none."""
        return np.asarray(self.values[self._positions(str(layer))[0]])

    def selected(self, layers: str) -> tuple[int, ...]:
        """The layers that a range such as `20-40` or `all` names; errors as of `parse_layers`."""
        return parse_layers(layers, self.header.layers)

    def doses(self, multiplier: float, layers: str = "all", *, typical: bool = False) -> FloatArray:
        """||multiplier * v_l|| / mean ||h_l|| at each selected layer, [selected layer].

        With `typical` against the header's typical norms; nan in files of older versions.
        """
        at, held = self._positions(layers), self.header
        norms = held.typical_norms or (math.nan,) * len(held.layers) if typical else held.mean_norms
        return np.asarray(abs(_finite(multiplier)) * self.norms[at] / np.array(norms)[at])

    def multiplier_for(self, dose: float, layers: str = "all") -> float:
        """The multiplier at which the mean dose over the selected layers is `dose`; errors as of `doses`."""
        return _finite(dose, "dose") / float(self.doses(1.0, layers).mean())

    def treatment(self, multiplier: float, layers: str = "all", tier: Tier | None = None) -> Steer:
        """How logs record steering with this vector, in one tier alone or in all; errors as above.

        Raises:
            TreatmentError: A multiplier other than 0 leaves less of the vector than a float32 of the residual
                stream's size can hold, so that nothing would be steered, or less of the stream than one of
                the vector's size can.
        """
        selected = self.selected(layers)  # the same layers are one condition however they are written
        layers = "all" if selected == self.header.layers else shown_layers(selected)
        doses = self.doses(multiplier, layers)
        if multiplier and doses.max() < 2.0**-24:
            raise TreatmentError(
                f"multiplier {multiplier:g} adds {doses.max():.2g} of the residual stream's norm, which "
                "rounding takes away: nothing would be steered. Give a larger one, or 0 for no steering"
            )
        if doses.max() > 2.0**24:
            raise TreatmentError(
                f"multiplier {multiplier:g} adds {doses.max():.2g} times the residual stream's norm, beside "
                "which rounding takes the stream itself away: every reply would be noise. Give a smaller one"
            )
        typical = float(self.doses(multiplier, layers, typical=True).mean())
        return Steer(
            concept=self.header.concept,
            family=self.header.family,
            source=self.header.source,
            digest=self.digest,
            multiplier=float(multiplier),
            layers=layers,
            dose=float(doses.mean()),
            typical_dose=None if math.isnan(typical) else typical,
            estimator=self.header.estimator,
            tier=tier,
        )

    def check_model(self, *, d_model: int, n_layers: int, layers: str = "all") -> tuple[int, ...]:
        """The layers to steer a model at, once it is known that the vector fits it: a TreatmentError where
        the model has another width, or not all of the selected layers."""
        held = self.header
        if d_model != held.d_model:
            raise TreatmentError(
                f"vector {self.digest} was made for {held.model} of width {held.d_model}; this model's width "
                f"is {d_model}. Extract a vector from this model"
            )
        selected = self.selected(layers)
        if beyond := [layer for layer in selected if layer >= n_layers]:
            raise TreatmentError(
                f"vector {self.digest} would touch nothing at layers {shown_layers(beyond)}: this model's "
                f"layers are 0-{n_layers - 1}. The vector was made for {held.model}"
            )
        return selected

    def cosines(self, other: SteeringVector) -> dict[int, float]:
        """Cosine similarity by layer, at the layers for which both have a direction, which may be none."""
        shared = sorted(set(self.header.layers) & set(other.header.layers))
        sides = {layer: [one.at(layer).astype(np.float64) for one in (self, other)] for layer in shared}
        return {
            layer: float(mine @ theirs / (np.linalg.norm(mine) * np.linalg.norm(theirs)))
            for layer, (mine, theirs) in sides.items()
        }

    def save(self, path: str | Path) -> None:
        """Writes the file, whose sha256 is `self.sha256`."""
        write_whole(path, [tensor_bytes({"vector": self.values}, self.header.text())])

    def save_gguf(self, path: str | Path, layers: str = "all") -> None:
        """Writes a control vector for llama.cpp, whose `direction.N` is added behind its layer N, from 0.

        The multiplier is given to llama.cpp: `--control-vector-scaled FILE:MULTIPLIER`. A ConfigError where
        the range has layer 0, behind which llama.cpp adds nothing.
        """
        with require("gguf", "control vectors for llama.cpp"):
            from gguf import GGUFWriter
        selected = self.selected(layers)
        if 0 in selected:
            raise ConfigError(
                f"layers {layers} of vector {self.digest} have layer 0, behind which llama.cpp adds nothing; "
                "give a range without it"
            )
        with writing(path) as file:
            file.parent.mkdir(parents=True, exist_ok=True)
            writer = GGUFWriter(file, "controlvector")
            writer.add_string("controlvector.model_hint", self.header.model)
            writer.add_uint32("controlvector.layer_count", len(selected))
            writer.add_string("general.description", f"{self.header.concept}, vector {self.digest}")
            for layer in selected:
                writer.add_tensor(f"direction.{layer}", self.at(layer))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()

    def _positions(self, layers: str) -> list[int]:
        return [self.header.layers.index(layer) for layer in self.selected(layers)]


def make_vector(header: VectorHeader, values: FloatArray | Float32Array) -> SteeringVector:
    """A vector from its header and its values, [layer, d_model], which are stored as float32.

    A TreatmentError where the shape is not the header's, a value is not finite, or a layer's vector is zero.
    """
    stored = np.array(values, dtype=np.float32)
    if stored.shape != header.shape:
        raise TreatmentError(f"the vector has shape {stored.shape}; by its header it is {header.shape}")
    return _checked(header, stored, tensor_bytes({"vector": stored}, header.text()), "the vector")


def load_vector(path: str | Path) -> SteeringVector:
    """Reads and checks a vector.

    A TreatmentError where the file cannot be read, is not safetensors (pickle and torch files are refused
    unread), its header is missing or does not fit, a value is not finite, or a layer is zero.
    """
    place, where = user_path(path), f"vector {shown(path)}"
    with TemporaryDirectory() as folder:
        here = place
        if is_remote(place):  # a safetensors file is mapped into memory
            here = Path(folder) / "vector"
            with reaching(place, "vector cannot be read", error=TreatmentError):
                here.write_bytes(place.read_bytes())
        header, file = open_tensors(here, VectorHeader, ["vector"], where=where, error=TreatmentError)
        with file:
            values = np.array(file.get_slice("vector")[:], dtype=np.float32)
        return _checked(header, values, here.read_bytes(), where)


def with_validation(vector: SteeringVector, validation: Validation) -> SteeringVector:
    """The same vector with another validation in its header; its digest changes with it."""
    return make_vector(vector.header.model_copy(update={"validation": validation}), vector.values)


def random_controls(vector: SteeringVector, n: int, *, seed: int) -> tuple[SteeringVector, ...]:
    """Random directions at a vector's norms: what any vector of that size would do.

    Each layer gets an independent Gaussian direction. Control i depends on the seed, i and the vector that it
    is matched to, and not on `n`: a longer series begins with the shorter one. A claim about significance
    needs at least 20. A ConfigError where `n` or the seed is out of range, or `vector` is a control itself.
    """
    if n < 1 or seed < 0:
        raise ConfigError(f"{n} controls with seed {seed}; at least one and a seed from 0 are needed")
    if vector.header.source == "random":
        raise ConfigError(f"vector {vector.digest} is a random control itself; give the vector to match")
    controls = []
    for index in range(1, n + 1):
        rng = np.random.default_rng([seed, index, int(vector.digest, 16)])
        drawn = rng.standard_normal(vector.values.shape)
        drawn *= (vector.norms / np.linalg.norm(drawn, axis=1))[:, None]
        changes = {
            "concept": f"random-{vector.header.concept}-{index}",
            "family": None,
            "source": "random",
            "fit": RandomFit(seed=seed, index=index, matched_to=vector.digest),
            "validation": None,
            "orthogonal_to": None,
        }
        controls.append(make_vector(vector.header.model_copy(update=changes), drawn))
    return tuple(controls)


def _checked(header: VectorHeader, values: Float32Array, content: bytes, where: str) -> SteeringVector:
    for layer, row in zip(header.layers, values, strict=True):
        if not np.isfinite(row).all():
            raise TreatmentError(f"{where}: holds values that are not finite at layer {layer}; make it again")
        if not row.any():
            raise TreatmentError(f"{where}: is zero at layer {layer}, so it would change nothing there")
    values.flags.writeable = False
    return SteeringVector(header, values, hashlib.sha256(content).hexdigest())


def _finite(value: float, what: str = "multiplier") -> float:
    if not is_number(value):
        raise ConfigError(f"{what} {value!r}; a finite number is needed, such as 4 or -1.5")
    return float(value)


# Files that hold arrays and one typed header. Nothing else is read: pickle, which torch and numpy files may
# hold, can run code when it is loaded.

_H = TypeVar("_H", bound=LayersHeader)


def tensor_bytes(arrays: Mapping[str, Float32Array], header: str) -> bytes:
    """The content of a safetensors file of float32 arrays with a header, which is JSON."""
    with require("local", "steering files"):
        from safetensors.numpy import save
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {_KEY: header})
    return bytes(content)


def open_tensors(
    path: Path, schema: type[_H], arrays: Sequence[str], *, where: str, error: type[InspectAFError]
) -> tuple[_H, Any]:
    """The header of a file, and the file as `safetensors.safe_open` gives it: a slice reads only its bytes.

    `where` is what errors, of the type `error`, call the file: it is missing, unreadable or of another
    format, or its header or an array does not fit.
    """
    if not is_file(path):  # a pipe would be waited for, a device read for ever
        raise error(f"{where}: cannot be read (there is no file of that name); check the path")
    try:
        with path.open("rb") as opened:
            start = opened.read(9)
    except OSError as problem:
        raise error(f"{where}: cannot be read ({problem.strerror}); check the path") from problem
    # A safetensors file begins with its header's length, whose bytes may be any, and then this brace.
    if start[8:] != b"{" and start.startswith(_PICKLE):
        raise error(
            f"{where}: is a pickle, torch or numpy file, which can run code when it is loaded, and is "
            "never read here; give a safetensors file that inspect-af wrote"
        )
    with require("local", "steering files"):
        from safetensors import SafetensorError, safe_open
    try:
        file: Any = safe_open(path, framework="numpy")
        header = schema.model_validate_json((file.metadata() or {})[_KEY])
    except SafetensorError as problem:
        raise error(f"{where}: is not a safetensors file ({problem})") from problem
    except KeyError as problem:
        raise error(f"{where}: has no inspect_af header; give a file that inspect-af wrote") from problem
    except ValidationError as problem:
        raise error(f"{where}: its header does not fit: {problems(problem)}") from problem
    for name in arrays:
        if name not in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
            raise error(f"{where}: has no array {name!r}, only {', '.join(file.keys()) or 'none'}")
        found = file.get_slice(name)
        if found.get_dtype() != "F32" or tuple(found.get_shape()) != header.shape:
            raise error(
                f"{where}: {name} is {found.get_dtype()} {list(found.get_shape())}; by its header it is "
                f"F32 {list(header.shape)}"
            )
    return header, file
