"""The top of the page and the part about each model: words and tables; figures are drawn elsewhere."""

from __future__ import annotations

from inspect_af.profile.convergence.forests import METHOD_TITLES
from inspect_af.profile.convergence.parts import Names, shown, sources
from inspect_af.profile.convergence.result import Convergence, MethodPair, MethodResult, Model
from inspect_af.profile.report.markup import (
    NOTHING,
    Html,
    bullets,
    element,
    escaped,
    folded,
    joined,
    name,
    paragraph,
    table,
)
from inspect_af.profile.report.text import count, plural

CODES = {"converge": "converge", "diverge": "diverge", "not-enough": "not enough to say"}


def headline(report: Convergence, names: Names) -> Html:
    """Title, how many models converge, and the statement of each."""
    tally = [
        f"{n} {word}"
        for code, word in CODES.items()
        if (n := sum(model.statement.code == code for model in report.models))
    ]
    entries = [
        element(
            "li",
            element("strong", name(names.get(model.subject, model.subject), longest=40)),
            element("span", escaped(CODES[model.statement.code]), of=f"code {model.statement.code}"),
            element("div", escaped(model.statement.sentence)),
        )
        for model in report.models
    ]
    lead = f"{plural(len(report.models), 'model')}: {', '.join(tally)}." if tally else "No method was run."
    return joined(
        [
            element("h1", escaped(report.title)),
            paragraph(lead, of="lead"),
            element("ul", *entries, of="verdicts") if entries else NOTHING,
        ]
    )


def banner(report: Convergence, names: Names) -> Html:
    """Says what is simulated: models and judges."""
    models = [names.get(m.subject, m.subject) for m in report.models if m.simulated]
    judged = any(result.simulated_judge and result.judges for result in report.steering)
    judged |= any(one.simulated_judge for one in report.direct)
    said = []
    if models:
        said.append(f"Simulated models, whose behaviour was planted as numbers: {', '.join(models)}.")
    if judged:
        said.append("A judge is simulated: its scores say nothing about what a real judge would find.")
    return element("p", escaped(" ".join(said)), of="banner", role="note") if said else NOTHING


def model_part(model: Model, figure: Html, names: Names) -> Html:
    """One model: what each method says, side by side, and why the statement is what it is."""
    statement = model.statement
    return element(
        "article",
        element("h3", name(names.get(model.subject, model.subject), longest=70)),
        element(
            "p",
            element("strong", escaped(CODES[statement.code].capitalize()), of=statement.code),
            escaped(f". {statement.sentence}"),
        ),
        _side_by_side(model),
        figure,
        folded(escaped("Why"), bullets(escaped(reason) for reason in statement.reasons)),
        _pairs(model),
        sources(tuple(dict.fromkeys(log for method in model.methods for log in method.logs))),
        of="model",
    )


def _side_by_side(model: Model) -> Html:
    header = (
        "method",
        "verdict",
        *(f"{label}" for label in model.families),
        "difference",
        "untouched gap",
        "requests",
        "beliefs",
        "remarks",
    )
    rows = [_method_row(method, model) for method in model.methods]
    return table(header, rows, caption="Points with intervals, by method", words=2, remarks=True)


def _method_row(method: MethodResult, model: Model) -> list[Html]:
    settings = method.prompt_settings
    remarks = [
        method.strength,
        f"{settings['setting']} setting" if "setting" in settings else None,
        method.verdict_suffix,
    ]
    return [
        escaped(METHOD_TITLES[method.method]),
        escaped(_verdict(method)),
        *(escaped(shown(method.sensitivity.get(label))) for label in model.families),
        escaped(shown(method.contrast)),
        escaped(shown(method.reference_gap)),
        escaped(f"{count(method.n_requests)} {method.requests}"),
        escaped(method.beliefs or "not asked"),
        escaped(", ".join(part for part in remarks if part)),
    ]


def _verdict(method: MethodResult) -> str:
    """The profile's verdict, which knows nothing of random vectors: where they hold it back, that is said."""
    dominant = method.verdict_code in ("first-dominant", "second-dominant")
    if method.method == "steering" and dominant and method.direction == "open":
        return f"{method.verdict}, not counted: not shown beyond random vectors"
    return method.verdict or "none"


def _pairs(model: Model) -> Html:
    rows = [
        [
            escaped(f"{METHOD_TITLES[pair.first]} less {METHOD_TITLES[pair.second]}"),
            *(escaped(shown(pair.sensitivity.get(label))) for label in model.families),
            escaped(shown(pair.contrast)),
            escaped(pair.refusal or _over(pair)),
        ]
        for pair in model.pairs
    ]
    if not rows:
        return NOTHING
    header = ("methods", *model.families, "difference", "over")
    return folded(
        escaped("Methods against one another, on the same requests"),
        table(header, rows, caption="First less second, in points", remarks=True),
    )


def _over(pair: MethodPair) -> str:
    sides = [(method, pair.variables.get(method, ())) for method in (pair.first, pair.second)]
    return "; ".join(f"{METHOD_TITLES[method]}: {', '.join(codes)}" for method, codes in sides if codes)
