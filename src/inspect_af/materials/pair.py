"""A hypothesis pair: two families of beliefs, the claims that move them, and their placebos.

A pair is a directory with `pair.toml` and `claims/CODE.toml`, one file per variable and placebo
(docs/hypothesis_pairs.md).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from statistics import mean
from typing import Self

from pydantic import Field, model_validator

from inspect_af.config import text_digest
from inspect_af.errors import MaterialsError, check_one_of
from inspect_af.format import plural
from inspect_af.materials.files import (
    Line,
    Name,
    Texts,
    Words,
    cached_for,
    material_dir,
    read_text,
    read_toml,
    refuse_if,
    toml_names,
    tree_digest,
    unwrap,
)
from inspect_af.types import (
    FAMILIES,
    STRENGTHS,
    Family,
    Intervention,
    PairSummary,
    Polarity,
    Strength,
    VariableSummary,
)

BUNDLED = "alignment_faking"
RESERVED = ("none", "baseline", "all", "extended")
"""Words of a selection of interventions; no code and no label may be one of them."""
TOLERANCE = 0.10
"""Claims of one strength should be within this share of their mean length in words: added text of any
kind moves the gap, so a claim that is longer than its placebo would be confounded with its length."""


class FamilyInfo(Words):
    """What one family of beliefs is called and what it says."""

    label: str  # a short word, such as `expectation`; reports and `interventions=` use it
    description: Line


class Variable(Words):
    """One belief that interventions move."""

    code: str  # letters, digits and `_`, such as `A1`
    name: Name
    family: Family
    in_all: bool = True  # whether `interventions=all` includes it
    amplify: Line  # what the `+` arm states
    suppress: Line  # what the `-` arm states


class Placebo(Words):
    """A true, neutral statement of the same length and form as the claims."""

    code: str
    name: Name


class Claim(Words):
    """One wording of one claim."""

    intervention: Intervention
    strength: Strength
    paraphrase: int = Field(ge=1)  # which wording, counted from 1
    text: str

    @cached_property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the text's sha256."""
        return text_digest(self.text)

    @property
    def words(self) -> int:
        """Length in words, separated by white space."""
        return len(self.text.split())

    @property
    def label(self) -> str:
        """Such as `A1+ standard/2`, for messages."""
        return f"{self.intervention.code} {self.strength}/{self.paraphrase}"


