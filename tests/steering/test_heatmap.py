"""Cosines by token against single vectors; sources; the page as a reader gets it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.steering.tiny_models import side, tea_pairs, tiny_llama, tiny_tokenizer

from inspect_af.cli import main
from inspect_af.errors import ConfigError, MaterialsError, TreatmentError
from inspect_af.report.steering import render_heatmap
from inspect_af.steering.activations import render, tokens
from inspect_af.steering.heatmap import HeatmapSource, directions, load_sources, token_cosines
from inspect_af.steering.pairs import write_pairs
from inspect_af.steering.vector import (
    MeanDifferenceFit,
    SteeringVector,
    VectorHeader,
    make_vector,
    random_controls,
)

pytestmark = pytest.mark.local


def vector(layers: tuple[int, ...] = (0, 2), *, width: int = 32, values: Any = None) -> SteeringVector:
    header = VectorHeader(
        model="tiny",
        d_model=width,
        layers=layers,
        mean_norms=(1.0,) * len(layers),
        concept="expectation",
        family="first",
        source="ooc",
        fit=MeanDifferenceFit(locus="response_mean", n_pairs=4),
        pairs_digest="0123456789abcdef",
    )
    drawn = np.random.default_rng(1).normal(size=(len(layers), width))
    return make_vector(header, drawn if values is None else values)


def test_cosines_are_those_of_single_tokens_at_every_layer() -> None:
    import torch

    model, tokenizer = tiny_llama(), tiny_tokenizer()
    source = HeatmapSource("tea", "", side("I weigh the leaves ☕."))
    chosen = directions({"hopes": vector()})
    controls = random_controls(chosen[0].vector, 3, seed=0)
    (found,) = token_cosines(model, tokenizer, [source], chosen, controls)
    assert source.transcript is not None
    text, _ = render(tokenizer, source.transcript.messages, source.transcript.scratchpad)
    assert "".join(found.tokens) == text
    ids = tokens(tokenizer, text).ids
    model.model.norm = torch.nn.Identity()
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[1:]
    for k, layer in enumerate((0, 2)):
        for token in range(len(ids)):
            h, v = states[layer][0, token].double().numpy(), chosen[0].vector.at(layer).astype(float)
            expected = h @ v / (np.linalg.norm(h) * np.linalg.norm(v))
            assert found.cosines[0].by_layer[k, token] == pytest.approx(expected, abs=1e-5)
    mean = found.cosines[0].by_layer.mean(axis=0)
    among = found.cosines[0].controls
    assert among.shape == (3, len(ids))
    expected_marks = (mean > among.max(axis=0)) | (mean < among.min(axis=0))
    assert found.cosines[0].beyond == list(expected_marks)
    first, end = found.scratchpad
    assert "".join(found.tokens[first:end]).strip() == "I weigh the leaves ☕."
    assert "".join(found.tokens[found.reply_start :]).startswith("<SCRATCHPAD_REASONING>")


def test_a_planted_direction_has_cosine_one_at_its_token() -> None:
    """Positive control: the stream of one token, as a vector, is found at that token and nowhere else."""
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    source = HeatmapSource("raw", "", None, "I weigh the leaves; I heat the water.")
    probe: list[Any] = []
    handle = model.model.layers[1].register_forward_hook(
        lambda _m, _a, out: probe.append((out[0] if isinstance(out, tuple) else out)[0, 4].detach().numpy())
    )
    token_cosines(model, tokenizer, [source], directions({"any": vector((0, 1))}))
    handle.remove()
    planted = directions({"planted": vector((1,), values=probe[0][None])})
    (found,) = token_cosines(model, tokenizer, [source], planted)
    assert int(found.cosines[0].mean.argmax()) == 4
    assert found.cosines[0].mean[4] == pytest.approx(1.0, abs=1e-5)


def test_layers_are_those_asked_for_or_the_best_or_spread_evenly() -> None:
    wide = vector(tuple(range(12)))
    (asked,) = directions({"v": wide}, "3-4")
    assert asked.layers == (3, 4)
    (spread,) = directions({"v": wide})
    assert spread.layers == (0, 3, 6, 8, 11) and "not cross-validated" in spread.chosen
    with pytest.raises(TreatmentError, match="no vector for 12"):
        directions({"v": wide}, "12")


def test_vectors_of_another_model_are_refused() -> None:
    sources = [HeatmapSource("raw", "", None, "tea")]
    with pytest.raises(TreatmentError, match="width is 32"):
        token_cosines(tiny_llama(), tiny_tokenizer(), sources, directions({"v": vector(width=16)}))
    with pytest.raises(ConfigError, match="a vector and a transcript"):
        token_cosines(tiny_llama(), tiny_tokenizer(), [], directions({"v": vector()}))


def test_sources_are_text_pairs_and_logs(
    tmp_path: Path, run_eval: Callable[..., Any], requests_file: Path
) -> None:
    from inspect_af.tasks import alignment_faking

    (tmp_path / "a.txt").write_text("plain <b>")
    assert load_sources(tmp_path / "a.txt") == (HeatmapSource("a.txt", "raw text", None, "plain <b>"),)
    write_pairs(tmp_path / "p.jsonl", tea_pairs(5).pairs)
    pairs = load_sources(tmp_path / "p.jsonl", n=1)
    assert [source.title for source in pairs] == ["tea-3, positive", "tea-3, negative"]  # held out
    log = run_eval(alignment_faking(interventions="none", requests=str(requests_file)))
    logged = load_sources(log.location.removeprefix("file://"), n=2)
    assert len(logged) == 4 and all(source.evaluated for source in logged)
    assert {source.title.split(", ")[1] for source in logged} == {"monitored", "unmonitored"}
    for source in logged:
        assert source.transcript is not None
        assert source.transcript.messages[0].role == "system"
        assert "SCRATCHPAD" not in source.transcript.scratchpad_text
    assert logged == load_sources(log.location.removeprefix("file://"), n=2)
    with pytest.raises(MaterialsError, match="blank"):
        (tmp_path / "b.txt").write_text(" ")
        load_sources(tmp_path / "b.txt")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page by the command: a hostile raw text, and pairs."""
    folder = tmp_path_factory.mktemp("heatmap")
    tiny_llama().save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    own = vector()
    own.save(folder / "hopes.safetensors")
    for k, control in enumerate(random_controls(own, 4, seed=0)):
        control.save(folder / "controls" / f"{k}.safetensors")
    (folder / "hostile.txt").write_text("<script>alert(1)</script> \u202e evil </div> & naïve ☕")
    write_pairs(folder / "pairs.jsonl", tea_pairs(4).pairs)
    command = ["steering", "heatmap", str(folder / "hostile.txt"), str(folder / "pairs.jsonl")]
    command += ["--model", str(folder / "model"), "--vectors", str(folder / "hopes.safetensors")]
    command += ["--controls", str(folder / "controls"), "--out", str(folder / "page.html")]
    assert main(command) == 0
    return folder / "page.html"


