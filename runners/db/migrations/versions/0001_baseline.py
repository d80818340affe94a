"The first schema."

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SHORT = sa.String(64)
FACTS = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", SHORT, nullable=False),
        sa.Column("venue", SHORT, nullable=False),
        sa.Column("mode", SHORT, nullable=False),
        sa.Column("currency", SHORT, nullable=False),
        sa.Column("start_balance", sa.Double(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "candles",
        sa.Column("venue", SHORT, nullable=False),
        sa.Column("symbol", SHORT, nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("open_time", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("close", sa.Double(), nullable=False),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("taker_buy", sa.Double(), nullable=True),
        sa.Column("quote_volume", sa.Double(), nullable=True),
        sa.Column("trades", sa.Double(), nullable=True),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("venue", "symbol", "minutes", "open_time", name=op.f("pk_candles")),
    )
    op.create_table(
        "chats",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("language", SHORT, nullable=False),
        sa.Column("subscribed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chats")),
    )
    op.create_table(
        "decisions",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("venue", SHORT, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("strategy", SHORT, nullable=False),
        sa.Column("symbol", SHORT, nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("mode", SHORT, nullable=False),
        sa.Column("outcome", SHORT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("verdicts", FACTS, nullable=False),
        sa.Column("features", FACTS, nullable=False),
        sa.Column("signal_id", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint(
            "venue",
            "strategy",
            "symbol",
            "minutes",
            "time",
            "side",
            "mode",
            name=op.f("uq_decisions_venue_strategy_symbol_minutes_time_side_mode"),
        ),
    )
    op.create_index(op.f("ix_decisions_signal_id"), "decisions", ["signal_id"], unique=False)
    op.create_index(op.f("ix_decisions_time"), "decisions", ["time"], unique=False)
    op.create_table(
        "locks",
        sa.Column("venue", SHORT, nullable=False),
        sa.Column("symbol", SHORT, nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("strategy", SHORT, nullable=False),
        sa.Column("signal_id", sa.String(length=32), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("venue", "symbol", "side", "strategy", name=op.f("pk_locks")),
    )
    op.create_table(
        "meta",
        sa.Column("key", SHORT, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("venue", SHORT, nullable=False),
        sa.Column("strategy", SHORT, nullable=False),
        sa.Column("symbol", SHORT, nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("mode", SHORT, nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("close_time", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.Double(), nullable=False),
        sa.Column("stop", sa.Double(), nullable=False),
        sa.Column("preset", SHORT, nullable=False),
        sa.Column("targets", FACTS, nullable=False),
        sa.Column("multiples", FACTS, nullable=False),
        sa.Column("atr", sa.Double(), nullable=False),
        sa.Column("raw", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("final", sa.Double(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("components", FACTS, nullable=False),
        sa.Column("warm", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.BigInteger(), nullable=False),
        sa.Column("status", SHORT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signals")),
    )
    op.create_index(op.f("ix_signals_close_time"), "signals", ["close_time"], unique=False)
    op.create_index(op.f("ix_signals_status"), "signals", ["status"], unique=False)
    op.create_index(op.f("ix_signals_symbol_close_time"), "signals", ["symbol", "close_time"], unique=False)
    op.create_table(
        "snapshots",
        sa.Column("venue", SHORT, nullable=False),
        sa.Column("symbol", SHORT, nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("stamp", SHORT, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("venue", "symbol", "minutes", "stamp", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "equity",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("equity", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_equity_account_id")),
        sa.PrimaryKeyConstraint("account_id", "time", name=op.f("pk_equity")),
    )
    op.create_table(
        "fills",
        sa.Column("venue", SHORT, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("symbol", SHORT, nullable=False),
        sa.Column("trade_id", SHORT, nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("fee", sa.Double(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_fills_account_id")),
        sa.PrimaryKeyConstraint("venue", "account_id", "symbol", "trade_id", name=op.f("pk_fills")),
    )
    op.create_index(op.f("ix_fills_client_id"), "fills", ["client_id"], unique=False)
    op.create_table(
        "orders",
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("signal_id", sa.String(length=32), nullable=True),
        sa.Column("symbol", SHORT, nullable=False),
        sa.Column("kind", SHORT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("type", SHORT, nullable=False),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.Column("trigger", sa.Double(), nullable=True),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("state", SHORT, nullable=False),
        sa.Column("venue_id", SHORT, nullable=True),
        sa.Column("filled", sa.Double(), nullable=False),
        sa.Column("average", sa.Double(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_orders_account_id")),
        sa.ForeignKeyConstraint(["signal_id"], ["signals.id"], name=op.f("fk_orders_signal_id")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_orders")),
    )
    op.create_index(op.f("ix_orders_account_id_symbol"), "orders", ["account_id", "symbol"], unique=False)
    op.create_index(op.f("ix_orders_signal_id"), "orders", ["signal_id"], unique=False)
    op.create_index(op.f("ix_orders_state"), "orders", ["state"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("channel", SHORT, nullable=False),
        sa.Column("kind", SHORT, nullable=False),
        sa.Column("recipient", SHORT, nullable=False),
        sa.Column("payload", FACTS, nullable=False),
        sa.Column("random_id", sa.BigInteger(), nullable=False),
        sa.Column("signal_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["signal_id"], ["signals.id"], name=op.f("fk_outbox_signal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("random_id", name=op.f("uq_outbox_random_id")),
    )
    op.create_index(op.f("ix_outbox_channel_sent_at_due_at"), "outbox", ["channel", "sent_at", "due_at"], unique=False)
    op.create_index(op.f("ix_outbox_signal_id"), "outbox", ["signal_id"], unique=False)
    op.create_table(
        "trackers",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("signal_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", ID, nullable=True),
        sa.Column("state", SHORT, nullable=False),
        sa.Column("ladder", sa.Text(), nullable=False),
        sa.Column("stop", sa.Double(), nullable=False),
        sa.Column("trailing_peak_price", sa.Double(), nullable=True),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("quantity_left", sa.Double(), nullable=False),
        sa.Column("last_bar_time", sa.BigInteger(), nullable=False),
        sa.Column("tp2_time", sa.BigInteger(), nullable=True),
        sa.Column("exit_type", SHORT, nullable=True),
        sa.Column("gross_r", sa.Double(), nullable=True),
        sa.Column("gross_percent", sa.Double(), nullable=True),
        sa.Column("net_percent", sa.Double(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_trackers_account_id")),
        sa.ForeignKeyConstraint(["signal_id"], ["signals.id"], name=op.f("fk_trackers_signal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trackers")),
        sa.UniqueConstraint("signal_id", "account_id", name=op.f("uq_trackers_signal_id_account_id")),
    )
    op.create_index("ix_trackers_state", "trackers", ["state"], unique=False)
    op.create_index(
        "uq_trackers_reference",
        "trackers",
        ["signal_id"],
        unique=True,
        sqlite_where=sa.text("account_id IS NULL"),
        postgresql_where=sa.text("account_id IS NULL"),
    )
    op.create_table(
        "follows",
        sa.Column("signal_id", sa.String(32), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("outcome", SHORT, nullable=False),
        sa.Column("reason", SHORT, nullable=False),
        sa.Column("verdicts", FACTS, nullable=False),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("risk", sa.Double(), nullable=True),
        sa.Column("equity", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_follows_account_id")),
        sa.ForeignKeyConstraint(["signal_id"], ["signals.id"], name=op.f("fk_follows_signal_id")),
        sa.PrimaryKeyConstraint("signal_id", "account_id", name=op.f("pk_follows")),
    )
    op.create_index("ix_follows_account_id_time", "follows", ["account_id", "time"], unique=False)
    op.create_table(
        "memory_state",
        sa.Column("name", SHORT, nullable=False),
        sa.Column("state", FACTS, nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_memory_state")),
    )
    op.create_table(
        "leases",
        sa.Column("name", SHORT, nullable=False),
        sa.Column("holder", SHORT, nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "job_runs",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("job", SHORT, nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=False),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.Column("caught_up", sa.Boolean(), nullable=False),
        sa.Column("status", SHORT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("instance", SHORT, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("values", FACTS, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runs")),
        sa.UniqueConstraint("job", "scheduled_at", name=op.f("uq_job_runs_job_scheduled_at")),
    )
    op.create_index("ix_job_runs_started_at", "job_runs", ["started_at"], unique=False)
    op.create_table(
        "tracker_events",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("tracker_id", ID, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("kind", SHORT, nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.Column("weight", sa.Double(), nullable=True),
        sa.Column("detail", FACTS, nullable=False),
        sa.ForeignKeyConstraint(["tracker_id"], ["trackers.id"], name=op.f("fk_tracker_events_tracker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tracker_events")),
        sa.UniqueConstraint("tracker_id", "time", "kind", name=op.f("uq_tracker_events_tracker_id_time_kind")),
    )
