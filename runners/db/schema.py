"The schema's versions: which this program knows, which a database has, and the way from one to the other."

import re
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

VERSION_TABLE = "perps_kit_version"  # a name of our own: Alembic's default would mistake another program's database for ours
VERSIONS = ("0001",)  # oldest first; tests hold it to the files in migrations/versions
HEAD = VERSIONS[-1]
LATCH = 7083151  # PostgreSQL advisory lock: two services that start at once upgrade one after the other


class NotOurs(Exception):
    "A database that this version must not touch."


class Behind(NotOurs):
    "A database that a start would bring up, which now was not wanted."


def version_of(connection: Connection) -> str | None:
    "The database's version, None when it is empty. NotOurs when it has tables that are not ours."
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        if tables:
            raise NotOurs(f"it holds tables of another program ({', '.join(sorted(tables)[:3])}); choose an empty database")
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def bring_up(connection: Connection, upgrade: bool = True) -> None:
    "Bring the schema to HEAD inside the caller's transaction, or refuse."
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LATCH})"))
    version = version_of(connection)
    if version == HEAD:
        return
    if version is not None and version not in VERSIONS:
        if not re.fullmatch(r"\d{4}", version) or version < HEAD:
            raise NotOurs(f"its schema {version!r} is unknown; choose another database")
        newer = f"it was made by a newer version of perps_kit (schema {version}, this one knows {HEAD})"
        raise NotOurs(f"{newer}; upgrade perps_kit, or use another database")
    if not upgrade:
        raise Behind(f"its schema is {version or 'empty'}, this version needs {HEAD}; run `perps-kit db upgrade`")
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config() -> Any:
    "Alembic's settings, made in code: there is no ini file to find after an installation."
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
