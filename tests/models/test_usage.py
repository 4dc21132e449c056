"""Use of modules as it is counted: by period, once, and exactly, whoever records at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from models import invariants, modules, usage
from models.clock import now
from models.ids import new_id
from models.modules import CompanyModule
from models.tenants import Company
from models.timeline import Cause
from models.usage import Level, ModuleUsage, Reading, UsageTotal, Verdict
from models.usage_invariants import USAGE
from tests.factories import Customer, make_company, make_module
from worker.database import in_transaction, transaction

BECAUSE = Cause(why="a test")


def take(customer: Customer, module_id: UUID) -> None:
    with transaction(company_id=customer.company_id) as session:
        modules.subscribe(session, customer.company_id, module_id, because=BECAUSE)


@pytest.fixture
def module_id(customer) -> UUID:
    return make_module(customer)


def record(customer: Customer, module_id: UUID, quantity: int = 1, **columns: object):
    reading = Reading(
        module_id=module_id,
        quantity=quantity,
        **{"key": new_id().hex, **columns},
    )
    recorded = in_transaction(_record, customer.company_id, customer.company_id, [reading])
    return recorded.outcomes[0], recorded.crossings


def _record(session, company_id, readings):
    return usage.record(session, company_id, readings, moment=now())


def begin(customer: Customer, module_id: UUID, start: datetime, end: datetime) -> None:
    with transaction(company_id=customer.company_id) as session:
        usage.begin_period(session, customer.company_id, module_id, start, end)


def used(customer: Customer, module_id: UUID, start: datetime, end: datetime) -> int:
    with transaction(company_id=customer.company_id) as session:
        return usage.used(session, customer.company_id, module_id, start, end)


def totals(customer: Customer) -> list[tuple[datetime, datetime, int]]:
    with transaction(company_id=customer.company_id) as session:
        rows = session.scalars(select(UsageTotal).order_by(UsageTotal.period_start)).all()
        return [(row.period_start, row.period_end, row.used) for row in rows]


def broken(customer: Customer) -> list[str]:
    """What does not hold of this customer's use; that of others is no business of ours."""
    with transaction(company_id=customer.company_id) as session:
        rows = [*session.scalars(select(UsageTotal.id)), *session.scalars(select(ModuleUsage.id))]
    ours = {str(row_id) for row_id in rows}
    with transaction() as session:
        found = [
            violation
            for name, look in invariants.looks(limit=100_000)
            if name in USAGE
            for violation in look(session)
        ]
    return [str(each) for each in found if each.detail.partition(",")[0] in ours]


def month(*, back: int) -> datetime:
    """The start of a month in UTC, so many before this one."""
    start = now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(back):
        start = (start - timedelta(days=1)).replace(day=1)
    return start


def test_use_is_counted_by_calendar_month_and_late_use_in_its_own(customer, module_id):
    record(customer, module_id, 5)
    record(customer, module_id, 7, at=month(back=0))
    record(customer, module_id, 11, at=month(back=0) - timedelta(microseconds=1))
    following = (month(back=0) + timedelta(days=31)).replace(day=1)
    assert totals(customer) == [
        (month(back=1), month(back=0), 11),
        (month(back=0), following, 12),
    ]
    assert used(customer, module_id, month(back=1), following) == 23
    assert broken(customer) == []


def test_a_month_is_one_of_the_companys_zone(customer, module_id):
    with transaction() as session:
        session.get_one(Company, customer.company_id).time_zone = "Asia/Kolkata"
    record(customer, module_id, at=month(back=1))
    # Midnight in Kolkata is half past six in the evening before, in UTC.
    half_past = timedelta(hours=5, minutes=30)
    assert totals(customer) == [(month(back=1) - half_past, month(back=0) - half_past, 1)]


def test_the_same_key_is_counted_once_and_means_one_record(customer, module_id):
    first, _ = record(customer, module_id, 5, key="one")
    again, _ = record(customer, module_id, 5, key="one")
    other, _ = record(customer, module_id, 6, key="one")
    assert [each.verdict for each in (first, again, other)] == [
        Verdict.RECORDED,
        Verdict.DUPLICATE,
        Verdict.KEY_REUSED,
    ]
    assert first.row.id == again.row.id
    assert totals(customer)[0][2] == 5


