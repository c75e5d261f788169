"""What examples/cluster/ says to SLURM and Kubernetes, as far as that can be tried without them."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker
from scans import CHIP, blocks, layer_bytes, run

from geoscan.cli import main
from geoscan.scanning.workers import workers

FOLDER = Path(__file__).parents[1] / "examples" / "cluster"


def slurm() -> Any:
    spec = importlib.util.spec_from_file_location("slurm", FOLDER / "slurm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    cluster, job = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    return cluster, job


def container(of: dict[str, Any]) -> dict[str, Any]:
    (only,) = of["spec"]["containers"]
    return only


def words(kind: str) -> list[str]:
    """Arguments of `dask scheduler` or `dask worker` in the cluster, as Kubernetes fills them in."""
    program, command, *rest = container(documents()[0]["spec"][kind])["args"]
    assert (program, command) == ("dask", kind)
    return [word.replace("$(DASK_WORKER_NAME)", "w0") for word in rest]


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (dask_scheduler.main, words("scheduler")),
        (dask_worker.main, words("worker")),
        (dask_worker.main, [*slurm().WORKER, "--resources", "GPU=1"]),
    ],
    ids=["scheduler", "worker", "slurm"],
)
def test_dask_understands_the_arguments(command, given):
    assert command.make_context("dask", list(given)).params["dashboard"] is False


def test_geoscan_understands_the_arguments():
    program, name, *given = container(documents()[1]["spec"]["template"])["args"]
    assert program == "geoscan"
    asked = main.get_command(click.Context(main), name).make_context(name, given).params
    assert asked["scenes"] == ("/scenes",)
    assert asked["scheduler"] == "tcp://geoscan-scheduler:8786"


def test_workers_and_the_scan_see_the_scenes_under_one_path():
    cluster, job = documents()
    for pod in (cluster["spec"]["worker"], job["spec"]["template"]):
        mounts = container(pod)["volumeMounts"]
        assert [(one["name"], one["mountPath"]) for one in mounts] == [("scenes", "/scenes")]
        assert [one["name"] for one in pod["spec"]["volumes"]] == ["scenes"]
    images = {container(pod)["image"] for pod in (*cluster["spec"].values(), job["spec"]["template"])}
    assert len(images) == 1


def test_the_operator_accepts_the_cluster():
    jsonschema = pytest.importorskip("jsonschema")
    operator = pytest.importorskip("dask_kubernetes", reason="dask-kubernetes, which has the schema, is not installed")
    found = Path(operator.__file__).parent.rglob("crds/daskcluster.yaml")
    definition = yaml.safe_load(next(found).read_text())
    assert definition["spec"]["names"]["kind"] == documents()[0]["kind"]
    (version,) = definition["spec"]["versions"]
    jsonschema.validate(documents()[0], version["schema"]["openAPIV3Schema"])


def test_slurm_gets_a_job_script():
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue, which renders the script, is not installed")
    with slurm().workers() as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p batch" in script
    assert "#SBATCH -t 04:00:00" in script
    assert " ".join(slurm().WORKER) in script


@pytest.mark.large
@pytest.mark.timeout(600)
def test_a_local_cluster_with_the_same_arguments_gives_the_same_bytes(make_scene, make_package, tmp_path):
    scene, package = make_scene(pixels=blocks(9, 9)), make_package(chip=CHIP)
    alone = layer_bytes(run(scene, package), tmp_path)
    tests = str(Path(__file__).parent)
    started = []

    def start(kind: str, *given: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *given]
        started.append(subprocess.Popen(command, env={"PYTHONPATH": tests, "PATH": "/usr/bin:/bin"}))

    try:
        start("scheduler", *words("scheduler"), "--host", "127.0.0.1", "--port", "28786")
        for given in (words("worker"), slurm().WORKER):
            start("worker", "tcp://127.0.0.1:28786", *given, "--local-directory", str(tmp_path))
        wait_for("tcp://127.0.0.1:28786", 2)
        with workers(0, "tcp://127.0.0.1:28786") as pool:
            assert layer_bytes(run(scene, package, pool), tmp_path) == alone
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def wait_for(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False, timeout=120) as client:
        client.wait_for_workers(count, timeout=240)
