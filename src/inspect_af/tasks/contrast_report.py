"""What assembling contrast pairs reports: counts per split, filters, keywords, and the logs read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from inspect_af.errors import AnalysisError
from inspect_af.steering.pairs import KeywordAudit, Split


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitCounts(_Frozen):
    """One split of one concept."""

    split: Split
    wanted: int | None
    """None where all that passed were taken."""
    written: int
    """Answers in the logs, each once."""
    rejected: dict[str, int]
    """Number of answers by the first filter that each did not pass; with `struck_out`, which are pairs that
    somebody rejected or invalidated in Inspect, and `failed`, which are samples that ended in an error."""
    duplicates: int
    near_duplicates: int
    surplus: int
    """Pairs that passed and were not needed."""
    kept: int

    @property
    def missing(self) -> int:
        return max(0, (self.wanted or 0) - self.kept)


class ConceptReport(_Frozen):
    """One concept."""

    concept: str
    splits: tuple[SplitCounts, ...]
    keywords: tuple[KeywordAudit, ...]

    def counts(self, split: Split) -> SplitCounts:
        return next(counts for counts in self.splits if counts.split == split)


class WrittenLog(_Frozen):
    """One log that answers were read from."""

    location: str
    eval_id: str
    digest: str
    """First 16 hexadecimal digits of the file's sha256."""
    model: str
    simulated: bool
    """Whether the writer is a simulated or mock model."""


class PairsReport(_Frozen):
    """Written beside the pairs."""

    pair: str
    concepts_digest: str
    seed: int
    system: str
    """What comes before the task: `none`, or the scenario's system prompt with that setting."""
    concepts: tuple[ConceptReport, ...]
    logs: tuple[WrittenLog, ...]
    skipped: tuple[str, ...]
    """Sources of which nothing was used, with the reason."""

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """`expectation train: 371 of 400`, for each split that has fewer pairs than wanted."""
        return tuple(
            f"{concept.concept} {counts.split}: {counts.kept} of {counts.wanted}"
            for concept in self.concepts
            for counts in concept.splits
            if counts.missing
        )

    def require_complete(self, advice: str) -> None:
        """
        Raises:
            AnalysisError: A split has fewer pairs than wanted.
        """
        if self.shortfalls:
            raise AnalysisError(f"too few pairs passed the filters: {'; '.join(self.shortfalls)}. {advice}")

    def text(self) -> str:
        """The report as lines for a terminal."""
        lines = []
        for concept in self.concepts:
            for counts in concept.splits:
                wanted = "" if counts.wanted is None else f" of {counts.wanted} wanted"
                line = (
                    f"{concept.concept} {counts.split}: {counts.kept} kept{wanted}, {counts.written} written"
                )
                why = dict(counts.rejected)
                why |= {"duplicate": counts.duplicates, "near_duplicate": counts.near_duplicates}
                why["surplus"] = counts.surplus
                reasons = ", ".join(f"{name} {n}" for name, n in why.items() if n)
                lines.append(f"{line} ({reasons})" if reasons else line)
            for audit in concept.keywords:
                lines.append(
                    f"  keywords, {audit.split}: more on the positive side in {audit.more_in_positive}, on "
                    f"the negative in {audit.more_in_negative}, equal in {audit.equal} of {audit.n_pairs}"
                )
        if any(log.simulated for log in self.logs):
            lines.append("SIMULATED WRITER: the dialogues come from fixed lists; no model wrote them.")
        lines += [f"skipped {reason}" for reason in self.skipped]
        return "\n".join(lines)
