"""An application of 15 lines, monitored: `flask --app examples.shop run`, or any other server."""

from flask import Flask

from atom_platform.monitoring import Monitoring, get_logger

app = Flask(__name__)
monitoring = Monitoring(app)
log = get_logger("shop")
orders = monitoring.counter("orders_total", "Orders placed.", labels=["kind"])


@monitoring.check("warehouse", timeout_seconds=1)
def warehouse() -> bool:
    return True


@app.post("/orders/<kind>")
def order(kind: str) -> str:
    orders.inc(kind=kind)
    log.info("order_placed", kind=kind)
    return "thanks\n"
