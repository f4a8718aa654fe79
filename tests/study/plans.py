"""Drafts of studies for tests, and an executor that submits their steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inspect_af.plan import Plan
from inspect_af.study.draft import complete_draft

ORGANISM = "af-hf/./organisms/expectation"
SMALL: dict[str, Any] = {
    "name": "small",
    "subjects": ["af-organism/expectation"],
    "conditions": "A1,B1",
    "requests": "mini",
}
WHOLE: dict[str, Any] = {
    "name": "whole",
    "subjects": [
        {"model": ORGANISM, "organism": {"kind": "expectation", "steps": 10}},
        "af-hf/./models/other",
    ],
    "conditions": "A1,B1,N1",
    "requests": "mini",
    "generation": {"epochs": 2, "temperature": 1.0, "max_tokens": 200},
    "judging": {"grader": "af-simulated-judge/keyword"},
    "beliefs": {"orders": 1},
    "checks": {"direct_requests": True, "identities": ["roleplay"]},
    "sdf": {
        "interventions": ["A1+", "neutral"],
        "writer": "af-simulated-writer/documents",
        "tokens": 2000,
        "words": 60,
        "seeds": [0, 1],
        "hyperparameters": {"learning_rate": 0.001},
        "prompt_claims": ["A1"],
    },
    "steering": {
        "writer": {"model": "af-simulated-dialogues/writer", "args": {"pair": "pairs/own"}},
        "multipliers": [-1, 1],
        "layers": ["0-1"],
        "controls": 2,
        "control_requests": 6,
    },
    "budget": {"max_cost_usd": 1},
}


def plan(draft: dict[str, Any], **changes: Any) -> Plan:
    return complete_draft({**draft, **changes})


QUEUE = """#!/bin/sh
# A queue in ten lines: takes a job script, starts it away from here, prints a number.
mkdir -p "{queue}"
number=$(ls "{queue}" | wc -l)
cp "$1" "{queue}/$number.sh"
setsid sh "{queue}/$number.sh" > "{queue}/$number.out" 2>&1 < /dev/null &
echo "$number"
"""


def submitting(here: Path) -> list[str]:
    """Options for an executor that submits jobs; what they print is in `HERE/queue/*.out`."""
    script = here / "submit"
    script.write_text(QUEUE.format(queue=here / "queue"))
    script.chmod(0o755)
    submit = ["--cluster-generic-submit-cmd", str(script)]
    return ["--executor", "cluster-generic", *submit, "--latency-wait", "10"]
