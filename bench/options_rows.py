"""The experiments of `python -m bench.options`: for every option, what it is changed to and which number shows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

SHARED, SHARED_BY = "options of all families that learn by gradients", "autoregressive"


@dataclass(frozen=True)
class Setting:
    """What the base of some rows is.

    Args:
        data: Which data, by name.
        options: Where the base differs from the family's defaults.
        steps: The budget: steps of gradients, or the most passes or iterations; or a time where those are the option.
        seeds: Fits of each side.
        held: The share of the rows held out for validation.
    """

    data: str
    options: dict[str, Any] = field(default_factory=dict)
    steps: int | str = 300
    seeds: int = 3
    held: float = 0.0

    def with_(self, **options: Any) -> Setting:
        """The same with more options."""
        return replace(self, options=self.options | options)


@dataclass(frozen=True)
class Row:
    """One option, one other value, one number.

    Args:
        option: The field of the Config.
        other: What it is changed to.
        number: What is read off both fits, by name.
        says: What the row shows, in a few words.
        setting: The base.
    """

    option: str
    other: Any
    number: str
    says: str
    setting: Setting


def _at(setting: Setting, *rows: tuple[str, Any, str, str]) -> tuple[Row, ...]:
    return tuple(Row(*row, setting) for row in rows)


# ---- one setting or more for each family ---------------------------------------------------------------------------

FLOW = Setting("ring", {"layers": 2, "hidden": [32]}, 150)
LATENTS = Setting("two latents", {"target": "bench.options_measures:correlated"}, 150)
PIXELS = Setting("digits", {"net": "pixel", "width": 16, "depth": 2, "batch": 128, "ema": 0.99}, 80)
MASKED = Setting(
    "digits", {"hidden": [64], "width": 16, "depth": 2, "l2": 0.01, "batch": 128, "ema": 0.99}, 200
)
CODES = Setting(
    "digits", {"net": "mlp", "latent": 8, "hidden": [64], "batch": 128, "ema": 0.99}, 300
)
BRIEF = replace(CODES, steps=120)
CONV = Setting("digits", {"latent": 8, "width": 8, "batch": 64, "ema": 0.99}, 100)
REALS = Setting("ring", {"latent": 2, "hidden": [32], "ema": 0.99, "components": 1}, 150)
GAME = Setting(
    "ring", {"hidden": [32, 32], "latent": 4, "batch": 128, "ema": 0.99, "lr": 0.01}, 250
)
WASSERSTEIN = GAME.with_(loss="wasserstein", r1=0.0, r2=0.0, gradient_penalty=1.0)
NOISY = GAME.with_(instance_noise=1.0, fall=100.0)
PICTURES = Setting("digits", {"width": 8, "latent": 8, "batch": 64, "ema": 0.99}, 40)
DENOISE = Setting("moons", {"width": 32, "depth": 2, "batch": 256, "ema": 0.99}, 200)
CLUSTERS = Setting("ring", {"components": 8}, 200, 5)

ROWS: dict[str, tuple[Row, ...]] = {
    SHARED: (
        *_at(
            MASKED,
            ("batch", 16, "bits", "fewer rows a step see less"),
        ),
        *_at(
            replace(PIXELS.with_(width=32, batch=64), steps=200),
            (
                "muon",
                0.02,
                "bits",
                "kernels learn in fewer steps where all their directions move alike",
            ),
        ),
        *_at(
            Setting("100 digits", MASKED.options, 300),
            ("weight_decay", 3.0, "bits", "holds an overfit back"),
        ),
        *_at(
            Setting(
                "funnel",
                {"hidden": [32], "components": 1, "lr": 0.03, "clip": 1000.0, "ema": 0.99},
                150,
            ),
            ("clip", 1.0, "step", "steps of heavy tails are cut to size"),
        ),
        *_at(
            replace(MASKED.with_(ema=0.0, lr=0.02, schedule="constant"), seeds=6),
            ("ema", 0.99, "bits", "averages take out the noise of late steps"),
            ("schedule", "cosine", "bits", "so does a rate that falls"),
            ("schedule", "linear", "bits", "in a straight line too"),
        ),
        *_at(
            Setting(
                "words",
                {"net": "sequence", "width": 32, "depth": 2, "lr": 0.03, "clip": 0.0, "ema": 0.0},
                60,
                6,
            ),
            ("warmup", 0, "nats", "a high rate needs a gentle start"),
        ),
        *_at(
            Setting("digits", {"hidden": [1024, 1024], "batch": 512, "lr": 1e-3, "ema": 0.9}, 8),
            ("precision", "onednn", "ms", "faster where the processor's oneDNN is"),
            ("precision", "bf16", "ms", "faster still in half the bits"),
            ("precision", "bf16", "bits", "at no cost that is seen"),
        ),
        *_at(
            Setting("100 digits", {**MASKED.options, "lr": 0.01}, 300, held=0.3),
            ("patience", 2, "steps", "stops once validation no longer improves"),
        ),
        *_at(
            Setting(
                "regression", {"hidden": [32], "components": 2, "context": 16, "ema": 0.99}, 200, 6
            ),
            (
                "drop_given",
                0.0,
                "KL, nothing given",
                "without it nothing is learned of a missing condition",
            ),
        ),
    ),
    "independent": (
        *_at(
            Setting("ring of 100", seeds=5),
            (
                "real",
                "mixture",
                "nats",
                "a smooth law with few parameters: better where rows are few",
            ),
        ),
        *_at(
            Setting("ring"),
            ("real", "normal", "nats", "one peak cannot hold many"),
            ("bins", 8, "nats", "too coarse for what the margins hold"),
        ),
        *_at(
            Setting("ring", {"real": "mixture"}, 200),
            ("components", 1, "nats", "one peak cannot hold many"),
        ),
        *_at(
            Setting("100 digits"),
            ("smoothing", 10.0, "bits", "too much pulls every pixel to one half"),
        ),
        *_at(
            Setting("pictured", {}, "1m", 6),
            ("l2", 0.1, "nats", "holds an overfit to the picture back"),
        ),
        *_at(
            Setting("regression", {"real": "normal"}, "1m"),
            ("iterations", 3, "KL", "stopped before it has learned from what is given"),
        ),
    ),
    "gaussian": (
        *_at(
            Setting("gaussian"),
            ("covariance", "diagonal", "KL", "loses the correlation: -log(1 - 0.8^2) / 2 nats"),
        ),
        *_at(
            Setting("unlike classes"),
            ("classes", "own", "KL", "classes of unlike shape want a shape each"),
        ),
        *_at(
            Setting("gaussian of 60", seeds=10),
            ("shrinkage", 0.1, "KL", "steadies a covariance from few rows"),
        ),
        *_at(
            Setting("gaussian with holes", seeds=10),
            ("passes", 1, "KL", "one pass of EM is not enough with holes"),
        ),
    ),
    "pca": (
        *_at(
            Setting("directions", {"components": 3}),
            ("components", 1, "KL", "one direction of three"),
            (
                "scale",
                False,
                "KL",
                "noise that is alike in data units is not once columns are scaled",
            ),
        ),
        *_at(
            Setting("directions of 40", {"components": 3, "scale": False}, seeds=10),
            (
                "noise",
                "diagonal",
                "KL",
                "a variance for each number costs rows, where one is the truth",
            ),
        ),
        *_at(
            Setting("directions with holes", {"components": 3, "noise": "diagonal"}, 500),
            ("passes", 1, "KL", "one pass of EM is not enough with holes"),
        ),
        *_at(
            Setting("directions with holes", {"components": 3, "noise": "diagonal"}, 500, seeds=10),
            ("tolerance", 0.001, "steps", "stops earlier"),
        ),
    ),
    "kde": (
        *_at(
            Setting("directions"),
            ("bandwidth", "one", "KL", "one width for numbers that vary unlike"),
        ),
        *_at(
            Setting("ring"),
            ("width", 0.5, "KL", "too wide: the ring fills"),
            ("rows", 200, "KL", "fewer rows kept, wider kernels"),
            ("passes", 1, "KL", "a search that has hardly begun"),
            ("tolerance", 0.1, "steps", "stops earlier"),
        ),
        *_at(
            Setting("chain of 300"),
            ("blur", 0.9, "KL", "codes blurred until they say little of each other"),
        ),
    ),
    "discriminant": (
        *_at(
            Setting("unlike classes", {"kind": "qda"}),
            ("kind", "lda", "KL", "classes of unlike shape want a shape each"),
            ("kind", "naive", "KL", "features that go together are no evidence of their own"),
        ),
        *_at(
            Setting("unlike classes"),
            (
                "density",
                {"family": "mixture", "components": 3},
                "KL",
                "more than these Gaussian classes need",
            ),
        ),
        *_at(
            Setting("few of unlike classes", {"kind": "qda"}, seeds=10),
            ("shrinkage", 0.1, "KL", "steadies covariances from few rows"),
        ),
    ),
    "crf": (
        *_at(
            Setting("tags", {"window": 1}),
            ("window", 0, "nats", "the word before says something too"),
            ("templates", ["word[0]"], "nats", "the same, said by hand"),
            ("tolerance", 0.001, "steps", "stops earlier"),
        ),
        *_at(Setting("tags", {"window": 1}, "1m"), ("iterations", 5, "nats", "stopped early")),
        *_at(
            Setting("tags, few", {"window": 1}, seeds=10),
            (
                "least",
                5,
                "nats",
                "rare indicators are known badly, and missed where they are left out",
            ),
            ("pairs", "all", "nats", "what was never seen together counts against it"),
            ("l2", 0.01, "nats", "too little holds nothing back"),
        ),
        *_at(
            Setting("tags, few", {"window": 1, "l2": 0.01}, seeds=10),
            ("l1", 0.5, "nats", "leaves indicators out"),
        ),
    ),
    "bayes_net": (
        *_at(
            Setting("digits", {}, 100),
            ("components", 10, "nats", "digits have unlike dependences, which a tree each can say"),
        ),
        *_at(
            Setting("100 digits", {}, 100),
            ("smoothing", 0.0, "nats", "what was never seen is held for impossible"),
        ),
        *_at(
            Setting("chain of 40", {}, 100, 10),
            (
                "parents",
                {f"x{j}": [j - 1] for j in range(1, 8)},
                "KL",
                "the true chain need not be found",
            ),
        ),
        *_at(
            Setting("two chains", {"components": 2}, 100, 10),
            ("restarts", 1, "nats", "the first start may lead to a worse peak"),
            ("trial", 0, "nats", "starts are told apart by what they lead to"),
            ("tolerance", 0.1, "steps", "stops earlier"),
        ),
        *_at(
            Setting("two chains", {"components": 2, "restarts": 1}, 100, 10),
            ("passes", 1, "nats", "stopped before the trees have settled"),
        ),
    ),
    "hmm": (
        *_at(
            Setting("regimes", {"states": 4}, 200),
            ("states", 2, "KL", "too few for four regimes"),
            ("covariance", "diagonal", "KL", "loses correlations within a state"),
            ("covariance", "tied", "KL", "one shape for states of unlike shape"),
            ("covariance", "spherical", "KL", "the crudest shape"),
            ("components", 3, "KL", "more than these Gaussian states need"),
            ("tolerance", 0.1, "steps", "stops earlier"),
        ),
        *_at(
            Setting("regimes", {"states": 4, "trial": 0, "restarts": 1}, 200, seeds=10),
            ("passes", 2, "KL", "stopped before the states have settled"),
        ),
        *_at(
            Setting("regimes", {"states": 4}, 200, seeds=30),
            ("restarts", 1, "KL", "the first start may lead to a worse peak"),
            ("trial", 0, "KL", "starts are told apart by what they lead to"),
        ),
        *_at(
            Setting("regimes in a cycle", {"states": 4}, 200, seeds=10),
            ("topology", "cycle", "KL", "what cannot follow need not be learned"),
            (
                "allowed",
                [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]],
                "KL",
                "the same, said in full",
            ),
        ),
        *_at(
            Setting("regimes, few", {"states": 4}, 200, seeds=10),
            ("floor", 0.03, "KL", "too wide for the narrowest state"),
        ),
        *_at(
            Setting("regimes of counts", {"states": 4}, 200, seeds=10),
            (
                "count",
                "negative_binomial",
                "KL",
                "a second number a state, which Poisson counts do not need",
            ),
        ),
        *_at(
            Setting("regimes of symbols", {"states": 4}, 200, seeds=10),
            ("smoothing", 0.0, "KL", "symbols that a state never said rule it out"),
            ("smoothing", 10.0, "KL", "too much makes states alike"),
        ),
    ),
    "markov": (
        *_at(
            Setting("words of 40", {}, "1m", seeds=10),
            ("order", 3, "nats", "windows that few words have shown"),
            ("steps", "free", "nats", "a table for each place, where all places are alike"),
            ("end", True, "nats", "lengths have a law too: what the letters' ends say"),
            ("smoothing", 30.0, "nats", "too much makes all codes alike"),
        ),
        *_at(
            Setting("chain with holes", {}, "1m", seeds=10),
            ("passes", 1, "KL", "one pass of EM is not enough with holes"),
            ("tolerance", 0.01, "steps", "stops earlier"),
        ),
    ),
    "topic": (
        *_at(
            Setting("squares", {"topics": 10}, 100, seeds=5),
            ("topics", 5, "nats", "too few for ten topics"),
            ("proportions", "fixed", "nats", "documents seem to mix more topics than they do"),
            ("proportions", "symmetric", "nats", "enough where all topics are as common"),
            ("passes", 5, "nats", "stopped before the topics have formed"),
            ("tolerance", 0.1, "steps", "stops earlier"),
            ("updates", 1, "ms", "passes are cheaper"),
        ),
        *_at(
            Setting("squares", {"topics": 10, "batch": 32}, 5, seeds=5),
            ("decay", 0.6, "nats", "topics form within the first passes"),
        ),
        *_at(
            Setting("squares", {"topics": 10}, 100, seeds=60),
            ("restarts", 4, "nats", "the first start may lead to a worse peak"),
        ),
        *_at(
            Setting("squares", {"topics": 10, "restarts": 4}, 100, seeds=60),
            ("trial", 0, "nats", "starts are told apart by what they lead to"),
        ),
        *_at(
            Setting("squares", {"topics": 10, "proportions": "fixed"}, 100, seeds=5),
            ("alpha", 0.3, "nats", "the weight that the documents were drawn with"),
        ),
        *_at(
            Setting("squares", {"topics": 10, "decay": 0.6}, 10, seeds=5),
            ("batch", 32, "nats", "more steps a pass"),
        ),
        *_at(
            Setting("squares, few", {"topics": 10}, 100, seeds=10),
            ("smoothing", 0.0, "nats", "words that a topic never put rule it out"),
            ("smoothing", 2.0, "nats", "too much makes topics alike"),
        ),
    ),
    "linear_dynamical": (
        *_at(
            Setting("swings", {"latents": 4}, 200),
            ("latents", 2, "KL", "too few for two oscillators"),
            ("tolerance", 0.1, "steps", "stops earlier"),
            ("floor", 0.5, "KL", "more noise than there is"),
        ),
        *_at(
            Setting("swings in common noise", {"latents": 4}, 200),
            ("noise", "full", "KL", "noise that several numbers share"),
        ),
        *_at(
            Setting("swings that grow", {"latents": 4}, 200),
            ("stable", False, "KL", "what grows of itself can be followed"),
        ),
        *_at(
            Setting("swings that grow", {"latents": 4, "stable": False}, 200),
            ("passes", 2, "KL", "stopped before the oscillators have settled"),
        ),
        *_at(
            Setting("swings, few", {"latents": 4}, 200, seeds=10),
            ("smoothing", 0.0, "KL", "where few items began is no law of where others do"),
            ("smoothing", 10.0, "KL", "these few items begin like any step"),
        ),
    ),
    "mixture": (
        *_at(CLUSTERS, ("components", 4, "KL", "too few for eight clusters")),
        *_at(
            Setting("unlike", {"components": 3}, 200),
            ("covariance", "diagonal", "KL", "loses correlations within components"),
            ("covariance", "tied", "KL", "one shape for components of unlike shape"),
            ("covariance", "spherical", "KL", "the crudest shape"),
        ),
        *_at(
            Setting("100 digits", {"components": 10}, 200),
            ("smoothing", 0.01, "nats", "pixels that a component never saw cost dearly"),
            ("smoothing", 3.0, "nats", "too much makes components alike"),
        ),
        *_at(
            Setting("visits", {"components": 2}, 200, 5),
            ("count", "zero_inflated", "nats", "says the zeros apart from the counts"),
            ("count", "poisson", "nats", "has no way to say so many zeros"),
        ),
        *_at(
            Setting("ring of 100", {"components": 20}, 200, 5),
            ("floor", 0.01, "KL", "keeps components from standing on single rows"),
        ),
        *_at(
            Setting("pinwheel", {"components": 15}, 200, 6),
            ("restarts", 1, "KL", "one start is a gamble"),
            ("trial", 0, "KL", "starts judged before any pass are judged worse"),
            ("passes", 3, "KL", "stopped before it converges"),
            ("tolerance", 0.01, "steps", "stops earlier"),
        ),
    ),
    "autoregressive": (
        *_at(
            MASKED,
            ("net", "pixel", "bits", "a small convolutional net is level with a masked one"),
            (
                "hidden",
                [],
                "bits",
                "logistic, learned to the end by L-BFGS: so few steps of a net do not beat it",
            ),
            ("window", 0, "bits", "independent pixels"),
            ("lr", 3e-4, "bits", "too small for so few steps"),
        ),
        *_at(
            Setting("chain", {"hidden": [32], "batch": 128, "ema": 0.99}, 200),
            (
                "net",
                "any_order",
                "stderr",
                "answers any subset directly, but orders of one net disagree by so much",
            ),
        ),
        *_at(
            Setting("chain of 300", MASKED.options),
            ("window", 1, "KL", "a chain's true memory: less to learn"),
        ),
        *_at(
            PIXELS,
            ("width", 4, "bits", "narrower"),
            ("depth", 1, "bits", "sees fewer neighbours"),
            ("patch", 2, "ms", "a quarter of the places, each with four pixels"),
        ),
        *_at(
            Setting("checkerboard", {"hidden": [64, 64], "ema": 0.99}, 400),
            ("real", "spline", "KL", "squares have edges, which normal laws blur"),
        ),
        *_at(
            Setting("funnel", {"hidden": [64, 64], "ema": 0.99, "order": "reverse"}, 400),
            ("real", "log", "KL", "lengths over orders of magnitude: what scales then only shifts"),
        ),
        *_at(
            Setting("checkerboard", {"hidden": [64, 64], "ema": 0.99, "real": "spline"}, 400),
            ("bins", 2, "KL", "too few pieces for two squares with a gap between them"),
        ),
        *_at(
            Setting("banana", {"hidden": [32], "components": 1, "ema": 0.99}, 500),
            (
                "order",
                "reverse",
                "KL",
                "x_1 given x_2 has two peaks, which one component cannot hold",
            ),
        ),
        *_at(
            Setting("ring", {"hidden": [32], "ema": 0.99}, 400),
            ("components", 1, "KL", "one peak for each entry"),
        ),
        *_at(
            Setting("words", {"hidden": [32], "width": 16, "depth": 1, "ema": 0.99}, 300),
            ("end", True, "nats", "log p speaks of the length too, which costs its nats"),
            ("net", "sequence", "nats", "a transformer shares what it learns between places"),
        ),
        *_at(
            Setting("100 digits", {"hidden": []}, 100),
            ("l2", 0.01, "bits", "holds an overfit back"),
        ),
        *_at(
            Setting("regression", {"hidden": [32], "ema": 0.99}, 300),
            ("context", 1, "KL", "one number cannot stand for what two entries need"),
        ),
    ),
    "vae": (
        *_at(
            CODES,
            ("latent", 2, "nats", "too short a code"),
            ("net", "conv", "nats", "convolutions know which pixels are neighbours"),
            ("hidden", [], "nats", "affine nets: little more than principal components"),
            ("activation", "tanh", "nats", "no difference in so few steps"),
        ),
        *_at(
            BRIEF,
            ("beta", 4.0, "rate", "a dearer code says less"),
            (
                "free_bits",
                0.5,
                "rate",
                "makes what is cheaper than half a nat a number worth using",
            ),
            ("kl_warmup", 0.0, "rate", "a code that is dear from the start says less"),
            ("draws", 16, "nats", "trains a tighter bound"),
            ("effort", 1, "nats", "a looser bound from one draw"),
            ("lr", 2e-4, "nats", "too small for so few steps"),
        ),
        *_at(
            BRIEF.with_(draws=16),
            ("draws_from", 1.0, "ms", "plain until the end is cheap"),
            ("draws_from", 1.0, "nats", "and gives up what many draws gain"),
        ),
        *_at(
            CONV,
            ("width", 32, "nats", "more channels"),
            ("depth", 2, "nats", "more blocks"),
            ("norm", True, "nats", "group norm helps in few steps"),
        ),
        *_at(
            Setting("unlike", {"latent": 2, "hidden": [32], "ema": 0.99}, 300),
            ("hide", 0.0, "nats, holes", "a bound of 64 draws does not show what it does"),
        ),
        *_at(
            Setting("ring", {"latent": 2, "hidden": [32], "ema": 0.99}, 400),
            (
                "prior",
                {"family": "mixture", "components": 10},
                "KL",
                "a law of the codes that fits them",
            ),
        ),
        *_at(REALS.with_(components=3), ("real", "mixture", "KL", "several peaks for one code")),
        *_at(
            Setting("funnel", REALS.options, 150),
            ("real", "shared", "KL", "one deviation for all codes"),
        ),
        *_at(
            REALS.with_(real="mixture", components=3),
            ("components", 1, "KL", "one peak for each entry"),
        ),
        *_at(
            Setting("regression", REALS.options, 150),
            ("context", 1, "KL", "one number cannot stand for what two entries need"),
        ),
    ),
    "gan": (
        *_at(
            GAME,
            *(
                ("loss", name, "energy", "one clear ring in so few steps does not tell them apart")
                for name in ("non_saturating", "minimax", "hinge", "wasserstein")
            ),
            ("noise", "discrete", "energy", "16 points to draw from"),
            ("noise", "uniform", "energy", "no better"),
            ("latent", 1, "energy", "a curve; one seed in three suffers"),
            ("codes", 64, "quality", "no difference that three seeds show"),
            ("hidden", [8, 8], "energy", "too small"),
            ("critic_steps", 3, "energy", "no difference that three seeds show"),
            ("critic_steps", 3, "ms", "for its price"),
            ("r1", 0.0, "slope", "the critic grows steep at data"),
            ("r2", 0.0, "slope", "without it too"),
            ("instance_noise", 0.3, "energy", "no help where clusters are wide"),
            ("spectral", True, "slope", "bounds the critic's slope"),
            ("fourier", 8, "quality", "lets the critic see fine detail"),
            ("packing", 4, "uneven", "judges several rows at once, and so their variety"),
            ("activation", "leaky_relu", "ms", "a little cheaper"),
            ("pace", 0.2, "energy", "a slow generator"),
            ("lr", 1e-3, "energy", "too small for so few steps"),
            ("settling", 3.0, "energy", "an earlier rest does not help so short a game"),
            ("critic_settling", 0.0, "energy", "no difference here"),
            ("activation", "leaky_relu", "energy", "no difference that three seeds show"),
            ("beta1", 0.9, "quality", "momentum makes the two players circle each other"),
            ("beta2", 0.9, "energy", "no difference here"),
            ("ema", 0.0, "energy", "once the rate has fallen there is little to average"),
            ("clip", 0.1, "energy", "no difference here"),
        ),
        *_at(
            GAME.with_(loss="non_saturating", r1=0.0, r2=0.0), ("unroll", 3, "modes", "keeps modes")
        ),
        *_at(
            GAME.with_(fourier=8),
            ("fourier_high", 1.0, "quality", "coarse waves show no fine detail"),
        ),
        *_at(NOISY, ("fall", 1.0, "quality", "noise that stays blurs what is learned")),
        *_at(WASSERSTEIN, ("gradient_penalty", 0.0, "slope", "nothing bounds the critic")),
        *_at(PICTURES, ("width", 2, "energy", "too narrow")),
        *_at(
            Setting("regression", GAME.options, 250),
            ("context", 1, "energy", "one number cannot stand for what two entries need"),
        ),
    ),
    "flow": (
        *_at(
            FLOW,
            ("transform", "affine", "KL", "affine maps bend too little"),
            ("net", "coupling", "KL", "half of the variables at a time bends less"),
            ("layers", 1, "KL", "one map is not enough"),
            ("hidden", [4], "KL", "conditioners too small"),
            ("bins", 2, "KL", "pieces too coarse"),
            ("bound", 1.0, "KL", "what lies outside is not bent"),
            ("lr", 1e-4, "KL", "too small for so few steps"),
        ),
        *_at(
            Setting("unlike", {"layers": 2, "hidden": [32], "net": "coupling"}, 150),
            ("mixing", "permutation", "KL", "linear maps mix more than a change of order"),
            ("mixing", "none", "KL", "halves in turn do as well here"),
        ),
        *_at(
            Setting("chain", {"layers": 2, "hidden": [32, 32]}, 300),
            ("dequantise", "variational", "KL", "a spread that is learned tightens the bound"),
        ),
        *_at(
            Setting("regression", {"layers": 2, "hidden": [32]}, 300),
            ("context", 1, "KL", "one number cannot stand for what two entries need"),
        ),
    ),
    "diffusion": (
        *_at(
            DENOISE,
            (
                "path",
                "cosine",
                "KL",
                "none: where times follow the noise, paths are one law in other clocks",
            ),
            ("noise_min", 0.5, "KL", "blurs what is finer"),
            ("width", 8, "KL", "too narrow"),
            ("depth", 1, "KL", "too shallow"),
            ("times", "log_snr", "KL", "practises all noise alike, most of which says little"),
            ("times", "uniform", "KL", "practises where the path happens to dwell"),
            ("times_mean", 1.0, "KL", "practises noise that hides everything"),
            ("times_std", 0.2, "KL", "practises one size of noise"),
            ("weight", "noise", "KL", "weighs fine noise most"),
            ("weight", "data", "KL", "weighs coarse noise most"),
            ("steps", 2, "KL", "a coarse ODE"),
            ("steps", 4, "calls", "fewer passes of the net"),
            ("lr", 3e-4, "KL", "too small for so few steps"),
            ("batch", 32, "KL", "fewer rows a step see less"),
        ),
        *_at(
            DENOISE.with_(times="uniform"),
            *(
                ("path", name, "KL", "another clock spends training elsewhere")
                for name in ("cosine", "ddpm", "edm")
            ),
        ),
        *_at(
            Setting("gaussian", DENOISE.options, 200),
            ("fade", False, "KL, bound", "fine noise has to be learned too"),
        ),
        *_at(
            DENOISE.with_(path="edm"),
            ("noise_max", 2.0, "energy", "no difference at 200 steps"),
        ),
        *_at(DENOISE.with_(path="ddpm"), ("chain", 200, "KL, bound", "a looser bound is not seen")),
        *_at(
            Setting("chain", {"width": 32, "depth": 2, "batch": 256, "ema": 0.99}, 300),
            ("process", "gaussian", "KL", "noise on codes bounds them loosely"),
        ),
        *_at(
            Setting("digits", {"width": 16, "depth": 1, "batch": 128, "ema": 0.99}, 150),
            ("net", "unet", "bits", "convolutions know what pixels are near"),
        ),
        *_at(
            Setting("regression", {"width": 32, "depth": 2, "batch": 256, "ema": 0.99}, 300),
            ("context", 1, "KL", "one number cannot stand for what two entries need"),
        ),
    ),
    "vi": (
        *_at(
            LATENTS,
            ("rank", "diagonal", "gap", "independent entries cannot hold a correlation"),
            ("draws", 4, "gap", "noisier steps"),
            ("spread", 0.01, "gap", "begins further off"),
            ("lr", 0.005, "gap", "too small for so few steps"),
        ),
        *_at(
            LATENTS.with_(draws=8),
            ("gradient", "score", "gap", "noisier: nearer to the best takes longer"),
        ),
        *_at(
            replace(LATENTS, steps=400),
            ("target", "bench.options_measures:heavy", "tail", "a tail that no Gaussian has"),
        ),
    ),
}
