"""The page where a user reads and tries the API."""
