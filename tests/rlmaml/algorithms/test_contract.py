"""What every method of the table has to hold to, from labeled examples and from episodes."""

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import rlmaml
from rlmaml import algorithms, losses, models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.settings import AlgorithmContext, InnerConfig
from rlmaml.inner import adapt
from rlmaml.objective import meta_gradient, over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.collect import collect
from rlmaml.sampling.examples import ExampleSampler
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import TargetEnv, Waves, one

NAMES = list(algorithms.TABLE)
ROOT = Path(rlmaml.__file__).parent.parent


class Problem:
    """A method, its state, and a way to collect for it."""

    def __init__(self, name, data, outer, tasks=4, chunk_size=None):
        self.kind, self.tasks = algorithms.get_algorithm(name), tasks
        examples = data == "examples"
        surrogate = "lvc"
        for surrogate in ("lvc",) if examples else ("lvc", "log-likelihood"):
            inner = InnerConfig(steps=2, step_size=0.05, surrogate=surrogate)
            settings = self.kind.Settings()
            try:
                self.kind.check(
                    AlgorithmContext(
                        settings=settings,
                        inner=inner,
                        outer=outer,
                        from_rewards=not examples,
                        tasks=tasks,
                        normalized_advantages=False,
                    )
                )
                break
            except ValueError as problem:
                refused = str(problem)
        else:
            pytest.skip(refused)  # with the reason, which the method's own tests are about
        network = models.PolicyConfig(hidden=(6,), activation="tanh")
        torch.manual_seed(0)
        module = (models.RegressionMLP if examples else models.GaussianMLP)(1, 1, network)
        self.module = module.double()
        how = {"inner_loss": losses.mse, "outer_loss": losses.mse} if examples else {}
        policy = models.functional(self.module)
        self.algorithm = self.kind(policy, inner, outer, chunk_size=chunk_size, **how)
        plan = self.algorithm.data_spec
        if examples:
            family = Waves()
            fresh = plan.steps if plan.fresh_support else 0
            self.sampler = ExampleSampler(
                family, shots=5, queries=6, fresh_support=fresh, dtype=torch.float64
            )
            self.points = family.sample(tasks, np.random.default_rng(0))
        else:
            env = vectorize(TargetEnv, tasks * 10)
            self.module.float()
            self.sampler = RolloutSampler(
                env,
                self.algorithm.policy,
                episodes=10,
                horizon=2,
                advantages=AdvantageConfig(normalize=False),
            )
            self.points = env.sample_tasks(tasks, np.random.default_rng(0))
        self.state = self.algorithm.init(models.parameters(self.module))

    def batch(self, state, iteration=0, steps=None):
        steps = self.algorithm.data_spec.steps if steps is None else steps
        return collect(
            self.sampler,
            self.algorithm.inner,
            state.meta,
            self.points,
            steps=steps,
            key=(0, iteration, 0),
        )


OUTER = {
    "optimizer": Optimizer(learning_rate=0.01),
    "trust-region": TrustRegion(max_kl=0.001, damping=0.1),
}
EVERY = [
    pytest.param(name, data, OUTER[outer], id=f"{name}-{data}-{outer}")
    for name in NAMES
    for data in ("examples", "episodes")
    for outer in OUTER
]


@pytest.mark.parametrize("name", NAMES)
def test_steps_beyond_those_of_training_may_be_half_as_long(name):
    kind = algorithms.get_algorithm(name)
    data = "episodes" if "episodes" in kind.requires else "examples"
    problem = Problem(name, data, Optimizer())
    meta, whole = problem.state.meta, problem.algorithm
    inner = replace(whole.inner_config, steps=1, later_step_share=0.5)
    how = {"inner_loss": losses.mse, "outer_loss": losses.mse} if data == "examples" else {}
    half = kind(models.functional(problem.module), inner, Optimizer(), **how)
    support = one(problem.batch(problem.state, steps=2).support, 0)
    (_, *ends), (_, *halves) = (adapt(each.inner, meta, support) for each in (whole, half))
    for there, to, stopped in zip(
        ends[0].values(), ends[1].values(), halves[1].values(), strict=True
    ):
        torch.testing.assert_close(stopped, (there + to) / 2)


@pytest.mark.parametrize(("name", "data", "outer"), EVERY)
@pytest.mark.slow
def test_it_updates_and_goes_on_from_what_it_saved_to_the_bit(name, data, outer):
    problem = Problem(name, data, outer)
    algorithm, state = problem.algorithm, problem.state
    for i in range(2):
        before = state.meta
        state, metrics = algorithm.update(state, problem.batch(state, i))
        assert metrics["outcome"] == "accepted"
    assert state.iteration == 2
    assert not torch.equal(*(tree.ravel(meta)[0] for meta in (before, state.meta)))
    assert all(leaf.isfinite().all() for leaf in tree.leaves(state.meta))
    again = algorithm.load_state_dict(
        tree.map(torch.clone, state.meta), algorithm.state_dict(state)
    )
    batch = problem.batch(state, 2)
    (a, x), (b, y) = (algorithm.update(s, batch) for s in (again, state))
    assert torch.equal(tree.ravel(a.meta)[0], tree.ravel(b.meta)[0])
    assert x == y


