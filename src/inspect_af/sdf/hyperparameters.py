"""The numbers of a training run: the source's Table 2 where it states one, a required setting where not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Hyperparameters(BaseModel):
    """What shapes the weights, apart from model, corpus and seed. Recorded in the adapter's manifest.

    Defaults marked Table 2 are those of Vella Zarb et al. (arXiv 2606.08243).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learning_rate: float = Field(gt=0, lt=1)
    """Not in source, and so without a default. 1e-5 is usual in this lineage."""
    rank: int = Field(default=64, ge=1)  # Table 2
    alpha: int = Field(default=128, ge=1)  # Table 2
    dropout: float = Field(default=0.05, ge=0, lt=1)  # Table 2
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"
    """Table 2: every linear layer, the LM head apart."""
    epochs: float = Field(default=3.0, gt=0)
    """Table 2; 1 for a 405B base and for the organism stage."""
    micro_batch: int = Field(default=1, ge=1)  # Table 2: rows a rank takes at once
    accumulation: int = Field(default=8, ge=1)  # Table 2
    effective_batch: int = Field(default=32, ge=1)
    """Rows of one optimiser step over all ranks. Table 2: 1 x 8 x 4 ranks. A run that would have another is
    refused."""
    sequence_length: int = Field(default=4096, ge=8)  # Table 2, tokens of a row
    packing: Literal["bfd_split", "bfd", "wrapped"] = "bfd_split"
    """How documents fill rows. Table 2 says packing, not which. `bfd_split`: best fit, documents stay apart
    in attention, longer ones than a row go on in another; `bfd`: they are cut; `wrapped`: end to end, and
    tokens attend to the document before theirs."""
    warmup: float = Field(default=0.05, ge=0, lt=1)  # Table 2, share of the steps
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"  # Table 2
    weight_decay: float = Field(default=0.0, ge=0)
    """Not in source; 0 is the trainer's default."""
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Not in source; 1 is the trainer's default."""
    precision: Literal["bf16", "fp32"] = "bf16"  # Table 2
    gradient_checkpointing: bool = True  # Table 2

    @model_validator(mode="after")
    def _batch_is_a_multiple(self) -> Hyperparameters:
        one_rank = self.micro_batch * self.accumulation
        if self.effective_batch % one_rank:
            raise ValueError(
                f"effective_batch {self.effective_batch} is not micro_batch {self.micro_batch} x "
                f"accumulation {self.accumulation} x a whole number of ranks"
            )
        return self

    @property
    def ranks(self) -> int:
        """Processes with which the effective batch comes out."""
        return self.effective_batch // (self.micro_batch * self.accumulation)