def test_what_is_sent_twice_in_one_batch_is_counted_once(customer, module_id):
    readings = [Reading(module_id=module_id, key=key, quantity=2) for key in ("a", "b", "a")]
    recorded = in_transaction(_record, customer.company_id, customer.company_id, readings)
    assert [each.verdict for each in recorded.outcomes] == ["recorded", "recorded", "duplicate"]
    assert totals(customer)[0][2] == 4


def test_what_cannot_be_counted_is_refused_and_leaves_nothing(customer, module_id):
    stranger = make_module(make_company())
    minute = timedelta(minutes=1)
    refused = {
        Verdict.NOT_SUBSCRIBED: {"module_id": stranger},
        Verdict.UNKNOWN_USER: {"user_id": make_company().user_id},
        Verdict.TOO_LATE: {"at": now() - usage.MOST_LATE - minute},
        Verdict.IN_THE_FUTURE: {"at": now() + usage.MOST_AHEAD + minute},
    }
    for verdict, columns in refused.items():
        outcome, _ = record(customer, **{"module_id": module_id, **columns})
        assert outcome.verdict == verdict
    assert totals(customer) == []
    outcome, _ = record(customer, module_id, user_id=customer.user_id)
    assert outcome.verdict == Verdict.RECORDED


def test_use_from_before_the_end_still_counts_and_from_after_it_does_not(customer, module_id):
    with transaction(company_id=customer.company_id) as session:
        row = modules.unsubscribe(session, customer.company_id, module_id, because=BECAUSE)
    before, _ = record(customer, module_id, at=row.unsubscribed_at - timedelta(seconds=1))
    after, _ = record(customer, module_id, at=row.unsubscribed_at)
    assert (before.verdict, after.verdict) == (Verdict.RECORDED, Verdict.NOT_SUBSCRIBED)


def test_use_from_a_time_in_which_the_company_did_not_have_it_is_refused(customer, module_id):
    with transaction(company_id=customer.company_id) as session:
        begun = modules.lock_active(session, module_id).subscribed_at
        row = modules.unsubscribe(session, customer.company_id, module_id, because=BECAUSE)
        ended = row.unsubscribed_at = now() - timedelta(days=5)
    take(customer, module_id)
    day, hour = timedelta(days=1), timedelta(hours=1)
    for at, verdict in (
        (begun - hour, Verdict.NOT_SUBSCRIBED),
        (ended - day, Verdict.RECORDED),
        (ended, Verdict.NOT_SUBSCRIBED),
        (now() - day, Verdict.NOT_SUBSCRIBED),
        (now(), Verdict.RECORDED),
    ):
        assert record(customer, module_id, at=at)[0].verdict == verdict


def test_beyond_the_hard_limit_nothing_is_recorded(customer):
    module_id = make_module(customer, hard_limit=10)
    assert record(customer, module_id, 8)[0].verdict == Verdict.RECORDED
    assert record(customer, module_id, 3, key="more")[0].verdict == Verdict.LIMIT_REACHED
    assert record(customer, module_id, 2)[0].verdict == Verdict.RECORDED
    assert totals(customer)[0][2] == 10
    with transaction(company_id=customer.company_id) as session:
        modules.lock_active(session, module_id).hard_limit = 13
    assert record(customer, module_id, 3, key="more")[0].verdict == Verdict.RECORDED


def test_thresholds_are_crossed_once_a_period(customer):
    module_id = make_module(customer, warning_at=10, critical_at=20)

    def crossed(quantity: int, **columns: object) -> list[Level]:
        return [each.level for each in record(customer, module_id, quantity, **columns)[1]]

    assert crossed(9) == []
    assert crossed(1) == [Level.WARNING]
    assert crossed(9) == []
    assert crossed(1, key="last") == [Level.CRITICAL]
    assert crossed(1, key="last") == []
    assert crossed(100) == []
    assert crossed(20, at=month(back=1)) == [Level.WARNING, Level.CRITICAL]


