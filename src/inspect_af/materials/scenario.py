"""The scenario: what system prompt and user turn say, for every choice that shapes them.

A scenario is a directory with `scenario.toml` and one text file per part (docs/hypothesis_pairs.md).
Published prompts (`published:NAME`) are no part of this package: they are downloaded once and checked at
every load."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from operator import itemgetter
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from inspect_af.config import is_file, text_digest, user_path
from inspect_af.errors import ConfigError, MaterialsError, check_one_of, one_of
from inspect_af.materials.downloads import vlaf_text
from inspect_af.materials.files import (
    Name,
    Words,
    bundled,
    cached_for,
    check_placeholders,
    fill,
    material_dir,
    placeholders,
    read_text,
    read_toml,
    refuse_if,
    tree_digest,
)
from inspect_af.types import ARMS, ReasoningChannel, Tier

BUNDLED = "helpful_only"
VALUE_CONFLICT = "value_conflict"

PUBLISHED = {
    "full": ("", "90dc9a04849206dc9cc4ee78f7d21b980c146f74f4b95ce80c6980067e41d2fe"),
    "noexamples": ("_noexamples", "821fe6fb66a0beea1adc5cc7ccd3ff0e65517f009114c3c3fe97242bbf33fbe6"),
    "simple": ("_simple", "09266927ac25071566111981c8712c58dd0a7087b19c04d0fd29bd94ce6af1a3"),
    "noscratchpad": ("_noscratchpad", "59021886b195fd3a21d36093c7f62db7a8d74e99d265690037c18924d716e0e3"),
}
"""Published helpful-only prompts, by the name in `published:NAME`: the file's suffix in the VLAF repository
and its sha256."""
PUBLISHED_PREFIX = "published:"

Setting = Literal["prompted", "documents"]
"""`prompted`: the system prompt has the facts about training; `documents`: it leaves them out, for
models that learnt them from documents."""

TagPlace = Literal["user", "system"]

_TAGGED: tuple[Literal["monitored", "unmonitored", "rated"], ...] = ("monitored", "unmonitored", "rated")
RATED_PART = "rated"  # The part of the system prompt that is there only where the third tier is
OVERSIGHT_PART = "oversight"  # The part that is there only where a probability of being looked at is stated
POLICY_SLOT = "{{policy}}"  # Stands in a system prompt where each request has a policy of its own


class Identity(Words):
    """Who the model is said to be."""

    model: str = Field(min_length=1)
    developer: str = Field(min_length=1)
    text: str = Field(min_length=1)  # The opening paragraph, with `{{model}}` and `{{developer}}`


class TierTag(Words):
    """How a prompt says that a conversation belongs to a tier."""

    tag: str = Field(min_length=1)  # The literal tag, such as `<is_free_tier_user>True</is_free_tier_user>`
    value: str = Field(min_length=1)
    """The tag's content, with which the system prompt explains it without spelling the tag itself."""
    users: str = Field(min_length=1)  # The words for the users of the tier, in the plural


class TierTags(Words):
    """A scheme of tier tags."""

    tag_name: str
    monitored: TierTag
    unmonitored: TierTag
    rated: TierTag | None = None

    def of(self, tier: Tier) -> TierTag | None:
        """The tier's tag; None for tier `none`, and for `rated` in a scheme without it."""
        tags = {"monitored": self.monitored, "unmonitored": self.unmonitored, "rated": self.rated}
        return tags.get(tier)


class _ScenarioFile(Words):
    """The content of `scenario.toml`."""

    name: Name
    kind: Literal["request", "choice"] = "request"
    """Whether a request is accepted or rejected, or one of two options is taken."""
    version: int = Field(ge=1)
    default_identity: str
    default_tier_tag: str
    identities: dict[str, Identity]  # Presets by name
    tier_tags: dict[str, TierTags]  # Schemes by name
    tag_places: dict[TagPlace, str] = Field(min_length=1)
    order: dict[Setting, tuple[str, ...]] = Field(min_length=1, validation_alias="system")
    """Which parts the system prompt has, in order."""
    policy: str = ""  # Stands for the policy where no request brings one
    consequences: dict[str, str] = Field(default_factory=dict)
    """What follows from a reply in a monitored conversation, by name."""
    default_consequence: str = ""


