"""Reading universes: bundled ones by code, anyone's by file name, as TOML or as markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.materials._beliefs_files import find_beliefs
from inspect_af.materials._beliefs_overlap import SHINGLE_WORDS, runs_of, shared_sentences, words_of
from inspect_af.materials._files import (
    FileModel,
    material_dir,
    parse_toml,
    read_text,
    short_digest,
    validate_toml,
)
from inspect_af.materials._pair import Pair
from inspect_af.materials._pair_files import BUNDLED, load_pair
from inspect_af.materials._universes import (
    DIRECTNESS,
    NEUTRAL,
    ORGANISM,
    Universe,
    problems_of,
)
from inspect_af.types import Intervention

FOLDER = "universes"

_SUFFIXES = (".toml", ".md")
_FRONT_MATTER = re.compile(r"\+\+\+[ \t]*\n(.*?)\n\+\+\+[ \t]*(?:\n|\Z)(.*)", re.DOTALL)
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Facts(FileModel):
    oblique: _Text
    standard: _Text
    explicit: _Text


class _Paraphrase(FileModel):
    fact: _Text
    counter: _Text


class _UniverseFile(FileModel):
    code: _Text
    title: _Text
    developer: _Text
    canary: _Text
    context: _Text
    facts: _Facts
    counter_fact: _Text
    paraphrases: tuple[_Paraphrase, ...] = Field(min_length=1)


def load_universe(source: str | Path, *, pair: str | Path | None = None) -> Universe:
    """A universe of the pair, or one from a user's file.

    Args:
        source: A code such as `A1+`, `neutral` or `organism`, read from `universes/` in the pair's directory;
            or a file, `.toml` or `.md` (docs/universes.md has the format).
        pair: As for `load_pair`: the pair whose interventions the codes mean.

    Raises:
        ConfigError: the code is none of the pair's universes and no such file exists.
        MaterialsError: the file is missing or malformed, or its words break a rule, such as a fact that is
            held out and trained on, or words shared with a claim or a belief question; the message names the
            file and the key.
    """
    words = load_pair(pair)
    file = _find(source, pair)
    text = read_text(file)
    content = validate_toml(_as_toml(text, file), _UniverseFile, file)
    if str(source) != content.code and str(source) in universe_codes(pair):
        raise MaterialsError(
            f"{file}: code: {content.code!r} in a file named {str(source)!r}; make them the same"
        )
    universe = Universe(
        code=content.code,
        intervention=_intervention(content.code, words, file),
        title=_unwrap(content.title),
        developer=content.developer,
        context=_unwrap(content.context),
        facts={level: _unwrap(getattr(content.facts, level)) for level in DIRECTNESS},
        counter_fact=_unwrap(content.counter_fact),
        paraphrases=tuple(_unwrap(entry.fact) for entry in content.paraphrases),
        counter_paraphrases=tuple(_unwrap(entry.counter) for entry in content.paraphrases),
        canary=_canary(content.canary, file),
        digest=short_digest(text),
    )
    problems = [*problems_of(universe), *_overlaps(universe, words, pair)]
    if problems:
        raise MaterialsError(f"{file}: {'; '.join(problems)}")
    return universe


def universe_codes(pair: str | Path | None = None) -> tuple[str, ...]:
    """Codes of the universes that a pair has, in its order: interventions, then `neutral`, then `organism`.

    Raises:
        MaterialsError: the pair cannot be read, or a file's name is no code of it.
    """
    known = (*(i.code for i in load_pair(pair).all_interventions), NEUTRAL, ORGANISM)
    folder = _folder(pair)
    if not folder.is_dir():
        return ()
    present = {
        entry.name.removesuffix(suffix)
        for entry in folder.iterdir()
        for suffix in _SUFFIXES
        if entry.name.endswith(suffix)
    }
    for name in sorted(present - set(known)):
        raise MaterialsError(
            f"{folder}: the pair has no intervention '{name}'; name the file after one of {', '.join(known)}"
        )
    return tuple(code for code in known if code in present)


def _folder(pair: str | Path | None) -> Traversable:
    return material_dir(pair, default=BUNDLED, folder="pairs", what="pair").joinpath(FOLDER)


def _find(source: str | Path, pair: str | Path | None) -> Traversable:
    codes = universe_codes(pair)
    if str(source) in codes:
        folder = _folder(pair)
        return next(file for s in _SUFFIXES if (file := folder.joinpath(f"{source}{s}")).is_file())
    path = Path(source).expanduser()
    if path.is_file() and path.suffix in _SUFFIXES:
        return path
    found = "is not a .toml or .md file" if path.exists() else "is neither a universe nor a file here"
    listed = f"one of {', '.join(codes)}" if codes else f"the pair has none in {FOLDER}/, so give a file"
    raise ConfigError(f"universe {str(source)!r} {found}; {listed}, or a .toml or .md file")


def _as_toml(text: str, file: Traversable) -> dict[str, Any]:
    """The file's entries; in markdown the body is the context and the rest is front matter between `+++`."""
    front, body = text, None
    if file.name.endswith(".md"):
        match = _FRONT_MATTER.match(text)
        if match is None:
            raise MaterialsError(
                f"{file} has no front matter; begin with a line +++, then the keys as TOML, then another "
                "line +++, then the context"
            )
        front, body = match[1], match[2]
    # An empty line stands for the first `+++`, so that the line in an error is the file's.
    data = parse_toml(front if body is None else f"\n{front}", file)
    if body is not None:
        if "context" in data:
            raise MaterialsError(
                f"{file}: context: in markdown it is the text after the front matter; remove the key"
            )
        data["context"] = body
    return data


def _intervention(code: str, pair: Pair, file: Traversable) -> Intervention | None:
    if code == ORGANISM:
        return None
    if code == NEUTRAL:
        return Intervention(variable=NEUTRAL)
    for intervention in pair.all_interventions:
        if intervention.code == code:
            return intervention
    allowed = ", ".join([*(i.code for i in pair.all_interventions), NEUTRAL, ORGANISM])
    raise MaterialsError(f"{file}: code: pair '{pair.name}' has no intervention {code!r}; one of {allowed}")


def _canary(text: str, file: Traversable) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise MaterialsError(
            f"{file}: canary: {text!r} is not a GUID; make one with `python -m uuid` or `uuidgen`"
        ) from None


def _overlaps(universe: Universe, words: Pair, pair: str | Path | None) -> Iterator[str]:
    """What the texts share with the claims and belief questions, which have to stay independent of them."""
    keys = ("context", *(f"facts, {level}" for level in DIRECTNESS))
    questions = find_beliefs(pair)
    for shared in shared_sentences(universe.trained, questions.questions if questions else ()):
        yield (
            f"{keys[shared.text]}: shares {shared.words!r} with the belief question {shared.question}; "
            "reword it, or the question asks for the text instead of the belief"
        )
    claimed = {run: claim for claim in words.claims for run in runs_of(words_of(claim.text), SHINGLE_WORDS)}
    for key, text in zip(keys, universe.trained, strict=True):
        run = next((run for run in runs_of(words_of(text), SHINGLE_WORDS) if run in claimed), None)
        if run:
            claim = claimed[run]
            yield (
                f"{key}: shares {' '.join(run)!r} with the claim {claim.intervention.code} {claim.strength}/"
                f"{claim.paraphrase}; reword it, so that documents and prompts stay two methods"
            )


def _unwrap(text: str) -> str:
    """Joins wrapped lines; blank lines stay paragraph breaks."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n[ \t]*\n", text.strip()))
