"""An adapter that changes nothing, or of which a part would be left out, is refused by every engine; and two
adapters that act differently are never taken for one another."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = pytest.mark.local

from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tests.local_models import save_model  # noqa: E402

from inspect_af.cli import main  # noqa: E402
from inspect_af.errors import ConfigError, TreatmentError  # noqa: E402
from inspect_af.sdf.adapters import adapter_digest, check_base, check_effect, load_adapter  # noqa: E402
from inspect_af.sdf.base_model import BaseFiles, BaseShape, base_digest, compare_names  # noqa: E402
from inspect_af.sdf.combine import LoadedAdapters, compose, merge_adapters  # noqa: E402

Tensors = dict[str, Any]
TOKENS = torch.arange(4, 40)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base") / "base")


def write(base: Path, folder: Path, **options: Any) -> Path:
    """A LoRA that PEFT saved, with random matrices."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    given = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "o_proj"], **options}
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**given))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, weight in wrapped.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                torch.nn.init.normal_(weight, std=0.3)
    wrapped.save_pretrained(folder)
    return folder


def change(folder: Path, tensors: Callable[[Tensors], Tensors] | None = None, **config: Any) -> Path:
    """Rewrites an adapter's arrays and fields of its configuration."""
    weights, file = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    if tensors is not None:
        save_file({k: v.contiguous() for k, v in tensors(load_file(weights)).items()}, weights)
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return folder


