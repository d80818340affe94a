"Alembic's environment and the steps of the schema, inside the package so that a wheel alone can upgrade."
