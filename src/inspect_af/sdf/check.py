"""Did training on documents move what a model takes to be true? Held-out wordings, before and after.

For a pair of sentences of one form, of which one states a variable's amplified pole and one the other, the
log-odds are log P(plus) - log P(minus), in nats. What the sentences share, and what training does to style,
cancels in part. A shift is the mean over the pairs of (log-odds with the adapter - log-odds without).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inspect_af.config import Frozen, require
from inspect_af.errors import ConfigError
from inspect_af.format import text_table
from inspect_af.materials import Wording, Wordings
from inspect_af.sdf.adapters import check_base, check_parents, load_adapter, read_manifest
from inspect_af.sdf.combine import LoadedAdapters
from inspect_af.stats import t_quantile
from inspect_af.types import Intervention

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 32


class Shift(Frozen):
    """How far one variable's log-odds moved, in nats; positive towards the amplified pole.

    `low` and `high` are the 95 % t interval over `pairs` (other wordings, not other training runs), which are
    in the order of the wordings.
    """

    variable: str
    mean: float
    low: float
    high: float
    pairs: tuple[float, ...]


class AdapterShifts(Frozen):
    """One row of the matrix; the intervention is None where the adapter does not say what it is."""

    adapter: str
    intervention: Intervention | None = None
    shifts: tuple[Shift, ...]

    @property
    def intended(self) -> float | None:
        """The shift of the adapter's own variable in the intended direction; None for a placebo or an
        organism, and where there are no wordings of its variable."""
        own = self.intervention
        mean = next((s.mean for s in self.shifts if own and s.variable == own.variable), None)
        if mean is None or own is None or own.polarity is None:
            return None
        return mean if own.polarity == "+" else -mean

    @property
    def unintended(self) -> float | None:
        """The largest shift, in size, of any other variable; None where there is no other."""
        own = self.intervention.variable if self.intervention else None
        return max((abs(s.mean) for s in self.shifts if s.variable != own), default=None)


class HeldOutCheck(Frozen):
    """Adapters by variables: those of `organism` are there before and after, `wordings` says where the
    wordings are from, and `before` has the mean log-odds of each variable without the adapters, in nats."""

    base: str
    organism: tuple[str, ...]
    wordings: str
    before: tuple[tuple[str, float], ...]
    rows: tuple[AdapterShifts, ...]


def by_variable(wordings: Sequence[Wording]) -> dict[str, list[Wording]]:
    """The wordings of each variable, in order of their first occurrence; a ConfigError where a variable has
    fewer than two, which have no interval."""
    grouped: dict[str, list[Wording]] = defaultdict(list)
    for wording in wordings:
        grouped[wording.variable].append(wording)
    for variable, members in grouped.items():
        if len(members) < 2:
            raise ConfigError(
                f"{variable} has one held-out wording; give at least 2, so that there is an interval"
            )
    return grouped


def shifts(before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]) -> tuple[Shift, ...]:
    """The shift of each variable, from the log-odds of the same pairs without and with an adapter."""
    return tuple(shift_of(variable, np.subtract(after[variable], before[variable])) for variable in before)


def shift_of(variable: str, moved: Sequence[float] | np.ndarray[Any, Any]) -> Shift:
    """Mean and 95 % t interval of the pairs' shifts; at least two of them."""
    n, mean = len(moved), float(np.mean(moved))
    half = t_quantile(0.975, n - 1) * float(np.std(moved, ddof=1)) / n**0.5
    return Shift(variable=variable, mean=mean, low=mean - half, high=mean + half, pairs=tuple(moved))