@pytest.mark.parametrize(("name", "data", "outer"), EVERY)
def test_it_adapts_further_than_it_was_trained_to_and_becomes_a_network(name, data, outer):
    problem = Problem(name, data, outer)
    batch = problem.batch(problem.state, steps=4)
    meta, method = problem.state.meta, problem.algorithm
    path = over_tasks(lambda d: adapt(method.inner, meta, d.support))(batch)
    assert len(path) == 5
    one = tree.map(lambda leaf: leaf[0], (path, batch.query))
    inputs = one[1].inputs
    for params in one[0]:
        said = method.policy(params, inputs)
        network = method.network(params)
        if network is not None:
            same = models.functional(problem.module)(network, inputs)
            torch.testing.assert_close(same.mean, said.mean)
            assert {n: v.shape for n, v in network.items()} == {
                n: v.shape for n, v in models.parameters(problem.module).items()
            }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", ["examples", "episodes"])
def test_it_updates_one_task_at_a_time_as_all_at_once(name, data):
    states = []
    for chunk_size in (None, 1):
        problem = Problem(name, data, OUTER["optimizer"], chunk_size=chunk_size)
        batch = problem.batch(problem.state)
        states.append(problem.algorithm.update(problem.state, batch)[0].meta)
    tolerance = {"atol": 1e-9, "rtol": 1e-9} if data == "examples" else {"atol": 1e-4, "rtol": 1e-3}
    torch.testing.assert_close(*(tree.ravel(meta)[0] for meta in states), **tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_it_updates_on_a_single_task(name):
    problem = Problem(name, "episodes", OUTER["optimizer"], tasks=1)
    if problem.algorithm.data_spec.task_copies > 1:
        pytest.skip("takes copies of tasks, which one task is not")
    state, metrics = problem.algorithm.update(problem.state, problem.batch(problem.state))
    assert metrics["outcome"] == "accepted"
    assert all(leaf.isfinite().all() for leaf in tree.leaves(state.meta))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", ["examples", "episodes"])
def test_tasks_are_computed_alone_however_they_are_stacked(name, data):
    problem = Problem(name, data, OUTER["optimizer"])
    batch = problem.algorithm.prepare(problem.batch(problem.state))
    objective = problem.algorithm.objective(problem.state)
    whole = meta_gradient(objective, problem.state.meta, batch)
    for size in (1, 3):
        parts = meta_gradient(objective._replace(chunk_size=size), problem.state.meta, batch)
        rtol, atol = (1e-9, 1e-12) if data == "examples" else (1e-4, 1e-6)
        torch.testing.assert_close(parts, whole, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", NAMES)
def test_its_file_begins_with_what_it_is(name):
    kind = algorithms.get_algorithm(name)
    text = (ROOT / (kind.__module__.replace(".", "/") + ".py")).read_text()
    title, equation = text.split('"""')[1].split("\n\n")[:2]
    assert re.search(r"\d{4}", title), "the source has a year"
    assert equation.startswith("    "), "an equation comes next"
    for field in fields(kind.Settings):
        assert re.search(rf'{field.name}: .*\n +"""\S', text), f"{field.name} is documented"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_its_file_and_the_table_knows_it(name):
    """Neither its class nor its module nor its name on the command line."""
    kind = algorithms.get_algorithm(name)
    module = kind.__module__.rpartition(".")[2]
    words = [rf"\b{kind.__name__}\b", rf"algorithms\.{module}\b", rf"[\"']{re.escape(name)}[\"']"]
    own = {
        ROOT / "rlmaml" / "algorithms" / f"{module}.py",
        ROOT / "rlmaml/algorithms/__init__.py",
        ROOT / "runners/presets/overrides.py",  # what of it holds on one preset alone
    }
    # The usual method is what `import rlmaml` offers, and whose paper's results are reproduced.
    usual = {
        ROOT / file
        for file in (
            "rlmaml/__init__.py",
            "runners/presets/maml_paper.py",
            "runners/studies/reproduce.py",
        )
    }
    for package in ("rlmaml", "envs", "runners"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path in own or (name == NAMES[0] and path in usual):
                continue
            if (
                path.parent == ROOT / "runners" / "studies" / "convergence"
            ):  # a study of three of them
                continue
            code = re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(), flags=re.S)
            found = [word for word in words if re.search(word, code)]
            starts = f'starts_from = "{name}"' in code  # said by a method, and checked when it runs
            assert not found or starts, f"{path} knows {name}"


def test_a_method_of_ones_own_is_found_by_its_place():
    assert algorithms.get_algorithm("rlmaml.algorithms.base:Algorithm") is Algorithm
    with pytest.raises(ValueError, match="Cannot import the algorithm 'nowhere:Algorithm'"):
        algorithms.get_algorithm("nowhere:Algorithm")
