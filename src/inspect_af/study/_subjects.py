"""A subject of a study: its name, its places, and its models with treatments."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from inspect_af.errors import ConfigError
from inspect_af.logs.headers import subject_of
from inspect_af.plan import Plan, PlannedModel, PlannedSubject
from inspect_af.study._names import base_model, organism_directory, subject_names


class StudySubject(NamedTuple):
    """One subject and where its things are."""

    name: str
    planned: PlannedSubject
    out: Path
    """The study's directory."""

    @property
    def directory(self) -> Path:
        return self.out / "subjects" / self.name

    @property
    def recorded(self) -> str:
        """What logs call its model: the name, with the arguments that change behaviour in brackets."""
        return subject_of(self.planned.model, self.planned.args).model

    @property
    def ready(self) -> tuple[str, ...]:
        """Id of the step that makes the model, where one does."""
        return () if self.planned.organism is None else (f"organism/{self.name}",)

    @property
    def is_local(self) -> bool:
        """Whether it runs in this process, one condition at a time."""
        return self.planned.model.startswith("af-hf/")

    @property
    def organism_adapters(self) -> tuple[str, ...]:
        """Adapters that are part of the subject."""
        given = self.planned.args.get("adapter")
        if given is None:
            return ()
        return tuple(map(str, given)) if isinstance(given, list) else tuple(str(given).split(","))

    def base(self, method: str) -> str:
        """Directory or hub name of the weights.

        Raises:
            ConfigError: The provider has none.
        """
        found = base_model(self.planned.model)
        if found is None:
            raise ConfigError(
                f"{method} needs weights, and {self.planned.model} has none here; use af-hf/MODEL or "
                "af-vllm/MODEL, or leave the section out"
            )
        return found

    def logs(self, group: str) -> Path:
        return self.out / "logs" / self.name / group

    def with_adapter(self, adapter: str) -> PlannedModel:
        stacked = ",".join((*self.organism_adapters, adapter))
        return PlannedModel(model=self.planned.model, args={**self.planned.args, "adapter": stacked})

    @property
    def untouched(self) -> PlannedModel:
        return PlannedModel(model=self.planned.model, args=self.planned.args)


def study_subjects(plan: Plan, out: Path) -> tuple[StudySubject, ...]:
    """The plan's subjects.

    Raises:
        ConfigError: One is to be trained, and its name is no directory of a local provider.
    """
    for subject in plan.subjects:
        directory = organism_directory(subject)
        if subject.organism is not None and (directory is None or len(directory.parts) < 2):
            raise ConfigError(
                f"subject {subject.model}: an organism is trained into the directory that its name gives, "
                "such as af-hf/./organisms/expectation"
            )
    names = subject_names(plan.subjects)
    return tuple(StudySubject(name, each, out) for name, each in zip(names, plan.subjects, strict=True))
