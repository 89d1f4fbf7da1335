"""PostgreSQL: addresses, connections under one deadline, and the factory of the pool."""
