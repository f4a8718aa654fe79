"""Rubrics: what a judge is asked, as data.

A rubric is a TOML file. It holds the question, the fields of the answer, the anchored levels, and which
parts of a transcript the judge sees. Every judge of the package is one rubric run by one mechanism.

Format, all keys at the top level unless said otherwise:

* `name`, `version`, `title`: identity; `name` is also the answer schema's name.
* `task`: what the judge decides, in a paragraph.
* `background`: facts that the judge needs and cannot see, such as the set-up that the model was told about.
* `sees`: the parts of the transcript, in order: `request`, `decision` (the reply's own protocol tag),
  `scratchpad`, `output`.
* `[[fields]]`: each with `name`, `kind`, `question`; `integer` fields add `minimum`, `maximum` and `levels`
  (a list of `{at, text}`), `label` fields add `options` (a list of `{name, text}`), `boolean` fields nothing.
  `quote = true` asks for one sentence of the transcript, word for word, as evidence.
* `[decision]`: optional `name` and `all_of`: one yes or no out of several boolean fields.

Labelled scratchpads, for checking judges, are JSON Lines, one object per text:

* `id`, `text`; `class` and `condition` where known; `decision`, the reply's tag (`accepted`, `rejected`);
* `labels`: by question, true or false, or null where nobody has answered yet;
* `judges`: by judge, by question, a stored score (0 to 10 for a concept, a share of votes for `faking`).
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from inspect_af.config import is_file, parse, text_digest, user_path
from inspect_af.errors import MaterialsError
from inspect_af.materials.files import Words, bundled, read_text, read_toml, refuse_if, toml_names, validate
from inspect_af.materials.pair import BUNDLED

BUNDLED_SET = "bundled"
"""Name of the labelled set that comes with the package: written for it, so a smoke test and no sample of
anything."""
BUNDLED_TEXTS = {BUNDLED_SET: "scratchpads.jsonl", "awareness": "awareness.jsonl"}
"""Files of labelled texts that come with the package, by name."""
LARGEST = 64_000_000  # most bytes of a file of labelled scratchpads

Sight = Literal["request", "decision", "scratchpad", "output"]  # a part of a transcript that a judge may see

_NAME = r"^[a-z][a-z0-9_]{0,47}$"
_RESERVED = ("id", "share")


class Level(Words):
    """What a score of `at` means."""

    at: int
    text: str


class Option(Words):
    """One of the labels that a label field may take."""

    name: str = Field(pattern=_NAME)
    text: str


class _Question(Words):
    name: str = Field(pattern=_NAME)
    question: str
    quote: bool = False
    """Whether the judge gives a sentence of the transcript as evidence, under `NAME_quote`."""

    @property
    def quote_name(self) -> str:
        return f"{self.name}_quote"


class IntegerField(_Question):
    """A score on an anchored scale, bounds included."""

    kind: Literal["integer"] = "integer"
    minimum: int
    maximum: int
    levels: tuple[Level, ...]

    @model_validator(mode="after")
    def _levels_lie_on_the_scale(self) -> IntegerField:
        low, high, anchors = self.minimum, self.maximum, [level.at for level in self.levels]
        refuse_if(low >= high, f"{self.name}: minimum {low} is not below maximum {high}")
        refuse_if(anchors != sorted(set(anchors)), f"{self.name}: levels must rise and differ, not {anchors}")
        refuse_if(
            [*anchors[:1], *anchors[-1:]] != [low, high],
            f"{self.name}: the first level must describe {low} and the last {high}",
        )
        return self


class BooleanField(_Question):
    """A yes or no."""

    kind: Literal["boolean"] = "boolean"


class LabelField(_Question):
    """One of a closed set of labels."""

    kind: Literal["label"] = "label"
    options: tuple[Option, ...] = Field(min_length=2)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(option.name for option in self.options)


RubricField = Annotated[IntegerField | BooleanField | LabelField, Field(discriminator="kind")]


class Decision(Words):
    """Yes where every named boolean field is yes."""

    name: str = Field(pattern=_NAME)
    all_of: tuple[str, ...] = Field(min_length=1)


class Rubric(Words):
    """What a judge is asked. See the module's docstring for the file format."""

    name: str = Field(pattern=_NAME)
    version: int = Field(ge=1)
    title: str
    task: str
    background: str = ""
    sees: tuple[Sight, ...] = Field(min_length=1)
    fields: tuple[RubricField, ...] = Field(min_length=1)
    decision: Decision | None = None

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> Rubric:
        booleans = {field.name for field in self.fields if isinstance(field, BooleanField)}
        columns = [column for column in self.columns if column != "share"]
        columns += [field.quote_name for field in self.fields if field.quote]
        columns += booleans if self.decision else []  # no columns then, but still keys of the answer
        twice = sorted({column for column in columns if columns.count(column) > 1})
        refuse_if(
            twice or any(field.name in _RESERVED for field in self.fields),
            f"field names, labels and decision must differ and none may be {' or '.join(_RESERVED)}"
            + (f"; used twice: {', '.join(twice)}" if twice else ""),
        )
        refuse_if(len(set(self.sees)) != len(self.sees), f"`sees` names a part twice: {', '.join(self.sees)}")
        refuse_if(
            self.decision and not set(self.decision.all_of) <= booleans,
            f"decision.all_of must name boolean fields ({', '.join(sorted(booleans)) or 'there are none'})",
        )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers that a judgement comes down to.

        An integer or boolean field is one number, a label field one per label. With a `decision`, the
        boolean fields give way to the decision and the share of votes for it.
        """
        names: list[str] = [self.decision.name, "share"] if self.decision else []
        for field in self.fields:
            if isinstance(field, LabelField):
                names += field.names
            elif isinstance(field, IntegerField) or self.decision is None:
                names.append(field.name)
        return tuple(names)

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the sha256 of the content, whatever the file's layout."""
        return text_digest(self.model_dump_json())


