"""The process of one contender: its name, the workload and the seconds of a burst are given.

It answers every line it is sent with a line of JSON, first of all that it is ready. Whatever the
libraries print goes to standard error.
"""

import json
import os
import sys
import time
import warnings

from .contenders import CONTENDERS
from .workloads import WORKLOADS

CHECKED = 10  # steps whose losses are compared


def ready(name, workload):
    """The contender, and what the first line says of it."""
    began = time.perf_counter()
    contender = CONTENDERS[name](workload)
    losses = contender.losses(CHECKED) if contender.losses else None
    said = {"losses": losses, "why": contender.why, "other_epsilon": contender.other_epsilon}
    contender.run(contender.multiple)
    return contender, said | {"setup": time.perf_counter() - began}


def burst_length(contender, seconds):
    """How many steps take about that long, and how many bring them back into the caches before."""
    multiple = n = contender.multiple
    while (taken := timed(contender, n)["seconds"]) < seconds / 2:
        n *= 2
    n = multiple * max(1, round(n * seconds / taken / multiple))
    warm = multiple * max(1, n // multiple // 10)
    return n, warm if taken < 4 * seconds else 0  # a long burst is hardly longer for it


def timed(contender, n):
    began, cpu_began = time.perf_counter(), time.process_time()
    contender.run(n)
    cpu, seconds = time.process_time() - cpu_began, time.perf_counter() - began
    return {"steps": n, "seconds": seconds, "cpu": cpu}


def main():
    name, workload, seconds = sys.argv[1], WORKLOADS[sys.argv[2]], float(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")

    def answer(**said):
        print(json.dumps(said), file=answers, flush=True)

    try:
        contender, said = ready(name, workload)
    except Exception as error:  # a rival that cannot run here is left out, by name
        return answer(failed=f"{type(error).__name__}: {error}".splitlines()[0][:200])
    answer(**said)
    n = warm = 0
    for _ in sys.stdin:
        n, warm = (n, warm) if n else burst_length(contender, seconds)
        if warm:
            contender.run(warm)
        answer(**timed(contender, n))
    return None


if __name__ == "__main__":
    main()
