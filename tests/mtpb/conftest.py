"""The published set, where a copy of it is at hand; a problem file in a temporary folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from problem_texts import GOOD

from mtpb.published import SHA256, import_file


@pytest.fixture
def write_problem(tmp_path: Path) -> Callable[..., Path]:
    """Writes a problem file where its id wants it."""

    def write(text: str = GOOD, name: str = "string/count-vowels") -> Path:
        path = tmp_path / "set" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def published_file() -> Path:
    """The released file. MTPB_PUBLISHED_SET says where it is; by default, in the folder `shared` beside the repository."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "mtpb-2022.jsonl"
    path = Path(os.environ.get("MTPB_PUBLISHED_SET", beside))
    if not path.is_file():
        pytest.skip(f"the published set is not at {path}; MTPB_PUBLISHED_SET says where it is")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    return path


@pytest.fixture(scope="session")
def published_rows(published_file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in published_file.read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def published_folder(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published set, imported."""
    return import_file(published_file, tmp_path_factory.mktemp("data") / "mtpb-2022")
