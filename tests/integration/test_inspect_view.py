"""A real log in Inspect View: the columns are there, ids with slashes open, and text stays text."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, bundle_log_dir
from inspect_ai.model import get_model
from tests.conftest import canned
from tests.integration.browser import CHROMIUM, page_text

from inspect_af.tasks import alignment_faking

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
HOSTILE = "<img src=x onerror=\"document.body.innerText='taken over'\"><script>1</script> **loud**"
REPLY = f"<SCRATCHPAD_REASONING>{HOSTILE}</SCRATCHPAD_REASONING><OUTPUT><rejected/> No.</OUTPUT>"


@pytest.fixture
def viewer(run_eval: Callable[..., EvalLog], requests_file: Path, tmp_path: Path) -> Iterator[str]:
    """Address of the bundled log's page in Inspect View."""
    model = get_model("mockllm/model", custom_outputs=lambda *_: canned(REPLY), memoize=False)
    log = run_eval(alignment_faking(requests=str(requests_file), interventions="A1+"), model)
    bundle_log_dir(str(Path(log.location.removeprefix("file://")).parent), str(tmp_path / "bundle"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "bundle"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html#/tasks/{Path(log.location).name}/samples"
        server.shutdown()


def test_the_list_of_samples_has_tier_condition_and_outcome(viewer: str, tmp_path: Path) -> None:
    text = page_text(viewer, wait_for="r1/monitored/A1+/standard/rotated", profile=tmp_path / "profile")
    assert {"TIER", "CONDITION", "OUTCOME", "monitored", "A1+/standard/rotated", "rejected"} <= set(
        text.splitlines()
    )


def test_a_link_to_a_sample_opens_it_and_its_text_is_plain(viewer: str, tmp_path: Path) -> None:
    link = f"{viewer}/sample/r1%2Fmonitored%2FA1%2B%2Fstandard%2Frotated/1/messages"
    text = page_text(link, wait_for="ASSISTANT", profile=tmp_path / "profile")
    assert "Sample r1/monitored/A1+/standard/rotated (Epoch 1)" in text
    assert HOSTILE in text
