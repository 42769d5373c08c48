"""Meta-gradients of reinforcement learning against exact ones, on a world that is enumerated.

Losses are minimized and returns maximized, hence the minus signs.
"""

import math
from functools import partial
from typing import NamedTuple

import pytest
import torch

from rlmaml import losses, tree
from rlmaml.adjoints import first_order, unrolled
from rlmaml.advantages import AdvantageConfig, estimate_advantages
from rlmaml.algorithms.e_maml import credit, score_term
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective, meta_gradient, over_tasks
from rlmaml.returns import normalize
from tests.helpers.problems import at_end, end_loss, one, plus
from tests.helpers.tabular import (
    adapted_return,
    data_sets,
    every_batch,
    expected_gradient,
    expected_return,
    log_probs,
    magic_box,
    probabilities,
    small_policy,
    trajectories,
    world,
)

ALPHA = 0.7
EXACT = 1e-10


@pytest.fixture(params=[0, 3])
def problem(request):
    """A policy, its meta-parameters, and all trajectories of a world."""
    chosen = world(request.param)
    policy, params = small_policy(chosen, seed=request.param)
    return policy, {"params": params}, trajectories(chosen)


def state_values(policy, params, every):
    """The expected return from each step of each trajectory on, given its state and time [M, T]."""
    p = probabilities(policy, params, every)
    states = every.episodes.observations.argmax(-1)
    values = torch.zeros_like(every.episodes.rewards)
    for t in range(values.shape[1]):
        for s in range(2):
            here = states[:, t] == s
            if here.any():
                values[here, t] = (p * every.episodes.advantages[:, t])[here].sum() / p[here].sum()
    return values


def with_advantages(every, advantages):
    return every._replace(episodes=every.episodes._replace(advantages=advantages))


def derivatives(surrogate, policy, params, every):
    """Gradient [M, P] and Hessian [M, P, P] of a surrogate of each single trajectory."""
    theta, unravel = tree.ravel(params)
    logs = policy(params, every.episodes.observations).log_prob(every.episodes.actions)
    loss = surrogate(policy, reduction="episodes")

    def one(episode):
        data = tree.map(lambda leaf: leaf.unsqueeze(0), episode)

        def objective(v):
            return -loss(unravel(v), data)

        return torch.func.grad(objective)(theta), torch.func.hessian(objective)(theta)

    return over_tasks(one)(every.episodes._replace(log_probs=logs))


def exact(function, meta):
    """Gradient [P] and Hessian [P, P] of a function of the meta-parameters."""
    theta, unravel = tree.ravel(meta)
    return tuple(
        d(lambda v: function(unravel(v)))(theta) for d in (torch.func.grad, torch.func.hessian)
    )


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


# The surrogates and J.


@pytest.mark.parametrize("name", losses.SURROGATES)
@pytest.mark.parametrize("baseline", [False, True])
def test_expected_derivatives_of_the_surrogates(problem, name, baseline):
    policy, meta, every = problem
    gradient, hessian = exact(lambda m: expected_return(policy, m["params"], every), meta)
    if baseline:
        values = 0.3 + state_values(policy, meta["params"], every)
        every = with_advantages(every, every.episodes.advantages - values)
    p = probabilities(policy, meta["params"], every)
    found = derivatives(losses.SURROGATES[name], policy, meta["params"], every)
    assert distance(p @ found[0], gradient) < EXACT
    error = distance(torch.einsum("m,mij->ij", p, found[1]), hessian)
    if name == "dice":
        assert error < EXACT
    else:
        assert error > 0.02


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("baseline", ["cross-fitted", "linear"])
def test_a_cross_fitted_baseline_leaves_the_policy_gradient_unbiased(problem, baseline, n):
    policy, meta, every = problem
    gradient, _ = exact(lambda m: expected_return(policy, m["params"], every), meta)
    config = AdvantageConfig(discount=1.0, normalize=False, baseline=baseline)
    logs = log_probs(policy, meta["params"], every.episodes)
    episodes = every.episodes._replace(log_probs=logs)
    sets = data_sets(n, len(every.law))
    theta, unravel = tree.ravel(meta["params"])
    loss = losses.likelihood_ratio(policy, "episodes")

    def one(indices):
        data = estimate_advantages(tree.map(lambda leaf: leaf[indices], episodes), config)
        return torch.func.grad(lambda v: -loss(unravel(v), data))(theta)

    weights = sets.probabilities(probabilities(policy, meta["params"], every))
    found = weights @ torch.stack([one(indices) for indices in sets.indices])
    if baseline == "cross-fitted":
        assert distance(found, gradient) < 1e-9
    else:  # it explains away what the actions did: here nearly all of it
        assert distance(found, gradient) > 0.3


