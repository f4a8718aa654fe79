"""How the command line reads its words: click commands that are loaded when they are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial, reduce
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

import click

from inspect_af.errors import ConfigError

Decorator = Callable[[Any], Any]


class Place(click.ParamType[Path]):
    """A path, or where `remote` an address such as `s3://bucket/x` too, with the suffix that is needed."""

    name = "path"

    def __init__(self, suffix: str = "", *, remote: bool) -> None:
        self.suffix, self.remote = suffix, remote

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from inspect_af.config import local_path, user_path

        option = f"{param.opts[0]} " if param is not None and param.opts[0].startswith("-") else ""
        place = user_path(value) if self.remote else local_path(value, option)
        if self.suffix and place.suffix != self.suffix:
            raise ConfigError(f"{option}{value}: a {self.suffix} file is needed")
        return place


class Number(click.ParamType[float]):
    """A finite number from `least` to below `end`."""

    def __init__(self, kind: click.ParamType[Any], least: float, end: float = inf) -> None:
        self.kind, self.least, self.end, self.name = kind, least, end, kind.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = self.kind.convert(value, param, ctx)
        if not self.least <= number < self.end:
            named = param.opts[0] if param else self.name
            end = "" if self.end == inf else f" and below {self.end:g}"
            raise ConfigError(f"{named} must be at least {self.least:g}{end}, not {number:g}")
        return number


class _Name(click.ParamType[str]):
    """A name of the hub, or a path."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        FILE.convert(value, param, ctx)
        return str(value)


FILE, PLACE, NAME = Place(remote=False), Place(remote=True), _Name()
COUNT, FROM_ZERO, AMOUNT = Number(click.INT, 1), Number(click.INT, 0), Number(click.FLOAT, 0)
_NUMBERS = re.compile(r"-\.?\d")
_BARE = re.compile(r"true|false|yes|no|\d+(\.\d+)?([smhDdWMY]|)|\S+\.(ya?ml|json)", re.IGNORECASE)


class Option(click.Option):
    """An option with a place in the help, which may take several values in a row or none.

    Its default is shown unless the help says it in words.

    Args:
        group: Heading under which the help lists it.
        several: Takes every word up to the next option, as in `--requests 48 100`.
        bare: The value where it is given without one, as in `--batch`.
    """

    def __init__(
        self, *args: Any, group: str = "Options", several: bool = False, bare: str | None = None, **more: Any
    ) -> None:
        if several:
            more["multiple"] = True
        elif more.get("multiple"):
            about, default, words = (more.get("help") or "").partition("  [default")
            more["help"] = f"{about} (repeatable){default}{words}".lstrip()
        if bare is not None:
            more |= {"is_flag": False, "flag_value": bare}
        more.setdefault(
            "show_default", "[default" not in (more.get("help") or "") and more.get("default") != ""
        )
        super().__init__(*args, **more)
        self.group, self.several, self.bare = group, several, bare


option = partial(click.option, cls=Option)


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, in the order of the help."""
    return lambda command: reduce(lambda done, add: add(done), reversed(options), command)


class Verb(click.Command):
    """A command whose options may be abbreviated where that is not ambiguous, listed by group."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The whole first sentence, as long as it is: what stands in a group's list is not cut."""
        return super().get_short_help_str(limit=10_000)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._spelt_out(list(args)))

    def _spelt_out(self, words: list[str]) -> list[str]:
        """The words as click takes them: whole names, and every value of a list with its option."""
        options = {name: each for each in self.params for name in (*each.opts, *each.secondary_opts)}
        found: list[str] = []
        while words:
            if not words[0].strip() or (len(words) > 1 and words[0] in options and not words[1].strip()):
                what = words[0] or "an argument"
                raise ConfigError(f"{what} is empty; give a value, or leave it out")
            word = words.pop(0)
            if word == "--":
                return [*found, word, *words]
            name, equals, value = word.partition("=")
            if name in options and equals and not value.strip():
                raise ConfigError(f"{name} is empty; give a value, or leave it out")
            if name.startswith("--") and name not in options:
                near = [each for each in options if each.startswith(name)]
                name = near[0] if len(near) == 1 else name
            given = options.get(name) if name.startswith("-") else None
            if not isinstance(given, Option) or equals or given.is_flag or given.count:
                found.append(f"{name}{equals}{value}")
            elif given.several:
                values = []
                while words and (len(words[0]) < 2 or words[0][0] != "-" or _NUMBERS.match(words[0])):
                    values += [name, words.pop(0)]
                found += values or [name]  # click says what is missing
            elif given.bare is not None:
                takes = bool(words) and _BARE.fullmatch(words[0]) is not None
                found.append(f"{name}={words.pop(0) if takes else given.bare}")
            else:
                found += [name, *(words.pop(0) for _ in range(given.nargs) if words)]
        return found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(ctx):
            if isinstance(each, click.Option) and (record := each.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(each, "group", "Options"), []).append(record)
        for heading in sorted(groups, key="Options".__eq__):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


class LazyGroup(click.Group):
    """A group whose commands are imported when they are named.

    Args:
        lazy: By name, where the command is (`module:attribute`) and what the group's help says of it.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*args, **more)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.lazy.items()])
