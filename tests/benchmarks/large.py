"""What streaming costs: ten million rows of 768 numbers a side, made as they are read, in a process of its own."""

import json
import subprocess
import sys

_STREAM = """
import json, resource, time
import jax, numpy as np
from repgeo.large import summed_stream
from repgeo.moments import moments
from repgeo.similarity import cka_from
from repgeo.spectrum import participation_ratio, spectrum_from
n, p, rows, factors = 10_000_000, 768, 20_000, 64
a, b = (np.random.default_rng(i).standard_normal((factors, p), dtype=np.float32) for i in (0, 1))

@jax.jit
def batch(key):
    keys = jax.random.split(key, 3)
    z, e, f = (jax.random.normal(k, (rows, w)) for k, w in zip(keys, (factors, p, p)))
    return z @ a + e, z @ b + f

def stream():
    for i in range(n // rows):
        yield batch(jax.random.key(i))

start, cpu = time.perf_counter(), time.process_time()
m = summed_stream(moments, stream())
seconds = time.perf_counter() - start, time.process_time() - cpu
made = time.process_time()
for i in range(10):
    jax.block_until_ready(batch(jax.random.key(i)))
making = (time.process_time() - made) * n / rows / 10
values = float(cka_from(m)), float(participation_ratio(spectrum_from(m, center=True)))
print(json.dumps({"seconds": seconds, "making": making, "values": values,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def memory_rows():
    """Peak memory, and CPU seconds with and without those that making the rows takes."""
    out = subprocess.run([sys.executable, "-c", _STREAM], check=True, capture_output=True, text=True).stdout
    found = json.loads(out.splitlines()[-1])
    print(f"streamed CKA and participation ratio: {found['values']}; wall {found['seconds'][0]:.0f} s", file=sys.stderr)
    assert 0 < found["values"][0] <= 1
    name = "moments of 10 000 000 rows of 768 + 768 numbers, streamed"
    return [
        {"name": f"{name}: peak memory, MB, all of it", "value": found["peak"] * 1.024e-3, "bar": 2000.0},
        {"name": f"{name}: CPU seconds beside making the rows", "value": found["seconds"][1] - found["making"],
         "bar": 600.0},
    ]


def main(mode):
    """Nothing is timed beside a peer: none streams."""
    return []