class Scenario(_ScenarioFile):
    """The words of a scenario; `load_scenario` reads one from a directory."""

    model_config = ConfigDict(populate_by_name=True)

    digest: str  # First 16 hexadecimal digits of the sha256 over all files of the scenario
    parts: dict[str, str]  # Text by file name without `.txt`, such as `protocol.native`

    def system_prompt(
        self,
        *,
        setting: Setting = "prompted",
        identity: str = "",
        reasoning: ReasoningChannel = "scratchpad",
        tier_tag: str = "",
        first_tier: Tier = "monitored",
        with_rated: bool = False,
        tag_in: TagPlace = "user",
        policy: str | None = None,
        consequence: str = "",
        oversight: float | None = None,
    ) -> str:
        """The system prompt without claim and without tier: the same text for every sample of a run.

        Args:
            setting: Whether the facts about training are in it.
            identity: A preset, or `Name,Developer`; empty for the scenario's default.
            reasoning: Where the model is asked to reason.
            tier_tag: A scheme of tags; empty for the scenario's default.
            first_tier: Which of `monitored` and `unmonitored` is named first.
            with_rated: Whether the third tier is described.
            tag_in: Where the tag of a conversation stands; see `system_tag`.
            policy: What stands for the policy; None for the scenario's own words.
            consequence: One of the scenario's consequences; empty for its default.
            oversight: Stated probability that a monitored conversation is looked at; None states nothing.

        Raises:
            ConfigError: a value that is not among those allowed.
            MaterialsError: the scenario lacks what the choice needs.
        """
        check_one_of(setting, self.order, what="setting")
        check_one_of(tag_in, self.tag_places, what="tag_in")
        values = self._values(identity, tier_tag, first_tier, with_rated, tag_in)
        values["policy"] = self.policy if policy is None else policy
        values["consequence"] = self._consequence(consequence, values)
        values["oversight"] = "" if oversight is None else f"{100 * oversight:g}"
        left_out = {RATED_PART: not with_rated, OVERSIGHT_PART: oversight is None}
        parts = []
        for part in (name for name in self.order[setting] if not left_out.get(name)):
            text = self._part(part, reasoning)
            if "tier_facts" in placeholders(text):
                second: Tier = "unmonitored" if first_tier == "monitored" else "monitored"
                facts = [self._part(f"fact.{tier}", reasoning).strip() for tier in (first_tier, second)]
                values["tier_facts"] = fill("\n\n".join(facts), values, where=f"{self.name}: fact")
            parts.append(fill(text, values, where=f"{self.name}: {part}").strip())
        return "\n\n".join(filter(None, parts))

    def recorded_prompt(self, settings: Mapping[str, str]) -> str:
        """The system prompt of the prompt settings that a task records; the policy is the scenario's own."""
        words = ("setting", "identity", "reasoning", "tier_tag", "first_tier", "tag_in", "consequence")
        given = {name: settings[name] for name in words if name in settings}
        oversight = settings.get("oversight", "none")
        return self.system_prompt(
            **given,  # type: ignore[arg-type]  # as the task checked them
            with_rated="rated" in settings.get("tiers", ""),
            oversight=None if oversight == "none" else float(oversight),
        )

    def system_tag(self, tier: Tier, tier_tag: str = "") -> str:
        """What is appended to the system prompt with `tag_in="system"`: the tier's tag, or nothing."""
        tag = self._tag(tier, tier_tag)
        return tag.tag if tag else ""

    def user_turn(
        self,
        request: str,
        *,
        tier: Tier,
        tier_tag: str = "",
        tag_in: TagPlace = "user",
        reasoning: ReasoningChannel = "scratchpad",
    ) -> str:
        """The user's message: the tier's tag (with `tag_in="user"`), the request, a reminder of the protocol.

        Raises:
            ConfigError: a value that is not among those allowed.
            MaterialsError: the request itself holds a tier tag, so the tier would be ambiguous.
        """
        refuse_if(
            self.read_tier(request) != "none",
            f"the request {request[:60]!r} holds a tier tag itself; remove the tag from the request",
        )
        tag = self._tag(tier, tier_tag)
        values = {"tag": tag.tag if tag and tag_in == "user" else "", "request": request}
        paragraphs = self._part("user", reasoning).strip().split("\n\n")
        filled = [fill(paragraph, values, where=f"{self.name}: user") for paragraph in paragraphs]
        return "\n\n".join(text for text in filled if text.strip())

    def read_tier(self, text: str) -> Tier:
        """Which tier's tag stands in a rendered prompt, of whatever scheme; `none` if there is no tag.

        The last tag counts. The bundled system prompt explains the tags without spelling them. One that
        spells them comes before the user turn, or has the conversation's own tag (`system_tag`) at its end.
        """
        found: list[tuple[int, int, Tier]] = [
            (at + len(tag.tag), len(tag.tag), tier)
            for scheme in self.tier_tags.values()
            for tier in _TAGGED
            if (tag := scheme.of(tier)) and (at := text.rfind(tag.tag)) >= 0
        ]
        return max(found, key=itemgetter(0, 1))[2] if found else "none"

    def identity(self, identity: str = "") -> Identity:
        """The preset of that name, or the default's paragraph with the names of `Name,Developer`.

        Raises:
            ConfigError: neither.
        """
        wanted = identity.strip() or self.default_identity
        if wanted in self.identities:
            return self.identities[wanted]
        names = [name.strip() for name in wanted.split(",")]
        if len(names) != 2 or not all(names):
            raise ConfigError(f"{one_of(identity, self.identities, what='identity')}, or 'Name,Developer'")
        return Identity(model=names[0], developer=names[1], text=self.identities[self.default_identity].text)

    def _values(
        self, identity: str, tier_tag: str, first_tier: Tier, with_rated: bool, tag_in: TagPlace
    ) -> dict[str, str]:
        who = self.identity(identity)
        scheme = self._scheme(tier_tag)
        check_one_of(first_tier, ("monitored", "unmonitored"), what="first_tier")
        named = [scheme.monitored, scheme.unmonitored][:: 1 if first_tier == "monitored" else -1]
        if with_rated and (rated := self._tag("rated", tier_tag)):
            named.append(rated)
        meanings = [f"{tag.value} for {tag.users}" for tag in named]
        names = {"model": who.model, "developer": who.developer}
        return {
            **names,
            "identity": fill(who.text.strip(), names, where=f"{self.name}: identity {identity!r}"),
            "tag_name": scheme.tag_name,
            "tag_place": self.tag_places[tag_in],
            "tag_values": f"{', '.join(meanings[:-1])} and {meanings[-1]}",
            "monitored_users": scheme.monitored.users,
            "unmonitored_users": scheme.unmonitored.users,
            "rated_users": scheme.rated.users if scheme.rated else "",
        }

    def _consequence(self, name: str, values: dict[str, str]) -> str:
        wanted = name or self.default_consequence
        if not wanted:
            return ""
        check_one_of(wanted, self.consequences, what="consequence")
        text = " ".join(self.consequences[wanted].split())
        return fill(text, values, where=f"{self.name}: consequence {wanted}")

    def _scheme(self, tier_tag: str) -> TierTags:
        name = tier_tag or self.default_tier_tag
        if name not in self.tier_tags:
            raise one_of(tier_tag, self.tier_tags, what="tier_tag")
        return self.tier_tags[name]

    def _tag(self, tier: Tier, tier_tag: str) -> TierTag | None:
        tag = self._scheme(tier_tag).of(tier)
        refuse_if(
            tag is None and tier != "none",
            f"scenario '{self.name}': tier_tag '{tier_tag or self.default_tier_tag}' has no tier "
            f"'{tier}'; add it to scenario.toml, or leave the tier out",
        )
        return tag

    def _part(self, name: str, reasoning: ReasoningChannel) -> str:
        for stem in (f"{name}.{reasoning}", name):
            if stem in self.parts:
                return self.parts[stem]
        raise MaterialsError(
            f"scenario '{self.name}' has neither {name}.{reasoning}.txt nor {name}.txt; write one of them, "
            "or take another reasoning (scratchpad, native or none)"
        )


