"""Deployment files, held against the figures of the service that they start."""
