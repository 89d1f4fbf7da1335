"""
gunicorn's configuration: what `gunicorn wsgi:app` means without a flag.

A global named like a setting of gunicorn is that setting, so only modules are imported here. The
file runs again on SIGHUP: nothing is kept in it. GUNICORN_CMD_ARGS and flags win over all of this.
"""

from atom_platform.server import configuration, hooks

given = configuration.prepare()

bind = [f"0.0.0.0:{given.port}"]  # gunicorn's own 127.0.0.1 is out of kubelet's reach
workers = configuration.workers(given)
threads = configuration.threads(given)
worker_class = "atom_platform.server.worker.HealthLaneWorker"
worker_connections = 10_000  # they wait in the poller; past it the longest idle one is closed
worker_tmp_dir = configuration.worker_tmp_dir()  # a read-only root has no other writable place
preload_app = False  # pools and threads must be born after the fork
proc_name = "atom-platform"
logger_class = "atom_platform.logs.gunicorn.GunicornLogger"

timeout = 30  # of the accept loop, not of a request: those run in threads
graceful_timeout = 30  # terminationGracePeriodSeconds > ATOM_DRAIN_SECONDS + this
keepalive = 75  # longer than the 60 s after which load balancers close: the client goes first

limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
header_map = "drop"  # X_Forwarded_For must not pass for X-Forwarded-For; refusing would be 400
# gunicorn lets a trusted proxy send SCRIPT_NAME and PATH_INFO. Not every proxy takes them from its
# clients: `SCRIPT_NAME: /api` would make /health/metrics of /api/health/metrics, and others a 500.
forwarder_headers = ""

# It is on by default, and any process of the same user could stop or reload the service by it.
control_socket_disable = True

on_starting = hooks.on_starting
when_ready = hooks.when_ready
pre_fork = hooks.pre_fork
post_fork = hooks.post_fork
post_worker_init = hooks.post_worker_init
pre_request = hooks.pre_request
worker_exit = hooks.worker_exit
child_exit = hooks.child_exit
pre_exec = hooks.pre_exec
on_exit = hooks.on_exit