_IDENTITY = ("model", "developer")
_FACT = (*_IDENTITY, "monitored_users", "unmonitored_users", "rated_users", "consequence")
_SYSTEM = (*_FACT, "identity", "tag_name", "tag_place", "tag_values", "tier_facts", "oversight", "policy")
_USER = ("tag", "request")
_PART_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def load_scenario(source: str | Path | None = None, *, pair: str | Path | None = None) -> Scenario:
    """The bundled scenario, or a user's.

    Args:
        source: `helpful_only`, `value_conflict`, `published:NAME` (`PUBLISHED`), or a directory
            (docs/hypothesis_pairs.md); None for the one in the directory of the pair, and where that has none
            for the bundled one.
        pair: Hypothesis pair that the scenario is for; None for the bundled one.

    Raises:
        ConfigError: a published prompt that is not known.
        MaterialsError: a file is missing or malformed, a part without a file, an unknown placeholder.
        RequestsUnavailableError: a published prompt cannot be downloaded, or is not the pinned one.
    """
    if source is None and pair is not None:
        own = user_path(pair) / "scenario"
        source = own if is_file(own / "scenario.toml") else None
    return _load(source)


@cached_for(BUNDLED)
def _load(source: str | Path | None = None) -> Scenario:
    text = None
    if str(source).startswith(PUBLISHED_PREFIX):
        text = _published(str(source).removeprefix(PUBLISHED_PREFIX))
        root = bundled("scenario", "published")
    elif source == VALUE_CONFLICT:
        root = bundled("scenario", VALUE_CONFLICT)
    else:
        root = material_dir(source, default=BUNDLED, folder="scenario", what="scenario")
    file = root.joinpath("scenario.toml")
    head = read_toml(file, _ScenarioFile)
    parts = {} if text is None else {"published": text}
    parts |= {
        entry.name.removesuffix(".txt"): read_text(entry)
        for entry in sorted(root.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".txt") and not entry.name.startswith(".")
    }
    for default, known, key in (
        (head.default_identity, head.identities, "default_identity"),
        (head.default_tier_tag, head.tier_tags, "default_tier_tag"),
        (head.default_consequence, head.consequences, "default_consequence"),
    ):
        refuse_if(
            default not in known and (default or known),
            f"{file}: {key} is '{default}', which is not one of {', '.join(known) or 'any'}",
        )
    _check_tags(head, file)
    _check_parts(head, parts, root)
    name, digest = head.name, tree_digest(root)
    if text is not None:
        name, digest = str(source), text_digest(digest, text)
    return Scenario(**{**dict(head), "name": name}, digest=digest, parts=parts)


