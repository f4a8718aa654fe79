"""What became of the documents on their way into a corpus."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from inspect_af.sdf.filtering import FilterResult, OmittedFilter


class CorpusReport(BaseModel):
    """One corpus: what came in, what each filter removed, what is left."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    universe: str | None
    tokenizer: str
    documents_in: int
    filters: tuple[FilterResult, ...]
    omitted: tuple[OmittedFilter, ...]
    clean_documents: int
    clean_tokens: int
    """Of all clean documents, training and held-out."""
    cut_documents: int
    """Clean documents that were left out to meet the size."""
    train_documents: int
    train_tokens: int
    held_out_documents: int
    held_out_tokens: int
    target_tokens: int | None
    """What the training split was cut to, None where it was not."""

    @property
    def removed(self) -> dict[str, int]:
        return {result.name: result.removed for result in self.filters}


def report_text(report: CorpusReport) -> str:
    """The report as lines of text, examples with their passages."""
    of = f" of {report.universe}" if report.universe else ""
    lines = [f"Corpus{of}: {report.documents_in:,} documents in"]
    width = max(len(result.name) for result in report.filters)
    for result in report.filters:
        lines.append(f"  {result.name:<{width}}  {result.removed:>7,} removed  {result.removes}")
        lines += [f"  {'':<{width}}    {shown.id}: {_plain(shown.passage)}" for shown in result.examples]
    lines += [f"  {each.name:<{width}}  not applied: {each.why}" for each in report.omitted]
    unit = "tokens (estimated)" if report.tokenizer == "characters" else "tokens"
    lines.append(f"  clean     {report.clean_documents:,} documents, {report.clean_tokens:,} {unit}")
    if report.target_tokens is not None:
        lines.append(
            f"  cut       {report.cut_documents:,} documents to meet {report.target_tokens:,} {unit}"
        )
    lines.append(f"  training  {report.train_documents:,} documents, {report.train_tokens:,} {unit}")
    lines.append(f"  held out  {report.held_out_documents:,} documents, {report.held_out_tokens:,} {unit}")
    return "\n".join(lines)


def _plain(passage: str, limit: int = 160) -> str:
    # Text of a model goes to a terminal here: no control characters.
    shown = "".join(character if character.isprintable() else " " for character in passage)
    return shown if len(shown) <= limit else f"{shown[:limit]}..."