def test_lvc_is_exact_for_one_step():
    chosen = world(0, horizon=1, actions=3)
    policy, params = small_policy(chosen)
    every = trajectories(chosen)
    _, hessian = exact(lambda m: expected_return(policy, m["params"], every), {"params": params})
    p = probabilities(policy, params, every)
    for name in losses.SURROGATES:
        found = derivatives(losses.SURROGATES[name], policy, params, every)[1]
        error = distance(torch.einsum("m,mij->ij", p, found), hessian)
        assert error > 0.1 if name == "log-likelihood" else error < EXACT


def test_dice_is_the_published_objective(problem):
    """☐(Σ_{t'≤t}) r_t (+ control variate), trajectory by trajectory and not in the mean alone.

    Were the variate's sum not strictly before t, its Hessian would not have mean zero.
    """
    policy, meta, every = problem
    values = state_values(policy, meta["params"], every)
    _, hessian = exact(lambda m: expected_return(policy, m["params"], every), meta)
    p = probabilities(policy, meta["params"], every)

    def published(policy, reduction, weigh=1, strict=True):
        def loss(params, data):
            logs = policy(params, data.observations).log_prob(data.actions)
            upto = logs.cumsum(-1)
            before = upto - logs if strict else upto
            variate = magic_box(before) * (1 - magic_box(logs)) * data.values
            return -(magic_box(upto) * data.rewards + weigh * variate).sum(-1).mean()

        return loss

    carrying = every._replace(episodes=every.episodes._replace(values=values))
    for weigh in (0, 1):
        ours = with_advantages(carrying, every.episodes.advantages - weigh * values)
        found = derivatives(losses.dice, policy, meta["params"], ours)
        theirs = derivatives(partial(published, weigh=weigh), policy, meta["params"], carrying)
        torch.testing.assert_close(found, theirs, rtol=0, atol=1e-12)
        assert distance(torch.einsum("m,mij->ij", p, found[1]), hessian) < EXACT
    wrong = derivatives(partial(published, strict=False), policy, meta["params"], carrying)[1]
    assert distance(torch.einsum("m,mij->ij", p, wrong), hessian) > 0.02


def test_dice_elsewhere_is_the_return_there(problem):
    """At other parameters than those that sampled: E = J(θ') - J(θ), and its gradient ∇J(θ')."""
    policy, meta, every = problem
    p = probabilities(policy, meta["params"], every)
    logs = policy(meta["params"], every.episodes.observations).log_prob(every.episodes.actions)
    episodes = tree.map(lambda leaf: leaf.unsqueeze(1), every.episodes._replace(log_probs=logs))
    loss = losses.dice(policy, reduction="episodes")
    moved = tree.map(lambda leaf: leaf + 0.5 * torch.randn_like(leaf), meta["params"])

    def expectation(params):
        return -p @ over_tasks(lambda data: loss(params, data))(episodes)

    def gain(params):
        here = expected_return(policy, meta["params"], every)
        return expected_return(policy, params, every) - here

    assert abs(gain(moved).item()) > 0.01
    torch.testing.assert_close(expectation(moved), gain(moved), rtol=EXACT, atol=EXACT)
    found, truth = (torch.func.grad(f)(moved) for f in (expectation, gain))
    torch.testing.assert_close(found, truth, rtol=EXACT, atol=EXACT)


def spread(p, samples):
    """Total variance of samples [M, ...] under probabilities [M]."""
    mean = torch.einsum("m,m...->...", p, samples)
    return (p @ (samples - mean).flatten(1).square().sum(1)).item()


def test_variance_of_the_hessian(problem):
    """The control variate lowers it, the wrong sign raises it; LVC's is lower than DiCE's."""
    policy, meta, every = problem
    p = probabilities(policy, meta["params"], every)
    values = state_values(policy, meta["params"], every)

    def variance(surrogate, sign):
        moved = with_advantages(every, every.episodes.advantages - sign * values)
        return spread(p, derivatives(surrogate, policy, meta["params"], moved)[1])

    assert variance(losses.dice, 1) < 0.8 * variance(losses.dice, 0)
    assert variance(losses.dice, -1) > 1.2 * variance(losses.dice, 0)
    assert variance(losses.likelihood_ratio, 1) < variance(losses.dice, 1)


