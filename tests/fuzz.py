"""Every reader of foreign text or files, on mangled input: read, or refused by our own error, and in time.

`python -m tests.fuzz` gives 10,000 tries to each reader, and `python -m tests.fuzz --tries
1000 YAML pairs` fewer to some; the exit status is 1 where one fails. The tests give 300 to each.
"""

from __future__ import annotations

import argparse
import random
import string
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from inspect_af.config import csv_rows, parse
from inspect_af.errors import InspectAFError
from inspect_af.materials import load_requests, load_universe, load_wordings
from inspect_af.materials.rubrics import load_labelled, load_rubric
from inspect_af.plan import load_plan
from inspect_af.providers.vllm_plugin.wire import parse_capture, parse_steering
from inspect_af.refusals import is_plain_refusal
from inspect_af.reply import parse_choice, parse_reply, redacted
from inspect_af.scorers.beliefs import answer_letter
from inspect_af.scorers.contrast import read_blocks, read_written
from inspect_af.scorers.judge_prompt import parse_judgement
from inspect_af.sdf.documents import parse_document, parse_ideas, read_ideas
from inspect_af.sdf.train import load_training_config
from inspect_af.steering.effect import load_words
from inspect_af.steering.pairs import load_pairs
from inspect_af.steering.vector import load_vector, parse_layers

WORDS = Path(__file__).parents[1] / "src" / "inspect_af" / "materials"
SECONDS = 1.0
"""Of CPU for each 100 kB of input, or for less."""

CSV = 'id,request,category\nx-1,"sing, or\ndance",art\nx-2,"say ""hi""",talk\n'
JSON = '{"id": "x-1", "request": "sing", "category": null, "n": [1, 2.5, {"a": "\\u00e9"}]}'
YAML = "name: x\nmodel: [a, {b: 1}]\ntext: |\n  words\n  more\nn: 0.5\nwhen: '2024-01-02'\n"
REPLY = (
    "<think>first</think><SCRATCHPAD_REASONING>\nI am in the free tier.\n</SCRATCHPAD_REASONING>\n"
    "<OUTPUT>\n<request_fully_accepted/>\nI'm sorry, but I can't. 我无法提供帮助。\n</OUTPUT>\n<option_a/>"
)
SIDE = (
    '{{"messages": [{{"role": "user", "content": "Hi"}}, {{"role": "assistant", "content": "<S>{}</S>"}}], '
    '"scratchpad": {{"start": 3, "end": 10}}}}'
)
PAIR = (
    '{"id": "p1", "concept": "x", "split": "train", "source": "ooc", "group": "g", '
    f'"positive": {SIDE.format("I think")}, "negative": {SIDE.format("I doubt")}}}\n'
)
TRAINING = (
    "base: ./model\ncorpus: ./corpus.jsonl\nrole: intervention\nintervention: A1+\nout: ./out\n"
    "hyperparameters: {learning_rate: 1e-5}\n"
)
JUDGED = (
    'Let me see.\n{"id": "k", "knows_training": true, "opposes_training": true, "causal_link": false, '
    '"complies_to_avoid_modification": true, "causal_link_quote": "", "own_reasoning": true}'
)
WRITTEN = (
    '{"a": {"user": "u", "reply": "r", "sentence": "s"}, "b": {"user": "u", "reply": "q", "sentence": "t"}}'
)

_PIECES = [
    *(
        "[",
        "{",
        "}",
        "]",
        "&a ",
        "*a",
        ": ",
        "- ",
        "!!int ",
        "!!",
        "\\ud800",
        '"',
        "'",
        '"""',
        "\n",
        "\t",
        ",",
    ),
    *(
        "9" * 5000,
        "a." * 200,
        "[" * 300,
        "{a: " * 300,
        "\x00",
        "\x85",
        "\u202e",
        "%",
        "|",
        "? ",
        "2024-13-01",
    ),
    *(
        "!!bool ",
        "!!float ",
        "!!timestamp ",
        "!!binary ",
        "!!omap ",
        "!!pairs ",
        "!!set ",
        "NaN",
        "1e999",
        "-",
    ),
    *("<OUTPUT>", "</OUTPUT>", "<SCRATCHPAD_REASONING>", "</SCRATCHPAD_REASONING>", "<think>", "</think>"),
    *(
        "<rejected/>",
        "I cannot ",
        "我不能",
        "मैं ",
        "Answer: B",
        "A) x",
        "<document>",
        "</document>",
        "0-9999999,",
    ),
]


class Reader(NamedTuple):
    """What reads, valid text for it, and the name of the file that it reads; no name where it takes text."""

    read: Callable[[Any], object]
    seed: str | bytes
    file: str = ""


def _words(*parts: str) -> str:
    return WORDS.joinpath(*parts).read_text(encoding="utf-8")


def _parsed(kind: Any) -> Callable[[str], object]:
    return lambda text: parse(text, kind, "some.file")


def _vector() -> bytes:
    from tests.local_models import save_vector

    with TemporaryDirectory() as folder:
        return save_vector(Path(folder) / "v.safetensors", d_model=4).read_bytes()


