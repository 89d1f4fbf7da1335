"""The guide's troubleshooting chapter as a command: what is wrong, why it matters, what to do."""