# The meta-gradient and V_n.


def setting(problem, surrogate="log-likelihood", *, score=False, alpha=ALPHA):
    """An objective in the units of J: sums over episodes, no discount, no normalization."""
    policy, meta, every = problem
    loss = losses.SURROGATES[surrogate](policy, reduction="episodes")
    outer = at_end(losses.likelihood_ratio(policy, reduction="episodes"))
    objective = Objective(gradient_descent(loss, alpha), unrolled, outer, policy)
    return plus(objective, score_term(policy)) if score else objective, meta, every


def unscored(problem):
    """The same objective without the score term."""
    return setting(problem)[0]


def outer_returns(batch):
    return batch.query.rewards.sum(-1).mean(-1)


def gradient_of(function, meta):
    theta, unravel = tree.ravel(meta)
    return torch.func.grad(lambda v: function(unravel(v)))(theta)


def expected_score_gradient(objective, meta, every, *, n, baseline=0.3, **how):
    """The expectation of log-likelihood with the score term, for a baseline independent of D."""
    policy, inner = objective.policy, objective.inner
    batch, weights = every_batch(policy, inner, meta, every, n=n, **how)
    batch = batch._replace(credit=outer_returns(batch) - baseline)
    return -expected_gradient(objective, meta, batch, weights)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_e_maml_is_the_gradient_of_the_adapted_return(problem, n):
    objective, meta, every = setting(problem, score=True)
    value = adapted_return(objective.policy, objective.inner, every, n)
    truth = gradient_of(value, meta)
    assert distance(expected_score_gradient(objective, meta, every, n=n), truth) < EXACT
    # Without the score term it is not.
    without = unscored(problem)
    assert distance(expected_score_gradient(without, meta, every, n=n), truth) > 0.02


@pytest.mark.parametrize(
    "config",
    [
        AdvantageConfig(discount=0.9, gae_lambda=0.8),
        AdvantageConfig(discount=0.9, normalize=False, baseline="none"),
    ],
)
def test_e_maml_is_exact_whatever_the_inner_advantages(problem, config):
    """Baseline, discount and normalization are part of the step that V_n is the return after."""
    objective, meta, every = setting(problem, score=True)
    how = {"n": 2, "estimate": lambda episodes: estimate_advantages(episodes, config)}
    value = adapted_return(objective.policy, objective.inner, every, **how)
    found = expected_score_gradient(objective, meta, every, **how)
    assert distance(found, gradient_of(value, meta)) < EXACT