class _Head(Words):
    """The content of `pair.toml`."""

    name: Name
    version: int = Field(ge=1)
    first: FamilyInfo
    second: FamilyInfo
    variables: tuple[Variable, ...]
    placebos: tuple[Placebo, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        return (*(v.code for v in self.variables), *(p.code for p in self.placebos))

    @model_validator(mode="after")
    def _entries_agree(self) -> Self:
        reserved = ", ".join(RESERVED)
        for code, count in Counter(self.codes).items():
            refuse_if(
                count > 1,
                f"code {code!r} is used {count} times among variables and placebos; make codes unique",
            )
            refuse_if(
                not re.fullmatch(r"[A-Za-z]\w*", code, re.ASCII) or code in RESERVED,
                f"code {code!r} is not allowed; a code is a letter followed by letters, digits or _, and "
                f"none of {reserved}",
            )
        labels = (self.first.label, self.second.label)
        for label in labels:
            refuse_if(
                not re.fullmatch(r"[A-Za-z][\w -]*", label, re.ASCII) or label in (*RESERVED, *self.codes),
                f"family label {label!r} is not allowed; a label starts with a letter, has letters, digits, "
                f"spaces, _ or - only, and is neither a code nor one of {reserved}",
            )
        refuse_if(
            labels[0] == labels[1],
            f"both families are labelled '{labels[0]}'; give them different labels",
        )
        for family in FAMILIES:
            members = [v for v in self.variables if v.family == family]
            refuse_if(not members, f'no variable has family = "{family}"; each family needs at least one')
            refuse_if(
                not any(v.in_all for v in members),
                f"no variable of family '{family}' has in_all = true, so `all` would leave it out; set it "
                "for at least one",
            )
        return self


class Pair(_Head):
    """A hypothesis pair with its words; `load_pair` reads one from a directory."""

    digest: str
    """First 16 hexadecimal digits of the sha256 over `pair.toml` and the claims. Questions, universes and
    concepts have digests of their own."""
    claims: tuple[Claim, ...]
    warnings: tuple[str, ...] = ()
    """What a careful reader should know, such as claims that differ in length by more than 10 %."""

    @cached_property
    def all_interventions(self) -> tuple[Intervention, ...]:
        """Every arm of every variable, then the placebos."""
        poles: tuple[Polarity, ...] = ("+", "-")
        arms = [
            Intervention(variable=v.code, polarity=pole, family=v.family)
            for v in self.variables
            for pole in poles
        ]
        return (*arms, *(Intervention(variable=p.code) for p in self.placebos))

    def intervention(self, code: str) -> Intervention:
        """The intervention that a code such as `A1+` or `N2` means.

        Raises:
            ConfigError: no such intervention; the message lists those that exist.
        """
        known = {intervention.code: intervention for intervention in self.all_interventions}
        check_one_of(code, known, what="intervention")
        return known[code]

    def interventions(self, spec: str | list[str]) -> tuple[Intervention | None, ...]:
        """The conditions that `interventions=` selects: None is the baseline, always there and first.

        The others follow in order of first mention, without repeats.

        Args:
            spec: Words, as a list or separated by commas. `none` or `baseline`: nothing more; `all`: both
                arms of every variable with `in_all`; `extended`: of every variable; a group such as `A` or a
                family's label: the same within the group; `N`: the placebos; `A1`: both arms; `A1+`: one arm.

        Raises:
            ConfigError: a word that means nothing; the message lists those that do.
        """
        items = spec if isinstance(spec, list) else [spec]
        words = [word.strip() for word in ",".join(map(str, items)).split(",")]
        chosen: dict[Intervention | None, None] = {None: None}
        for word in [word for word in words if word] or [""]:
            check_one_of(word, self._selections, what="intervention")
            chosen.update(dict.fromkeys(self._selections[word]))
        return tuple(chosen)

    @cached_property
    def _selections(self) -> dict[str, tuple[Intervention, ...]]:
        """What each word of a selection means; a code before a group, a group before a family's label."""
        groups: dict[str, list[Variable]] = {v.code: [v] for v in self.variables}
        for v in self.variables:
            group = _group(v.code)
            groups.setdefault(group, [other for other in self.variables if _group(other.code) == group])
        for family, info in zip(FAMILIES, (self.first, self.second), strict=True):
            groups.setdefault(info.label, [v for v in self.variables if v.family == family])
        meanings: dict[str, tuple[Intervention, ...]] = {i.code: (i,) for i in self.all_interventions}
        for name, members in groups.items():
            codes = {v.code for v in members if v.in_all} or {v.code for v in members}
            meanings.setdefault(name, tuple(i for i in self.all_interventions if i.variable in codes))
        for group in dict.fromkeys(_group(p.code) for p in self.placebos):
            members_of = tuple(i for i in self.all_interventions if i.is_placebo and _group(i.code) == group)
            meanings.setdefault(group, members_of)
        in_all = {v.code for v in self.variables if v.in_all}
        every = tuple(i for i in self.all_interventions if i.variable in in_all)
        extended = tuple(i for i in self.all_interventions if not i.is_placebo)
        return {**meanings, "none": (), "baseline": (), "all": every, "extended": extended}

    def claim(self, intervention: Intervention, strength: Strength, paraphrase: int = 1) -> Claim:
        """The text that states an intervention.

        Raises:
            MaterialsError: there is none; the message says which strengths and paraphrases exist.
        """
        same = [c for c in self.claims if c.intervention == intervention]
        for claim in same:
            if (claim.strength, claim.paraphrase) == (strength, paraphrase):
                return claim
        listed = ", ".join(f"{c.strength}/{c.paraphrase}" for c in same)
        raise MaterialsError(
            f"pair '{self.name}' has no claim {intervention.code} {strength}/{paraphrase} "
            "(strength/paraphrase); "
            + (f"it has {listed}" if listed else f"it has none for {intervention.code} at all")
        )

    def paraphrases(self, intervention: Intervention, strength: Strength) -> int:
        """How many wordings there are; 0 where there are none."""
        return sum(c.intervention == intervention and c.strength == strength for c in self.claims)

    def wordings(self, strength: Strength) -> int:
        """How many wordings every claim and every placebo has at a strength."""
        return min(self.paraphrases(each, strength) for each in self.all_interventions)

    def find_claim(self, text: str) -> Claim | None:
        """The claim whose text occurs word for word in `text`, None if none does.

        Of several, the one that ends last; of those, the longest, so that a claim that repeats a weaker
        one is found as itself.
        """
        ends = [(at + len(c.text), len(c.text), c) for c in self.claims if (at := text.rfind(c.text)) >= 0]
        return max(ends, key=lambda found: found[:2])[2] if ends else None

    def summary(self) -> PairSummary:
        """What eval logs record about the pair."""
        return PairSummary(
            name=self.name,
            digest=self.digest,
            first=self.first.label,
            second=self.second.label,
            variables=tuple(
                VariableSummary(code=v.code, name=v.name, family=v.family, in_all=v.in_all)
                for v in self.variables
            ),
            placebos=tuple(p.code for p in self.placebos),
        )

    def says(self) -> dict[str, str]:
        """What every arm states in one line, and the names of the placebos, by code."""
        lines: dict[str, str] = {}
        for variable in self.variables:
            lines |= {f"{variable.code}+": variable.amplify, f"{variable.code}-": variable.suppress}
        return {**lines, **{placebo.code: placebo.name for placebo in self.placebos}}


def _group(code: str) -> str:
    """The letters before a code's number: `A` of `A1`. A code without a number is its own group."""
    return re.sub(r"\d+$", "", code)


class _Arm(Words):
    weak: Texts
    standard: Texts
    strong: Texts

    def claims(self, intervention: Intervention) -> Iterator[Claim]:
        for strength in STRENGTHS:
            for number, text in enumerate(getattr(self, strength), start=1):
                yield Claim(
                    intervention=intervention, strength=strength, paraphrase=number, text=unwrap(text)
                )


class _VariableFile(Words):
    amplify: _Arm
    suppress: _Arm

    @model_validator(mode="after")
    def _arms_are_alike(self) -> Self:
        for strength in STRENGTHS:
            plus, minus = (len(getattr(arm, strength)) for arm in (self.amplify, self.suppress))
            refuse_if(
                plus != minus,
                f"{strength} has {plus} paraphrases in [amplify] and {minus} in [suppress]; give both arms "
                "the same number",
            )
        return self


class _PlaceboFile(Words):
    placebo: _Arm


@cached_for(BUNDLED)
def load_pair(source: str | Path | None = None) -> Pair:
    """The bundled pair, or a user's.

    Args:
        source: None or `alignment_faking` for the bundled one, else a directory.

    Raises:
        MaterialsError: a file is missing or malformed, or entries contradict each other; the message names
            the file and the entry. Claims of unequal length are no error: see `Pair.warnings`.
    """
    root = pair_dir(source)
    head = pair_head(root)
    claims = tuple(_read_claims(root.joinpath("claims"), head))
    seen: dict[str, Claim] = {}
    for claim in claims:
        other = seen.setdefault(claim.text, claim)
        refuse_if(
            other is not claim,
            f"{root}: {other.label} and {claim.label} are the same text; a claim has to be told apart from "
            "every other, so word one of them differently",
        )
    warnings = []
    for claim in claims:
        average = mean(other.words for other in claims if other.strength == claim.strength)
        if abs(claim.words - average) > TOLERANCE * average:
            warnings.append(
                f"{claim.label} has {plural(claim.words, 'word')}, over {TOLERANCE:.0%} from the mean of "
                f"{claim.strength} claims ({average:.1f}); an effect may come from its length"
            )
    digest = tree_digest(root, only=("pair.toml", "claims"))
    return Pair(**dict(head), digest=digest, claims=claims, warnings=tuple(warnings))


def pair_dir(source: str | Path | None) -> Traversable:
    """The directory of a pair; arguments and errors as of `load_pair`."""
    return material_dir(source, default=BUNDLED, folder="pairs", what="pair")


def pair_head(root: Traversable) -> _Head:
    """What `pair.toml` says."""
    return read_toml(root.joinpath("pair.toml"), _Head)


def claim_file(file: Traversable) -> Words:
    """The claims of one file, whatever the pair says of it."""
    schema = _PlaceboFile if "[placebo]" in read_text(file) else _VariableFile
    return read_toml(file, schema)


def _read_claims(folder: Traversable, head: _Head) -> Iterator[Claim]:
    for name in toml_names(folder):
        refuse_if(
            name not in head.codes,
            f"{folder}/{name}.toml: pair.toml has no variable or placebo '{name}'; add it there or remove "
            "this file",
        )
    for variable in head.variables:
        both = read_toml(folder.joinpath(f"{variable.code}.toml"), _VariableFile)
        code, family = variable.code, variable.family
        yield from both.amplify.claims(Intervention(variable=code, polarity="+", family=family))
        yield from both.suppress.claims(Intervention(variable=code, polarity="-", family=family))
    for placebo in head.placebos:
        file = folder.joinpath(f"{placebo.code}.toml")
        yield from read_toml(file, _PlaceboFile).placebo.claims(Intervention(variable=placebo.code))
