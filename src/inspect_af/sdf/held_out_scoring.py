"""Log-probabilities of held-out wordings under a base model with adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_af.errors import MissingExtraError
from inspect_af.materials import Wording, Wordings
from inspect_af.sdf.adapters import Adapter, check_base, check_parents, load_adapter, read_manifest
from inspect_af.sdf.combine import LoadedAdapters
from inspect_af.sdf.held_out import AdapterShifts, HeldOutCheck, by_variable, shifts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 32


def check_adapters(
    base: str,
    adapters: Sequence[Path],
    wordings: Wordings,
    *,
    source: str,
    organism: Sequence[Path] = (),
    revision: str | None = None,
    device: str | None = None,
    progress: Callable[[str], None] | None = None,
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
    pairs = by_variable(wordings.wordings)
    model, tokenizer = _load(base, revision, device)
    folder = Path(base) if Path(base).is_dir() else None
    below = [load_adapter(path, role="organism") for path in organism]
    named = [_known(path) for path in adapters]
    for path, adapter in zip(adapters, named, strict=True):
        found = adapter or load_adapter(path, role="organism")
        check_parents([*below, found])
        check_base(found, model.config, name=base, directory=folder)
    loaded = LoadedAdapters(model)
    for adapter in below:
        check_base(adapter, model.config, name=base, directory=folder)
        loaded.add(adapter.path, adapter.digest)
    loaded.activate([adapter.digest for adapter in below])
    tell = progress or (lambda _: None)
    tell("without adapters")
    before = log_odds(model, tokenizer, pairs)
    rows: list[AdapterShifts] = []
    for path, adapter in zip(adapters, named, strict=True):
        tell(str(path))
        name = f"check-{len(rows)}"
        loaded.add(path, name)
        loaded.activate([*(below_it.digest for below_it in below), name])
        after = log_odds(model, tokenizer, pairs)
        treatment = adapter.treatment if adapter else None
        rows.append(
            AdapterShifts(
                adapter=_label(path),
                intervention=treatment.intervention if treatment else None,
                shifts=shifts(before, after),
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
    found = iter(log_probabilities(model, tokenizer, texts))
    return {variable: [next(found) - next(found) for _ in members] for variable, members in pairs.items()}


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
            scores = logits.float().log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
            totals += [
                float(row_scores[: len(row) - 1].double().sum())
                for row, row_scores in zip(part, scores, strict=True)
            ]
    return totals


def _load(
    base: str, revision: str | None, device: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtraError(
            f"scoring needs torch and transformers ({error}); pip install 'inspect-af[local]'"
        ) from error
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="auto", use_safetensors=True, **options)
    return model.to(chosen).train(False), AutoTokenizer.from_pretrained(base, **options)


def _known(path: Path) -> Adapter | None:
    """The adapter with its treatment, None where it has no manifest that says what it is."""
    return load_adapter(path) if read_manifest(path) is not None else None


def _label(path: Path) -> str:
    """The last two parts of a path, since seeds lie in `OUT/seed-N`."""
    parts = path.resolve().parts
    return "/".join(parts[-2:])
