"""The process of one rival that fits a job whole; the name of each is given.

A line of JSON comes back for every line sent: a fit from a new seed, from arrays on the host to a
trained network. What the accuracy takes is not counted.
"""

import gc
import json
import os
import resource
import sys
import time
import warnings

import numpy as np

from .jobs import JOBS
from .learners import LEARNERS


def peak():
    """The most memory that this process has held, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def fitted(train, seed, job):
    """Seconds, CPU time, epochs and the accuracy at the end."""
    gc.collect()
    seconds = cpu = 0.0
    epochs, predictors = 0, train(seed)
    while True:
        began, cpu_began = time.perf_counter(), time.process_time()
        following = next(predictors, None)
        seconds, cpu = seconds + time.perf_counter() - began, cpu + time.process_time() - cpu_began
        if following is None:
            break
        predict, epochs = following, epochs + 1
        if job.until and np.mean(predict(job.data[2]) == job.data[3]) >= job.until:
            break
    accuracy = float(np.mean(predict(job.data[2]) == job.data[3]))
    epochs = epochs if job.until else job.epochs  # some are asked for all at once
    short = bool(job.until and accuracy < job.until)
    return {"seconds": seconds, "cpu": cpu, "epochs": epochs, "accuracy": accuracy, "short": short}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")  # scikit-learn: so few epochs do not converge

    def answer(**said):
        print(json.dumps(said), file=answers, flush=True)

    try:
        job = JOBS[sys.argv[2]]()
        train = LEARNERS[sys.argv[1]](job)
        answer(job=str(job), peak=peak())
        for seed, _ in enumerate(sys.stdin):
            answer(**fitted(train, seed, job), peak=peak())
    except Exception as error:  # a rival that cannot run here is left out, by name
        answer(failed=f"{type(error).__name__}: {error}".splitlines()[0][:200])


if __name__ == "__main__":
    main()