def test_foreign_text_is_escaped_and_the_page_needs_nothing_else(page: Path) -> None:
    text = page.read_text()
    assert "<script" not in text and "\u202e" not in text and "[U+202E]" in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|src=|@import|url\(", text)
    stripped = re.sub(r"</?i[^>]*>", "", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in stripped


def test_every_view_has_its_values_and_its_button(page: Path) -> None:
    text = page.read_text()
    labels = re.findall(r'<label for="v(\d+)">([^<]*)</label>', text)
    assert [label for _, label in labels] == [
        "hopes: mean", "layer 0", "layer 2", "random 1", "random 2", "random 3",
    ]  # fmt: skip
    for k, _ in labels:
        assert f'id="v{k}"' in text and f"--a{k}:" in text


def test_outputs_of_evaluated_replies_are_left_out_unless_asked_for() -> None:
    transcript = side("I weigh the leaves.", tail=" OUTPUTMARK")
    source = HeatmapSource("logged", "", transcript, evaluated=True)
    chosen = directions({"v": vector()})
    found = token_cosines(tiny_llama(), tiny_tokenizer(), [source], chosen)
    plain = re.sub(r"<[^>]*>", "", render_heatmap(found, chosen, model="m", n_controls=0))
    assert "OUTPUTMARK" not in plain and "I weigh the leaves." in plain and "are not shown" in plain
    shown = render_heatmap(found, chosen, model="m", n_controls=0, show_output=True)
    assert "OUTPUTMARK" in re.sub(r"<[^>]*>", "", shown)


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_browser_colours_tokens_by_the_view_that_is_chosen(page: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe.html"
    script = (
        "<script>const at = () => getComputedStyle(document.querySelector('.tokens i')).backgroundImage;"
        "const one = at(); document.getElementById('v1').checked = true; const two = at();"
        "document.title = [one !== two, one.includes('rgba'), document.documentElement.scrollWidth <= 500]"
        ".join();</script></body>"
    )
    text = page.read_text().replace("default-src 'none'; style-src 'unsafe-inline'", "")
    probe.write_text(text.replace("</body>", script))
    dumped = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900", "--dump-dom",
         f"file://{probe}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "<title>true,true,true</title>" in dumped.stdout
