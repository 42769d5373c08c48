"""Presets of labeled examples: regression, and classification of points, images and texts."""

from __future__ import annotations

from dataclasses import replace

from rlmaml.algorithms.settings import InnerConfig
from rlmaml.config import EnvConfig, ExamplesConfig, TrainConfig
from rlmaml.models.conv import ConvConfig
from rlmaml.models.mlp import PolicyConfig
from rlmaml.models.text import TextConfig
from rlmaml.outer.optimizer import Optimizer
from runners.presets.base import Preset

# The MAML paper's settings, but for the queries: as many as shots.
SINUSOID = TrainConfig(
    preset="sinusoid",
    env=EnvConfig("rlmaml/Sinusoid-v0"),
    data="examples",
    examples=ExamplesConfig(shots=10, queries=10),
    iterations=70_000,
    tasks=25,
    policy=PolicyConfig(hidden=(40, 40)),
    inner=InnerConfig(step_size=0.01),
    outer="optimizer",
    optimizer=Optimizer("Adam", learning_rate=1e-3),
    chunk_size=None,
    threads=1,  # its matrices are too small for two
    checkpoint_every=1000,
    log_every=100,
)

# Four digits are few to learn from (docs/results): the preset shows the machinery.
DIGITS = replace(
    SINUSOID,
    preset="digits",
    env=EnvConfig("rlmaml/Digits-v0"),
    examples=ExamplesConfig(shots=1, queries=10),
    iterations=300,
    tasks=32,
    conv=ConvConfig(blocks=3, downsample="stride"),
    inner=InnerConfig(steps=5, step_size=0.4),
    threads=0,
    checkpoint_every=25,
    log_every=5,
    validation_tasks=200,
)

# The MAML paper's settings of Omniglot, with half of its filters.
GLYPHS = replace(
    DIGITS,
    preset="glyphs",
    env=EnvConfig("rlmaml/Glyphs-v0"),
    iterations=600,
    conv=ConvConfig(filters=32, downsample="stride"),
    inner=InnerConfig(steps=1, step_size=0.4),
    chunk_size=8,
    checkpoint_every=100,
    log_every=10,
)

DOCSTRINGS = replace(
    SINUSOID,
    preset="docstrings",
    env=EnvConfig("rlmaml/Docstrings-v0"),
    examples=ExamplesConfig(shots=5, queries=10),
    iterations=400,
    tasks=16,
    text=TextConfig(),
    inner=InnerConfig(steps=5, step_size=2.0),
    optimizer=Optimizer("Adam", learning_rate=1e-2),
    chunk_size=8,
    threads=0,
    checkpoint_every=50,
    log_every=10,
    validation_tasks=200,
)

PRESETS: dict[str, Preset] = {
    "sinusoid": Preset("Regression: sinusoids of unknown amplitude and phase, 10-shot", SINUSOID),
    "sinusoid-frequency": Preset(
        "Regression: sinusoids of unknown amplitude, phase and frequency, with noise",
        replace(
            SINUSOID, preset="sinusoid-frequency", env=EnvConfig("rlmaml/SinusoidFrequency-v0")
        ),
    ),
    "linear-classification": Preset(
        "Classification: half-planes of unknown direction, 5-shot",
        replace(
            SINUSOID,
            preset="linear-classification",
            env=EnvConfig("rlmaml/LinearClassification-v0"),
            examples=ExamplesConfig(shots=5, queries=10),
            iterations=5000,
            inner=InnerConfig(step_size=0.4),
        ),
    ),
    "digits": Preset("Classification: handwritten digits never seen, 3-way 1-shot", DIGITS),
    "glyphs": Preset(
        "Classification: letters of scripts never seen, 5-way 1-shot",
        GLYPHS,
    ),
    "glyphs-5-shot": Preset(
        "Classification: letters of scripts never seen, 5-way 5-shot",
        replace(GLYPHS, preset="glyphs-5-shot", examples=ExamplesConfig(shots=5, queries=10)),
    ),
    "glyphs-20-way": Preset(
        "Classification: letters of scripts never seen, 20-way 1-shot",
        replace(
            GLYPHS,
            preset="glyphs-20-way",
            env=EnvConfig("rlmaml/Glyphs-v0", {"way": 20}),
            tasks=16,
            inner=InnerConfig(steps=5, step_size=0.1),
        ),
    ),
    "images": Preset(
        "Classification: a folder of images of yours, 5-way 1-shot (env.kwargs: root)",
        replace(
            DIGITS,
            preset="images",
            env=EnvConfig("rlmaml/ImageFolder-v0"),
            examples=ExamplesConfig(shots=1, queries=5),
            iterations=5000,
            conv=ConvConfig(),
            chunk_size=8,  # a task costs a tenth of a gigabyte at 28 x 28 pixels
            checkpoint_every=100,
            log_every=10,
        ),
    ),
    "docstrings": Preset(
        "Classification: Python's docstrings by module, modules never seen, 5-way 5-shot",
        DOCSTRINGS,
    ),
    "text": Preset(
        "Classification: texts of yours, in files, 5-way 5-shot (env.kwargs: root)",
        replace(
            DOCSTRINGS,
            preset="text",
            env=EnvConfig("rlmaml/Text-v0"),
            checkpoint_every=100,
        ),
    ),
}