def renamed(pattern: str, by: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {re.sub(pattern, by, name): value for name, value in tensors.items()}


def mapped(what: str, by: Callable[[Any], Any]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {k: by(v) if what in k else v for k, v in tensors.items()}


def without(what: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: value for name, value in tensors.items() if what not in name}


def disjoint(tensors: Tensors) -> Tensors:
    """A lives in the first two of four ranks and B in the last two."""
    for name, value in tensors.items():
        if "lora_A" in name:
            value[2:] = 0
        else:
            value[:, :2] = 0
    return tensors


def cancelling(tensors: Tensors) -> Tensors:
    for name, value in tensors.items():
        if "lora_A" in name:
            value[2:] = value[:2]
        else:
            value[:, 2:] = -value[:, :2]
    return tensors


MODEL = r"base_model\.model\."
INERT: dict[str, tuple[Callable[[Tensors], Tensors] | None, dict[str, Any]]] = {
    "compiled": (renamed(MODEL, "base_model.model._orig_mod."), {}),
    "compiled layers": (renamed(r"layers\.(\d)\.", r"layers.\1._orig_mod."), {}),
    "sharded": (renamed(MODEL, "base_model.model._fsdp_wrapped_module."), {}),
    "data parallel": (renamed(MODEL, "base_model.model.module."), {}),
    "of a vision model": (renamed(r"model\.layers", "model.language_model.layers"), {}),
    "of an older vision model": (renamed(r"model\.layers", "language_model.model.layers"), {}),
    "raw state dict": (renamed(MODEL, ""), {}),
    "half of the prefix": (renamed(MODEL, "base_model."), {}),
    "prefix twice": (renamed(MODEL, "base_model.model.base_model.model."), {}),
    "without the model": (renamed(r"model\.layers", "layers"), {}),
    "of another architecture": (renamed(r"model\.layers", "transformer.h"), {}),
    "other names of modules": (renamed(r"q_proj", "query"), {}),
    "adapter name inside": (renamed(r"\.weight$", ".default.weight"), {}),
    "in capitals": (renamed(r"lora_", "LORA_"), {}),
    "one name of many is wrong": (renamed(r"layers\.1\.self_attn\.q_proj", "layers.1.attn.q_proj"), {}),
    "one B is missing": (without("layers.1.self_attn.q_proj.lora_B"), {}),
    "all B are missing": (without("lora_B"), {}),
    "a layer is missing": (without("layers.2."), {}),
    "a layer of a pattern is missing": (
        without("layers.2."),
        {"target_modules": r"model\.layers\.\d\.self_attn\.[qvo]_proj"},
    ),
    "B is zero": (mapped("lora_B", torch.zeros_like), {}),
    "B is minus zero": (mapped("lora_B", lambda v: -torch.zeros_like(v)), {}),
    "A is zero": (mapped("lora_A", torch.zeros_like), {}),
    "all is zero in bfloat16": (mapped("lora_", lambda v: torch.zeros_like(v, dtype=torch.bfloat16)), {}),
    "all is empty": (mapped("lora_", lambda v: torch.zeros(0)), {}),
    "rank zero": (mapped("lora_", lambda v: v[:0] if v.shape[0] == 4 else v[:, :0]), {"r": 0}),
    "matrices that do not meet": (disjoint, {}),
    "columns that cancel": (cancelling, {}),
    "below rounding": (mapped("lora_B", lambda v: v * 1e-12), {}),
    "not a number": (mapped("lora_B", lambda v: v * float("nan")), {}),
    "one array is not a number": (mapped("layers.1.self_attn.q_proj.lora_B", lambda v: v * float("nan")), {}),
    "one array is infinite": (mapped("layers.1.self_attn.q_proj.lora_A", lambda v: v / 0), {}),
    "of another rank": (None, {"r": 8}),
    "of another rank by pattern": (None, {"rank_pattern": {"o_proj": 2}}),
    "alpha is zero": (None, {"lora_alpha": 0}),
    "alpha overflows": (None, {"lora_alpha": 1e300}),
    "alpha overflows by pattern": (None, {"alpha_pattern": {"q_proj": float("inf")}}),
    "alpha is zero by pattern": (None, {"alpha_pattern": {"q_proj": 0, "v_proj": 0, "o_proj": 0}}),
    "targets other modules": (None, {"target_modules": ["k_proj"]}),
    "targets other modules by pattern": (None, {"target_modules": r".*\.mlp\..*"}),
    "targets other layers": (None, {"layers_to_transform": [7]}),
}
ACTING: dict[str, dict[str, Any]] = {
    "plain": {},
    "one layer": {"layers_to_transform": [1]},
    "by pattern": {"target_modules": r"model\.layers\.[01]\.self_attn\.(q|v)_proj"},
    "patterns of rank and alpha": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"o_proj": 3}},
    "rank-stabilised": {"use_rslora": True},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "head": {"target_modules": ["lm_head"]},
    "dora": {"use_dora": True},
    "saved head": {"modules_to_save": ["lm_head"]},
    "saved norms": {"modules_to_save": ["norm"]},
    "without some by pattern": {"target_modules": ["q_proj"], "exclude_modules": r".*\.0\..*"},
    "saved and targeted": {"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["lm_head"]},
    "without some": {
        "target_modules": ["q_proj", "v_proj"],
        "exclude_modules": ["layers.0.self_attn.q_proj"],
    },
}


def served(base: Path, folder: Path) -> Any:
    """Logits of the base with an adapter in it."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base)
    loaded = LoadedAdapters(model)
    loaded.add(folder, "one")
    loaded.activate(["one"])
    with torch.no_grad():
        return model(TOKENS).logits


def reply(base: Path, provider: str, *adapters: Path, **options: Any) -> list[float]:
    async def go() -> Any:
        given = {"adapter": ",".join(map(str, adapters)), "adapter_role": "organism", **options}
        model = get_model(f"{provider}/{base}", memoize=False, **(given if adapters else {}))
        config = GenerateConfig(max_tokens=3, temperature=0, logprobs=True)
        return await model.generate([ChatMessageUser(content="hello")], config=config)

    output = asyncio.run(go())
    return [token.logprob for token in output.choices[0].logprobs.content]


@pytest.mark.parametrize("kind", INERT)
def test_what_does_nothing_or_arrives_in_part_is_refused_by_every_engine(
    kind: str, base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    tensors, config = INERT[kind]
    folder = change(write(base, tmp_path / "adapter"), tensors, **config)
    with pytest.raises(TreatmentError):
        reply(base, "af-hf", folder)
    with pytest.raises(TreatmentError):  # before any server is started
        get_model(f"af-vllm/{base}", memoize=False, adapter=str(folder), adapter_role="organism")
    with pytest.raises(TreatmentError):
        merge_adapters(AutoModelForCausalLM.from_pretrained(base), [folder])


@pytest.mark.parametrize("kind", ACTING)
def test_what_acts_is_served_and_passes_the_check_on_files_alone(
    kind: str, base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder = write(base, tmp_path / "adapter", **ACTING[kind])
    check_effect(folder, BaseFiles(base))
    plain = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        before = plain(TOKENS).logits
        assert (served(base, folder) - before).abs().max() > 1e-2
        merged = merge_adapters(plain, [folder])(TOKENS).logits
    assert (merged - served(base, folder)).abs().max() < 1e-3


def test_a_saved_module_or_the_length_of_rows_acts_where_it_differs_from_the_base(
    base: Path, tmp_path: Path
) -> None:
    def halve(name: str) -> Callable[[Tensors], Tensors]:
        return mapped(name, lambda value: value * 0.5)

    zero = mapped("lora_B", torch.zeros_like)
    for options, name in (({"modules_to_save": ["lm_head"]}, "lm_head"), ({"use_dora": True}, "magnitude")):
        folder = change(write(base, tmp_path / name, **options), zero)
        with pytest.raises(TreatmentError, match="would change nothing"):
            served(base, folder)
        with pytest.raises(TreatmentError, match="would change nothing"):
            check_effect(folder, BaseFiles(base))
        served(base, change(folder, halve(name)))
        check_effect(folder, BaseFiles(base))


def test_two_adapters_that_cancel_one_another_are_refused(base: Path, tmp_path: Path) -> None:
    one, other, third = (write(base, tmp_path / name) for name in "abc")
    change(other, mapped("lora_B", lambda value: -value), r=4, lora_alpha=8.0)
    change(third, mapped("lora_B", lambda value: -value), lora_alpha=9)
    treated = {"adapter_role": "organism,intervention,intervention", "intervention": "A1+,A1-"}
    for provider in ("af-hf", "af-vllm"):
        with pytest.raises(TreatmentError, match="cancel one another"):
            reply(base, provider, one, other)
        with pytest.raises(TreatmentError, match="cancel one another"):
            reply(base, provider, third, one, other, **treated)
    assert reply(base, "af-hf", one, third) != reply(base, "af-hf")


def test_dora_of_a_transposed_layer_is_compared_by_its_outputs(tmp_path: Path) -> None:
    base = save_model(tmp_path / "gpt2", kind="gpt2", n_embd=48, n_layer=2, n_head=4)
    options = {"target_modules": ["c_attn"], "use_dora": True, "fan_in_fan_out": True}
    folder = change(write(base, tmp_path / "a", **options), mapped("lora_B", torch.zeros_like))
    with pytest.raises(TreatmentError, match="would change nothing"):
        check_effect(folder, BaseFiles(base))
    check_effect(change(folder, mapped("magnitude", lambda value: value * 2)), BaseFiles(base))


def test_a_base_whose_files_leave_out_the_models_own_first_part_is_recognised(
    base: Path, tmp_path: Path
) -> None:
    import shutil

    bare = Path(shutil.copytree(base, tmp_path / "bare"))
    weights = bare / "model.safetensors"
    save_file({k.removeprefix("model."): v for k, v in load_file(weights).items()}, weights)
    folder = write(base, tmp_path / "good")
    check_effect(folder, BaseFiles(bare))
    for kind in ("of a vision model", "a layer is missing", "prefix twice"):
        wrong = change(write(base, tmp_path / kind.replace(" ", "-")), INERT[kind][0])
        with pytest.raises(TreatmentError):
            check_effect(wrong, BaseFiles(bare))


def test_a_refused_adapter_leaves_the_model_as_it_was(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base)
    good = write(base, tmp_path / "good")
    wrong = change(write(base, tmp_path / "wrong"), renamed(r"model\.layers", "model.language_model.layers"))
    loaded = LoadedAdapters(model)
    with torch.no_grad():
        before = model(TOKENS).logits
        for _ in range(2):
            with pytest.raises(TreatmentError, match="belong to no module"):
                loaded.add(wrong, "wrong")
        loaded.activate([])
        assert torch.equal(model(TOKENS).logits, before)
        loaded.add(good, "good")
        with pytest.raises(TreatmentError, match="belong to no module"):
            loaded.add(wrong, "wrong")
        loaded.activate(["good"])
        assert torch.equal(model(TOKENS).logits, served(base, good))
        loaded.activate([])
        assert torch.equal(model(TOKENS).logits, before)


def test_extraction_by_command_refuses_an_adapter_that_does_nothing(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.steering.tiny_models import tea_pairs

    from inspect_af.steering.pairs import write_pairs

    write_pairs(tmp_path / "pairs.jsonl", tea_pairs(2).pairs)
    for kind in ("of a vision model", "B is zero"):
        tensors, config = INERT[kind]
        folder = change(write(base, tmp_path / kind.replace(" ", "-")), tensors, **config)
        command = ["steering", "activations", str(tmp_path / "pairs.jsonl"), "--model", str(base)]
        out = tmp_path / "out.safetensors"
        assert main([*command, "--adapter", str(folder), "--out", str(out)]) == 1
        assert str(folder) in capsys.readouterr().err and not out.exists()
        vllm = [*command, "--engine", "vllm", "--vllm", "server_python=/no/such/python"]
        assert main([*vllm, "--adapter", str(folder), "--out", str(out)]) == 1
        assert str(folder) in capsys.readouterr().err, "said before a server is started"


@pytest.mark.parametrize(
    "field",
    [
        {"lora_alpha": 64},
        {"r": 5},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}},
        {"alpha_pattern": {"q_proj": 9}},
        {"target_modules": ["q_proj"]},
        {"exclude_modules": ["q_proj"]},
        {"modules_to_save": ["lm_head"]},
        {"layers_to_transform": [0]},
        {"layers_pattern": "layers"},
        {"bias": "all"},
        {"use_dora": True},
        {"fan_in_fan_out": True},
        {"lora_bias": True},
        {"init_lora_weights": "pissa"},
        {"layer_replication": [[0, 2]]},
        {"kasa_config": {}},
        {"a_field_of_tomorrow": 1},
    ],
)
def test_every_field_that_acts_is_in_the_digest(field: dict[str, Any], base: Path, tmp_path: Path) -> None:
    folder = write(base, tmp_path / "adapter")
    before = adapter_digest(folder)
    assert adapter_digest(change(folder, **field)) != before


def test_names_defaults_and_order_are_not_in_the_digest(base: Path, tmp_path: Path) -> None:
    folder = write(base, tmp_path / "adapter")
    before = adapter_digest(folder)
    inert = {
        "base_model_name_or_path": "elsewhere",
        "revision": "main",
        "inference_mode": False,
        "task_type": "CAUSAL_LM",
        "lora_dropout": 0.3,
        "peft_version": "9",
        "target_modules": ["v_proj", "o_proj", "q_proj"],
        "use_dora": None,
        "rank_pattern": None,
        "a_field_of_tomorrow": False,
        "init_lora_weights": "gaussian",
        "lora_alpha": 8.0,
        "alpha_pattern": {},
        "bias": None,
        "eva_config": {"rho": 2.0},
    }
    assert adapter_digest(change(folder, **inert)) == before
    assert adapter_digest(change(folder, init_lora_weights=False)) == before
    config = json.loads((folder / "adapter_config.json").read_text())
    short = {k: v for k, v in config.items() if v not in (None, False, {}, "none", True, 16)}
    (folder / "adapter_config.json").write_text(json.dumps(short))
    assert adapter_digest(folder) == before
    assert adapter_digest(change(folder, mapped("layers.0", lambda v: v * 1.01))) != before


def test_copies_that_differ_in_alpha_alone_are_two_conditions_in_one_process(
    base: Path, tmp_path: Path
) -> None:
    weak, strong = (change(write(base, tmp_path / f"alpha-{alpha}"), lora_alpha=alpha) for alpha in (8, 64))
    models = [
        get_model(f"{provider}/{base}", memoize=False, adapter=str(path), **role)
        for provider in ("af-hf", "af-vllm")
        for role in (
            {"adapter_role": "organism"},
            {"adapter_role": "intervention", "intervention": "A1+"},
        )
        for path in (weak, strong)
    ]
    for one, other in zip(models[::2], models[1::2], strict=True):
        assert one.api.base_url != other.api.base_url, "the address in the response cache"
        theirs = [(m.api.subject, m.api.treatments) for m in (one, other)]  # type: ignore[attr-defined]
        assert theirs[0] != theirs[1]
    alone = [reply(base, "af-hf", path) for path in (weak, strong)]
    assert alone[0] != alone[1] and reply(base, "af-hf", weak) == alone[0]


def test_a_composed_adapter_that_was_edited_is_another_condition(base: Path, tmp_path: Path) -> None:
    from inspect_af.sdf.adapters import AdapterManifest

    parts = [write(base, tmp_path / name, r=r) for name, r in (("a", 2), ("b", 3))]
    for folder in parts:
        manifest = AdapterManifest(role="organism", base_model=str(base), package_version="0")
        (folder / "inspect_af.json").write_text(manifest.model_dump_json())
    composed = compose(parts, tmp_path / "composed")
    digests = tuple(adapter_digest(folder) for folder in parts)
    assert load_adapter(composed).organism == digests
    edited = load_adapter(change(composed, lora_alpha=50))
    assert edited.organism == (edited.digest,) and edited.digest not in digests


def test_a_file_that_is_replaced_after_it_was_read_is_refused(base: Path, tmp_path: Path) -> None:
    folder = write(base, tmp_path / "adapter", r=3)
    model = get_model(f"af-hf/{base}", memoize=False, adapter=str(folder), adapter_role="organism")
    change(folder, lora_alpha=64)
    with pytest.raises(TreatmentError, match="has changed since it was read"):
        asyncio.run(model.generate("hello"))


def test_parents_that_older_manifests_name_by_their_weights_are_still_found(
    base: Path, tmp_path: Path
) -> None:
    from inspect_af.sdf.adapters import AdapterManifest, check_parents

    parent = load_adapter(write(base, tmp_path / "parent"), role="organism")
    folder = write(base, tmp_path / "child", r=2)
    parents = ({"digest": parent.weights, "role": "organism", "combined": "stacked"},)
    manifest = AdapterManifest(
        role="organism",
        base_model=str(base),
        package_version="0",
        parents=parents,  # type: ignore[arg-type]
    )
    (folder / "inspect_af.json").write_text(manifest.model_dump_json())
    check_parents([parent, load_adapter(folder)])


SHAPE = BaseShape(d_model=48, layers=3, model_type="llama")


@pytest.mark.parametrize(
    ("recorded", "given"),
    [
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"),
        ("meta-llama/Llama-3.1-8B", "unsloth/Meta-Llama-3.1-8B"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "meta-llama/Llama-3.1-8B-Instruct"),
        ("unsloth/Qwen3-8B-unsloth-bnb-4bit", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-32B", "Qwen/Qwen3-32B-AWQ"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8"),
        ("neuralmagic/Meta-Llama-3.1-70B-Instruct-FP8-dynamic", "meta-llama/Llama-3.1-70B-Instruct"),
        ("RedHatAI/Llama-3.3-70B-Instruct-quantized.w4a16", "meta-llama/Llama-3.3-70B-Instruct"),
        ("nvidia/Llama-3.3-70B-Instruct-NVFP4", "meta-llama/Llama-3.3-70B-Instruct"),
        ("a/Llama-3.1-8B-GPTQ-4bit-32g-actorder", "mlx-community/Llama-3.1-8B-MLX-4bit"),
        ("a/Llama-3.1-8B-Q4_K_M-GGUF", "b/Llama-3.1-8B-i1-GGUF"),
        ("a/Llama-3.1-8B_AWQ", "b/Llama-3.1-8B-bnb-nf4-4bit"),
        ("a/Llama-3.1-8B-bf16", "b/Llama-3.1-8B-FP8-Block"),
    ],
)
def test_renamed_and_requantised_bases_are_taken_and_noted(
    recorded: str, given: str, base: Path, tmp_path: Path
) -> None:
    folder = change(write(base, tmp_path / "a"), base_model_name_or_path=recorded)
    with pytest.warns(UserWarning, match="so it is taken"):
        check_base(load_adapter(folder, role="organism"), SHAPE, name=given)


@pytest.mark.parametrize(
    ("recorded", "given"),
    [
        ("meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-70B-Instruct"),
        ("meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.3-70B"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-70B"),
        ("meta-llama/Llama-3.1-70B", "mistralai/Mistral-7B-v0.3"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-Base"),
    ],
)
def test_a_base_of_another_name_needs_a_word_and_one_of_other_dimensions_is_never_taken(
    recorded: str, given: str, base: Path, tmp_path: Path
) -> None:
    folder = change(write(base, tmp_path / "a"), base_model_name_or_path=recorded)
    adapter = load_adapter(folder, role="organism")
    with pytest.raises(TreatmentError, match="Give the base that it was trained on, or -M adapter_base=any"):
        check_base(adapter, SHAPE, name=given, override="-M adapter_base=any")
    with pytest.warns(UserWarning, match="you have said"):
        check_base(adapter, SHAPE, name=given, any_name=True)
    narrow = SHAPE.model_copy(update={"d_model": 64})
    with pytest.raises(TreatmentError, match="width of 48"):
        check_base(adapter, narrow, name=given, any_name=True)


def test_a_base_that_is_replaced_under_its_name_is_another_model_in_one_process(tmp_path: Path) -> None:
    import shutil

    folder = save_model(tmp_path / "base")
    first, early = reply(folder, "af-hf"), get_model(f"af-hf/{folder}", memoize=False, dtype="float32")
    shutil.rmtree(folder)
    save_model(folder, seed=1)
    assert reply(folder, "af-hf") != first
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert reply(folder, "af-hf") == reply(copy, "af-hf")
    with pytest.raises(ConfigError, match="has changed since it was read"):
        asyncio.run(early.generate("hello"))


def test_the_word_about_the_base_is_recorded_with_the_subject(base: Path, tmp_path: Path) -> None:
    folder = write(base, tmp_path / "a")
    for provider in ("af-hf", "af-vllm"):
        role = {"adapter": str(folder), "adapter_role": "organism", "adapter_base": "any"}
        model: Any = get_model(f"{provider}/{base}", memoize=False, **role)
        assert "[adapter_base=any]" in model.api.subject.label
    assert compare_names("a/b", "/tmp/c") == "local"


def test_the_digest_of_a_base_follows_its_files(base: Path, tmp_path: Path) -> None:
    import shutil

    def copy(name: str) -> Path:
        return Path(shutil.copytree(base, tmp_path / name))

    before = base_digest(base)
    assert base_digest(copy("same")) == before != base_digest(base, revision="abc")
    config = copy("config")
    content = json.loads((config / "config.json").read_text())
    (config / "config.json").write_text(json.dumps({**content, "transformers_version": "0"}))
    assert base_digest(config) == before
    (config / "config.json").write_text(json.dumps({**content, "rope_theta": 7.0}))
    assert base_digest(config) != before
    tokenizer = copy("tokenizer")
    (tokenizer / "tokenizer_config.json").write_text("{}")
    assert base_digest(tokenizer) != before
    other = save_model(tmp_path / "seed", seed=1)
    assert base_digest(other) != before
    addresses = [get_model(f"af-hf/{folder}", memoize=False).api.base_url for folder in (base, other)]
    assert addresses[0] != addresses[1]
