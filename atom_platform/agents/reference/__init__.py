"""The page to read and try the API."""
