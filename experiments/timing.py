"""How the benchmarks measure: warmed up, synchronized, the median of several runs."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


def median_seconds(fn: Callable[..., Any], *arguments: Any, runs: int) -> float:
    """Median wall time of ``fn(*arguments)``, after a call that compiles."""
    jax.block_until_ready(fn(*arguments))
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        jax.block_until_ready(fn(*arguments))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def device_name() -> str:
    """The kind of device that JAX computes on."""
    device = jax.devices()[0]
    return f"{device.platform} ({device.device_kind})" if device.platform != "cpu" else "cpu"
