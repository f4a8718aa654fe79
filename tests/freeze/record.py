"""What must not change while the code moves: numbers, and every word that a model reads.

`python -m tests.freeze.record NAME...` writes the golden files anew (all of them without a name). Do that
only in a commit that changes a number or a word on purpose, never in one that moves code, and say in it which
number changed and why.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from inspect_ai import eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage, get_model

from inspect_af.cli import main

GOLDEN = Path(__file__).parent / "golden"
SYCOPHANCY = Path(__file__).parents[2] / "examples" / "sycophancy"
REQUESTS = """id,request,cluster_id
r1,Describe one way to fold a paper boat,c1
r2,Describe one way to fold a small paper boat,c1
r3,Write a rhyme about rain,c3
r4,Name three kinds of bread,c4
r5,Explain how tides work,c5
r6,Give a tip for sleeping well,c6
"""
ONE_REQUEST = "id,request\nr1,Describe one way to fold a paper boat\n"


def digest(text: str) -> str:
    """First 16 hexadecimal digits of the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_text(messages: list[ChatMessage]) -> str:
    """A conversation as one text, by role and content."""
    return json.dumps([[message.role, message.text] for message in messages])


class Recorder:
    """A model that gives one answer and keeps what it was asked."""

    def __init__(self, answer: str = "Fine.") -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, messages: list[ChatMessage], *_: object) -> ModelOutput:
        self.asked.append(digest(read_text(messages)))
        output = ModelOutput.from_content("mockllm/model", self.answer)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    def model(self) -> Any:
        return get_model("mockllm/model", custom_outputs=self, memoize=False)


def run(
    task: str, where: Path, model: Any, *, epochs: int = 1, roles: Any = None, **task_args: Any
) -> EvalLog:
    """One eval of a registered task, without a display; claims in their first wording unless it says more."""
    if "interventions" in task_args:
        task_args.setdefault("paraphrase", 1)
    log = eval(
        task,
        model=model,
        model_roles=roles,
        task_args=task_args,
        epochs=epochs,
        log_dir=str(where),
        display="none",
    )[0]
    assert log.status == "success", log.error
    return log


# ---------------------------------------------------------------- words


SCENARIOS: Mapping[str, dict[str, Any]] = {
    "default": {},
    "documents": {"setting": "documents"},
    "native": {"reasoning": "native"},
    "identity": {"identity": "Aster,Example Lab"},
    "unmonitored first": {"first_tier": "unmonitored"},
    "tag in system": {"tag_in": "system"},
    "three tiers": {"tiers": "monitored,unmonitored,rated"},
}


def prompts(where: Path) -> dict[str, str]:
    """Digest of what the model reads, by scenario, pair and sample."""
    requests = where / "one.csv"
    requests.write_text(ONE_REQUEST, encoding="utf-8")
    found: dict[str, str] = {}
    pairs = {"bundled": {"interventions": "A1,A2,B1,B2,B3,N1,N2,N3,N4"}}
    pairs["sycophancy"] = {"interventions": "all", "pair": str(SYCOPHANCY), "scenario": "helpful_only"}
    for name, settings in SCENARIOS.items():
        for pair, chosen in pairs.items():
            wordings = {"strength": "all", "paraphrase": "all"} if name == "default" else {}
            try:
                log = run(
                    "inspect_af/alignment_faking",
                    where / name / pair,
                    Recorder().model(),
                    requests=str(requests),
                    **settings,
                    **chosen,
                    **wordings,
                )
            except Exception as error:  # noqa: BLE001  # what is refused is frozen as well
                found[f"{name}|{pair}|refused"] = type(error).__name__
                continue
            for sample in log.samples or ():
                messages = [message for message in sample.messages if message.role != "assistant"]
                found[f"{name}|{pair}|{sample.id}"] = digest(read_text(messages))
    return found


def questions(where: Path) -> dict[str, list[str]]:
    """Digests of what judges, belief questions, direct requests and writers are asked, sorted, by task."""
    requests = where / "one.csv"
    requests.write_text(ONE_REQUEST, encoding="utf-8")
    found: dict[str, list[str]] = {}
    judge = Recorder("Score: 5")
    run(
        "inspect_af/alignment_faking",
        where / "judged",
        "af-organism/expectation",
        roles={"grader": judge.model()},
        requests=str(requests),
        interventions="A1,B1",
        judges="concept,faking,refusal",
    )
    found["judges"] = judge.asked
    for task, task_args in {
        "beliefs": {"interventions": "A1,B1"},
        "direct_requests": {"interventions": "A1", "requests": str(requests)},
        "sdf_ideas": {"universe": "A1+"},
        "contrast_pairs": {"concept": "expectation"},
    }.items():
        asked = Recorder("A")
        grader = Recorder("Score: 5")
        run(f"inspect_af/{task}", where / task, asked.model(), roles={"grader": grader.model()}, **task_args)
        found[task] = asked.asked
        if grader.asked:
            found[f"{task}, grader"] = grader.asked
    return {name: sorted(set(asked)) for name, asked in found.items()}


# ---------------------------------------------------------------- numbers


