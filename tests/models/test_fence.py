import pytest
from sqlalchemy import delete, func, select, text, update

from models.base import Unfenced, across_companies
from models.invoices import Invoice
from models.tables import METADATA
from models.tenants import Company
from tests.factories import make_company, make_invoice, make_payment
from worker.database import transaction

# Tables that several companies share, each with the reason why.
SHARED = {
    "tenants": "stands above companies",
    "companies": "is the company",
    "users": "an operator has no company",
    "user_sessions": "belongs to a user",
    "user_preferences": "belongs to a user",
    "modules": "belongs to a tenant",
    "fx_rates": "what a market has is everybody's",
    "fx_fetches": "asks for what is everybody's",
    "plans": "belongs to a tenant",
    "plan_prices": "belongs to a plan",
    "mail_suppressions": "an address may be of several companies of a tenant",
    "analytics_checks": "one a night, of all companies",
    "analytics_exports": "batches of all companies' events",
    "analytics_reports": "some are of all companies of a tenant",
    "report_schedules": "some are of all companies of a tenant",
    "outbox": "worked off by tasks for all companies; carries whose it is",
    "alerts": "some are of the whole system",
    "analytics_producers": "one process accepts events for all companies",
    "analytics_gaps": "belongs to a producer",
    "endpoints": "some hear all companies of a tenant",
    "endpoint_messages": "some are told to a tenant",
    "endpoint_deliveries": "belongs to an endpoint",
    "endpoint_attempts": "belongs to a delivery",
    "provider_cursors": "of our account at the provider",
    "imports": "belongs to a tenant, and may make its companies",
    "import_files": "belongs to a tenant",
    "import_pages": "belongs to a file",
    "import_refusals": "belongs to an import",
    "reconciliation_runs": "of our account at the provider",
    "reconciliation_suspects": "belongs to a run",
    "reconciliation_breaks": "whose it is may be unknown",
    "payouts": "of our account at the provider",
    "operator_acts": "some are about what is no company's",
    "payment_webhooks": "whose it is, is known only once it has been handled",
}


@pytest.fixture
def two_companies(database):
    ours, theirs = make_company(), make_company()
    return ours, theirs, make_invoice(ours.company_id), make_invoice(theirs.company_id)


def test_every_table_belongs_to_a_company_or_is_listed_as_shared():
    for table in METADATA.sorted_tables:
        owned = "company_id" in table.c and table.info.get("company_owned", True)
        assert owned != (table.name in SHARED), table.name


def test_a_query_without_a_company_is_refused(two_companies):
    with transaction() as session, pytest.raises(Unfenced):
        session.scalars(select(Invoice)).all()
    with transaction() as session, pytest.raises(Unfenced):
        session.get(Invoice, two_companies[2])
    with transaction() as session, pytest.raises(Unfenced):
        session.execute(update(Invoice).values(memo="x"))
    with transaction() as session, pytest.raises(Unfenced):
        session.execute(select(func.count()).select_from(Invoice.__table__))
    with transaction() as session, pytest.raises(Unfenced):
        session.execute(select(Company.id).join(Invoice, Invoice.company_id == Company.id))


def test_a_session_sees_its_companys_rows_only(two_companies):
    ours, _, mine, other = two_companies
    with transaction(company_id=ours.company_id) as session:
        assert session.get(Invoice, mine) is not None
        assert session.get(Invoice, other) is None
        assert [row.id for row in session.scalars(select(Invoice))] == [mine]
        assert session.scalar(select(func.count(Invoice.id))) == 1


def test_a_write_touches_the_companys_rows_only(two_companies):
    ours, theirs, mine, other = two_companies
    with transaction(company_id=ours.company_id) as session:
        session.execute(update(Invoice).values(memo="ours"))
        session.execute(delete(Invoice).where(Invoice.id == other))
    with transaction(company_id=theirs.company_id) as session:
        assert session.get_one(Invoice, other).memo is None
    with transaction(company_id=ours.company_id) as session:
        assert session.get_one(Invoice, mine).memo == "ours"


def test_a_row_of_another_company_cannot_be_added(two_companies):
    ours, theirs, mine, _ = two_companies
    with (
        pytest.raises(Unfenced, match="another company"),
        transaction(company_id=ours.company_id) as session,
    ):
        session.add(Invoice(company_id=theirs.company_id, number="X", amount=1))
    assert make_payment(ours, mine)


def test_spanning_companies_is_said_by_name(two_companies):
    query = across_companies(select(func.count(Invoice.id)), because="a test counts them all")
    with transaction() as session:
        assert session.scalar(query) >= 2


def test_plain_sql_text_is_refused_without_words_for_it(two_companies):
    """Text cannot be fenced; where it is needed it goes through the connection, by name."""
    with transaction() as session:
        with pytest.raises(Unfenced):
            session.execute(text("SELECT 1"))
        assert session.connection().execute(text("SELECT 1")).scalar() == 1
