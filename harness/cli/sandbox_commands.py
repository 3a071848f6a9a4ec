"""`mtpb sandbox`: build the box's image, find out what works here, clean up."""

from __future__ import annotations

import click


def _tell(line: str) -> None:
    click.echo(line, err=True)


@click.group()
def sandbox() -> None:
    """Build, diagnose and clean up the box programs run in."""


@sandbox.command()
@click.option(
    "--base",
    metavar="IMAGE|debootstrap",
    help="What to build on: an image with Python 3.11 or newer, or `debootstrap` to make one here, as root and without a "
    "registry. Without this flag: the public Python image.",
)
def build(base: str | None) -> None:
    """Build the Docker image programs run in."""
    from sandbox.image import build as build_image
    from sandbox.image import image_tag

    image = build_image(base, _tell)
    click.echo(f"{image_tag()} {image}")


@sandbox.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Say which boxes work here, and what the others lack.

    Really starts each that looks usable and runs a program in it. Exits with 0 when one works, else with 2.
    """
    from sandbox.choose import diagnose, prove

    works = False
    for found in diagnose():
        if found.usable:
            _tell(f"trying {found.wall}")
        proven = prove(found)
        works = works or proven.usable
        click.echo(f"{proven.wall:<12}{'works' if proven.usable else 'does not work here'}")
        if proven.reason:
            click.echo(f"  {proven.reason}")
        for name, fact in proven.facts.items():
            click.echo(f"  {name:<14}{fact}")
    if not works:
        click.echo("Nothing can run programs here; mend one of the above.")
        context.exit(2)


@sandbox.command()
@click.option("--images", is_flag=True, help="Also remove box images of other versions.")
def gc(images: bool) -> None:
    """Remove the containers that runs which have ended left behind."""
    from sandbox.choose import collect_garbage

    removed = collect_garbage(images=images)
    for each in removed:
        click.echo(f"removed {each}")
    if not removed:
        click.echo("nothing to remove")
