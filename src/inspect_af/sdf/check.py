"""Did training on documents move what a model takes to be true? Held-out wordings, before and after.

For a pair of sentences of one form, of which one states a variable's amplified pole and one the other, the
log-odds are log P(plus) - log P(minus), in nats. What the sentences share, and what training does to style,
cancels in part. A shift is the mean over the pairs of (log-odds with the adapter - log-odds without).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_af.config import Frozen, require
from inspect_af.errors import ConfigError
from inspect_af.materials import Wording, Wordings
from inspect_af.sdf.adapters import check_base, check_parents, load_adapter, read_manifest
from inspect_af.sdf.combine import LoadedAdapters
from inspect_af.types import Intervention

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 32


class Shift(Frozen):
    """How far one variable's log-odds moved, in nats; positive towards the amplified pole."""

    variable: str
    mean: float
    low: float
    """Lower end of the 95 % t interval over pairs: other wordings, not other training runs."""
    high: float
    pairs: tuple[float, ...]
    """Of each pair, in the order of the wordings."""


class AdapterShifts(Frozen):
    """One row of the matrix."""

    adapter: str
    intervention: Intervention | None = None
    """What the adapter is, None where it does not say."""
    shifts: tuple[Shift, ...]

    @property
    def intended(self) -> float | None:
        """The shift of the adapter's own variable in the intended direction; None for a placebo or an
        organism, and where there are no wordings of its variable."""
        if self.intervention is None or self.intervention.polarity is None:
            return None
        own = [s.mean for s in self.shifts if s.variable == self.intervention.variable]
        return (own[0] if self.intervention.polarity == "+" else -own[0]) if own else None

    @property
    def unintended(self) -> float | None:
        """The largest shift, in size, of any other variable; None where there is no other."""
        own = self.intervention.variable if self.intervention else None
        return max((abs(s.mean) for s in self.shifts if s.variable != own), default=None)


class HeldOutCheck(Frozen):
    """Adapters by variables."""

    base: str
    organism: tuple[str, ...]
    """Adapters that are there before and after."""
    wordings: str
    """Where the wordings are from."""
    before: tuple[tuple[str, float], ...]
    """Variable and mean log-odds without the adapters, in nats."""
    rows: tuple[AdapterShifts, ...]


def by_variable(wordings: Sequence[Wording]) -> dict[str, list[Wording]]:
    """The wordings of each variable, in order of their first occurrence.

    Raises:
        ConfigError: a variable has fewer than two, which have no interval.
    """
    grouped: dict[str, list[Wording]] = {}
    for wording in wordings:
        grouped.setdefault(wording.variable, []).append(wording)
    for variable, members in grouped.items():
        if len(members) < 2:
            raise ConfigError(
                f"{variable} has one held-out wording; give at least 2, so that there is an interval"
            )
    return grouped


def shifts(before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]) -> tuple[Shift, ...]:
    """The shift of each variable, from the log-odds of the same pairs without and with an adapter."""
    return tuple(
        shift_of(variable, [b - a for a, b in zip(before[variable], after[variable], strict=True)])
        for variable in before
    )


def shift_of(variable: str, moved: Sequence[float]) -> Shift:
    """Mean and 95 % t interval of the pairs' shifts; at least two of them."""
    from scipy.stats import t

    n = len(moved)
    mean = math.fsum(moved) / n
    error = math.sqrt(math.fsum((each - mean) ** 2 for each in moved) / (n - 1) / n)
    half = float(t.ppf(0.975, n - 1)) * error
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

    Args:
        base: Hub name or directory of the base.
        adapters: PEFT directories; each is looked at by itself, on top of `organism`.
        wordings: Held-out pairs, with variables.
        source: Where they are from, for the record.
        organism: Adapters that are part of the subject, in order.
        revision: Of the base on the Hub.
        device: Such as `cuda`; by default the GPU where there is one.
        progress: Called with what is scored next.

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
    folder = Path(base) if Path(base).is_dir() else None
    below = [load_adapter(path, role="organism") for path in organism]
    # An adapter without a manifest does not say what it is, and is taken as it comes.
    described = [read_manifest(path) is not None for path in adapters]
    checked = [
        load_adapter(path) if known else load_adapter(path, role="organism")
        for path, known in zip(adapters, described, strict=True)
    ]
    for adapter in checked:
        check_parents([*below, adapter])
    for adapter in (*below, *checked):
        check_base(adapter, model.config, name=base, directory=folder)
    loaded = LoadedAdapters(model)
    for adapter in below:
        loaded.add(adapter.path, adapter.digest)
    loaded.activate([adapter.digest for adapter in below])
    progress("without adapters")
    before = log_odds(model, tokenizer, pairs)
    rows: list[AdapterShifts] = []
    for path, adapter, known in zip(adapters, checked, described, strict=True):
        progress(str(path))
        name = f"check-{len(rows)}"
        loaded.add(path, name)
        loaded.activate([*(each.digest for each in below), name])
        after = log_odds(model, tokenizer, pairs)
        rows.append(
            AdapterShifts(
                adapter="/".join(path.resolve().parts[-2:]),  # as in OUT/seed-0
                intervention=adapter.treatment.intervention if known and adapter.treatment else None,
                shifts=tuple(
                    shift_of(
                        variable, [b - a for a, b in zip(before[variable], after[variable], strict=True)]
                    )
                    for variable in before
                ),
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
    width = max(12, *(len(row.adapter) + 2 for row in check.rows))
    lines = [
        f"Log-odds of held-out wordings, in nats ({check.wordings})",
        "[ ] is the adapter's own variable, ( ) the 95 % interval over wordings",
        f"{'':<{width}}" + "".join(f"{variable:>22}" for variable, _ in check.before),
        f"{'before':<{width}}" + "".join(f"{value:>+22.2f}" for _, value in check.before),
    ]
    for row in check.rows:
        own = row.intervention.variable if row.intervention else None
        cells = []
        for shift in row.shifts:
            mean = f"[{shift.mean:+.2f}]" if shift.variable == own else f"{shift.mean:+.2f}"
            cells.append(f"{f'{mean} ({shift.low:+.2f} {shift.high:+.2f})':>22}")
        lines.append(f"{row.adapter:<{width}}{''.join(cells)}")
    return "\n".join(lines)
