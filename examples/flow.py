"""Two of our tasks on two models, as a spec for Inspect Flow: `flow run examples/flow.py`."""

from inspect_flow import FlowSpec, FlowTask, tasks_matrix

FlowSpec(
    log_dir="logs/flow",
    tasks=tasks_matrix(
        task=[
            FlowTask(name="inspect_af/alignment_faking", args={"interventions": "A1", "requests": "mini"}),
            FlowTask(name="inspect_af/beliefs", args={"interventions": "A1", "orders": 1}),
        ],
        model=["af-organism/expectation", "af-organism/null"],
    ),
)
