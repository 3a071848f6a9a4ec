"""The box image: what it is made of, and what is said when it cannot be made."""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandbox import SandboxError, SandboxUnavailable
from sandbox.base_image import BaseFacts, debootstrap_program, probe
from sandbox.docker_client import connect, inspect_image
from sandbox.image import (
    RECIPE_LABEL,
    REQUIREMENTS,
    build,
    ensure_image,
    fetch_packages,
    find_image,
    image_tag,
    old_images,
    platform_tags,
    recipe_digest,
)

CLOSED_PORT_IMAGE = "127.0.0.1:1/none"  # a registry address at which nothing listens


def test_the_image_has_one_name_that_follows_its_recipe() -> None:
    assert re.fullmatch(r"mtpb-box:[0-9a-f]{12}", image_tag())
    assert image_tag().endswith(recipe_digest())


def test_every_package_is_pinned() -> None:
    assert [each for each in REQUIREMENTS if not re.fullmatch(r"[a-z-]+==[0-9][0-9a-z.]*", each)] == []


def test_wheels_are_taken_for_the_base_and_nothing_newer() -> None:
    assert platform_tags(BaseFacts(python=(3, 11), machine="aarch64", glibc=(2, 19))) == [
        "manylinux_2_19_aarch64",
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
    ]


def test_packages_that_cannot_be_fetched_are_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SandboxError, match=r"(?s)Python 3\.11 on x86_64.*numpy.*PIP_FIND_LINKS=FOLDER"):
        fetch_packages(BaseFacts(python=(3, 11), machine="x86_64", glibc=(2, 36)), tmp_path / "packages")


def test_debootstrap_is_asked_for_where_it_is_missing_and_needs_root(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="apt-get install debootstrap"):
        debootstrap_program(str(tmp_path), 0)
    program = tmp_path / "debootstrap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match="root only"):
        debootstrap_program(str(tmp_path), 1000)
    assert debootstrap_program(str(tmp_path), 0) == str(program)


def test_without_a_daemon_there_is_nothing_to_build_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SandboxUnavailable, match="no daemon answers"):
        build(None, print)
    with pytest.raises(SandboxUnavailable, match="no daemon answers"):
        find_image()


@pytest.mark.docker
def test_the_image_is_found_and_not_built_again(docker_image: str) -> None:
    said: list[str] = []
    assert find_image() == docker_image
    assert ensure_image(CLOSED_PORT_IMAGE, said.append) == docker_image
    assert said == []


@pytest.mark.docker
def test_the_image_says_what_it_was_made_from(docker_image: str) -> None:
    with closing(connect()) as client:
        found = inspect_image(client, docker_image)
    assert found is not None
    assert found["Config"]["Labels"][RECIPE_LABEL] == recipe_digest()
    assert found["Config"]["Labels"]["mtpb.base"]


@pytest.mark.docker
def test_the_base_is_asked_what_it_is(docker_image: str) -> None:
    facts = probe(docker_image)
    assert facts.python >= (3, 11)
    assert facts.machine in ("x86_64", "aarch64")
    assert facts.glibc >= (2, 17)


@pytest.mark.docker
def test_a_base_no_registry_gives_is_told_soon_with_what_else_can_be_done() -> None:
    began = time.monotonic()
    with pytest.raises(SandboxUnavailable) as refusal:
        build(CLOSED_PORT_IMAGE, print)
    assert time.monotonic() - began < 60
    assert CLOSED_PORT_IMAGE in str(refusal.value)
    assert "no registry gave it" in str(refusal.value)
    assert "`mtpb sandbox build --base debootstrap`" in str(refusal.value)
    assert "`mtpb sandbox build --base IMAGE`" in str(refusal.value)


@pytest.fixture
def empty_image() -> Iterator[str]:
    """An image with one text file and no Python, labelled as an older version's box."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("note.txt"))
    name = "mtpb-test-empty:1"
    with closing(connect()) as client:
        client.import_image_from_data(packed.getvalue(), *name.split(":"), changes=[f"LABEL {RECIPE_LABEL}=old"])
        try:
            yield name
        finally:
            client.remove_image(name, force=True)  # the last container made from it may still be on its way out


@pytest.mark.docker
def test_a_base_without_python_is_refused(empty_image: str) -> None:
    with pytest.raises(SandboxError, match=rf"base image {empty_image} cannot run python3 .* choose a base that has it"):
        build(empty_image, print)


@pytest.mark.docker
def test_old_images_are_those_of_other_recipes(docker_image: str, empty_image: str) -> None:
    with closing(connect()) as client:
        old = old_images(client)
    assert empty_image in old
    assert image_tag() not in old
    assert docker_image not in old
