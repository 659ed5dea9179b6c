"""Counts RPCs by method and code, and how long they take. Labels are bounded: methods
come from descriptors, codes from gRPC; no tenant, user, agent or session."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from asteros import clock
from asteros.services.call import Call, Proceed

_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600)  # seconds


class RpcMetrics:
    """Interceptor with its instruments."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter("aster_rpc_started", "RPCs that began.", ["method"], registry=registry)
        self._handled = Counter("aster_rpc_handled", "RPCs that ended.", ["method", "code"], registry=registry)
        self._seconds = Histogram(
            "aster_rpc_seconds", "Length of RPCs, streams included.", ["method"], buckets=_BUCKETS, registry=registry
        )
        self._open = Gauge("aster_rpc_open", "RPCs in progress.", registry=registry)

    async def __call__(self, call: Call, proceed: Proceed) -> None:
        began = clock.monotonic()
        self._started.labels(call.method).inc()
        self._open.inc()
        try:
            await proceed(call)
        except BaseException:
            if call.code == "OK":
                call.code = "CANCELLED"
            raise
        finally:
            self._open.dec()
            self._handled.labels(call.method, call.code).inc()
            self._seconds.labels(call.method).observe(clock.monotonic() - began)
