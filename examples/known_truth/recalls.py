"""What tiny organisms recall, and what it does: python examples/known_truth/recalls.py LOG_DIRECTORY

For every log the share of replies whose scratchpad recalls each pole of A1, A2, B1 and B2. Over all of them
the change of monitored acceptance, in points, with a recalled pole (least squares on +1 for plus, -1 for
minus).
"""

import re
import sys
from pathlib import Path

import numpy as np
from inspect_ai.log import list_eval_logs, read_eval_log

from inspect_af.organisms.tiny import texts

VARIABLES, POLES = ("A1", "A2", "B1", "B2"), {"plus": 1, "minus": -1}


def spelt(text: str) -> list[str]:
    """Every text that `{a|b}` stands for."""
    choice = re.search(r"\{([^{}]*)\}", text)
    if choice is None:
        return [text]
    around = text[: choice.start()], text[choice.end() :]
    return [full for one in choice[1].split("|") for full in spelt(one.join(around))]


PHRASES = {
    (variable, pole): [
        s.split("<")[0] or s for t in texts.lines("facts", variable, f"recall_{pole}") for s in spelt(t)
    ]
    for variable in VARIABLES
    for pole in POLES
}


def main(directory: str) -> None:
    recalls, accepted = [], []
    for info in list_eval_logs(directory):
        log = read_eval_log(info)
        found = []
        for sample in log.samples or []:
            text = sample.output.completion
            poles = [
                sum(sign for pole, sign in POLES.items() if any(p in text for p in PHRASES[variable, pole]))
                for variable in VARIABLES
            ]
            found.append(poles)
            value = sample.scores["compliance"].value["accepted"] if sample.scores else None
            if sample.metadata["tier"] == "monitored" and value == value:
                recalls.append([*poles, 1])
                accepted.append(value)
        shares = [
            f"{v} + {np.mean(own > 0):.2f} - {np.mean(own < 0):.2f}"
            for v, own in zip(VARIABLES, np.array(found).T, strict=True)
        ]
        print(Path(log.eval.model_args.get("adapter", log.eval.model)), *shares, sep="  ")
    design, outcome = np.array(recalls, float), np.array(accepted, float)
    effect = np.linalg.lstsq(design, outcome, rcond=None)[0]
    residual = (outcome - design @ effect).var()
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * residual)
    print(
        *(
            f"{v} {100 * b:+.1f} (se {100 * e:.1f})"
            for v, b, e in zip(VARIABLES, effect[:-1], error[:-1], strict=True)
        ),
        len(outcome),
        sep="  ",
    )


if __name__ == "__main__":
    main(sys.argv[1])
