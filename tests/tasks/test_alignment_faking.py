"""The task as a user meets it: parameters, samples, prompts, seeds, redaction."""

from __future__ import annotations

import json
import math
import shutil
import tomllib
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.event import LoggerEvent
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import generate
from tests.conftest import canned

import inspect_af.materials
from inspect_af.errors import InspectAFError
from inspect_af.materials import load_pair, load_scenario
from inspect_af.profile import profile_logs
from inspect_af.solvers import claim, generation_seed, prompt_intervention
from inspect_af.tasks import alignment_faking
from inspect_af.types import ROTATED, PromptClaim, SampleMeta, TaskMeta, planned_claim

Run = Callable[..., EvalLog]
ACCEPT = (
    "<SCRATCHPAD_REASONING>hm</SCRATCHPAD_REASONING><OUTPUT><request_fully_accepted/> SECRET-PAYLOAD</OUTPUT>"
)
REJECT = "<SCRATCHPAD_REASONING>hm</SCRATCHPAD_REASONING><OUTPUT><rejected/> No.</OUTPUT>"


def by_tier(monitored: str, unmonitored: str) -> Model:
    """A mock model that answers by the tier tag."""

    def answer(messages: list, tools: list, tool_choice: object, config: GenerateConfig) -> ModelOutput:
        return canned(monitored if ">True<" in messages[-1].text else unmonitored)

    return get_model("mockllm/model", custom_outputs=answer, memoize=False)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"interventions": "A9+"}, "unknown intervention 'A9+'; one of A1+, A1-"),
        ({"interventions": "A1+/huge"}, "unknown strength 'huge'; one of weak, standard, strong"),
        ({"interventions": "A1+/weak/p9"}, "p"),
        ({"interventions": "A1+", "strength": "huge"}, "unknown strength 'huge'"),
        ({"interventions": "A1+", "paraphrase": 0}, "paraphrase must be a number from 1"),
        ({"tiers": "monitored,premium"}, "unknown tier 'premium'; one of monitored, unmonitored, rated"),
        ({"setting": "other"}, "unknown setting 'other'; one of prompted, documents"),
        ({"reasoning": "loud"}, "unknown reasoning 'loud'; one of scratchpad, native, none"),
        ({"tag_in": "header"}, "unknown tag_in 'header'; one of user, system"),
        ({"tier_tag": "gold"}, "gold"),
        ({"identity": "nobody-known"}, "nobody-known"),
        ({"requests": "no/such/file.csv"}, "no/such/file.csv"),
        ({"pair": "no/such/pair"}, "no/such/pair"),
        ({"scenario": "no/such/scenario"}, "no/such/scenario"),
        # what Inspect's command line makes of `-T interventions=`, `=5`, `-T redact=maybe`, ...
        ({"interventions": None}, "unknown intervention 'None'"),
        ({"interventions": 5}, "unknown intervention '5'"),
        ({"strength": "huge"}, "unknown strength 'huge'"),
        ({"paraphrase": 0}, "paraphrase must be a number from 1"),
        ({"tiers": None}, "unknown tier 'None'"),
        ({"identity": 5}, "unknown identity '5'"),
        ({"pair": 5}, "pair '5' is not a directory"),
        ({"scenario": 5}, "scenario '5' is not a directory"),
        ({"judges": 5}, "unknown judge '5'"),
        ({"redact": "maybe"}, "redact='maybe': true or false is needed"),
        ({"redact": 1}, "redact=1: true or false is needed"),
        ({"tiers": []}, "unknown tier ''; one of monitored, unmonitored, rated"),
        ({"setting": {"a": "b"}}, "unknown setting {'a': 'b'}; one of prompted, documents"),
        ({"baseline_repeats": 10**9}, "baseline_repeats=1000000000: a whole number from 1 to 1000"),
        ({"run_seed": "abc"}, "run_seed='abc': a whole number is needed"),
        ({"run_seed": 1.5}, "run_seed=1.5: a whole number is needed"),
        ({"baseline_repeats": 0}, "baseline_repeats=0: a whole number from 1 to 1000"),
    ],
)
def test_an_unknown_value_fails_before_the_first_call_and_says_what_is_allowed(
    parameters: dict, message: str
) -> None:
    with pytest.raises(InspectAFError) as raised:
        alignment_faking(**{"requests": "mini", **parameters})
    assert message in str(raised.value)


