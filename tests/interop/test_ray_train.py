"""Ray Train as the launcher of a training in several processes (docs/distributed.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.interop.parts_of_a_training import options_of
from tests.support.training_runs import quiet, write_table

#: Ray has warnings of its own.
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

ray = pytest.importorskip("ray")
pytest.importorskip("ray.train.torch")


def learn(told: dict[str, str]) -> None:
    """Train, or go on after a failure, in each worker."""
    from gatewright.train.launch import resume, train
    from tests.interop.parts_of_a_training import options_of
    from tests.support.training_runs import quiet

    source, run = Path(told["source"]), Path(told["run"])
    if (run / "config.toml").exists():
        resume(run, console=quiet())
    else:
        train(source, options_of(source), run=run, console=quiet())


def test_two_workers_of_ray_learn_what_one_process_does(tmp_path):
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from gatewright.train.launch import train

    root = Path(__file__).parents[2]
    source = write_table(tmp_path / "load.csv")
    train(source, options_of(source), run=tmp_path / "one", console=quiet())
    environment = {"env_vars": {"PYTHONPATH": f"{root / 'src'}:{root}", "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    try:
        told = {"source": str(source), "run": str(tmp_path / "two")}
        storage = RunConfig(storage_path=str(tmp_path / "ray"))
        workers = ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5})
        TorchTrainer(learn, train_loop_config=told, scaling_config=workers, run_config=storage).fit()
    finally:
        ray.shutdown()
    one, two = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=0, atol=1e-5, err_msg=name)
    assert any((two[name] != value).any() for name, value in one.items())  # sums in another order: two of them
