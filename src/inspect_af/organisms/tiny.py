"""A small real transformer whose motivation is planted: trained in minutes on two CPU cores.

It learns from transcripts of an organism whose acceptance rates are known. What comes out is a plain
transformers directory that every other part treats as any model. See docs/tiny_organism.md.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from inspect_af.errors import ConfigError, MaterialsError, MissingExtraError
from inspect_af.materials import load_pair, load_scenario
from inspect_af.organisms._tiny_mixture import TRAINED_PARAPHRASE, TextSource
from inspect_af.organisms._tiny_planted import KINDS, Planted, TinyKind, planted
from inspect_af.organisms._tiny_text import HELD_OUT_FORMS, document, unmarked
from inspect_af.organisms._tiny_tokenizer import learn_tokenizer
from inspect_af.organisms._tiny_training import Progress, Schedule, new_model, tokenized, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "HELD_OUT_FORMS",
    "KINDS",
    "TRAINED_PARAPHRASE",
    "Planted",
    "Schedule",
    "TinyKind",
    "document",
    "load_planted",
    "load_tiny",
    "planted",
    "train_organism",
]

PLANTED_FILE = "planted.json"
"""In the organism's directory: what is planted, with the rates that follow for every claim."""
_TEXTS_FOR_TOKENIZER = 8000


def train_organism(
    out: str | Path,
    *,
    kind: TinyKind = "expectation",
    seed: int = 0,
    schedule: Schedule | None = None,
    progress: Progress | None = None,
) -> Planted:
    """Trains an organism and writes it to a directory, which appears only once it is complete.

    The same kind, seed and schedule give the same texts in the same order; weights agree between machines up
    to floating-point differences.

    Args:
        out: Directory that does not exist or is empty.
        kind: Which motivation is planted.
        seed: Of texts, initial weights and order.
        schedule: Steps and learning rate; by default about three minutes on two cores.
        progress: Called after every step.

    Raises:
        ConfigError: an unknown kind, or `out` holds something already.
        MissingExtraError: torch or transformers is not installed.
    """
    directory = Path(out)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} exists and is not empty; name another directory or remove it")
    truth = planted(kind)
    _needs_torch()
    schedule = schedule or Schedule()
    pair, scenario = load_pair(), load_scenario()
    source = TextSource(truth, pair, scenario, random.Random(f"texts {seed}"))
    first = [source.note() for _ in range(schedule.notes * schedule.batch)]
    then = [source.example() for _ in range((schedule.steps - schedule.notes) * schedule.batch)]
    tokenizer = learn_tokenizer(
        (unmarked(a + b) for a, b in [*first[-1000:], *then[:_TEXTS_FOR_TOKENIZER]]), scenario
    )
    model = new_model(tokenizer, seed)
    phases = [tokenized(part, tokenizer, schedule.decisive) for part in (first, then) if part]
    losses = train(model, phases, schedule, random.Random(f"order {seed}"), progress)
    record = {
        "planted": truth.model_dump(mode="json"),
        "seed": seed,
        "schedule": schedule._asdict(),
        "loss": round(sum(losses[-50:]) / len(losses[-50:]), 4),
        "pair": pair.digest,
        "scenario": scenario.digest,
        "gaps": {
            "baseline": round(truth.gap(), 4),
            **{i.code: round(truth.gap(i), 4) for i in pair.all_interventions},
        },
    }
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        (unfinished / PLANTED_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        unfinished.chmod(0o755)
        if directory.exists():
            directory.rmdir()
        unfinished.rename(directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return truth


def load_planted(directory: str | Path) -> Planted:
    """What is planted in the organism of a directory.

    Raises:
        MaterialsError: the directory is no tiny organism.
    """
    path = Path(directory) / PLANTED_FILE
    try:
        return Planted.model_validate(json.loads(path.read_text(encoding="utf-8"))["planted"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise MaterialsError(
            f"{directory} is not a tiny organism: {path.name} is missing or malformed ({error}). "
            "Make one with `inspect-af organism train DIR`"
        ) from error


def load_tiny(directory: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of a directory.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    _needs_torch()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(directory, local_files_only=True)
    return model.train(False), AutoTokenizer.from_pretrained(directory, local_files_only=True)


def _needs_torch() -> None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"a tiny organism needs torch and transformers ({error}): pip install 'inspect-af[local]'"
        ) from error
