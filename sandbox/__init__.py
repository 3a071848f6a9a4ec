"""Runs untrusted Python in a sealed box and reports what happened; knows nothing of models or benchmarks."""

from sandbox.contract import (
    BoxFacts,
    Ending,
    Execution,
    Limits,
    Printed,
    Program,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    Tested,
    Tests,
)

__all__ = [
    "BoxFacts",
    "Ending",
    "Execution",
    "Limits",
    "Printed",
    "Program",
    "Sandbox",
    "SandboxError",
    "SandboxUnavailable",
    "Tested",
    "Tests",
]
