"""The skills that come with the platform, one a file."""
