import sqlalchemy
from sqlalchemy.engine import make_url

from models import schema
from models.tables import METADATA
from tests.servers import make_empty_database


def engine_beside(url: str, suffix: str) -> sqlalchemy.Engine:
    target = make_url(url)
    target = target.set(database=f"{target.database}_{suffix}")
    make_empty_database(target.render_as_string(hide_password=False))
    return sqlalchemy.create_engine(target, poolclass=sqlalchemy.NullPool)


def test_the_migrations_go_up_down_and_up_again(database_url):
    engine = engine_beside(database_url, "migrations")
    schema.upgrade(engine)
    assert set(METADATA.tables) <= set(sqlalchemy.inspect(engine).get_table_names())
    schema.downgrade(engine)
    assert sqlalchemy.inspect(engine).get_table_names() == ["alembic_version"]
    schema.upgrade(engine)
    assert schema.differences(engine) == []


def test_the_models_are_what_the_migrations_make(database):
    from worker.database import engine

    assert schema.differences(engine()) == []


def test_generated_columns_are_what_the_models_say(database_url):
    """Alembic does not compare a generated column's expression; MariaDB tells it."""
    by_migration = engine_beside(database_url, "by_migration")
    schema.upgrade(by_migration)
    by_models = engine_beside(database_url, "by_models")
    METADATA.create_all(by_models)
    query = sqlalchemy.text(
        "SELECT table_name, column_name, column_type, collation_name, is_nullable,"
        " generation_expression"
        " FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name <> 'alembic_version'"
        " ORDER BY table_name, column_name"
    )
    indexes = sqlalchemy.text(
        "SELECT table_name, index_name, seq_in_index, column_name, non_unique"
        " FROM information_schema.statistics"
        " WHERE table_schema = DATABASE() AND table_name <> 'alembic_version'"
        " ORDER BY table_name, index_name, seq_in_index"
    )
    with by_migration.connect() as migrated, by_models.connect() as modelled:
        assert migrated.execute(query).all() == modelled.execute(query).all()
        assert migrated.execute(indexes).all() == modelled.execute(indexes).all()


def test_the_specifications_columns_and_indexes_are_there(database):
    from worker.database import engine

    inspector = sqlalchemy.inspect(engine())
    spec = {
        "transactions": (
            """id invoice_id company_id user_id amount currency status payment_method
            payment_processor_id provider_transaction_id retry_count last_retry_at
            next_retry_at error_message metadata created_at updated_at""",
            "idx_invoice_id idx_company_id idx_status idx_created_at",
        ),
        "payment_methods": (
            """id company_id user_id type provider provider_id last_four brand exp_month exp_year
            is_default is_active created_at updated_at""",
            "idx_payment_methods_company_id idx_payment_methods_user_id unique_default",
        ),
        "refunds": (
            "id transaction_id amount reason status provider_refund_id notes created_at updated_at",
            "idx_transaction_id idx_status",
        ),
        "payment_webhooks": (
            """id event_type provider provider_event_id payload status error_message retry_count
            next_retry_at created_at updated_at""",
            "idx_event_type idx_provider idx_created_at",
        ),
        "invoices": ("id company_id amount status", "idx_invoices_company_status"),
        "companies": ("id name tenant_id", "idx_companies_tenant"),
    }
    for table, (columns, indexes) in spec.items():
        there = {column["name"] for column in inspector.get_columns(table)}
        assert set(columns.split()) <= there, table
        assert set(indexes.split()) <= {i["name"] for i in inspector.get_indexes(table)}, table
