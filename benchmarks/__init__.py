"""What contract and guide promise about speed, measured beside peers: `python -m benchmarks`."""
