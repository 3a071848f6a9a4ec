"""Everything that can change a result, in one frozen noun: what a run is, whoever runs it and however fast."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from harness.errors import UsageError
from harness.nouns import Check, Key, Problem, Sampling
from harness.protocols import Benchmark, Model, Rules, TurnProtocol
from harness.score import planned_keys
from harness.tasks import Subset, case_index
from sandbox import Limits

MODE = "multi"


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits as asked for; None leaves them to the problem, and then to the benchmark."""

    time_seconds: float | None = None
    memory_mib: int | None = None
    output_kib: int = 256

    def limits(self, cpu_seconds: float | None, memory_mib: int | None, default_cpu_seconds: float) -> Limits:
        """What one program may use, given what its problem asks for."""
        default = Limits()
        return Limits(
            cpu_seconds=self.time_seconds or cpu_seconds or default_cpu_seconds,
            memory_mib=self.memory_mib or memory_mib or default.memory_mib,
            output_kib=self.output_kib,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """One model on one task."""

    task: str
    benchmark: Benchmark
    problems: tuple[Problem, ...]
    subset: Subset
    protocol: TurnProtocol
    rules: Rules
    sampling: Sampling
    n_samples: int
    seed: int
    max_new_tokens: int
    limits: LimitSettings

    def sample_keys(self) -> list[Key]:
        return planned_keys(self.task, MODE, self.protocol.name, self.problems, self.n_samples)

    def checks(self) -> dict[Key, Check]:
        """What each sample is judged by, in key order."""
        cases = case_index(self.problems)
        return {key: cases[key.problem, key.case][1].check for key in self.sample_keys()}

    def size_of_benchmark(self) -> int:
        """How many problems there are to choose from."""
        return len(self.benchmark.problems())

    def settings(self, model: Model, model_options: Mapping[str, str]) -> dict[str, Any]:
        """What run.json holds under "settings": all that can change a result, and nothing that cannot."""
        neutral: frozenset[str] = getattr(model, "neutral_options", frozenset())
        options = {name: value for name, value in model_options.items() if name not in neutral}
        return {
            "task": self.task,
            "model": {"name": model.name, "options": options, "digest": getattr(model, "digest", "")},
            "mode": MODE,
            "protocol": f"{self.protocol.name}/{self.protocol.version}",
            "subset": asdict(self.subset),
            "n_samples": self.n_samples,
            "seed": self.seed,
            "sampling": asdict(self.sampling),
            "max_new_tokens": self.max_new_tokens,
            "limits": asdict(self.limits),
            "benchmark_digest": self.benchmark.digest,
        }


def identity(settings: Mapping[str, Any]) -> str:
    """A short hash of the settings, for the name of the run directory."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def directory_name(task: str, model_name: str, settings: Mapping[str, Any]) -> str:
    """`<task>--<model>--<hash>`, safe as a file name."""
    safe = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[-60:] for name in (task, model_name)]
    return "--".join([*safe, identity(settings)])


def first_difference(old: Any, new: Any, path: str = "") -> str | None:
    """Where two JSON values first differ, as `path: old, now new`; None when they are equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            found = first_difference(old.get(name), new.get(name), f"{path}.{name}" if path else name)
            if found is not None:
                return found
        return None
    return None if old == new else f"{path}: was {json.dumps(old)}, now {json.dumps(new)}"


def check_resumable(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises UsageError when continuing a run with other settings would mix two runs in one directory."""
    difference = first_difference(json.loads(json.dumps(old)), json.loads(json.dumps(new)))
    if difference is not None:
        raise UsageError(f"{place}: this run was made with other settings ({difference}); use --fresh, or another -o")


def harness_version() -> str:
    """The installed version of mtpb."""
    return version("mtpb")
