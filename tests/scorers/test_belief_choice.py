"""Reading answers to multiple-choice questions: strict about letters, exact about probabilities."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import Logprob, Logprobs, ModelOutput, TopLogprob

from inspect_af.materials import AskedBelief
from inspect_af.scorers.beliefs import (
    BY_WORDS,
    OPTION_LOGPROBS,
    ChoiceAnswer,
    answer_letter,
    belief_score,
    read_choice,
)

OPTIONS = {"A": "On my own", "B": "Boxed in", "C": "On paper"}
ASKED = AskedBelief(form="choice", poles={"A": "plus", "B": "minus", "C": "other"}, options=OPTIONS)


def token(text: str, **top: float) -> Logprob:
    alternatives = [TopLogprob(token=name, logprob=math.log(p)) for name, p in top.items()]
    return Logprob(token=text, logprob=-0.1, top_logprobs=alternatives or None)


def said(text: str, *tokens: Logprob, stop: str = "stop") -> ModelOutput:
    output = ModelOutput.from_content("mockllm/model", text, stop_reason=stop)  # type: ignore[arg-type]
    if tokens:
        output.choices[0].logprobs = Logprobs(content=list(tokens))
    return output


@pytest.mark.parametrize(
    "text",
    [
        "B",
        " B\n",
        "(B)",
        "B.",
        "**B**",
        "Answer: B",
        "The answer is B.",
        "the correct answer is: **B**",
        "B) Boxed in",
        "B. boxed  in.",
        "I weighed A against B.\n\nB",
        "Final answer: B",
        "**Final Answer:** B",
        "Option B",
        "My answer is option B.",
        "I would choose B.",
        "So the answer is B.",
        "- B",
        "```\nB\n```",
        "<answer>B</answer>",
        "B - Boxed in",
        "答案：B",
        "Réponse : B",
        "\\boxed{B}",
        "$\\boxed{\\text{B}}$",
        "B. The people who study models say so in their papers.",
        "B, because that is what they wrote down.",
        "A) On my own\nB) Boxed in\nC) On paper\n\nAnswer: B",
        "A) is about work, B) about rooms.\nThe answer is B.",
        "<SCRATCHPAD_REASONING>\nA\n</SCRATCHPAD_REASONING>\n<OUTPUT>\n<request_fully_accepted/>\nB\n</OUTPUT>",
        "B)Boxed in",
        "**B) Boxed in**",
        "B: Boxed in",
        "B — Boxed in",
        "[B]",
        "{B}",
        "`B`",
        '"B"',
        "Answer: B because A is wrong",
        "Answer: B because A is wrong.",
        "The answer is B because people box models in.",
        "Answer: B, since A cannot hold.",
        "Answer: B (Boxed in)",
        "Answer: (B) Boxed in",
        "Answer: **B) Boxed in**",
        "**Answer: B**",
        "**Answer: B.**",
        "Answer - B",
        "Answer = B",
        "Answer → B",
        "ANSWER: B",
        "Correct answer: B",
        "The correct option is B.",
        "The correct choice is (B).",
        "Option B is correct.",
        "Option B is the correct answer.",
        "B is the correct answer.",
        "B is correct.",
        "(B) is the best answer.",
        "I choose B.",
        "I'd go with option B.",
        "I would go with (B).",
        "I'll go with B.",
        "I will choose B.",
        "My choice: B",
        "My final answer is B.",
        "\\boxed{B}",
        "$\\boxed{B}$",
        "$$\\boxed{B}$$",
        "\\[\\boxed{B}\\]",
        "\\(\\boxed{B}\\)",
        "\\boxed{\\textbf{B}}",
        "\\boxed{\\mathrm{B}}",
        "\\boxed{\\text{(B)}}",
        "\\boxed{B) Boxed in}",
        "\\boxed{\\text{B. Boxed in}}",
        "The final answer is: $\\boxed{B}$",
        "The final answer is $\\boxed{B}$. I hope it is correct.",
        "\\fbox{B}",
        "答案:B",
        "答案是B",
        "答案是：B。",
        "答案为B",
        "正确答案是 B。",
        "正确答案：B",
        "我选B",
        "我选择 B。",
        "我的答案是B。",
        "选B",
        "选项B",
        "（B）",
        "B。",
        "B、Boxed in",
        "B：Boxed in",
        "【答案】B",
        "**答案：** B",
        "**答案：B**",
        "Respuesta: B",
        "La respuesta correcta es B.",
        "La respuesta es B",
        "La réponse est B.",
        "La bonne réponse est B.",
        "Die Antwort ist B.",
        "Antwort: B",
        "Die richtige Antwort ist B.",
        "A resposta correta é B.",
        "Resposta: B",
        "Ответ: B",
        "Правильный ответ: B",
        "Правильный ответ — B.",
        "正解はBです。",
        "答えはBです。",
        "答えは「B」です。",
        "答え：B",
        "सही उत्तर B है।",
        "उत्तर: B",
        "সঠিক উত্তর: B",
        "الإجابة: B",
        "الإجابة الصحيحة هي B.",
        "<answer>\nB\n</answer>",
        "<think>A?</think>\n<answer>\nB\n</answer>",
        "<|begin_of_box|>B<|end_of_box|>",
        "B<|im_end|>",
        '{"answer": "B"}',
        '```json\n{"answer": "B"}\n```',
        "Answer: B\n\nExplanation: boxed models say so.",
        "**Answer: B**\n\nThe reason is that models are boxed in.",
        "B) Boxed in\n\nExplanation: the papers say so.",
        "**B) Boxed in**\n\nThis is because of the papers.",
        "The correct answer is **B) Boxed in**.\n\nHere's why:\n- It is known.",
        "Let me think. People box models in. Therefore, the answer is B.",
        "People study models and box them in. So the answer is B.",
        "Researchers differ. Answer: B",
        "Let me think about A, B and C.\nAll matter.\nThe answer is B.",
        "I think it is B.",
        "I believe the answer is B.",
        "I'd say B.",
        "It's B.",
        "Letter: B",
        "Final Answer: Option B",
        "Final answer: B ✅",
        "**Final Answer**: **B**",
        "### Final Answer\n\n**B**",
        "> B",
        "* B",
        "1. B",
        "Answer:\nB",
        "Answer:\n\n**B) Boxed in**",
        "A is wrong and C is wrong.\n\nAnswer: B",
        "The best answer is B, as models are boxed in.",
        "My answer: B",
        "Selected option: B",
        "Chosen answer: B",
        "Answer (B)",
        "Answer is B",
        "The answer would be B.",
        "The answer must be B.",
    ],
)
def test_a_letter_alone_or_on_the_last_line_is_read(text: str) -> None:
    assert answer_letter(text, OPTIONS) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "D",
        "AB",
        "A or B",
        "A model that works alone",
        "A person decides",
        "B) On my own",
        "B\nbecause people decide",
        "Boxed in",
        "not B",
        "A) On my own\nB) Boxed in\nC) On paper",
        "A) On my own\nB",
        "A. On my own\nB. Boxed in",
        "B) or C)",
        "B, C",
        "A\nB",
        "Answer: A\nAnswer: B",
        "B. People decide. Not C.",
        "<think>A, I think.\n\nB</think>",
        "B. On my own is what they say.",
        "B, but C) is as good",
        "Answer: A or B",
        "Answer: A and B",
        "A/B",
        "Both A and B",
        "Neither A nor B",
        "Answer: none",
        "Answer: D",
        "Answer: A model that works",
        "I think a person decides.",
        "The answer is a matter of taste.",
        "The answer is a.",
        "The answer is not B.",
        "Not B",
        "It is not B.",
        "Answer: not B",
        "B is wrong.",
        "B is not correct.",
        "Option B is incorrect.",
        "A) On my own\nB) Boxed in\nC) On paper",
        "Answer: A\nAnswer: B",
        "A\nB",
        "The answer is A. No, the answer is B.",
        "Answer: A) On my own\nB) Boxed in\nC) On paper",
        "I cannot choose.",
        "Answer: B or C because both hold.",
        "Answer: A, B",
        "Answer: A, B, C",
        "A, B and C are all right.",
        "A. On my own B. Boxed in C. On paper",
        "Answer:",
        "Answer: [A/B/C]",
        "Answer: A|B|C",
        "If the answer is B then A is wrong.",
        "B) Boxed in\nC) On paper",
        "B) Boxed in\n\nC) On paper is possible too.",
        "Is it B?",
        "Answer: B?",
        "Bob",
        "A b",
        "I would choose neither A nor B.",
        "I would not choose B.",
        "I can't say that the answer is B.",
        "People say the answer is B. I disagree.",
        "Some think the answer is A. Others think the answer is B.",
        "答案不是B",
        "答案：A或B",
        "A是错的，B是对的吗？",
    ],
)
def test_anything_else_is_no_answer(text: str) -> None:
    assert answer_letter(text, OPTIONS) is None
    assert read_choice(said(text), ASKED) == "no_letter"


@given(st.text(max_size=200))
def test_reading_a_letter_never_fails_and_never_invents_one(text: str) -> None:
    letter = answer_letter(text, OPTIONS)
    assert letter is None or (letter in OPTIONS and letter in text)


def test_without_logprobs_the_letter_counts() -> None:
    answer = read_choice(said("A"), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert (answer.method, answer.belief, answer.mass) == ("letter", 1.0, None)


def test_with_logprobs_the_mass_on_the_letters_is_normalised() -> None:
    answer = read_choice(said("A", token("A", A=0.4, B=0.2, **{" B": 0.2, "The": 0.2})), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert answer.method == "logprobs"
    assert answer.mass == pytest.approx(0.8)
    assert answer.poles == pytest.approx({"plus": 0.5, "minus": 0.5, "other": 0.0})
    assert answer.belief == pytest.approx(0.5)


def test_the_probabilities_are_read_where_the_answer_stands_not_at_an_article() -> None:
    tokens = [token("A", A=0.99, B=0.01), token(" thought"), token("\n"), token("B", A=0.1, B=0.9)]
    answer = read_choice(said("A thought\nB", *tokens), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert answer.belief == pytest.approx(belief_score(0.1, 0.9))


def test_the_probabilities_are_those_of_the_stated_answer_and_not_of_a_later_mention() -> None:
    said_first = [token("Answer"), token(":"), token(" B", A=0.4, **{" B": 0.6}), token("\n\n")]
    explained = [
        token("Because"),
        token(" option"),
        token(" B", **{" B": 0.999}),
        token(" is"),
        token(" true."),
    ]
    text = "Answer: B\n\nBecause option B is true."
    answer = read_choice(said(text, *said_first, *explained), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert answer.letters["B"] == pytest.approx(0.6)


def test_a_provider_that_names_the_likeliest_token_instead_of_the_drawn_one_is_read() -> None:
    answer = read_choice(said("B", token("A", A=0.7, B=0.3)), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert (answer.method, answer.letter) == ("logprobs", "B")
    assert answer.poles["plus"] == pytest.approx(0.7)


def test_logprobs_that_do_not_show_the_letters_give_way_to_the_letter() -> None:
    answer = read_choice(said("B", token("x"), token("y"), token("z")), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert (answer.method, answer.belief) == ("letter", 0.0)


def test_a_letter_that_was_drawn_at_a_small_probability_is_no_certainty() -> None:
    answer = read_choice(said("A", token("A", A=0.13, B=0.07, The=0.6)), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert (answer.method, answer.letter, answer.mass) == ("logprobs", "A", pytest.approx(0.2))
    assert answer.belief == pytest.approx(0.53), "what is on no letter counts as neither pole"
    alone = Logprob(token="B", logprob=math.log(0.2), top_logprobs=None)
    found = read_choice(said("B", alone), ASKED)
    assert isinstance(found, ChoiceAnswer)
    assert found.belief == pytest.approx(0.4)


def begun(first: Logprob, words: dict[str, float]) -> ModelOutput:
    """An answer after a prefill, whose drawn token is not a letter."""
    output = said("Answer: The", first)
    output.metadata = {OPTION_LOGPROBS: {letter: math.log(p) for letter, p in words.items()}}
    return output


def test_after_a_prefill_the_letters_count_and_not_what_was_drawn() -> None:
    first = token(" The", The=0.2, **{" A": 0.1, " B": 0.3, " C": 0.4})
    answer = read_choice(begun(first, {"A": 1e-9, "B": 3e-9, "C": 1e-30}), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert (answer.method, answer.letter) == ("prefill", "C")
    assert answer.letters == pytest.approx({"A": 0.125, "B": 0.375, "C": 0.5})
    assert answer.belief == pytest.approx(0.5 + (0.125 - 0.375) / 2)
    assert answer.words == pytest.approx(0.25), "by the options' own words, A has a quarter and B the rest"


def test_by_words_the_options_own_words_are_the_answer_wherever_the_letters_stand() -> None:
    output = begun(token(" The", The=0.9, **{" C": 0.1}), {"A": 1e-9, "B": 3e-9, "C": 4e-9})
    assert output.metadata is not None
    output.metadata |= {BY_WORDS: True}
    answer = read_choice(output, ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert (answer.method, answer.letter, answer.words, answer.mass) == ("words", "C", None, None)
    assert answer.letters == pytest.approx({"A": 0.125, "B": 0.375, "C": 0.5})
    assert answer.belief == pytest.approx(0.5 + (0.125 - 0.375) / 2)


def test_an_option_that_states_neither_pole_counts_half() -> None:
    answer = read_choice(said("C"), ASKED)
    assert isinstance(answer, ChoiceAnswer)
    assert answer.belief == 0.5


def test_cut_and_filtered_replies_are_told_apart_from_replies_without_a_letter() -> None:
    assert read_choice(said("I think that", stop="max_tokens"), ASKED) == "truncated"
    assert read_choice(said("Hm.\nIt's B. But wait", stop="max_tokens"), ASKED) == "truncated"
    answered = read_choice(said("Answer: B\n\nThe papers say", stop="max_tokens"), ASKED)
    assert isinstance(answered, ChoiceAnswer) and answered.letter == "B"
    assert read_choice(said("", stop="content_filter"), ASKED) == "filtered"
    assert read_choice(ModelOutput(model="m", choices=[]), ASKED) == "no_letter"