def check_adapters(
    base: str,
    adapters: Sequence[Path],
    wordings: Wordings,
    *,
    source: str,
    organism: Sequence[Path] = (),
    revision: str | None = None,
    device: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> HeldOutCheck:
    """Scores all wordings without the adapters, and with each of them.

    Each adapter is looked at by itself, on top of `organism`, the adapters that are part of the subject, in
    order. `source` says where the wordings are from, for the record.

    Raises:
        TreatmentError: An adapter cannot be used with this base, or its parents are not in `organism`.
        ConfigError: A variable has a single wording.
        MissingExtraError: An optional dependency is not installed.
    """
    with require("local", "log-probabilities"):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    pairs = by_variable(wordings.wordings)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="auto", use_safetensors=True, **options)
    model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).train(False)
    tokenizer = AutoTokenizer.from_pretrained(base, **options)
    below = [load_adapter(path, role="organism") for path in organism]
    # An adapter without a manifest does not say what it is, and is taken as it comes.
    tried = [load_adapter(path, role=None if read_manifest(path) else "organism") for path in adapters]
    for adapter in tried:
        check_parents([*below, adapter])
    for adapter in (*below, *tried):
        check_base(adapter, model.config, name=base, directory=base if Path(base).is_dir() else None)
    loaded, names = LoadedAdapters(model), [adapter.digest for adapter in below]
    for adapter in below:
        loaded.add(adapter.path, adapter.digest)
    loaded.activate(names)
    progress("without adapters")
    before = log_odds(model, tokenizer, pairs)
    rows: list[AdapterShifts] = []
    for adapter in tried:
        progress(str(adapter.path))
        loaded.add(adapter.path, f"check-{len(rows)}")
        loaded.activate([*names, f"check-{len(rows)}"])
        rows.append(
            AdapterShifts(
                adapter="/".join(adapter.path.resolve().parts[-2:]),  # as in OUT/seed-0
                intervention=adapter.treatment.intervention if adapter.treatment else None,
                shifts=shifts(before, log_odds(model, tokenizer, pairs)),
            )
        )
    return HeldOutCheck(
        base=base,
        organism=tuple(str(path) for path in organism),
        wordings=source,
        before=tuple((variable, sum(odds) / len(odds)) for variable, odds in before.items()),
        rows=tuple(rows),
    )


def log_odds(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Mapping[str, Sequence[Wording]]
) -> dict[str, list[float]]:
    """log P(plus) - log P(minus) of each pair, in nats, both after the token that begins a text."""
    texts = [text for members in pairs.values() for pair in members for text in (pair.plus, pair.minus)]
    scores = iter(log_probabilities(model, tokenizer, texts))
    return {variable: [next(scores) - next(scores) for _ in members] for variable, members in pairs.items()}


def log_probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> list[float]:
    """Log-probability of each whole text, in nats, in float32."""
    import torch

    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    rows = [[start, *tokenizer(text, add_special_tokens=False)["input_ids"]] for text in texts]
    totals: list[float] = []
    with torch.no_grad():
        for at in range(0, len(rows), _BATCH):
            part = rows[at : at + _BATCH]
            longest = max(map(len, part))
            # Padding stands at the end, where a causal model does not look.
            ids = torch.tensor([row + [start] * (longest - len(row)) for row in part], device=model.device)
            logits: Any = model(input_ids=ids[:, :-1], use_cache=False).logits
            scores = logits.float().log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].double()
            totals += [float(own[: len(row) - 1].sum()) for row, own in zip(part, scores, strict=True)]
    return totals


def check_text(check: HeldOutCheck) -> str:
    """The matrix, in nats; an adapter's own variable stands in brackets."""
    rows = [
        ["", *(variable for variable, _ in check.before)],
        ["before", *(f"{value:+.2f}" for _, value in check.before)],
    ]
    for row in check.rows:
        own = row.intervention.variable if row.intervention else None
        cells = [row.adapter]
        for shift in row.shifts:
            mean = f"[{shift.mean:+.2f}]" if shift.variable == own else f"{shift.mean:+.2f}"
            cells.append(f"{mean} ({shift.low:+.2f} {shift.high:+.2f})")
        rows.append(cells)
    return (
        f"Log-odds of held-out wordings, in nats ({check.wordings})\n"
        f"[ ] is the adapter's own variable, ( ) the 95 % interval over wordings\n{text_table(rows)}"
    )