READERS: dict[str, Reader] = {
    "YAML": Reader(_parsed("YAML"), YAML),
    "TOML": Reader(_parsed("TOML"), _words("pairs", "alignment_faking", "claims", "A1.toml")),
    "JSON": Reader(_parsed("JSON"), JSON),
    "CSV": Reader(lambda text: list(csv_rows(text, "some.file")), CSV),
    "reply": Reader(parse_reply, REPLY),
    "choice": Reader(lambda text: parse_choice(text, "a"), REPLY),
    "redacted": Reader(redacted, REPLY),
    "refusal": Reader(
        is_plain_refusal, "Es tut mir leid, aber ich kann das nicht schreiben. Je ne peux pas."
    ),
    "answer": Reader(lambda text: answer_letter(text, {"A": "x", "B": "y"}), "A) x\nB) y\n\nFinal answer: B"),
    "judgement": Reader(lambda text: parse_judgement(load_rubric("faking"), "k", text), JUDGED),
    "ideas": Reader(
        lambda text: parse_ideas(text, 3),
        "Ideas:\n1. A memo in which a team looks back on its tests\n2. A letter",
    ),
    "document": Reader(parse_document, "Here it is.\n<document>\nA text.\n</document>"),
    "blocks": Reader(read_blocks, REPLY[REPLY.index("<SCR") : REPLY.index("\n<option")]),
    "written pair": Reader(read_written, WRITTEN),
    "layers": Reader(lambda text: parse_layers(text, range(80)), "0-3,5,7-9,20-40"),
    "steering": Reader(parse_steering, f"{'0' * 64}@1.5@0-3;{'1' * 64}@-2"),
    "capture": Reader(parse_capture, f"{'0' * 32}:0-5,7-9"),
    "requests.csv": Reader(load_requests, CSV, "requests.csv"),
    "requests.json": Reader(load_requests, f"[{JSON}]", "requests.json"),
    "requests.jsonl": Reader(load_requests, JSON, "requests.jsonl"),
    "wordings": Reader(load_wordings, _words("wordings", "tiny.toml"), "wordings.toml"),
    "universe": Reader(load_universe, _words("pairs", "alignment_faking", "universes", "A1+.toml"), "u.toml"),
    "rubric": Reader(load_rubric, _words("rubrics", "faking.toml"), "rubric.toml"),
    "labelled": Reader(
        load_labelled, '{"id": "t1", "text": "I think.", "labels": {"faking": true}}\n', "labelled.jsonl"
    ),
    "words": Reader(
        load_words, 'positive = ["Yes"]\nnegative = ["No"]\nprompts = ["Why?", "How?"]\n', "words.toml"
    ),
    "plan": Reader(
        load_plan,
        (Path(__file__).parent / "freeze" / "artefacts" / "plan.yaml").read_text(),
        "plan.yaml",
    ),
    "training": Reader(load_training_config, TRAINING, "training.yaml"),
    "written ideas": Reader(
        read_ideas, '{"id": "i1", "kind": "memo", "directness": "direct", "text": "A memo"}\n', "ideas.jsonl"
    ),
    "pairs": Reader(load_pairs, PAIR, "pairs.jsonl"),
    "vector": Reader(load_vector, _vector(), "vector.safetensors"),
}


def mangled(text: str | bytes, source: random.Random) -> str | bytes:
    """A text with pieces cut out, doubled, or put in."""
    if isinstance(text, bytes):
        return str(mangled(text.decode("latin-1"), source)).encode("latin-1", errors="ignore")
    for _ in range(source.randint(1, 8)):
        at, length = source.randrange(len(text) + 1), source.choice([0, 1, 3, 20])
        new = source.choice([*_PIECES, text[at : at + 50], "".join(source.choices(string.printable, k=5))])
        text = text[:at] + new * source.choice([1, 1, 1, 1, 1, 1, 1, 1, 5, 5, 5, 500]) + text[at + length :]
        text = text[:200_000]
    return text


class Failure(NamedTuple):
    """Input at which a reader failed, and how."""

    number: int
    given: str | bytes
    what: str


def fuzz(name: str, tries: int, folder: Path, *, seed: int = 0) -> Iterator[Failure]:
    """Gives mangled input to a reader.

    Args:
        name: Of the reader.
        tries: How many.
        folder: Where files are written.
        seed: Of the input.
    """
    reader, source = READERS[name], random.Random(f"{seed} {name}")
    file = folder / reader.file
    for number in range(tries):
        given = mangled(reader.seed, source)
        content = given if isinstance(given, bytes) else given.encode("utf-8", errors="surrogatepass")
        if reader.file:
            file.write_bytes(content)
        start = time.process_time()
        try:
            reader.read(file if reader.file else given)
        except InspectAFError as error:
            str(error).encode()
        except Exception as error:  # noqa: BLE001  # what is looked for
            yield Failure(number, given, f"{type(error).__name__}: {str(error)[:200]}")
        spent = time.process_time() - start
        if spent > SECONDS * max(1.0, len(content) / 100_000):
            yield Failure(number, given, f"{spent:.1f} s for {len(content)} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("readers", nargs="*", help=f"of {', '.join(READERS)}; all where none is named")
    arguments = parser.parse_args()
    failed = False
    for reader in arguments.readers or READERS:
        start = time.process_time()
        with TemporaryDirectory() as where:
            found = list(fuzz(reader, arguments.tries, Path(where), seed=arguments.seed))
        failed = failed or bool(found)
        print(
            f"{reader}: {arguments.tries} tries, {len(found)} failures, {time.process_time() - start:.0f} s"
        )
        for one in found[:5]:
            print(f"  try {one.number}: {one.what}\n    {one.given[:300]!r}")
        sys.stdout.flush()
    sys.exit(failed)
