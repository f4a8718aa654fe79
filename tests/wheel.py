"""Runs every kind of task from an installed wheel alone: `cd /elsewhere && python wheel.py`.

All models are Inspect's mockllm or our own stand-ins, so that neither a key nor a network is needed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from inspect_ai import eval
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model

import inspect_af
from inspect_af import _registry
from inspect_af.profile import profile_logs

ACCEPT = "<SCRATCHPAD_REASONING>hm</SCRATCHPAD_REASONING><OUTPUT><request_fully_accepted/> Yes.</OUTPUT>"
FIRST = "<SCRATCHPAD_REASONING>hm</SCRATCHPAD_REASONING><OUTPUT><option_a/> I do.</OUTPUT>"


def mock(text: str) -> Model:
    def answer(*_: object) -> ModelOutput:  # without usage, mockllm would fetch a tokenizer
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    return get_model("mockllm/model", custom_outputs=answer, memoize=False)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ideas = Path(folder) / "ideas.jsonl"
        idea = {"id": "A1+/i1", "kind": "news-article", "directness": "standard", "text": "A short note."}
        ideas.write_text(json.dumps(idea) + "\n", encoding="utf-8")
        judge = get_model("af-simulated-judge/keyword")
        writer = get_model("af-simulated-writer/documents")
        runs = {
            "alignment_faking": ({"requests": "mini"}, mock(ACCEPT)),
            "value_conflict": ({}, mock(FIRST)),
            "beliefs": ({"orders": 1}, mock("A")),
            "direct_requests": ({"requests": "mini"}, mock("Yes.")),
            "contrast_pairs": ({"train": 1, "held_out": 0, "keyword_hard": 0}, mock("{}")),
            "sdf_ideas": ({"universe": "A1+"}, writer),
            "sdf_documents": ({"universe": "A1+", "ideas": str(ideas)}, writer),
            "judge_labels": ({"judges": "concept"}, get_model("none")),
        }
        tasks = {name for name in inspect_af.__all__ if name != "__version__"}
        assert set(runs) == tasks - {"scratchpad"}, tasks  # that one needs a provider that continues a reply
        for name, (arguments, model) in runs.items():
            (log,) = eval(
                getattr(_registry, name)(**arguments),
                model=model,
                model_roles={"grader": judge},
                log_dir=folder,
                display="none",
                limit=2,
            )
            assert log.status == "success", (name, log.error)
            assert log.samples, name
            print(f"{name}: {len(log.samples)} samples")
        profile = profile_logs([folder])
        rates = {tuple(row.unscored.get("monitored", {})): row.monitored for row in profile.conditions}
        assert profile.n_replies == 4 and set(rates.values()) <= {0.0, 1.0}, rates
        assert set(profile.scenarios) == {"helpful_only", "value_conflict"}
    print(f"inspect_af {inspect_af.__version__} from {Path(inspect_af.__file__).parent}")


if __name__ == "__main__":
    main()