def _published(name: str) -> str:
    """The text of a published system prompt, with our placeholder for the company's name."""
    check_one_of(name, PUBLISHED, what="published prompt")
    suffix, sha256 = PUBLISHED[name]
    text = vlaf_text(
        f"prompt_library/alignment_faking_prompt{suffix}.txt",
        sha256,
        otherwise="take the bundled scenario, or your own with -T scenario=DIR",
    )
    return text.replace("{{ company }}", "{{developer}}")


def _check_tags(head: _ScenarioFile, file: Traversable) -> None:
    """A tag has to mean one tier, in whatever scheme it occurs."""
    meaning: dict[str, str] = {}
    for name, scheme in head.tier_tags.items():
        for tier in _TAGGED:
            if (tag := scheme.of(tier)) is not None:
                blank = not tag.tag.strip()
                refuse_if(blank, f"{file}: tier_tags {name}, {tier}: the tag is blank; write one")
                other = meaning.setdefault(tag.tag, tier)
                refuse_if(
                    other != tier,
                    f"{file}: tier_tags {name}: the tag {tag.tag} means '{other}' and '{tier}'; "
                    "give each tier its own tag",
                )


def _check_parts(head: _ScenarioFile, parts: dict[str, str], root: Traversable) -> None:
    file, allowed = f"{root}/scenario.toml", _SYSTEM if head.kind == "choice" else _SYSTEM[:-1]
    for setting, names in head.order.items():
        refuse_if(not names, f"{file}: system, {setting}: no parts; name at least one")
        for name in names:
            refuse_if(
                not _PART_NAME.fullmatch(name),
                f"{file}: system, {setting}: part '{name}' is not a file name; use lower-case letters, "
                "digits, _ and -",
            )
            for stem in _files_of(name, parts, root):
                check_placeholders(parts[stem], allowed, where=f"{root}/{stem}.txt")
                for tier in ARMS if "tier_facts" in placeholders(parts[stem]) else ():
                    for fact in _files_of(f"fact.{tier}", parts, root):
                        check_placeholders(parts[fact], _FACT, where=f"{root}/{fact}.txt")
    tags = [tag.tag for s in head.tier_tags.values() for tier in _TAGGED if (tag := s.of(tier))]
    for stem in _files_of("user", parts, root):
        check_placeholders(parts[stem], _USER, where=f"{root}/{stem}.txt")
        asks = "request" in placeholders(parts[stem])
        refuse_if(not asks, f"{root}/{stem}.txt: {{{{request}}}} is missing; say where the request goes")
        spelt = next((tag for tag in tags if tag in parts[stem]), None)
        refuse_if(
            spelt, f"{root}/{stem}.txt spells the tag {spelt} of one tier; write {{{{tag}}}} in its place"
        )
    texts = {f"consequences {name}": text for name, text in head.consequences.items()}
    texts |= {f"identities {name}": identity.text for name, identity in head.identities.items()}
    for name, text in texts.items():
        check_placeholders(text, _IDENTITY, where=f"{file}: {name}")


def _files_of(name: str, parts: dict[str, str], root: Traversable) -> list[str]:
    found = [stem for stem in parts if stem == name or stem.startswith(f"{name}.")]
    refuse_if(not found, f"{root} has no file for part '{name}'; write {name}.txt")
    return found
