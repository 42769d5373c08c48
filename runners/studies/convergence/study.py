"""`rlmaml theory`: the convergence analysis of MAML, measured; docs/theory.md explains it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from rlmaml.errors import ConfigError
from rlmaml.profiling import one_thread
from runners.errors import require_at_least
from runners.io import versions, write_json
from runners.studies.convergence import estimator, figures, iterations, practice, stalling

Part = Literal["moments", "iterations", "stalls", "practice"]
PARTS: tuple[Part, ...] = get_args(Part)


def theory(
    out: Path = Path("runs/theory"),
    *,
    only: tuple[Part, ...] = (),
    steps: int = 12_000,
    practice_iterations: int = 500,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the studies, print their tables, and write `theory.json` and a picture of each.

    Args:
        out: folder for the files. What another call left there of other parts is kept.
        only: parts; all of them if empty.
        steps: gradient steps of `iterations`. The fitted slope comes the nearer to its limit, the
            more there are.
        practice_iterations: meta-iterations of `practice`.
        seed: of samples in `iterations`, and of training in `practice`.
        say: takes the lines that are printed.

    Returns:
        What `theory.json` holds: by part what was found, `seconds` each took, and `versions`.

    Raises:
        ConfigError: bad input.
    """
    if unknown := [part for part in only if part not in PARTS]:
        raise ConfigError(f"There is no part {unknown[0]!r}: use {', '.join(PARTS)}.")
    require_at_least(100, steps=steps)
    require_at_least(1, practice_iterations=practice_iterations)
    require_at_least(0, seed=seed)
    file = out / "theory.json"
    result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"seconds": {}}
    result |= {"versions": versions(), "seed": seed}
    with one_thread():  # problems of a few numbers
        for part in only or PARTS:
            began = time.perf_counter()
            result[part] = _STUDIES[part](out, steps, practice_iterations, seed, say)
            result["seconds"][part] = time.perf_counter() - began
            write_json(file, result)
    return result


def _moments(out: Path, steps: int, many: int, seed: int, say: Callable[[str], None]) -> Any:
    found = estimator.moments_study()
    say(
        "\nThe estimator g against ∇F, exactly: the worst of 25 points w, near-stationary ones too."
    )
    say("  D_in      bias   first-order bound   second-order bound   (7)     (8)")
    for row in found["rows"]:
        say(
            f"{row['inner']:6d}{row['bias']:10.2e}{row['first_order_bound']:20.2e}"
            f"{row['second_order_bound']:21.2e}{row['first_moment_share']:7.2f}"
            f"{row['second_moment_share']:8.2f}"
        )
    low, high = min(found["slopes"]), max(found["slopes"])
    say(f"Slope of the bias in D_in: {low:.3f} to {high:.3f}. (7), (8): left over right side.")
    figures.bias(found, out / "bias.png")
    return found


def _iterations(out: Path, steps: int, many: int, seed: int, say: Callable[[str], None]) -> Any:
    found = [iterations.measured(power, steps) for power in iterations.POWERS]
    say("\nIterations until ‖∇F‖ ≤ ε, all data, β = 1/12L(w).")
    say("     p   slope   -(p+2)/(p+1)   smallest ε        T   bound (14)")
    for row in found:
        say(
            f"{row['power']:6g}{-row['exponent']:8.3f}{-row['expected']:15.3f}"
            f"{row['precisions'][-1]:13.2e}{row['iterations'][-1]:9d}{row['bound'][-1]:13.2e}"
        )
    samples = iterations.stochastic(seed=seed)
    sizes = ", ".join(f"{name} {size}" for name, size in samples["batches"].items())
    say(
        f"By samples, ε = {samples['precision']}, p = 1, the theorem's batches ({sizes}): "
        f"T = {samples['iterations']}, with all data {samples['iterations_with_all_data']}, "
        f"bound {samples['bound']:.0f}."
    )
    figures.iterations(found, out / "iterations.png")
    return {"all_data": found, "samples": samples}


def _stalls(out: Path, steps: int, many: int, seed: int, say: Callable[[str], None]) -> Any:
    found = stalling.stalls()
    say("\nWhere ‖∇F‖ comes to rest on two tasks, all data.")
    say("problem      method                                smallest       end   expected")
    for row in found:
        say(
            f"{row['problem']:<13}{row['method']:<36}{row['smallest']:10.2e}"
            f"{row['gradient']:10.2e}{row['expected']:11.2e}"
        )
    figures.stalls(found, out / "stalls.png")
    return found


def _practice(out: Path, steps: int, many: int, seed: int, say: Callable[[str], None]) -> Any:
    found = practice.practice(many, seed)
    letters = zip(("L", "ρ", "σ", "σ̃", "σ_H"), found["constants"].values(), strict=True)
    say(
        f"\nThe rule on {found['problem']}, α = 1/6L = {found['step_size']:.2g}; seen in data: "
        + ", ".join(f"{letter} {value:.3g}" for letter, value in letters)
        + f". With its batches the theorem promises ‖∇F‖ ≤ {found['floor']:.3g}."
    )
    say("after training               mean squared error after one step")
    for name, curve in found["curves"].items():
        rate = found["learning_rates"].get(name)
        say(f"{name:<29}{curve['loss'][-1]:8.3f}" + (f"   (rate {rate:g})" if rate else ""))
    figures.practice(found, out / "practice.png")
    return found


_STUDIES: dict[str, Callable[..., Any]] = {
    "moments": _moments,
    "iterations": _iterations,
    "stalls": _stalls,
    "practice": _practice,
}
