"""The promises of contract and guide about speed, measured beside peers: `python -m benchmarks`."""
