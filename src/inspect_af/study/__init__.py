"""A whole experiment from one plan: its steps, which Snakemake runs on one machine or on a cluster."""

from inspect_af.study.draft import check_plan, complete_draft, fix_plan, plan_parts, read_study_plan, template
from inspect_af.study.run import Record, Status, Study, run_step, run_study
from inspect_af.study.steps import Load, Resources, Step, build_steps, check_budget, chosen_steps, total_load

__all__ = [
    "Load",
    "Record",
    "Resources",
    "Status",
    "Step",
    "Study",
    "build_steps",
    "check_budget",
    "check_plan",
    "chosen_steps",
    "complete_draft",
    "fix_plan",
    "plan_parts",
    "read_study_plan",
    "run_step",
    "run_study",
    "template",
    "total_load",
]
