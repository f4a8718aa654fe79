"""What travels between client and server: request arguments, settings, what a server says of itself.

A request's condition is one string in `vllm_xargs`, so that it can be a key and a cache salt as it stands.
"""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from inspect_af.config import Frozen
from inspect_af.errors import ConfigError, problems

STEER_ARGUMENT = "af_steer"
"""`SHA256@MULTIPLIER` or `SHA256@MULTIPLIER@LAYERS`, several joined by `;`; they add up."""
CAPTURE_ARGUMENT = "af_capture"
"""`KEY:START-END,START-END`: 32 hexadecimal digits that name the result, and spans of prompt tokens."""
PROBE_ARGUMENT = "af_probe"
"""Any value: the server answers with status 400 and a `ServerInfo` behind `PROBE_MARK`. A server without the
plugin ignores unknown arguments and generates, which tells it apart."""
PROBE_MARK = "inspect_af server:"  # What comes before the coded `ServerInfo` in the answer to a probe

_TERM = re.compile(r"(?P<sha256>[0-9a-f]{64})@(?P<multiplier>[^@]+)(@(?P<layers>[^@]*))?")
_CAPTURE = re.compile(r"(?P<key>[0-9a-f]{32}):(?P<spans>.*)", re.DOTALL)
_SPAN = re.compile(r"(\d{1,9})-(\d{1,9})")
_MOST_TERMS = 16


class SteeringTerm(NamedTuple):
    """One vector at one multiplier."""

    sha256: str  # Of the vector file, 64 hexadecimal digits
    multiplier: float
    layers: str = "all"  # Range as `inspect_af.steering.parse_layers` reads it


class CaptureSpec(NamedTuple):
    """What to average, and under which name to leave the result."""

    key: str  # 32 hexadecimal digits, chosen by the client
    spans: tuple[tuple[int, int], ...]  # Ascending, disjoint `[start, end)` positions of prompt tokens

    @property
    def start(self) -> int:
        return self.spans[0][0]

    @property
    def end(self) -> int:
        return self.spans[-1][1]


def _expanded(given: Path) -> Path:
    found = os.path.expandvars(given)
    if "$" in found:
        raise ValueError(f"{given}: the environment of this process has not that variable")
    return Path(found)


class PluginConfig(Frozen):
    """The object under `af` in `--additional-config`.

    It enters the key of vLLM's compile cache, so directories may be named by environment variables, as in
    `$NAME/vectors`: another path is not another model.
    """

    vectors: Annotated[Path, AfterValidator(_expanded)] | None = None
    """Directory of vector files; without it no request can be steered and no layer has an addition."""
    layers: str = "all"  # Layers at which vectors may be added: `all`, `12`, `20-40`
    captures: Annotated[Path, AfterValidator(_expanded)] | None = None
    """Directory for pooled activations; without it nothing can be captured and no layer has a sum."""


class ServerInfo(BaseModel):
    """What a server with the plugin says about itself when probed."""

    model_config = ConfigDict(frozen=True)

    version: str
    model: str
    d_model: int
    n_layers: int
    layers: tuple[int, ...]  # Layers at which vectors may be added; empty where the server does not steer
    vectors: str | None
    captures: str | None
    device: str
    lora: bool
    max_lora_rank: int | None = None
    pipeline_stages: int = 1
    max_num_seqs: int
    max_model_len: int | None = None  # Tokens that prompt and reply may have together
    dtype: str = ""  # Of weights and activations, such as `bfloat16`

    @property
    def coded(self) -> str:
        """As letters and digits, since vLLM takes file paths out of the errors that it sends."""
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode()

    @classmethod
    def from_coded(cls, text: str) -> ServerInfo:
        """Reads `coded`; ValueError where it is something else."""
        return cls.model_validate_json(base64.urlsafe_b64decode(text))


def plugin_config(additional_config: object) -> PluginConfig | None:
    """The plugin's settings in vLLM's additional config, None where they are not there.

    Raises:
        ConfigError: They are there and malformed.
    """
    if not isinstance(additional_config, Mapping) or "af" not in additional_config:
        return None
    try:
        return PluginConfig.model_validate(additional_config["af"])
    except ValidationError as error:
        found = problems(error, "af")
        raise ConfigError(
            f"--additional-config af: {found}; it takes {', '.join(PluginConfig.model_fields)}"
        ) from error


def steering_text(terms: Sequence[SteeringTerm]) -> str:
    """The request argument for vectors that add up."""
    return ";".join(
        f"{term.sha256}@{term.multiplier!r}" + ("" if term.layers == "all" else f"@{term.layers}")
        for term in terms
    )


def parse_steering(text: object) -> tuple[SteeringTerm, ...]:
    """Reads the request argument `af_steer`.

    Raises:
        ConfigError: It is malformed, or a multiplier is not a finite number.
    """
    terms = []
    for part in str(text).split(";"):
        match = _TERM.fullmatch(part)
        if match is None:
            raise _malformed(STEER_ARGUMENT, text, "give SHA256@MULTIPLIER, or SHA256@MULTIPLIER@LAYERS")
        try:
            multiplier = float(match["multiplier"])
        except ValueError:
            multiplier = math.nan
        if not math.isfinite(multiplier):
            why = f"the multiplier {match['multiplier']!r} is not a finite number"
            raise _malformed(STEER_ARGUMENT, text, why)
        terms.append(SteeringTerm(match["sha256"], multiplier, match["layers"] or "all"))
    if len(terms) > _MOST_TERMS:
        raise _malformed(STEER_ARGUMENT, text, f"at most {_MOST_TERMS} vectors add up")
    return tuple(terms)


def capture_text(spec: CaptureSpec) -> str:
    """The request argument for a capture."""
    return f"{spec.key}:{','.join(f'{start}-{end}' for start, end in spec.spans)}"


def parse_capture(text: object) -> CaptureSpec:
    """Reads the request argument `af_capture`.

    Raises:
        ConfigError: It is malformed, a span is empty, or spans overlap or run backwards.
    """
    match = _CAPTURE.fullmatch(str(text))
    if match is None:
        raise _malformed(CAPTURE_ARGUMENT, text, "it begins with 32 hexadecimal digits and a colon")
    parts = [_SPAN.fullmatch(part) for part in match["spans"].split(",")]
    spans = tuple((int(part[1]), int(part[2])) for part in parts if part)
    if not all(parts) or any(start >= end for start, end in spans):
        raise _malformed(CAPTURE_ARGUMENT, text, "a span is START-END with START below END")
    if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
        raise _malformed(CAPTURE_ARGUMENT, text, "spans ascend and do not overlap")
    return CaptureSpec(match["key"], spans)


def argument(params: Any, name: str) -> Any:
    """An argument of a request, by its sampling parameters; None where it has none."""
    return (getattr(params, "extra_args", None) or {}).get(name)


def _malformed(name: str, given: object, why: str) -> ConfigError:
    return ConfigError(f"{name}={given!r}: {why}")
