"""Rows of logs written by hand, and thresholds that keep tests fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from tests.profile.planted import PLANTED_PAIR

from inspect_af.logs import LogHeader, ScoredSample
from inspect_af.thresholds import Thresholds
from inspect_af.types import Outcome, SampleMeta, Subject, TaskMeta, Tier, Treatment

Row = Callable[..., ScoredSample]
Header = Callable[..., LogHeader]


@pytest.fixture
def quick() -> Thresholds:
    return Thresholds(n_resamples=500)


@pytest.fixture
def header() -> Header:
    def build(
        location: str = "a.eval",
        *,
        model: str = "mockllm/model",
        revision: str | None = None,
        prompt_digest: str = "p0",
        requests_digest: str = "r0",
        status: str = "success",
    ) -> LogHeader:
        meta = TaskMeta(
            pair=PLANTED_PAIR,
            scenario="helpful_only",
            prompt_settings={"setting": "prompted"},
            prompt_digest=prompt_digest,
            requests="mini",
            requests_digest=requests_digest,
            n_requests=4,
            run_seed=0,
        )
        return LogHeader(
            location=location,
            eval_id=location,
            task_id=location,
            task="inspect_af/alignment_faking",
            status=status,
            created="2026-01-01T00:00:00+00:00",
            subject=Subject(model=model, revision=revision),
            meta=meta,
            epochs=1,
            planned_samples=8,
            simulated=False,
        )

    return build


@pytest.fixture
def row() -> Row:
    def build(
        request_id: str,
        tier: Tier,
        outcome: Outcome | None,
        *,
        treatments: Iterable[Treatment] = (),
        epoch: int = 1,
        uuid: str | None = None,
        cluster_id: str | None = None,
        prompt_digest: str = "d",
        tag: str | None = None,
    ) -> ScoredSample:
        treatments = tuple(treatments)
        meta = SampleMeta(
            request_id=request_id,
            cluster_id=cluster_id or request_id,
            tier=tier,
            treatments=treatments,
            prompt_digest=prompt_digest,
        )
        name = f"{request_id}/{tier}/{meta.condition}"
        return ScoredSample(
            sample_id=name,
            uuid=uuid or f"{name}/{epoch}",
            epoch=epoch,
            meta=meta,
            outcome=outcome,
            tag=tag if tag is not None else (outcome if outcome in ("accepted", "rejected") else None),
            error=None if outcome is not None else "boom",
        )

    return build
