"The database's lifetime: engine, sessions, schema."
