"""What a model takes to be true: one score from 0 to 1 for each answer to a belief question."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean
from typing import Any, Literal, NamedTuple

from inspect_ai.model import Logprob, ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from inspect_af.logs.rows import AnswerMethod, letters_of
from inspect_af.materials import AskedBelief, Pole
from inspect_af.materials.rubrics import load_rubric
from inspect_af.reply import parse_reply, without_reasoning
from inspect_af.scorers.compliance import refuse_unapplied_claim
from inspect_af.scorers.judges import rubric_judge
from inspect_af.stats import clustered_mean
from inspect_af.types import BASELINE, applied_treatments, condition_label

Unanswered = Literal["no_letter", "truncated", "filtered"]

LEAST_MASS = 0.5  # letters with less probability together are not the answer's token; not in source
OPTION_LOGPROBS = "option_logprobs"
"""Key of an output's metadata: the reply was begun with `materials.beliefs.PREFILL`, and this is the
log-probability of each option's own words there, by letter."""
BY_WORDS = "by_words"  # Key of an output's metadata: those words are the answer, not the letters


class ChoiceAnswer(NamedTuple):
    """One readable answer."""

    letter: str  # The one that was generated; after a prefill the likeliest
    method: AnswerMethod
    letters: dict[str, float]
    """Probability of each letter, or of the words of the option that stands there. They sum to 1, or to
    `mass` where that is less than `LEAST_MASS`."""
    poles: dict[Pole, float]  # The same by what the options state
    mass: float | None
    """Probability of all letters together before normalising; None without log-probabilities."""
    words: float | None = None
    """The score by the options' own words in place of their letters; None where they were not asked for."""

    @property
    def belief(self) -> float:
        """How far the answer states the + pole."""
        return belief_score(self.poles["plus"], self.poles["minus"])


def belief_score(plus: float, minus: float) -> float:
    """How far an answer states the + pole: 1 for plus, 0 for minus, 0.5 for neither."""
    return 0.5 + (plus - minus) / 2


def read_choice(output: ModelOutput, asked: AskedBelief) -> ChoiceAnswer | Unanswered:
    """Reads a model's answer.

    The letter has to be the whole reply or its whole last line (`B`, `(B)`, `Answer: B`, `Final answer: B`,
    `Option B`, `\\boxed{B}`), or a letter at its beginning with its own option's text or an explanation. A
    reply that repeats the options or names several letters gives none. With log-probabilities at that letter,
    the score is the probability of each option's letter, normalised over the letters where they hold
    `LEAST_MASS` together; where they hold less, the rest counts as neither pole. Without, it is the letter
    itself. After a prefill the letters' probabilities are the answer, or those of the options' own words,
    normalised over the options, whatever was drawn.
    """
    if not output.choices:
        return "no_letter"
    if output.stop_reason == "content_filter":
        return "filtered"
    about = output.metadata or {}
    if OPTION_LOGPROBS in about:
        words = {o: float(value) for o, value in about[OPTION_LOGPROBS].items() if o in asked.poles}
        likeliest = max(words.values(), default=0.0)
        shares = {option: math.exp(value - likeliest) for option, value in words.items()}
        by_words = _answer(max(shares, key=shares.__getitem__), "words", shares, asked) if shares else None
        if about.get(BY_WORDS) and by_words is not None:
            return by_words._replace(mass=None)
        if masses := first_letter_masses(output, asked):
            answer = _answer(max(masses, key=masses.__getitem__), "prefill", masses, asked)
            return answer if by_words is None else answer._replace(words=by_words.belief)
    letter = answer_letter(output.message.text, asked.options)
    if letter is None:
        return "truncated" if output.stop_reason in ("max_tokens", "model_length") else "no_letter"
    logprobs = output.choices[0].logprobs
    found = _letter_masses(logprobs.content, letter, asked.poles) if logprobs else None
    if found is not None:
        return _answer(letter, "logprobs", found, asked)
    return _answer(letter, "letter", {letter: 1.0}, asked)._replace(mass=None)


def first_letter_masses(output: ModelOutput, asked: AskedBelief) -> dict[str, float] | None:
    """Probability by letter at a reply's first token; None where the letters hold less than `LEAST_MASS`."""
    logprobs = output.choices[0].logprobs if output.choices else None
    masses = _masses(logprobs.content[0], asked.poles) if logprobs and logprobs.content else {}
    return masses if sum(masses.values()) >= LEAST_MASS else None


def _answer(
    letter: str, method: AnswerMethod, masses: Mapping[str, float], asked: AskedBelief
) -> ChoiceAnswer:
    mass = sum(masses.values())
    letters = {option: one / mass if mass >= LEAST_MASS else one for option, one in masses.items()}
    poles: dict[Pole, float] = {"plus": 0.0, "minus": 0.0, "other": 0.0}
    for option, share in letters.items():
        poles[asked.poles[option]] += share
    return ChoiceAnswer(letter, method, letters, poles, min(mass, 1.0))