def load_rubric(source: str | Path, *, pair: str | Path | None = None) -> Rubric:
    """Loads a rubric by name or from a file.

    A name is looked up in the hypothesis pair's own `rubrics` directory first, then among the bundled ones.

    Args:
        source: A bundled name (`faking`, `refusal`), a name that the pair has (`concept`), or the path of a
            `.toml` file.
        pair: The hypothesis pair: None or `alignment_faking` for the bundled one, else its directory.

    Raises:
        MaterialsError: the rubric does not exist or is malformed; the message names file and entry.
    """
    if str(source).endswith(".toml"):
        return read_toml(user_path(source), Rubric)
    if pair is not None and str(pair) != BUNDLED:
        own = user_path(pair) / "rubrics" / f"{source}.toml"
        if is_file(own):
            return read_toml(own, Rubric)
        return _bundled(str(source), (bundled("rubrics"),), f"; a rubric of your pair belongs in {own}")
    homes = (bundled("pairs", BUNDLED, "rubrics"), bundled("rubrics"))
    return _bundled(str(source), homes, ", or the path of a .toml file")


@lru_cache(maxsize=32)
def _bundled(name: str, homes: tuple[Traversable, ...], remedy: str) -> Rubric:
    found = {rubric: home for home in reversed(homes) for rubric in toml_names(home)}
    if name not in found:
        raise MaterialsError(f"unknown rubric {name!r}; one of {', '.join(sorted(found))}{remedy}")
    return read_toml(found[name].joinpath(f"{name}.toml"), Rubric)


class LabelledText(Words):
    """One scratchpad and what people say about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    kind: str | None = Field(default=None, alias="class")
    """Why it was written, such as `restatement`; None for real transcripts."""
    condition: str | None = None
    decision: Literal["accepted", "rejected"] | None = None
    labels: dict[str, bool | None]
    judges: dict[str, dict[str, float]] = Field(default_factory=dict)


def load_labelled(source: str | Path = BUNDLED_SET) -> tuple[LabelledText, ...]:
    """Loads labelled scratchpads.

    Args:
        source: `bundled`, `awareness`, or a JSON Lines file.

    Raises:
        MaterialsError: the file cannot be read, or a line is malformed or repeats an id; the message names
            the line.
    """
    own = user_path(source)
    name = BUNDLED_TEXTS.get(str(source))
    file = own if name is None else bundled("calibration", name)
    rows: dict[str, LabelledText] = {}
    for number, line in enumerate(read_text(file, largest=LARGEST).split("\n"), start=1):
        if line.strip():
            where = f"{source}, line {number}"
            content = parse(line, "JSON", where, error=MaterialsError)
            refuse_if(
                not isinstance(content, dict),
                f"{where}: not a JSON object; each line is one with id, text and labels ({{question: true}})",
            )
            row = validate(content, LabelledText, where)
            refuse_if(row.id in rows, f"{where}: the id {row.id!r} is there already")
            rows[row.id] = row
    refuse_if(not rows, f"{source}: holds no labelled scratchpad")
    return tuple(rows.values())
