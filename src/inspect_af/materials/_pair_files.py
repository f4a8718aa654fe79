"""Reading a pair directory: `pair.toml` and one file of claims per variable and placebo."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from statistics import mean
from typing import Annotated

from pydantic import Field, StringConstraints

from inspect_af.errors import MaterialsError
from inspect_af.materials._files import FileModel, material_dir, read_toml, tree_digest
from inspect_af.materials._pair import Claim, FamilyInfo, Pair, Placebo, Variable
from inspect_af.materials._selection import RESERVED
from inspect_af.types import STRENGTHS, Intervention, Strength

BUNDLED = "alignment_faking"

TOLERANCE = 0.10
"""Claims of one strength should be within this share of their mean length in words: added text of any
kind moves the gap, so a claim that is longer than its placebo would be confounded with its length."""

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Texts = Annotated[tuple[_Text, ...], Field(min_length=1)]


class _Arm(FileModel):
    weak: _Texts
    standard: _Texts
    strong: _Texts

    def texts(self, strength: Strength) -> tuple[str, ...]:
        return {"weak": self.weak, "standard": self.standard, "strong": self.strong}[strength]


class _VariableClaims(FileModel):
    amplify: _Arm
    suppress: _Arm


class _PlaceboClaims(FileModel):
    placebo: _Arm


class _PairFile(FileModel):
    name: _Text
    version: int = Field(ge=1)
    first: FamilyInfo
    second: FamilyInfo
    variables: tuple[Variable, ...]
    placebos: tuple[Placebo, ...] = ()


def load_pair(source: str | Path | None = None) -> Pair:
    """The bundled pair, or a user's.

    Args:
        source: None or `alignment_faking` for the bundled one, else a directory (docs/hypothesis_pairs.md).

    Raises:
        MaterialsError: a file is missing or malformed, or entries contradict each other; the message names
            the file and the entry. Claims of unequal length are no error: see `Pair.warnings`.
    """
    if source is None or str(source) == BUNDLED:
        return _bundled_pair()
    return _read_pair(material_dir(source, default=BUNDLED, folder="pairs", what="pair"))


@lru_cache(maxsize=1)
def _bundled_pair() -> Pair:
    return _read_pair(material_dir(None, default=BUNDLED, folder="pairs", what="pair"))


def _read_pair(root: Traversable) -> Pair:
    file = root.joinpath("pair.toml")
    head = read_toml(file, _PairFile)
    _check_head(head, file)
    claims = tuple(_read_claims(root.joinpath("claims"), head))
    _check_distinct(claims, root)
    return Pair(
        name=head.name,
        version=head.version,
        digest=tree_digest(root, only=("pair.toml", "claims")),
        first=head.first,
        second=head.second,
        variables=head.variables,
        placebos=head.placebos,
        claims=claims,
        warnings=tuple(_length_warnings(claims)),
    )


def _check_head(head: _PairFile, file: Traversable) -> None:
    codes = [v.code for v in head.variables] + [p.code for p in head.placebos]
    for code, count in Counter(codes).items():
        if count > 1:
            raise MaterialsError(
                f"{file}: code '{code}' is used {count} times among variables and placebos; make codes unique"
            )
    for code in codes:
        if not re.fullmatch(r"[A-Za-z]\w*", code, re.ASCII) or code in RESERVED:
            raise MaterialsError(
                f"{file}: code '{code}' is not allowed; a code is a letter followed by letters, digits or _, "
                f"and none of {', '.join(RESERVED)}"
            )
    labels = (head.first.label, head.second.label)
    for label in labels:
        if not re.fullmatch(r"[A-Za-z][\w -]*", label, re.ASCII) or label in (*RESERVED, *codes):
            raise MaterialsError(
                f"{file}: family label '{label}' is not allowed; a label starts with a letter, has letters, "
                f"digits, spaces, _ or - only, and is neither a code nor one of {', '.join(RESERVED)}"
            )
    if labels[0] == labels[1]:
        raise MaterialsError(f"{file}: both families are labelled '{labels[0]}'; give them different labels")
    for family in ("first", "second"):
        if not any(v.family == family for v in head.variables):
            raise MaterialsError(
                f'{file}: no variable has family = "{family}"; each family needs at least one'
            )
        if not any(v.family == family and v.in_all for v in head.variables):
            raise MaterialsError(
                f"{file}: no variable of family '{family}' has in_all = true, so `all` would leave it out; "
                "set it for at least one"
            )


def _read_claims(folder: Traversable, head: _PairFile) -> Iterator[Claim]:
    codes = [v.code for v in head.variables] + [p.code for p in head.placebos]
    known = {f"{code}.toml" for code in codes}
    if folder.is_dir():
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".toml") and entry.name not in known:
                raise MaterialsError(
                    f"{entry}: pair.toml has no variable or placebo '{entry.name.removesuffix('.toml')}'; "
                    "add it there or remove this file"
                )
    for variable in head.variables:
        file = folder.joinpath(f"{variable.code}.toml")
        both = read_toml(file, _VariableClaims)
        for strength in STRENGTHS:
            plus, minus = len(both.amplify.texts(strength)), len(both.suppress.texts(strength))
            if plus != minus:
                raise MaterialsError(
                    f"{file}: {strength} has {plus} paraphrases in [amplify] and {minus} in [suppress]; "
                    "give both arms the same number"
                )
        plus_arm = Intervention(variable=variable.code, polarity="+", family=variable.family)
        minus_arm = Intervention(variable=variable.code, polarity="-", family=variable.family)
        yield from _claims_of(plus_arm, both.amplify)
        yield from _claims_of(minus_arm, both.suppress)
    for placebo in head.placebos:
        file = folder.joinpath(f"{placebo.code}.toml")
        yield from _claims_of(Intervention(variable=placebo.code), read_toml(file, _PlaceboClaims).placebo)


def _claims_of(intervention: Intervention, arm: _Arm) -> Iterator[Claim]:
    for strength in STRENGTHS:
        for number, text in enumerate(arm.texts(strength), start=1):
            yield Claim(intervention=intervention, strength=strength, paraphrase=number, text=_unwrap(text))


def _unwrap(text: str) -> str:
    """Joins wrapped lines; blank lines stay paragraph breaks."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n[ \t]*\n", text.strip()))


def _check_distinct(claims: tuple[Claim, ...], root: Traversable) -> None:
    seen: dict[str, Claim] = {}
    for claim in claims:
        other = seen.setdefault(claim.text, claim)
        if other is not claim:
            raise MaterialsError(
                f"{root}: {_label(other)} and {_label(claim)} are the same text; a claim has to be told "
                "apart from every other, so word one of them differently"
            )


def _length_warnings(claims: tuple[Claim, ...]) -> Iterator[str]:
    for strength in STRENGTHS:
        same = [claim for claim in claims if claim.strength == strength]
        average = mean(claim.words for claim in same)
        for claim in same:
            if abs(claim.words - average) > TOLERANCE * average:
                yield (
                    f"{_label(claim)} has {claim.words} words, over {TOLERANCE:.0%} from the mean of "
                    f"{strength} claims ({average:.1f}); an effect may come from its length"
                )


def _label(claim: Claim) -> str:
    return f"{claim.intervention.code} {claim.strength}/{claim.paraphrase}"
