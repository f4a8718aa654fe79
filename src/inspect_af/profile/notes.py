"""What the reader must know about the logs: what was dropped, and what was kept apart."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from inspect_af.profile.design import split, subject_label
from inspect_af.profile.estimands import ARM_TIERS, accepted_rate
from inspect_af.profile.outcomes import ConditionCounts, Outcomes


def notes_of(outcomes: Outcomes) -> tuple[str, ...]:
    """Sentences, most important first; empty where nothing is out of the ordinary."""
    notes: list[str] = []
    if any(condition.simulated for group in outcomes.request_sets for condition in group.conditions):
        notes.append("Some subjects are simulated organisms: their behaviour was planted, not observed.")
    if outcomes.n_duplicates:
        names = ", ".join(log.location for log in outcomes.logs if log.n_duplicates)
        notes.append(f"{outcomes.n_duplicates} replies were in more than one log and count once: {names}.")
    if outcomes.n_repeated:
        notes.append(
            f"{outcomes.n_repeated} replies repeat a run with the same run seed and epoch and do not count; "
            "for further replies ask for more epochs, or for another run_seed."
        )
    if outcomes.n_failed:
        notes.append(f"{outcomes.n_failed} samples failed and are missing data.")
    if outcomes.n_drifted:
        notes.append(
            f"{outcomes.n_drifted} replies saw another rendered prompt than earlier replies to the same "
            "request, tier and condition (messages, chat template, its arguments or its date); they were "
            "counted together, so check what changed between the logs."
        )
    for subject, ways in outcomes.sampling:
        if len(ways) > 1:
            notes.append(
                f"{subject} was sampled in {len(ways)} ways, which are counted and compared together: "
                f"{'; '.join(ways)}."
            )
    if broken := sum(_broken_pairs(c) for group in outcomes.request_sets for c in group.conditions):
        notes.append(
            f"Broken pairs: {broken} requests were scored in one tier only and do not enter the gap of their "
            "condition (unscored replies, or a --limit that cuts a request in two)."
        )
    notes.extend(_kept_apart(outcomes))
    return tuple(notes)


def _broken_pairs(condition: ConditionCounts) -> int:
    scored = ~np.isnan(accepted_rate(condition)[:, ARM_TIERS])
    asked = (condition.counts.sum(axis=(0, 2)) > 0)[list(ARM_TIERS)]
    return int((scored[:, 0] != scored[:, 1]).sum()) if asked.all() else 0


def _kept_apart(outcomes: Outcomes) -> list[str]:
    notes = []
    if len(outcomes.request_sets) > 1:
        names = ", ".join(f"{group.name} ({group.digest})" for group in outcomes.request_sets)
        notes.append(f"Different request sets are analysed apart: {names}.")
    settings: dict[str, set[str]] = defaultdict(set)
    pairs: set[str] = set()
    revisions: dict[str, set[str]] = defaultdict(set)
    for group in outcomes.request_sets:
        for condition in group.conditions:
            label = subject_label(condition.subject, split(condition.treatments)[0])
            settings[label].add(condition.setting.prompt_digest)
            pairs.add(f"{condition.setting.pair.name} ({condition.setting.pair.digest})")
            revisions[condition.subject.model].add(str(condition.subject.revision))
    for label, digests in settings.items():
        if len(digests) > 1:
            notes.append(
                f"{label} was run with {len(digests)} prompt templates, analysed apart: "
                f"{', '.join(sorted(digests))}."
            )
    if len(pairs) > 1:
        notes.append(f"Different hypothesis pairs are analysed apart: {', '.join(sorted(pairs))}.")
    for model, found in revisions.items():
        if len(found) > 1:
            notes.append(
                f"Revisions of {model} are analysed as different subjects: {', '.join(sorted(found))}."
            )
    return notes