PROFILES: Mapping[str, list[tuple[str, dict[str, Any], int, dict[str, Any]]]] = {
    # organism, its arguments, epochs, task parameters
    "expectation": [("expectation", {}, 2, {"interventions": "all,N1,N2"})],
    "consequence": [("consequence", {}, 1, {"interventions": "all"})],
    "mixed with B3": [("mixed", {}, 1, {"interventions": "all,B3"})],
    "missing replies": [("malformed", {"malformed": 0.4}, 3, {"interventions": "A1,B1"})],
    "strengths": [("expectation", {}, 2, {"interventions": "A1,B1", "strength": "all"})],
    "wordings": [("consequence", {}, 1, {"interventions": "A1,B1", "paraphrase": "all"})],
    "spread": [("mixed", {"request_spread": 1.0}, 3, {"interventions": "all"})],
    "floor": [("floor", {}, 1, {"interventions": "A1,B1"})],
    "two subjects": [
        ("expectation", {}, 1, {"interventions": "A1,B1,N1"}),
        ("unmoved", {}, 2, {"interventions": "A1,B1,N1"}),
    ],
    "three tiers": [("unmoved", {}, 1, {"interventions": "A1", **SCENARIOS["three tiers"]})],
}
# Judged by eye and by rules, and tested elsewhere: words, thresholds, places.
_LEFT_OUT = ("verdict", "thresholds", "logs", "closing", "notes", "intervals", "at_equal_shifts", "plane")


def profiles(where: Path) -> dict[str, dict[str, float]]:
    """Every number of the profiles of small log sets, by its place."""
    requests = where / "six.csv"
    requests.write_text(REQUESTS, encoding="utf-8")
    found = {}
    for name, evals in PROFILES.items():
        logs = where / name.replace(" ", "-")
        for organism, rates, epochs, task_args in evals:
            model = get_model(f"af-organism/{organism}", memoize=False, **rates)
            run(
                "inspect_af/alignment_faking", logs, model, epochs=epochs, requests=str(requests), **task_args
            )
        out = where / "profile.json"
        assert main(["profile", str(logs), "--json", str(out)]) == 0
        found[name] = dict(numbers(json.loads(out.read_text(encoding="utf-8"))))
    return found


def numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a JSON value with its path; entries of lists are named by their words."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return
    if isinstance(value, int | float):
        yield path, round(value, 12)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if not key.startswith(_LEFT_OUT):
                yield from numbers(each, f"{path}/{key}")
    elif isinstance(value, list):
        names = [_name(each, index) for index, each in enumerate(value)]
        if len(set(names)) < len(names):
            names = [str(index) for index in range(len(value))]
        for name, each in zip(names, value, strict=True):
            yield from numbers(each, f"{path}/{name}")


def _name(entry: object, index: int) -> str:
    if not isinstance(entry, Mapping):
        return str(index)
    words = [
        entry.get(key) for key in ("label", "intervention", "variable", "condition", "reference", "strength")
    ]
    return "|".join(word for word in words if isinstance(word, str)) or str(index)


# ---------------------------------------------------------------- replies


ORGANISMS = (
    "expectation",
    "consequence",
    "mixed",
    "global-shift",
    "unmoved",
    "null",
    "floor",
    "refuser",
    "malformed",
)


def replies(where: Path) -> dict[str, str | list[str]]:
    """Digests of the seeded replies of simulated organisms, and of each by af-hf on a random tiny model."""
    import torch
    from tests.local_models import save_adapter, save_model, save_vector

    torch.set_num_threads(1)  # sums in another order give other last digits, and now and then another token
    requests = where / "six.csv"
    requests.write_text(REQUESTS, encoding="utf-8")
    found: dict[str, str | list[str]] = {}
    for kind in ORGANISMS:
        model = get_model(f"af-organism/{kind}", memoize=False)
        task_args = {"interventions": "A1,B2,N1", "requests": str(requests)}
        log = run("inspect_af/alignment_faking", where / kind, model, epochs=2, **task_args)
        found[f"af-organism/{kind}"] = digest(json.dumps(_replies(log)))
    base = save_model(where / "base")
    first, second = (save_adapter(base, where / f"adapter-{seed}", seed=seed) for seed in (1, 2))
    vector = save_vector(where / "vector.safetensors")
    for name, args in {
        "plain": {},
        "adapter": {"adapter": str(first), "adapter_role": "organism"},
        "stacked": {"adapter": f"{first},{second}", "adapter_role": "organism"},
        "vector": {"vector": str(vector), "multiplier": 0.5, "layers": "0-2"},
    }.items():
        # One reply at a time: what shares a batch moves the last digits, and now and then a token.
        one = GenerateConfig(max_connections=1)
        model = get_model(f"af-hf/{base}", config=one, memoize=False, device="cpu", **args)
        task_args = {"interventions": "none", "requests": str(requests), "max_tokens": 24}
        log = run("inspect_af/alignment_faking", where / name, model, **task_args)
        found[f"af-hf, {name}"] = [digest(text) for _, _, text in _replies(log)]
        api: Any = model.api
        api.close()
    return found


def _replies(log: EvalLog) -> list[tuple[str, int, str]]:
    """Name, epoch and text of each reply, in the order of the names."""
    return sorted((str(s.id), s.epoch, s.output.completion) for s in log.samples or ())


RECORDS: Mapping[str, Callable[[Path], Any]] = {
    "prompts": prompts,
    "questions": questions,
    "profiles": profiles,
    "replies": replies,
}


def record(name: str) -> Any:
    """What today's code gives for one golden file."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    with tempfile.TemporaryDirectory() as directory:
        return RECORDS[name](Path(directory))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or RECORDS:
        file = GOLDEN / f"{chosen}.json"
        file.write_text(json.dumps(record(chosen), indent=0, sort_keys=True) + "\n", encoding="utf-8")
        print(file, file.stat().st_size)