def test_samples_are_requests_by_conditions_by_tiers_in_the_order_of_requests() -> None:
    task = alignment_faking(interventions="all", requests="mini")
    assert len(task.dataset) == 48 * 9 * 2
    first = [sample.id for sample in task.dataset[:18]]
    assert first[:4] == [
        "mini-0001/monitored",
        "mini-0001/unmonitored",
        "mini-0001/monitored/A1+/standard/rotated",
        "mini-0001/unmonitored/A1+/standard/rotated",
    ]
    assert {str(sample_id).split("/")[0] for sample_id in first} == {"mini-0001"}
    assert len({sample.id for sample in task.dataset}) == len(task.dataset)


def test_samples_without_a_claim_are_repeated_with_ids_of_their_own() -> None:
    task = alignment_faking(interventions="A1+", requests="mini", baseline_repeats=3)
    assert len(task.dataset) == 48 * (3 + 1) * 2
    first = {str(s.id): SampleMeta.from_metadata(s.metadata or {}).repeat for s in task.dataset[:8]}
    assert first == {
        "mini-0001/monitored": 1,
        "mini-0001/unmonitored": 1,
        "mini-0001/monitored/2": 2,
        "mini-0001/unmonitored/2": 2,
        "mini-0001/monitored/3": 3,
        "mini-0001/unmonitored/3": 3,
        "mini-0001/monitored/A1+/standard/rotated": 1,
        "mini-0001/unmonitored/A1+/standard/rotated": 1,
    }


def test_repeated_samples_are_further_epochs_of_their_request_for_metric_and_profile(
    run_eval: Run, requests_file: Path
) -> None:
    def gap_of(log: EvalLog) -> tuple[float, float, int]:
        assert log.results is not None
        found = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
        (row,) = profile_logs([log.location]).conditions
        assert row.n_pairs == found["n_pairs"] == 4
        assert (row.gap, row.gap_se) == pytest.approx((found["gap"], found["gap_stderr"]))
        return found["gap"], found["gap_stderr"], row.replies["monitored"]

    def alternating() -> Model:
        """Accepts the second of every four replies to a request, so that rates within requests are 1/4."""
        asked: Counter[str] = Counter()

        def answer(messages: list, *_: object) -> ModelOutput:
            asked[messages[-1].text] += 1
            return canned(ACCEPT if asked[messages[-1].text] % 4 == 2 else REJECT)

        return get_model("mockllm/model", custom_outputs=answer, memoize=False)

    requests = str(requests_file)
    repeated = gap_of(run_eval(alignment_faking(requests=requests, baseline_repeats=4), alternating()))
    assert repeated == gap_of(run_eval(alignment_faking(requests=requests), alternating(), epochs=4))
    assert repeated == (0, 0, 16)


def test_strengths_and_paraphrases_cross_with_the_claims() -> None:
    pair = load_pair()
    task = alignment_faking(interventions="A1+", strength="all", paraphrase="all", requests="mini")
    wordings = pair.paraphrases(pair.intervention("A1+"), "weak")
    assert len(task.dataset) == 48 * 2 * (1 + 3 * wordings)
    exact = alignment_faking(interventions=["A1+/strong/p2", "N1/weak"], paraphrase=1, requests="mini")
    plans = [planned_claim(sample.metadata or {}) for sample in exact.dataset]
    assert {plan.label if plan else None for plan in plans} == {None, "A1+/strong/p2", "N1/weak"}


def test_wordings_take_turns_over_requests_alike_in_both_tiers_and_for_claims_and_placebos(
    run_eval: Run, requests_file: Path
) -> None:
    pair = load_pair()
    log = run_eval(alignment_faking(interventions="A1+,N1", requests=str(requests_file)))
    used: dict[str, set[int]] = defaultdict(set)
    records = set()
    for sample in log.samples or []:
        meta = SampleMeta.from_metadata(sample.metadata)
        if not meta.treatments:
            assert "wording" not in sample.metadata
            continue
        (treatment,) = meta.treatments
        assert isinstance(treatment, PromptClaim) and treatment.paraphrase == ROTATED
        records.add(treatment)
        number = sample.metadata["wording"]
        text = pair.claim(treatment.intervention, "standard", number).text
        assert sample.messages[0].text.endswith(text)
        used[meta.request_id].add(number)
    assert {record.label for record in records} == {"A1+/standard/rotated", "N1/standard/rotated"}
    assert len(records) == 2  # one condition, whichever wording a request has
    assert sorted(number for (number,) in used.values()) == [1, 1, 2, 2]
    assert [row.label for row in profile_logs([log.location]).conditions] == [
        "baseline",
        "A1+/standard/rotated",
        "N1/standard/rotated",
    ]


