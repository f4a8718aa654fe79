"""Which analyses of the profile serve which part of the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from inspect_af.profile.bootstrap import Drawer, Draws, draw
from inspect_af.profile.build import build_profile
from inspect_af.profile.concepts import ConceptScore
from inspect_af.profile.convergence.reading import Place
from inspect_af.profile.core import Core, Data, core_of, data_of
from inspect_af.profile.design import analyses_of
from inspect_af.profile.outcomes import ConditionCounts, Outcomes, Setting
from inspect_af.profile.result import MethodProfile, Profile
from inspect_af.profile.selectivity import SelectivityMatrix
from inspect_af.thresholds import Thresholds
from inspect_af.types import Method, Subject

METHODS: tuple[Method, ...] = ("prompt", "sdf", "steering")


class Case(NamedTuple):
    """One analysis of the profile with the data that it was made from."""

    core: Core
    data: Data
    profile: MethodProfile

    @property
    def method(self) -> Method:
        return self.core.analysis.method

    @property
    def labels(self) -> tuple[str, str]:
        pair = self.core.analysis.setting.pair
        return pair.first, pair.second

    @property
    def positions(self) -> tuple[int, ...]:
        """Every condition of this analysis, the untouched subject included, in the request set's order."""
        analysis = self.core.analysis
        own = {p for group in (*analysis.groups, *analysis.placebos) for p in group.conditions}
        return tuple(sorted(own if analysis.baseline is None else {*own, analysis.baseline}))

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(place_of(self.data.requests.conditions[p]) for p in self.positions)

    @property
    def n_replies(self) -> int:
        return sum(int(self.data.requests.conditions[p].counts.sum()) for p in self.positions)


class Untouched(NamedTuple):
    """One condition without treatment."""

    position: int
    data: Data
    condition: ConditionCounts


class Cases(NamedTuple):
    """Everything that was analysed."""

    profile: Profile
    cases: tuple[Case, ...]
    untouched: tuple[Untouched, ...]
    drawer: Drawer

    def draws(self, data: Data) -> Draws:
        """The resample of the requests behind every interval of a request set."""
        limits = data.estimator.thresholds
        return self.drawer(data.strict.n_requests, len(data.strict.means), limits.n_resamples, limits.seed)

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """In the order of the profile."""
        found = [case.core.analysis.subject for case in self.cases]
        return tuple(dict.fromkeys([*(u.condition.subject for u in self.untouched), *found]))

    def methods_of(self, subject: Subject) -> tuple[Case, ...]:
        """The main analysis of each method: the one with most conditions, then with most replies."""
        found = []
        for method in METHODS:
            own = [
                case
                for case in self.cases
                if case.core.analysis.subject == subject
                and case.method == method
                and not case.core.analysis.context
            ]
            if own:
                found.append(max(own, key=lambda case: (len(case.positions), case.n_replies)))
        return tuple(found)

    def main_untouched(self, subject: Subject) -> Untouched | None:
        """The subject under its main prompt template: that of its first method, else of most replies."""
        own = [u for u in self.untouched if u.condition.subject == subject]
        settings = [(c.core.analysis.setting, c.data.requests.digest) for c in self.methods_of(subject)]
        for setting, digest in settings:
            for u in own:
                if (u.condition.setting, u.data.requests.digest) == (setting, digest):
                    return u
        return max(own, key=lambda u: int(u.condition.counts.sum()), default=None)

    def on_checkpoints(self) -> tuple[Case, ...]:
        """Prompt claims on models with SDF adapters."""
        return tuple(
            case
            for case in self.cases
            if case.method == "prompt"
            and case.core.analysis.context
            and all(t.method == "sdf" for t in case.core.analysis.context)
        )


def cases_of(
    outcomes: Outcomes,
    *,
    thresholds: Thresholds,
    strength: str | None,
    variables: Iterable[str] | None,
    selectivity: Sequence[SelectivityMatrix],
    concepts: Sequence[ConceptScore],
) -> Cases:
    """Analyses the counts once, keeping the statistics behind the profile.

    Raises:
        ConfigError: `strength` or a variable was not run.
    """
    drawer = _remembering()
    chosen = None if variables is None else frozenset(variables)
    profile = build_profile(
        outcomes,
        thresholds=thresholds,
        strength=strength,
        variables=chosen,
        selectivity=selectivity,
        concepts=concepts,
        drawer=drawer,
    )
    rows = iter(profile.profiles)
    cases: list[Case] = []
    untouched: list[Untouched] = []
    for requests in outcomes.request_sets:
        data = data_of(requests, thresholds, drawer)
        untouched += [Untouched(p, data, c) for p, c in enumerate(requests.conditions) if not c.treatments]
        for analysis in analyses_of(requests):
            core = core_of(analysis, data, strength=strength, variables=chosen)
            cases.append(Case(core, data, next(rows)))
    return Cases(profile, tuple(cases), tuple(untouched), drawer)


def place_of(condition: ConditionCounts) -> Place:
    return Place(condition.subject, condition.setting.prompt_digest, condition.treatments)


def differences(setting: Setting, reference: Setting) -> Iterator[tuple[str, str]]:
    """The prompt settings in which one template differs from another, by name."""
    usual = dict(reference.prompt_settings)
    if setting.scenario != reference.scenario:
        yield "scenario", setting.scenario
    for key, value in setting.prompt_settings:
        if usual.get(key) != value:
            yield key, value


def _remembering() -> Drawer:
    """Draws of equal shape are made once and shared by the profile and by what is computed beside it."""

    @lru_cache(maxsize=4)
    def remembered(n_units: int, n_arms: int, n_resamples: int, seed: int) -> Draws:
        return draw(n_units, n_arms, n_resamples, seed)

    return remembered