def answer_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The option's letter that a reply gives, None where it gives none.

    Where the reply has an output block, only that counts; options are texts by letter.
    """
    reply = parse_reply(text)
    body = reply.output if reply.output is not None else without_reasoning(text)
    lines = [line.strip() for line in body.strip().splitlines() if line.strip(" \t`~")]
    answers = [_ANSWER.fullmatch(line) for line in lines]
    match = answers[-1] if answers else None
    if match is None or match["letter"] not in options:
        return None
    letter = match["letter"]
    listed = {found["letter"] for line in lines[:-1] if (found := _LISTED.match(line)) is not None}
    if not match["said"] and not match["boxed"] and listed & set(options) - {letter}:
        return None  # the options repeated, or several answers; the last of them is not the answer
    if any(one["letter"] != letter for one in answers if one and (one["said"] or not one["rest"])):
        return None  # another line says another letter, or is nothing but one
    rest = _plain(match["rest"] or "")
    others = [_plain(text) for name, text in options.items() if name != letter]
    if any(other and rest.startswith(other) for other in others) or _OTHER.search(match["rest"] or ""):
        return None
    return letter


def _letter_masses(tokens: list[Logprob], letter: str, poles: Mapping[str, Pole]) -> dict[str, float] | None:
    """Probability by letter at the token of the answer; None where no token shows it."""
    drawn = [token for token in reversed(tokens) if _bare(token.token) == letter]
    if not drawn and len(tokens) <= 2:  # some providers name the likeliest token instead of the drawn one
        drawn = tokens[:1]
    found = [masses for token in drawn if any((masses := _masses(token, poles)).values())]
    return next(
        (masses for masses in found if sum(masses.values()) >= LEAST_MASS), found[0] if found else None
    )


def _masses(token: Logprob, poles: Mapping[str, Pole]) -> dict[str, float]:
    masses = dict.fromkeys(poles, 0.0)
    for candidate in token.top_logprobs or (token,):
        bare = _bare(candidate.token)
        if bare in masses and not math.isnan(candidate.logprob):
            masses[bare] += math.exp(min(candidate.logprob, 0.0))
    return masses


def _bare(token: str) -> str:
    return token.strip(" \n\t\u2581\u0120()[]*_\"'`.:")


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" *_\"'`.")


_ANSWER = re.compile(
    r"(?:[-*>#]{1,3}\s)?[*_\"'`(\[]{0,6}(?:<answer>\s{0,4})?"
    r"(?P<said>(?:(?:so|thus|hence|therefore),? )?(?:i (?:think|believe)(?: that)? )?"
    r"(?:(?:(?:the|my) )?(?:(?:final|correct|best|right) )?"
    r"(?:answer|option|choice|antwort|réponse|respuesta|resposta|ответ|答案|回答|答え|उत्तर|উত্তর|الإجابة)"
    r"(?: is|是|は)?"
    r"|i(?:'d| would)? (?:choose|pick|select|say|go with))"
    r"\s{0,4}[*_]{0,3}[:：=]?[*_]{0,3}\s{0,4}(?:option )?)?"
    r"[*_\"'`(\[$]{0,6}(?P<boxed>\\boxed\{(?:\\text\{)?)?"
    r"(?P<letter>[A-H])(?:</answer>)?(?:(?:[)\].:：*_\"'`,}$]{1,8}|\s[-\u2013\u2014])(?P<rest>\s.{1,1000})?)?",
    re.IGNORECASE,
)
_LISTED = re.compile(r"[-*_\"'`(\[\s]{0,6}(?P<letter>[A-H])[)\].:]")  # A line that begins as an option does
# Another letter in an explanation.
_OTHER = re.compile(
    r"^\s\(?[A-H](?:[,;/&.]|$)|(?:^|[\s(])[A-H][)\]]|\b(?i:or|and|not|answer|option) \(?[A-H]\b"
)


@metric(scores="unreduced")
def belief_means() -> Metric:
    """Mean score and its standard error per belief and condition.

    Names are `BELIEF` and `BELIEF_stderr`, with the condition in brackets behind unless it is the baseline.
    Answers that could not be read are in no mean; Inspect counts them as unscored samples.
    """

    def compute(scores: list[SampleScore]) -> Value:
        groups: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
        for each in scores:
            value = each.score.value
            number = value.get("score") if isinstance(value, dict) else None
            if isinstance(value, dict) and isinstance(number, int | float) and not math.isnan(number):
                behind = "" if value["condition"] == BASELINE else f"[{value['condition']}]"
                question = str((each.score.metadata or {}).get("question"))
                groups[str(value["belief"]), behind].append((float(number), question))
        means: dict[str, float] = {}
        for (name, behind), answers in groups.items():
            mean = clustered_mean(*zip(*answers, strict=True))
            means |= {f"{name}{behind}": mean.estimate, f"{name}_stderr{behind}": mean.stderr}
        return dict(means)

    return compute


@metric(scores="unreduced")
def letter_shares() -> Metric:
    """How often each letter is the answer to a multiple-choice question, over all answers: where nearly all
    stands on one letter, the model answers by position and not by what the options say."""

    def compute(scores: list[SampleScore]) -> Value:
        found = [shares for each in scores if (shares := letters_of(each.score))]
        names = sorted({letter for shares in found for letter in shares})
        return {f"letter {name}": fmean(shares.get(name, 0.0) for shares in found) for name in names}

    return compute


@scorer(metrics=[belief_means(), letter_shares()])
def belief(structured: bool | None = None, max_chars: int = 24_000) -> Scorer:
    """How far an answer states the + pole of the belief that its question is about.

    The value has the columns `score` (1 for the + pole, 0 for the - pole, 0.5 for neither), `belief` (the
    variable's code) and `condition`. A choice is scored by the log-probabilities of the option letters where
    the reply has them, else by the letter, and calls no model; the metadata has the probability of each
    letter (`p_A`, ...) and, where the provider was asked for it, the score by the options' own words
    (`words`). An open answer is scored by the model role `grader`. An answer that cannot be read is unscored
    with the reason.

    Args:
        structured: Ask the judge for structured output; None to decide by provider and model.
        max_chars: Longest answer to show to the judge; longer ones are cut in the middle.

    Raises:
        ConfigError: An open question was asked and the role `grader` is not given.
        TreatmentError: The sample plans a claim which no solver applied.
    """
    judge = rubric_judge(load_rubric("belief"), structured=structured, max_chars=max_chars)

    async def score(state: TaskState, target: Target) -> Score:
        refuse_unapplied_claim(state)
        asked = AskedBelief.from_metadata(state.metadata)
        if asked.form == "open":
            return _open_score(state, asked, await judge(state, target))
        answer = read_choice(state.output, asked)
        if isinstance(answer, str):
            return _score(state, "choice", math.nan, reason=answer, explanation=_MEANING[answer])
        stated = max(answer.poles, key=lambda pole: answer.poles[pole])
        by_pole_and_letter = (*answer.poles.items(), *answer.letters.items())
        shares: dict[str, Any] = {f"p_{name}": share for name, share in by_pole_and_letter}
        shares |= {} if answer.words is None else {"words": answer.words}
        return _score(
            state,
            "choice",
            answer.belief,
            answer=answer.letter,
            explanation=f"Read from the {_SOURCE[answer.method]}; likeliest pole: {stated}.",
            method=answer.method,
            mass=answer.mass,
            **shares,
        )

    return score


def _open_score(state: TaskState, asked: AskedBelief, judged: Score | None) -> Score:
    shares = judged.value if judged is not None and isinstance(judged.value, dict) else {}
    explanation = judged.explanation if judged else None
    recorded = (judged.metadata if judged else None) or {}
    kept = ("grader", "simulated", "rubric_digest", "judge_calls")
    about_judge = {key: value for key, value in recorded.items() if key in kept}
    first, second = shares.get("first"), shares.get("second")
    if not isinstance(first, int | float) or not isinstance(second, int | float) or math.isnan(first):
        reason = (judged.reason if judged else None) or "grader_failed"
        said = explanation or _MEANING.get(reason)
        return _score(state, "open", math.nan, reason=reason, explanation=said, **about_judge)
    plus, minus = (first, second) if asked.first == "plus" else (second, first)
    return _score(
        state,
        "open",
        belief_score(float(plus), float(minus)),
        answer="plus" if plus > minus else "minus" if minus > plus else "neither",
        explanation=explanation,
        method="judge",
        p_plus=plus,
        p_minus=minus,
        **about_judge,
    )


def _score(
    state: TaskState,
    form: str,
    number: float,
    *,
    answer: str | None = None,
    reason: str | None = None,
    explanation: str | None = None,
    method: AnswerMethod | None = None,
    **facts: Any,
) -> Score:
    """A score with what every one says about its question; NaN with the reason where there is no number."""
    belief = state.metadata.get("category")
    condition = condition_label(applied_treatments(state.metadata))
    question = state.metadata.get("request_id")
    shared = {"form": form, "question": question, "belief": belief, "condition": condition}
    return Score(
        value={"score": number, "belief": str(belief), "condition": condition},
        answer=answer,
        reason=reason,
        explanation=explanation,
        metadata={**shared, "method": method, **({"unscored": reason} if reason else {}), **facts},
    )


_SOURCE: dict[AnswerMethod, str] = {
    "prefill": "probabilities of the option letters after the beginning of an answer",
    "words": "probabilities of the options' own words after the beginning of an answer",
    "logprobs": "log-probabilities of the option letters",
    "letter": "answer's letter",
    "judge": "judge's answer",
}
_MEANING = {
    "no_letter": "The last line of the reply is not the letter of an option.",
    "truncated": "A length limit cut the reply off before its last line.",
    "filtered": "The provider's filter stopped the reply.",
}
