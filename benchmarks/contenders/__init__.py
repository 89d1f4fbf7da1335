"""The same two routes, served bare, by this package, and by the peers; one module each."""
