"""Scan a folder of scenes with workers that SLURM starts: `python slurm.py SCENES LAYER`, on a login node.

Needs `pip install dask-jobqueue`. Scenes, and the environment that geoscan is installed in, lie on a disk that all
nodes share. Change partition, account, memory and hours in `workers` to those of your site.

How far it was tried: tests/test_examples_cluster.py renders the job script where dask-jobqueue is installed, and starts
local workers with the arguments of `WORKER`; no SLURM was at hand.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

JOBS = 4
"""SLURM jobs, each one worker."""

CORES = 8
WORKER = ("--no-dashboard", "--lifetime", "230m", "--lifetime-stagger", "5m")
"""Workers hand their work on before SLURM ends them. For nodes with a GPU add "--resources", "GPU=1"."""


def workers() -> Any:
    """Describe the jobs; none is submitted before `scale`."""
    from dask_jobqueue import SLURMCluster

    return SLURMCluster(
        queue="batch",
        account="mines",
        cores=CORES,
        processes=1,  # one model a worker: it uses all of its cores
        memory="16GB",
        walltime="04:00:00",
        local_directory="/tmp",  # on the node, not on the shared disk: models that it lacks go there
        worker_extra_args=list(WORKER),
    )


def main(scenes: str, layer: str) -> int:
    """Start workers, scan, and end them; give the exit status of geoscan."""
    with workers() as cluster:
        cluster.scale(jobs=JOBS)
        cluster.wait_for_workers(JOBS)
        geoscan = [sys.executable, "-m", "geoscan", "scan"]
        scan = [*geoscan, scenes, "--out", layer, "--scheduler", cluster.scheduler_address]
        return subprocess.run(scan, check=False).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", help="a scene, or a folder of them, on the shared disk")
    parser.add_argument("layer", help="where the detections go, such as mines.gpkg")
    given = parser.parse_args()
    raise SystemExit(main(given.scenes, given.layer))
