"""
The latency of probes of any HTTP server while clients or dependencies misbehave.

    python -m benchmarks.probekit http://127.0.0.1:8000/health/live --silent 64
    python -m benchmarks.probekit URL --half-sent 64 --lingering 64 --pollers 64
    python -m benchmarks.probekit URL --busy 16 --busy-path '/slow?seconds=2'
    python -m benchmarks.probekit URL --freeze PID      # SIGSTOP a database meanwhile

Standard library only. The latencies are taken in a process of their own, at a fixed rate whether or
not earlier probes have been answered: a client that waits for a stuck server would not see how many
probes an orchestrator sends meanwhile.
"""