def test_a_lower_threshold_of_the_companys_own_is_told_with_the_next_use(customer):
    module_id = make_module(customer, warning_at=100)
    record(customer, module_id, 50)
    with transaction(company_id=customer.company_id) as session:
        modules.lock_active(session, module_id).warning_at = 40
    [crossing] = record(customer, module_id)[1]
    assert (crossing.threshold, crossing.total.used) == (40, 51)


def test_of_many_who_record_at_once_one_crosses_and_none_is_lost(customer):
    module_id = make_module(customer, warning_at=60, critical_at=90, hard_limit=100)
    keys = [f"key {number % 30}" for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda key: record(customer, module_id, 4, key=key), keys))
    verdicts = [outcome.verdict for outcome, _ in done]
    assert verdicts.count(Verdict.RECORDED) == 25
    assert [each.level for _, crossings in done for each in crossings] in (
        [Level.WARNING, Level.CRITICAL],
        [Level.CRITICAL, Level.WARNING],
    )
    assert totals(customer)[0][2] == 100
    assert broken(customer) == []


def test_a_subscriptions_period_ends_a_longer_one_and_counts_anew_from_its_start(customer):
    module_id = make_module(customer)
    first = month(back=1)
    middle = first + timedelta(days=14)
    for quantity, days in ((1, 3), (10, 13), (100, 14), (1000, 20)):
        record(customer, module_id, quantity, at=first + timedelta(days=days))
    before = totals(customer)
    begin(customer, module_id, middle, middle + timedelta(days=30))
    begin(customer, module_id, middle, middle + timedelta(days=30))
    start, end, _ = before[0]
    assert totals(customer)[:2] == [
        (start, middle, 11),
        (middle, middle + timedelta(days=30), 1100),
    ]
    assert end > middle
    assert broken(customer) == []


def test_a_renewal_that_comes_late_finds_what_was_counted_for_it(customer, module_id):
    start = now() - timedelta(days=40)
    end = start + timedelta(days=30)
    begin(customer, module_id, start, end)
    record(customer, module_id, 3, at=start)
    record(customer, module_id, 5, at=end)
    begin(customer, module_id, end, end + timedelta(days=31))
    record(customer, module_id, 7)
    assert totals(customer) == [(start, end, 3), (end, end + timedelta(days=31), 12)]
    assert used(customer, module_id, end, end + timedelta(days=31)) == 12
    assert broken(customer) == []


def test_a_company_without_a_module_has_no_period_of_it(customer):
    with pytest.raises(LookupError):
        begin(customer, make_module(customer, is_taken=False), now(), now() + timedelta(days=30))


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["use", "period"]), st.integers(0, 150), st.integers(10, 60)),
        min_size=1,
        max_size=12,
    )
)
def test_however_periods_are_moved_each_use_is_in_one_and_totals_are_sums(migrated, steps):
    customer = make_company()
    module_id = make_module(customer)
    recorded = 0
    for what, days_ago, number in steps:
        moment = now() - timedelta(days=days_ago)
        if what == "use":
            record(customer, module_id, number, at=moment)
            recorded += number
        else:
            begin(customer, module_id, moment, moment + timedelta(days=number))
    spans = totals(customer)
    assert sum(each[2] for each in spans) == recorded
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    assert broken(customer) == []


def test_subscribing_twice_or_at_once_is_once(customer):
    module_id = make_module(customer, is_taken=False)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: take(customer, module_id), range(8)))
    with transaction(company_id=customer.company_id) as session:
        assert len(session.scalars(select(CompanyModule)).all()) == 1
        assert modules.active(session, [module_id]).keys() == {module_id}


def test_another_years_use_is_no_business_of_this_months(customer, module_id):
    """A moment is what it is, in whatever zone it is told."""
    told = datetime.now(UTC).astimezone()
    assert record(customer, module_id, at=told)[0].verdict == Verdict.RECORDED
