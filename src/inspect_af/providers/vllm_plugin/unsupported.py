"""Modes of vLLM under which additions would be wrong, refused at start with the reason."""

from __future__ import annotations

from typing import Any

from inspect_af.errors import ConfigError


def check_supported(vllm_config: Any) -> None:
    """Raises where the engine runs in a mode that steering and capture do not support.

    Args:
        vllm_config: vLLM's `VllmConfig`.

    Raises:
        ConfigError: All modes that are in the way, with the reason for each.
    """
    parallel, scheduling = vllm_config.parallel_config, vllm_config.scheduler_config
    passes = getattr(vllm_config.compilation_config, "pass_config", None)
    reasons = {
        "the V2 model runner (set VLLM_USE_V2_MODEL_RUNNER=0): it prepares its inputs elsewhere": getattr(
            vllm_config, "use_v2_model_runner", False
        ),
        "sequence parallelism (pass_config.enable_sp): a rank sees a part of the tokens": getattr(
            passes, "enable_sp", False
        ),
        "sequence parallel experts (expert with data and tensor parallelism): a rank sees a part of the "
        "tokens": getattr(parallel, "use_sequence_parallel_moe", False),
        "micro-batching (--enable-dbo, --ubatch-size): a forward pass sees a part of the batch": getattr(
            parallel, "use_ubatching", False
        ),
        "prefill context parallelism: a rank sees a part of the prompt": getattr(
            parallel, "prefill_context_parallel_size", 1
        )
        > 1,
        "speculative decoding: not tested with additions": vllm_config.speculative_config is not None,
        "KV transfer (--kv-transfer-config): blocks that come from elsewhere need not know the condition": (
            vllm_config.kv_transfer_config is not None
        ),
        "pooling models": getattr(vllm_config.model_config, "runner_type", "generate") != "generate",
        "encoder-decoder models": getattr(vllm_config.model_config, "is_encoder_decoder", False),
        "a custom scheduler": getattr(scheduling, "scheduler_cls", None) is not None,
    }
    if found := [mode for mode, on in reasons.items() if on]:
        raise ConfigError(
            f"inspect_af: this server cannot steer or capture with {'; '.join(found)}. Start it without"
        )
