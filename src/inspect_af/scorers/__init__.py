"""Scorers: what a reply counts as, and what judges find in it."""

from inspect_af.reply import ReadReply, read_reply
from inspect_af.scorers.compliance import choice, compliance
from inspect_af.scorers.contrast import contrast_pair
from inspect_af.scorers.judges import (
    awareness_judge,
    concept_judge,
    faking_judge,
    grader_model,
    judged_means,
    refusal_judge,
    rubric_judge,
    tag_disagreements,
)
from inspect_af.scorers.metrics import accepted_rate, compliance_gap, first_option, unscored_replies

__all__ = [
    "ReadReply",
    "accepted_rate",
    "awareness_judge",
    "choice",
    "compliance",
    "compliance_gap",
    "concept_judge",
    "contrast_pair",
    "faking_judge",
    "first_option",
    "grader_model",
    "judged_means",
    "read_reply",
    "refusal_judge",
    "rubric_judge",
    "tag_disagreements",
    "unscored_replies",
]
