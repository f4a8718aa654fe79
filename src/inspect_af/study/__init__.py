"""A whole experiment from one plan: a list of commands, what is done of it, and what runs the rest."""

from inspect_af.study._names import base_model
from inspect_af.study.build import PLAN_FILE, build_steps, check_budget, total_load
from inspect_af.study.drafting import complete_draft, plan_parts, read_study_plan, template
from inspect_af.study.runner import StudyState, run_steps, write_files
from inspect_af.study.state import Marks, Status, current_states, is_done, learnt_pace
from inspect_af.study.steps import Load, Step, StepKind, chosen_steps, in_order

__all__ = [
    "PLAN_FILE",
    "Load",
    "Marks",
    "Status",
    "Step",
    "StepKind",
    "StudyState",
    "base_model",
    "build_steps",
    "check_budget",
    "chosen_steps",
    "complete_draft",
    "current_states",
    "in_order",
    "is_done",
    "learnt_pace",
    "plan_parts",
    "read_study_plan",
    "run_steps",
    "template",
    "total_load",
    "write_files",
]
