"""The relational database: engine, schema, migrations and their instrumentation."""