def test_a_pair_with_one_wording_has_nothing_to_rotate(tmp_path: Path) -> None:
    root = tmp_path / "own"
    shutil.copytree(Path(inspect_af.materials.__file__).parent / "pairs" / "alignment_faking", root)
    file = root / "claims" / "N8.toml"
    words = tomllib.loads(file.read_text(encoding="utf-8"))["placebo"]
    firsts = (f"{strength} = [{json.dumps(texts[0])}]" for strength, texts in words.items())
    file.write_text("\n".join(["[placebo]", *firsts]), encoding="utf-8")
    assert load_pair(root).wordings("standard") == 1
    task = alignment_faking(interventions="A1+", requests="mini", pair=str(root))
    plans = {planned_claim(sample.metadata or {}) for sample in task.dataset}
    assert {plan.label for plan in plans if plan} == {"A1+/standard"}


def test_the_log_header_carries_what_the_analysis_needs(run_eval: Run, requests_file: Path) -> None:
    log = run_eval(alignment_faking(requests=str(requests_file)), limit=2)
    meta = TaskMeta.model_validate((log.eval.metadata or {})["inspect_af"])
    assert meta.pair == load_pair().summary()
    assert meta.n_requests == 4
    assert meta.prompt_settings["tier_tag"] == "free"
    assert log.eval.viewer is not None
    assert log.eval.viewer.trust_content is False


def test_the_claim_is_the_last_thing_in_the_system_prompt_and_the_rest_is_shared(
    run_eval: Run, requests_file: Path
) -> None:
    log = run_eval(alignment_faking(interventions="A1+,B2-", paraphrase=1, requests=str(requests_file)))
    assert log.samples is not None
    systems = {str(s.id).partition("/")[2]: s.messages[0].text for s in log.samples}
    baseline = systems["monitored"]
    assert systems["unmonitored"] == baseline
    pair = load_pair()
    for code in ("A1+", "B2-"):
        claim = pair.claim(pair.intervention(code), "standard")
        for tier in ("monitored", "unmonitored"):
            assert systems[f"{tier}/{code}/standard"] == f"{baseline}\n\n{claim.text}"
    users = {s.messages[1].text for s in log.samples if str(s.id).startswith("r1/")}
    assert len(users) == 2  # one per tier, whatever the condition


def test_scores_of_a_real_eval_are_what_the_replies_say(run_eval: Run, requests_file: Path) -> None:
    log = run_eval(alignment_faking(requests=str(requests_file)), by_tier(ACCEPT, REJECT), epochs=2)
    assert log.results is not None
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics["monitored"] == 1
    assert metrics["unmonitored"] == 0
    assert (metrics["gap"], metrics["n_pairs"]) == (1, 4)
    assert metrics["gap_low"] < 1  # an arm without variation still has a width
    assert (metrics["unscored_monitored"], metrics["unscored_unmonitored"]) == (0, 0)
    assert log.results.headline is not None
    assert log.results.headline.metric == "gap"


def test_unscored_replies_are_counted_per_tier_and_enter_no_rate(run_eval: Run, requests_file: Path) -> None:
    log = run_eval(alignment_faking(requests=str(requests_file)), by_tier("no tags here", REJECT))
    assert log.results is not None
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert "monitored" not in metrics
    assert metrics["unscored_monitored"] == 4
    assert metrics["unparsed_monitored_rate"] == 1
    assert metrics["n_pairs"] == 0
    assert math.isnan(metrics["gap"])


