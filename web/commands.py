"""Commands for people and releases: `flask --app web.app <command>`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from uuid import UUID

import click
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from models.tenants import Role
from web import people
from worker import sweeper, telemetry
from worker.cache import CacheAway
from worker.database import answer_within, engine, is_away
from worker.passwords import MIN_LENGTH
from worker.settings import settings

Command = Callable[..., None]
# A large table may take its time to be changed.
MIGRATION_S = 3600.0


def register(app: Flask) -> None:
    """Add the commands."""
    for command in (
        migrate,
        demo_company,
        rebuild,
        company_add,
        tenant_platform,
        user_add,
        password_reset,
    ):
        app.cli.add_command(command)


def _plainly(command: Command) -> Command:
    """Tell what went wrong in one sentence."""

    @wraps(command)
    def run(**options: object) -> None:
        telemetry.configure(settings(), process="command")
        try:
            command(**options)
        except (people.Refused, CacheAway) as error:
            raise click.ClickException(str(error)) from None
        except SQLAlchemyError as error:
            if is_away(error):
                raise click.ClickException("The database cannot be reached.") from None
            raise

    return run


def _new_password(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if len(value) < MIN_LENGTH:
        raise click.BadParameter(f"at least {MIN_LENGTH} characters")
    return value


password_option = click.password_option(
    callback=_new_password, help="Asked for when not given, so that it stays out of the history."
)


@click.command
@_plainly
def migrate() -> None:
    """Bring the database up to this release's tables. Safe twice."""
    from models import schema

    answer_within(MIGRATION_S)
    schema.upgrade(engine())
    click.echo("The database is up to date.")


@click.command("demo-company")
@_plainly
def demo_company() -> None:
    """Make a company to try things with, and its users. Safe twice; never in production."""
    if settings().is_production:
        raise people.Refused("The demo company has a password that everybody knows: not here.")
    made = people.make_demo()
    click.echo(f"company {made.company_id}")
    for email in made.emails:
        click.echo(f"{email} / {people.DEMO_PASSWORD}")
    click.echo(f"{people.DEMO_OWNER} / {people.DEMO_PASSWORD}")


@click.command
@_plainly
def rebuild() -> None:
    """Send all that is owed to the broker again, as after it lost its data. Safe at any time."""
    click.echo(f"{sweeper.rebuild()} tasks sent.")


@click.command("company-add")
@click.argument("name")
@click.argument("email")
@click.option("--tenant-id", type=click.UUID, help="Its tenant; a new one when not given.")
@click.option("--currency", default=lambda: settings().default_currency, show_default="INR")
@_plainly
def company_add(name: str, email: str, tenant_id: UUID | None, currency: str) -> None:
    """Add a company."""
    tenant_id, company_id = people.add_company(name, email, currency, tenant_id)
    click.echo(f"tenant {tenant_id}\ncompany {company_id}")
    if not people.has_platform():
        click.echo(
            "Nobody sees the system's own alerts yet. If this tenant runs the installation: "
            f"flask --app web.app tenant-platform {tenant_id}",
            err=True,
        )


@click.command("tenant-platform")
@click.argument("tenant_id", type=click.UUID)
@click.option("--no", "is_not", is_flag=True, help="Take it back.")
@_plainly
def tenant_platform(tenant_id: UUID, *, is_not: bool) -> None:
    """Say that a tenant runs this installation: its operators see what is no company's."""
    name = people.set_platform(tenant_id, is_platform=not is_not)
    click.echo(f"{name} is {'not ' if is_not else ''}the platform's.")


@click.command("user-add")
@click.argument("email")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--company-id", type=click.UUID, help="Whose user it is, unless an operator.")
@click.option("--tenant-id", type=click.UUID, help="Whose operator it is.")
@click.option("--name", default="")
@password_option
@_plainly
def user_add(
    *,
    email: str,
    role: str,
    company_id: UUID | None,
    tenant_id: UUID | None,
    name: str,
    password: str,
) -> None:
    """Add a user who may sign in."""
    user_id = people.add_user(
        email, password, Role(role), company_id=company_id, tenant_id=tenant_id, name=name
    )
    click.echo(f"user {user_id}")


@click.command("password-reset")
@click.argument("email")
@password_option
@_plainly
def password_reset(email: str, password: str) -> None:
    """Set a user's password; all their sessions end."""
    ended = people.reset_password(email, password)
    click.echo(f"The password is set; {ended} sessions ended.", file=sys.stdout)
