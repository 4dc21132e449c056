"""What stands on a subscription's invoice: its period's lines, use, and what changed in between.

Use is taken up once, under the lock that those who record it hold too: how much it was is kept
with its price. What is recorded later of that time is late, and taken up with the next.

Included units are those of a whole period. Of one that is cut short, and not paid for as a whole,
only that part is included which the time is; what was let go by before is charged then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from models.billed_lines import in_arrears, line_of
from models.modules import CompanyModule, of_subscription
from models.prices import Price, PriceKind, price_of
from models.subscriptions import Subscription, SubscriptionChange
from models.totals import Line
from models.usage import used
from schedules.periods import Period

# A price of use as JSON, with what was `used`, what was told `late` of an earlier time, and how
# many units of the period were taken up `before`; and what of those that were let go by is asked
# for after all (`short`), when so many `below` were charged.
Taken = dict[str, Any]
# What a period has taken up of a module's use: `units`, of which were `charged`, by which `price`;
# the most units that were `included` in it, and how many are `free` if it was cut short.
Account = dict[str, Any]

Rows = Mapping[UUID, list[CompanyModule]]


def gathered(
    subscription: Subscription,
    *,
    lines: Iterable[Mapping[str, Any]],
    usage_prices: Iterable[Mapping[str, Any]],
    usage_from: datetime,
    usage_until: datetime,
    changes: Iterable[SubscriptionChange],
) -> list[Line]:
    """Return all lines: of the period in advance, of changes, of use in arrears."""
    return [
        *map(line_of, lines),
        *(line_of(line) for change in changes for line in change.lines),
        *of_use(subscription, usage_prices, usage_from, usage_until),
    ]


def of_use(
    subscription: Subscription,
    taken: Iterable[Mapping[str, Any]],
    start: datetime,
    end: datetime,
) -> list[Line]:
    """Return what is asked for use that was taken up: of this time, and of before it."""
    lines: list[Line] = []
    for each in taken:
        price, before = price_of(each), each["before"]
        for charges, told in (
            (price.charges(each["used"], before=before), ""),
            (price.charges(each["late"], before=before + each["used"]), ", recorded late"),
            # What was taken up before there were such units to charge has none.
            (
                price.charged(each.get("short", 0), below=each.get("below", 0)),
                ", of unused time's included",
            ),
        ):
            lines += in_arrears(
                price,
                charges,
                told=told,
                period=Period(start, end),
                taxes=subscription.tax_rates,
                discount_percent=subscription.discount_percent,
            )
    return lines


def take_up(
    session: Session,
    subscription: Subscription,
    prices: Iterable[Price],
    until: datetime,
    *,
    kept: Fraction | None = None,
) -> list[Taken]:
    """Take up the use of a locked subscription before `until` that was not yet, at these prices.

    What others are recording just now is waited for. Late use of what these do not price is
    taken up by what it was billed by before.

    Args:
        kept: the period ends now, and this part of it is what its included units are for.
    """
    session.flush()  # what is locked is read again
    asked = _of_use(prices)
    rows = of_subscription(session, subscription.id, is_locked=True)
    found = _counted(session, subscription, asked, rows, until, kept)
    for taken, account in found:
        module_id = UUID(taken["module_id"])
        subscription.taken_up = subscription.taken_up | {taken["module_id"]: account}
        _keep(rows.get(module_id, []), subscription, until if module_id in asked else None)
        for row in rows.get(module_id, [])[-1:]:
            row.billed_units += taken["used"] + taken["late"]
            row.billed_by = account
    subscription.usage_from = until
    return [taken for taken, _ in found]


def _keep(rows: list[CompanyModule], subscription: Subscription, until: datetime | None) -> None:
    """Have nothing be late of a module's rows, and their use be billed up to then."""
    # A trial that was paused has begun to be paid for earlier than was foreseen.
    for row in rows:
        row.late_units = 0
        if until is None:
            continue
        begins = min(subscription.usage_from, until)
        if row.billed_until is None or (row.billed_until < begins and not row.unsubscribed_at):
            row.billed_from, row.billed_until, row.billed_units = begins, until, 0
        elif row.billed_until == begins:
            row.billed_until = until


def so_far(
    session: Session, subscription: Subscription, prices: Iterable[Price], until: datetime
) -> list[Taken]:
    """Return what `take_up` would, as far as it is recorded by now."""
    rows = of_subscription(session, subscription.id, is_locked=False)
    found = _counted(session, subscription, _of_use(prices), rows, until, None)
    return [taken for taken, _ in found]


def is_late(session: Session, subscription: Subscription) -> bool:
    """Whether use was recorded of which the time is billed."""
    rows = of_subscription(session, subscription.id, is_locked=False)
    return any(row.late_units for each in rows.values() for row in each)


def _of_use(prices: Iterable[Price]) -> dict[UUID, Price]:
    return {price.module_id: price for price in prices if price.kind is PriceKind.USAGE}


def _counted(
    session: Session,
    subscription: Subscription,
    asked: Mapping[UUID, Price],
    rows: Rows,
    until: datetime,
    kept: Fraction | None,
) -> list[tuple[Taken, Account]]:
    """Return what is to be billed of each module, and what its period has taken up with that."""
    found = []
    for module_id, price in ({**asked, **_others(subscription, asked, rows, kept)}).items():
        account = _account(subscription, module_id, rows, is_asked=module_id in asked)
        units = 0
        if module_id in asked:
            company_id = subscription.company_id
            units = used(session, company_id, module_id, subscription.usage_from, until)
        late = sum(row.late_units for row in rows.get(module_id, []))
        found.append(_billed(price, account, units, late, kept))
    return found


def _others(
    subscription: Subscription, asked: Mapping[UUID, Price], rows: Rows, kept: Fraction | None
) -> dict[UUID, Price]:
    """Return what is not asked a price for by now, but has late use, or had units in the period."""
    found = {}
    for module_id, those in rows.items():
        is_due = any(row.late_units for row in those)
        is_due |= kept is not None and str(module_id) in subscription.taken_up
        account = _account(subscription, module_id, rows, is_asked=False)
        if module_id not in asked and is_due and account:
            found[module_id] = price_of(account["price"])
    return found


def _account(
    subscription: Subscription, module_id: UUID, rows: Rows, *, is_asked: bool
) -> Account | None:
    account = subscription.taken_up.get(str(module_id))
    if account is None and not is_asked:
        kept = [row.billed_by for row in rows.get(module_id, []) if row.billed_by]
        account = kept[-1] if kept else None
    return account


def _billed(
    price: Price, account: Account | None, units: int, late: int, kept: Fraction | None
) -> tuple[Taken, Account]:
    before = account["units"] if account else 0
    charged = account["charged"] if account else 0
    included = max(price.included, account["included"] if account else 0)
    free = account["free"] if account else None
    if kept is not None:
        free = ceil(included * kept)
    below = charged + price.charged_units(units + late, before=before)
    short = 0 if free is None else max(0, before + units + late - free - below)
    taken = {
        **price.as_json(),
        "used": units,
        "late": late,
        "before": before,
        "short": short,
        "below": below,
    }
    return taken, {
        "price": price.as_json(),
        "units": before + units + late,
        "charged": below + short,
        "included": included,
        "free": free,
    }
