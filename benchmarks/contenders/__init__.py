"""The same two routes, served bare, by us, and by the peers; a module each."""