def test_the_gradient_of_the_adapted_return_by_finite_differences(problem):
    objective, meta, every = setting(problem)
    value = adapted_return(objective.policy, objective.inner, every, 2)
    theta, unravel = tree.ravel(meta)
    direction = torch.randn_like(theta)
    h = 1e-6
    slope = (value(unravel(theta + h * direction)) - value(unravel(theta - h * direction))) / (
        2 * h
    )
    assert slope.item() == pytest.approx((gradient_of(value, meta) @ direction).item(), abs=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_e_maml_with_two_inner_steps(problem, n):
    """The second data set is sampled by the once adapted policy, and has a score of its own."""
    objective, meta, every = setting(problem, score=True)
    value = adapted_return(objective.policy, objective.inner, every, n, steps=2)
    truth = gradient_of(value, meta)
    found = expected_score_gradient(objective, meta, every, n=n, steps=2)
    assert distance(found, truth) < EXACT

    def first_only(path, data):
        return score_term(objective.policy)(path[:2], data._replace(support=data.support[:1]))

    partly = plus(unscored(problem), first_only)
    assert distance(expected_score_gradient(partly, meta, every, n=n, steps=2), truth) > 0.01


def test_the_baseline_from_other_tasks_leaves_the_mean_alone(problem):
    """`credit` itself, on all pairs of batches of two tasks, the other one a different world."""
    objective, meta, every = setting(problem, score=True)
    policy, inner = objective.policy, objective.inner
    other = trajectories(world(7))
    sides = [every_batch(policy, inner, meta, e, n=1) for e in (every, other)]
    p, q = (side[1] for side in sides)
    rows = torch.cartesian_prod(torch.arange(len(p)), torch.arange(len(q)))
    pairs = [tree.map(lambda leaf, i=i: leaf[rows[:, i]], side[0]) for i, side in enumerate(sides)]
    # Tasks come last, so that `credit` sees two tasks in each of many meta-batches.
    queries = tree.map(lambda *leaves: torch.stack(leaves, 1), *(pair.query for pair in pairs))
    credits = over_tasks(lambda query: credit(query, 1, "episodes"))(queries)
    joint = p[rows[:, 0]] * q[rows[:, 1]]
    found = [
        -expected_gradient(objective, meta, pair._replace(credit=credits[:, i]), joint)
        for i, pair in enumerate(pairs)
    ]
    for got, world_ in zip(found, (every, other), strict=True):
        truth = gradient_of(adapted_return(policy, inner, world_, 1), meta)
        assert distance(got, truth) < EXACT


class Rewarded(NamedTuple):
    """As much of episodes as `credit` reads, [N, B, T]."""

    rewards: torch.Tensor
    mask: torch.Tensor


def test_copies_of_a_task_are_each_others_baseline():
    rewards = torch.arange(1.0, 9.0).view(4, 2, 1)
    episodes = Rewarded(rewards, torch.ones_like(rewards))
    torch.testing.assert_close(credit(episodes, 2), torch.tensor([-2.0, 2.0, -2.0, 2.0]))
    means = torch.tensor([1.5, 3.5, 5.5, 7.5])
    expected = means - (means.sum() - means) / 3
    torch.testing.assert_close(credit(episodes, 1), expected)
    torch.testing.assert_close(credit(episodes, 4), expected)
    for copies, count in ((3, 4), (1, 1)):
        with pytest.raises(ValueError, match=f"got {count} tasks in copies of {copies}"):
            credit(tree.map(lambda leaf, count=count: leaf[:count], episodes), copies)


# Where the number of inner episodes goes to infinity.


def limit(policy, every, meta, alpha=ALPHA):
    """∇V_∞, V_∞(θ) = J(θ + α ∇J(θ))."""
    theta, unravel = tree.ravel(meta)

    def mean_return(v):
        return expected_return(policy, unravel(v)["params"], every)

    return torch.func.grad(lambda v: mean_return(v + alpha * torch.func.grad(mean_return)(v)))(
        theta
    )


def expected(objective, meta, every, n, **how):
    batch, weights = every_batch(objective.policy, objective.inner, meta, every, n=n, **how)
    return -expected_gradient(objective._replace(chunk_size=4096), meta, batch, weights)


def test_bias_against_the_limit_as_inner_episodes_grow(problem):
    """DiCE's falls as 1/n; the log-likelihood's comes to stay."""
    errors = {}
    for name in ("dice", "log-likelihood"):
        objective, meta, every = setting(problem, name)
        truth = limit(objective.policy, every, meta)
        found = [distance(expected(objective, meta, every, n), truth) for n in (2, 4, 6)]
        errors[name] = found
    first, second, third = errors["dice"]
    assert first > second > third
    assert -1.2 < math.log(third / first) / math.log(3) < -0.8
    assert min(errors["log-likelihood"]) > 0.25
    assert errors["log-likelihood"][2] > 0.95 * errors["log-likelihood"][0]


@pytest.mark.parametrize("name", losses.SURROGATES)
def test_what_remains_of_the_bias_in_the_limit(problem, name):
    """(I + α E∇ĝ) ∇J(θ + α ∇J(θ)): of every surrogate but DiCE another vector than ∇V_∞."""
    policy, meta, every = problem
    theta, unravel = tree.ravel(meta)
    gradient = torch.func.grad(lambda v: expected_return(policy, unravel(v)["params"], every))
    p = probabilities(policy, meta["params"], every)
    hessians = derivatives(losses.SURROGATES[name], policy, meta["params"], every)[1]
    jacobian = torch.eye(len(theta)) + ALPHA * torch.einsum("m,mij->ij", p, hessians)
    error = distance(
        jacobian @ gradient(theta + ALPHA * gradient(theta)), limit(policy, every, meta)
    )
    assert error < EXACT if name == "dice" else error > 0.002


@pytest.mark.parametrize("name", losses.SURROGATES)
@pytest.mark.parametrize("n", [1, 2])
def test_separate_hessian_data(problem, name, n):
    """Independence makes the expectation a product: (I + α E∇ĝ) E∇J(φ), each summed alone."""
    objective, meta, every = setting(problem, name)
    policy = objective.policy
    found = expected(objective, meta, every, n, separate_hessian=True)
    p = probabilities(policy, meta["params"], every)
    surrogate = losses.SURROGATES[name]
    hessians = derivatives(surrogate, policy, meta["params"], every)[1]
    jacobian = torch.eye(hessians.shape[-1]) + ALPHA * torch.einsum("m,mij->ij", p, hessians)
    short = objective._replace(adjoint=first_order)
    assert distance(found, jacobian @ expected(short, meta, every, n)) < EXACT
    # On the data of the step itself the two factors are correlated.
    assert distance(expected(objective, meta, every, n), found) > 0.01


@pytest.mark.slow
def test_separate_hessian_data_with_two_steps(problem):
    """Row by row, in a loop, each Jacobian from its own data."""
    objective, meta, every = setting(problem)
    policy, inner = objective.policy, objective.inner
    batch, weights = every_batch(policy, inner, meta, every, n=1, steps=2, separate_hessian=True)
    some = torch.arange(0, len(weights), 1201)
    batch = tree.map(lambda leaf: leaf[some], batch)
    _, found = meta_gradient(objective, meta, batch)
    theta, unravel = tree.ravel(meta["params"])
    loss = losses.log_likelihood(policy, reduction="episodes")
    total = torch.zeros_like(theta)
    for i in range(len(some)):
        data = one(batch, i)
        path = [theta]
        for support in data.support:
            adapted = inner.step(meta, unravel(path[-1]), support, 0)
            path.append(tree.ravel(adapted)[0])
        v = torch.func.grad(lambda w, d=data: end_loss(objective)(unravel(w), d.query))(path[-1])
        for w, hessian_data in zip(path[1::-1], data.hessian[::-1], strict=True):
            hessian = torch.func.hessian(lambda w, d=hessian_data: loss(unravel(w), d))(w)
            v = v - ALPHA * hessian @ v
        total = total + v / len(some)
    torch.testing.assert_close(found, total, rtol=1e-10, atol=1e-12)


# What is wrong, to show that the tests above can fail.


def test_dice_with_a_score_term_counts_the_data_twice(problem):
    """Against V_n and against V_∞, at every n."""
    objective, meta, every = setting(problem, "dice", score=True)
    # V_n's own step: DiCE's, at data without recorded probabilities, would not be the same.
    honest, *_ = setting(problem)
    for n in (1, 2, 4):
        found = expected_score_gradient(objective, meta, every, n=n)
        value = adapted_return(objective.policy, honest.inner, every, n)
        assert distance(found, gradient_of(value, meta)) > 0.03
        assert distance(found, limit(objective.policy, every, meta)) > 0.03


def test_a_credit_of_mean_zero_is_no_credit(problem):
    """The mean of normalized advantages is 0, and with it the whole score term."""
    objective, meta, every = setting(problem, score=True)
    batch, weights = every_batch(objective.policy, objective.inner, meta, every, n=2, outer=2)
    advantages = over_tasks(normalize)(batch.query.advantages, batch.query.mask)
    batch = batch._replace(credit=advantages.mean((1, 2)))
    found = -expected_gradient(objective, meta, batch, weights)
    without = -expected_gradient(unscored(problem), meta, batch, weights)
    torch.testing.assert_close(found, without)
    value = adapted_return(objective.policy, objective.inner, every, 2)
    assert distance(found, gradient_of(value, meta)) > 0.02


def test_a_baseline_from_the_same_tasks_outer_episodes_takes_the_term_away(problem):
    """Each of two outer episodes less the other: what is left has mean zero given the data."""
    objective, meta, every = setting(problem, score=True)
    # Both orders of two episodes are one row here, so one of them stands for either.
    found = []
    batch, weights = every_batch(objective.policy, objective.inner, meta, every, n=2, outer=2)
    returns = batch.query.rewards.sum(-1)
    for mine, other in ((0, 1), (1, 0)):
        moved = batch._replace(credit=returns[:, mine] - returns[:, other])
        found.append(-expected_gradient(objective, meta, moved, weights))
    without = -expected_gradient(unscored(problem), meta, batch, weights)
    torch.testing.assert_close(sum(found) / 2, without)
    value = adapted_return(objective.policy, objective.inner, every, 2)
    assert distance(sum(found) / 2, gradient_of(value, meta)) > 0.02