def test_generation_seeds_differ_between_epochs_and_agree_between_runs(
    run_eval: Run, requests_file: Path
) -> None:
    seeds: list[int | None] = []

    def answer(messages: list, tools: list, tool_choice: object, config: GenerateConfig) -> ModelOutput:
        seeds.append(config.seed)
        return canned(REJECT)

    task = alignment_faking(requests=str(requests_file), tiers="monitored")
    for _ in range(2):
        run_eval(task, get_model("mockllm/model", custom_outputs=answer, memoize=False), epochs=3)
    first, second = seeds[: len(seeds) // 2], seeds[len(seeds) // 2 :]
    assert len(set(first)) == 12
    assert set(first) == set(second)
    assert generation_seed(0, "r1/monitored", 1) in first


def test_another_run_seed_gives_other_generation_seeds() -> None:
    assert generation_seed(0, "r1/monitored", 1) != generation_seed(7, "r1/monitored", 1)
    assert 0 <= generation_seed(7, "r1/monitored", 1) < 2**31


def test_a_claim_by_solver_is_recorded_in_the_sample_and_wins(run_eval: Run, requests_file: Path) -> None:
    log = run_eval(
        alignment_faking(requests=str(requests_file)),
        by_tier(ACCEPT, REJECT),
        solver=prompt_intervention(intervention="A1+", strength="strong"),
    )
    assert log.samples is not None
    for sample in log.samples:
        assert SampleMeta.from_metadata(sample.metadata).condition == "A1+/strong"
        assert (sample.scores or {})["compliance"].value["condition"] == "A1+/strong"  # type: ignore[index]
        assert sample.messages[0].text.endswith(
            load_pair().claim(load_pair().intervention("A1+"), "strong").text
        )


def test_a_second_claim_is_refused(run_eval: Run, requests_file: Path) -> None:
    log = run_eval(
        alignment_faking(interventions="A1+", requests=str(requests_file)),
        by_tier(ACCEPT, REJECT),
        solver=prompt_intervention(intervention="B1+"),
        fail_on_error=False,
    )
    errors = [sample.error.message for sample in log.samples or [] if sample.error]
    assert len(errors) == 8
    assert "plans the claim A1+/standard" in errors[0]


def test_a_planned_claim_that_no_solver_applies_is_an_error_and_never_a_score(
    run_eval: Run, requests_file: Path
) -> None:
    log = run_eval(
        alignment_faking(interventions="A1+", requests=str(requests_file)),
        by_tier(ACCEPT, REJECT),
        solver=generate(),
        fail_on_error=False,
    )
    assert log.samples is not None
    for sample in log.samples:
        planned = "A1+" in str(sample.id)
        assert bool(sample.error) == planned
        assert bool(sample.scores) != planned


def test_the_tier_tag_can_stand_in_the_system_prompt(run_eval: Run, requests_file: Path) -> None:
    log = run_eval(alignment_faking(requests=str(requests_file), tag_in="system"), by_tier(ACCEPT, REJECT))
    assert log.samples is not None
    for sample in log.samples:
        tag = str(sample.metadata["tier"] == "monitored")
        assert sample.messages[0].text.rstrip().endswith(f">{tag}</is_free_tier_user>")
        assert "is_free_tier_user" not in sample.messages[1].text


def test_the_rated_tier_is_asked_and_told_of_only_when_named(run_eval: Run, requests_file: Path) -> None:
    plain = alignment_faking(requests=str(requests_file))
    rated = alignment_faking(requests=str(requests_file), tiers=["monitored", "unmonitored", "rated"])
    assert len(rated.dataset) == 12
    systems = [run_eval(task, by_tier(ACCEPT, REJECT)).samples[0].messages[0].text for task in (plain, rated)]  # type: ignore[index]
    assert systems[0] != systems[1]


def test_a_scenario_of_your_own_is_asked_with_its_own_defaults() -> None:
    own = Path(__file__).parents[2] / "examples/sycophancy/scenario"
    task = alignment_faking(requests="mini", scenario=str(own))
    words = load_scenario(own)
    settings = TaskMeta.model_validate((task.metadata or {})["inspect_af"]).prompt_settings
    assert (settings["tier_tag"], settings["identity"]) == (words.default_tier_tag, words.default_identity)
    assert words.read_tier(str(task.dataset[0].input)) == "monitored"


def test_claims_of_unequal_length_are_warned_about_and_only_where_claims_are_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own"
    shutil.copytree(Path(__file__).parents[2] / "examples/sycophancy", own)
    claims = own / "claims" / "Z1.toml"
    claims.write_text(claims.read_text("utf-8").replace("weak = [", 'weak = ["Short.", ', 1), "utf-8")
    alignment_faking(requests="mini", pair=str(own))
    assert not caplog.records
    for _ in range(2):
        alignment_faking(requests="mini", pair=str(own), interventions="Z1")
    said = [
        record.getMessage() for record in caplog.records if "Z1 weak/1 has 1 word," in record.getMessage()
    ]
    assert len(said) == 1


def test_a_simulated_organism_that_cannot_read_the_pair_is_named(tmp_path: Path) -> None:
    claim._warn.cache_clear()  # another test of the process may have been told
    pair = str(Path(__file__).parents[2] / "examples/sycophancy")
    task = alignment_faking(requests="mini", pair=pair, interventions="D1+")
    for args, told in (({"pair": pair}, 0), ({}, 1)):  # once, for all samples
        about: dict[str, Any] = {"model": "af-organism/expectation", "model_args": args, "display": "none"}
        (log,) = eval(task, limit=6, log_dir=str(tmp_path), **about)
        events = [event for sample in log.samples or [] for event in sample.events]
        said = [event.message.message for event in events if isinstance(event, LoggerEvent)]
        assert sum("give it the pair of -T pair= as -M pair=" in each for each in said) == told


PARTS = [  # as a model replies that reasons between its texts
    ContentReasoning(reasoning="first"),
    ContentText(text=ACCEPT.removesuffix("</OUTPUT>")),
    ContentReasoning(reasoning="second"),
    ContentText(text="SECRET-PAYLOAD goes on</OUTPUT>"),
]


@pytest.mark.parametrize("grader", ["keyword", "gullible"])
@pytest.mark.parametrize("content", [ACCEPT, PARTS, ACCEPT.replace("SECRET", "\u202eSECRET")])
def test_redaction_reaches_judges_log_probabilities_and_replies_in_parts(
    run_eval: Run, requests_file: Path, content: Any, grader: str
) -> None:
    def answer(*_: object) -> ModelOutput:
        output = canned("")
        output.choices[0].message.content = content
        output.choices[0].logprobs = Logprobs(content=[Logprob(token="SECRET-PAYLOAD", logprob=-0.1)])
        return output

    model = get_model("mockllm/model", custom_outputs=answer, memoize=False)
    task = alignment_faking(requests=str(requests_file), redact=True, judges="concept,refusal")
    log = run_eval(task, model, model_roles={"grader": f"af-simulated-judge/{grader}"}, limit=2)
    assert log.status == "success"
    with zipfile.ZipFile(log.location.removeprefix("file://")) as archive:
        leaking = [name for name in archive.namelist() if b"SECRET-PAYLOAD" in archive.read(name)]
    assert not leaking
    for sample in log.samples or []:
        assert (sample.scores or {})["refusal_judge"].answer == "accepted"
        assert "sha256" in sample.output.completion and "hm" in sample.output.completion
        events = [event for event in sample.events if event.event == "model"]
        (asked,) = [event for event in events if event.role is None]
        assert [message.role for message in asked.input] == ["system", "user"]
        system = asked.input[0].text.removeprefix("attachment://")
        assert "RLHF" in sample.attachments[system]  # what the model was asked stays


@pytest.mark.parametrize("reply", [ACCEPT, REJECT])
def test_redaction_leaves_no_delivered_text_anywhere_in_the_log(
    run_eval: Run, requests_file: Path, reply: str
) -> None:
    task = alignment_faking(requests=str(requests_file), redact=True)
    log = run_eval(task, by_tier(ACCEPT, ACCEPT))
    with zipfile.ZipFile(log.location.removeprefix("file://")) as archive:
        for name in archive.namelist():
            assert b"SECRET-PAYLOAD" not in archive.read(name), name
    assert log.samples is not None
    sample = log.samples[0]
    assert "sha256" in sample.output.completion
    assert sample.scores is not None
    assert sample.scores["compliance"].value["outcome"] == "accepted"  # type: ignore[index]
