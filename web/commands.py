"""Commands for people and releases: `flask --app web.app migrate`, ..."""

from __future__ import annotations

import click
from flask import Flask

from models import schema
from worker.database import engine


def register(app: Flask) -> None:
    """Add the commands."""
    app.cli.add_command(migrate)


@click.command
def migrate() -> None:
    """Bring the database up to this release's tables. Safe twice."""
    schema.upgrade(engine())
    click.echo("The database is up to date.")
