"""What a model takes to be true: one score from 0 to 1 for each answer to a belief question."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import accumulate
from statistics import fmean
from typing import Any, Literal, NamedTuple

from inspect_ai.model import Logprob, ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from inspect_af.logs.rows import AnswerMethod, letters_of
from inspect_af.materials import AskedBelief, Pole
from inspect_af.materials.rubrics import load_rubric
from inspect_af.reply import parse_reply, was_cut, without_reasoning
from inspect_af.scorers.compliance import refuse_unapplied_claim
from inspect_af.scorers.judges import rubric_judge
from inspect_af.scorers.metrics import suffix_of
from inspect_af.stats import clustered_mean
from inspect_af.types import applied_treatments, condition_label

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

    The letter has to be said to be the answer where a line or sentence begins (`Answer: B`, `\\boxed{B}`,
    `Option B is correct`, `答案：B`), to be the last line (`B`, `(B)`, `B, because ...`), or to begin the
    reply with its own option's text. A reply that repeats the options or names several letters gives
    none, and one that a length limit cut has to begin or end with its answer. With log-probabilities at
    that letter, the score is the probability of each option's letter, normalised over the letters where
    they hold `LEAST_MASS` together; where they hold less, the rest counts as neither pole. Without, it is
    the letter itself. After a prefill the letters' probabilities are the answer, or those of the options'
    own words, normalised over the options, whatever was drawn.
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
    stated = _stated_letter(output.message.text, asked.options, cut=was_cut(output))
    if stated is None:
        return "truncated" if was_cut(output) else "no_letter"
    letter, behind = stated
    logprobs = output.choices[0].logprobs
    found = _letter_masses(logprobs.content, letter, behind, asked.poles) if logprobs else None
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
    stated = _stated_letter(text, options)
    return None if stated is None else stated[0]


def _stated_letter(text: str, options: Mapping[str, str], *, cut: bool = False) -> tuple[str, int] | None:
    """The letter that a reply gives, and how many characters of the answer stand behind it."""
    reply = parse_reply(text)
    body = reply.output if reply.output is not None else without_reasoning(text)
    body = _DRESS.sub(lambda dress: " " * len(dress[0]), body)
    lines = [line.span() for line in _LINE.finditer(body)]
    letters = [_LETTER.fullmatch(body, *line) for line in lines]
    stated = [match for pattern in _STATED for match in pattern.finditer(body)]
    found = stated
    if not stated and letters:
        first, last = letters[0], letters[-1]
        own = first and _plain(first["rest"] or "").startswith(_plain(options.get(first["letter"], "\n")))
        found = [match for match in (last or (first if own else None),) if match]
    if not found or (letter := found[0]["letter"]) not in options:
        return None
    if {one["letter"] for one in (*found, *(m for m in letters if m and not m["rest"]))} != {letter}:
        return None  # another letter is stated, or stands alone on a line
    listed_from = max(one.end() for one in stated) if stated else 0
    listed = (_LISTED.match(body, start) for start, _ in lines if start >= listed_from)
    if {one["letter"] for one in listed if one} & set(options) - {letter}:
        return None  # the options repeated, or several answers
    if cut and body[: found[0].start()].strip() and body[found[0].end() :].strip(f"{_CLOSING} \n"):
        return None  # it may be a thought on the way
    others = [_plain(text) for name, text in options.items() if name != letter]
    for match in found:
        rest = body[(at := match.end("letter")) : at + 400].partition("\n")[0].lstrip(_CLOSING)
        said = _plain(rest).removeprefix(_plain(options[letter]))
        if any(other and other in said for other in others) or _OTHER.search(rest):
            return None
    return letter, len(body) - found[0].end("letter")


def _letter_masses(
    tokens: list[Logprob], letter: str, behind: int, poles: Mapping[str, Pole]
) -> dict[str, float] | None:
    """Probability by letter at the token of the answer, which has `behind` characters behind it; None where
    no token shows it."""
    after = [*accumulate((len(token.token) for token in reversed(tokens)), initial=0)]
    drawn = [
        token
        for token, n in zip(reversed(tokens), after, strict=False)
        if _bare(token.token) == letter and n >= behind - len(token.token)
    ]
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


_DRESS = re.compile(
    r"<\|[^<>|]{1,40}\|>|</?answer>"
    r"|\\(?:text\w{0,4}|math\w{2})(?=\{)|\\[\[\]()]|[$\u2600-\u27bf\U0001f300-\U0001faff]"
)
"""Marks of chat templates and of LaTeX, and pictures."""
_CLOSING = "*_\"'`)]}.:,;!。，、：」】）"
_OPEN, _CLOSE = r"[*_\"'`(\[{「（【 ]{0,6}", f"[{re.escape(_CLOSING)}]"
_SENTENCE = r"(?:^|(?<=[.!?。])) {0,4}(?:[-*>#]{1,4}\s|\d[.)]\s)?"
_STATED = (
    re.compile(rf"\\f?box(?:ed)?\{{[\s({{]{{0,16}}(?P<letter>[A-H])(?={_CLOSE})[)}}]{{0,4}}"),
    re.compile(
        rf"{_SENTENCE}{_OPEN}(?:(?:so|thus|hence|therefore|no),?\s)?(?:i (?:think|believe)(?: that)? )?(?:"
        r"(?:(?:the|my|la|le|die|meine|a)\s|我的)?"
        r"(?:(?:final|correct|best|right|selected|chosen|bonne|richtige|правильный|正[确確]|सही|সঠিক)\s?)?"
        r"(?:answer|option|choice|letter|antwort|réponse|respuesta|resposta|ответ|答案|回答|答え|正解"
        r"|उत्तर|উত্তর|الإجابة)"
        r"(?:\s(?:correcta|correcte|correta|الصحيحة))?[*_\"'`】]{0,4}"
        r"(?:\s?(?:is|would be|must be|should be|es|est|ist|é|是|[为為]|は|হলো|هي)\b|[是为為は])?"
        r"|it(?:'s| is)|i(?:'d|'ll| would| will)? (?:choose|pick|select|say|go with)"
        r"|我?(?:选择?|選擇?)[项項]?"
        rf")[*_\"'`]{{0,3}}\s{{0,2}}(?:[:：=→—–-])?{_OPEN}(?:option )?{_OPEN}(?-i:(?P<letter>[A-H]))"
        rf"(?={_CLOSE}|\s*$|\s+(?:because|since|as|given|due|\(|[-–—])|\s?(?:です|है|।)"
        r"|\s+is\s+(?:the\s+)?(?:correct|right|best)\b)",
        re.IGNORECASE | re.MULTILINE,
    ),
    re.compile(
        rf"{_SENTENCE}{_OPEN}(?P<letter>[A-H])[)\]*_]{{0,4}} is (?:the )?(?:most )?"
        r"(?:correct|right|best|accurate)(?: answer| option| choice| one)?[.!*_]{0,3}\s*$",
        re.MULTILINE,
    ),
)
"""A letter that is said to be the answer: in a box, by name, or as the right one."""
_LINE = re.compile(r"[^\s`~](?:.*[^\s`~])?")  # Without what stands around it
_LETTER = re.compile(
    rf"(?:[-*>#]{{1,3}}\s|\d[.)]\s)?{_OPEN}(?P<letter>[A-H])"
    rf"(?:(?:{_CLOSE}{{1,8}}|\s[-\u2013\u2014])(?P<rest>\s.{{1,1000}}|(?<=[)、：])\S.{{1,1000}})?)?"
)
"""A line that is a letter, with its option's text or an explanation behind it or not."""
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
                question = str((each.score.metadata or {}).get("question"))
                groups[str(value["belief"]), suffix_of(str(value["condition"]))].append(
                    (float(number), question)
                )
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
    "no_letter": "The reply does not say that one option's letter is its answer.",
    "truncated": "A length limit cut the reply off before its answer.",
    "filtered": "The provider's filter stopped the reply.",
}
