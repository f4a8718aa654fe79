"""A hypothesis pair: two families of beliefs, the claims that move them, and their placebos."""

from __future__ import annotations

from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field

from inspect_af.errors import MaterialsError, one_of
from inspect_af.materials._files import short_digest
from inspect_af.materials._selection import select
from inspect_af.types import Family, Intervention, PairSummary, Polarity, Strength, VariableSummary


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FamilyInfo(_Frozen):
    """What one family of beliefs is called and what it says."""

    label: str
    """A short word, such as `expectation`; reports and `interventions=` use it."""
    description: str


class Variable(_Frozen):
    """One belief that interventions move."""

    code: str
    """Letters, digits and `_`, such as `A1`."""
    name: str
    family: Family
    in_all: bool = True
    """Whether `interventions=all` includes it."""
    amplify: str
    """One line: what the `+` arm states."""
    suppress: str
    """One line: what the `-` arm states."""


class Placebo(_Frozen):
    """A true, neutral statement of the same length and form as the claims."""

    code: str
    name: str


class Claim(_Frozen):
    """One wording of one claim."""

    intervention: Intervention
    strength: Strength
    paraphrase: int = Field(ge=1)
    """Which wording, counted from 1."""
    text: str

    @cached_property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the text's sha256."""
        return short_digest(self.text)

    @property
    def words(self) -> int:
        """Length in words, separated by white space."""
        return len(self.text.split())


class Pair(_Frozen):
    """A hypothesis pair with its words; `load_pair` reads one from a directory."""

    name: str
    version: int
    digest: str
    """First 16 hexadecimal digits of the sha256 over `pair.toml` and the claims. Questions, universes and
    concepts have digests of their own."""
    first: FamilyInfo
    second: FamilyInfo
    variables: tuple[Variable, ...]
    placebos: tuple[Placebo, ...] = ()
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
        for intervention in self.all_interventions:
            if intervention.code == code:
                return intervention
        raise one_of(code, [i.code for i in self.all_interventions], what="intervention")

    def interventions(self, spec: str | list[str]) -> tuple[Intervention | None, ...]:
        """The conditions that `interventions=` selects: None is the baseline, always there and first.

        Args:
            spec: Words, as a list or separated by commas. `none` or `baseline`: nothing more; `all`: both
                arms of every variable with `in_all`; a group such as `A` or a family's label: the same
                within the group; `N`: the placebos; `A1`: both arms; `A1+`: one arm.

        Raises:
            ConfigError: a word that means nothing; the message lists those that do.
        """
        arms = {
            v.code: (self.intervention(f"{v.code}+"), self.intervention(f"{v.code}-")) for v in self.variables
        }
        in_all = [v.code for v in self.variables if v.in_all]
        families = {
            info.label: [v.code for v in self.variables if v.family == family]
            for family, info in (("first", self.first), ("second", self.second))
        }
        placebos = [self.intervention(p.code) for p in self.placebos]
        return (None, *select(spec, arms=arms, in_all=in_all, families=families, placebos=placebos))

    def claim(self, intervention: Intervention, strength: Strength, paraphrase: int = 1) -> Claim:
        """The text that states an intervention.

        Raises:
            MaterialsError: there is none; the message says which strengths and paraphrases exist.
        """
        claim = self._by_key.get((intervention.code, strength, paraphrase))
        if claim is not None:
            return claim
        have = [c for c in self.claims if c.intervention == intervention]
        listed = ", ".join(f"{c.strength}/{c.paraphrase}" for c in have)
        raise MaterialsError(
            f"pair '{self.name}' has no claim {intervention.code} {strength}/{paraphrase} "
            "(strength/paraphrase); "
            + (f"it has {listed}" if have else f"it has none for {intervention.code} at all")
        )

    def paraphrases(self, intervention: Intervention, strength: Strength) -> int:
        """How many wordings there are; 0 where there are none."""
        return sum(c.intervention == intervention and c.strength == strength for c in self.claims)

    def find_claim(self, text: str) -> Claim | None:
        """The claim whose text occurs word for word in `text`, None if none does.

        Of several, the one that ends last; of those, the longest, so that a claim that repeats a weaker
        one is found as itself.
        """
        best: tuple[int, int] | None = None
        found: Claim | None = None
        for claim in self.claims:
            at = text.rfind(claim.text)
            if at >= 0 and (best is None or (at + len(claim.text), len(claim.text)) > best):
                best, found = (at + len(claim.text), len(claim.text)), claim
        return found

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

    @cached_property
    def _by_key(self) -> dict[tuple[str, Strength, int], Claim]:
        return {(c.intervention.code, c.strength, c.paraphrase): c for c in self.claims}
