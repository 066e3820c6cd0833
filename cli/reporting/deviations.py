"""What differs from the experiment of 2016, as a table: nobody shall have to find it out alone.

Its middle column is from the code that was published with the post (sigopt/sigopt-examples, `tensorflow-cnn`, commits
6933a77 and later), and from the post's text where that says something else. The post's tables are images: no number
here is from them.
"""

import math
from collections.abc import Iterator
from typing import Final, assert_never

from cnnbo.cli.output import scalar, times
from cnnbo.cli.reporting.captions import data_name
from cnnbo.cli.reporting.parts import Column, Table
from cnnbo.cli.reporting.read import Record
from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.comparison import FINALISTS, Members, lines
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from cnnbo.scheduler.spec import Plan, Stage, StudySpec

SAME: Final = "the same"

_TRAIN: Final = 385_297
_VALIDATION: Final = 67_994
_TUNING: Final = 604_388
_TEST: Final = 26_032
_BATCH: Final = 10_000
_EVALUATIONS: Final = 80
_RUNS: Final = 5

_SPACE: Final = (
    IntParameter("filter1_width", 3, 10),
    IntParameter("filter1_depth", 10, 64),
    IntParameter("filter2_width", 3, 10),
    IntParameter("filter2_depth", 10, 64),
    FloatParameter("keep_probability", 0.2, 1.0),
    FloatParameter("learning_rate", 1e-5, 1.0, "log"),
    FloatParameter("momentum", 0.5, 1.0),
    FloatParameter("decay", 0.5, 1.0),
)

_COLUMNS: Final = (
    Column("aspect", "Aspect"),
    Column("in_2016", "2016"),
    Column("here", "Here"),
    Column("why", "Why it matters"),
)

Row = tuple[str, str, str, str]
"""Aspect, 2016, here, why it matters."""


def differences(record: Record) -> Table | None:
    """The table for a study or comparison of the network of 2016; None for one of another program."""
    if record.spec.model != SVHN_CNN.name:
        return None
    rows = (*_images(record), *_training(record), *_space(record.spec), *_search(record), *_judgement(record))
    return Table(
        "table-differences",
        "What differs from 2016",
        "2016: from the code published with the post, and from the post's text where that says something else. The "
        "post's tables are images; no number of theirs is used.",
        _COLUMNS,
        rows,
    )


def _images(record: Record) -> Iterator[Row]:
    data, sides = record.facts.data, record.facts.data.sides
    tuning = None if sides is None else sum(sides)
    counts = f"{_number(tuning)} for tuning (train + extra), {_number(data.images.get('test'))} to test"
    is_whole = data.is_svhn and (tuning, data.images.get("test")) == (_TUNING, _TEST)
    yield (
        "Images",
        f"SVHN: {_TUNING:,} for tuning (train + extra), {_TEST:,} to test",
        SAME if is_whole else f"{data_name(record.context) or 'unknown'}: {counts}",
        "Accuracies on different images can't be compared with each other; methods on the same images can.",
    )
    yield (
        "Split",
        f"three quarters of train + extra: {_TRAIN:,} to train, {_VALIDATION:,} to validate (85 to 15)",
        "all of train + extra, 80 to 20"
        if sides is None
        else f"all of train + extra: {sides[0]:,} to train, {sides[1]:,} to validate (80 to 20)",
        "Trials train on other numbers of images, and accuracies are measured on other numbers.",
    )
    yield (
        "Order of the images",
        "drawn once by the split, which is the same in every run; not shuffled afterwards",
        SAME,
        "Every run sees the same images in the same order: what differs is the search.",
    )
    yield (
        "Grey pixels",
        "luma with the weights 0.2125, 0.7154, 0.0721, in 64-bit numbers",
        "the same weights, in 32-bit numbers",
        "Rounding only.",
    )
    yield (
        "Scaling",
        "each image by itself to mean 0 and variance 1",
        SAME,
        "Scaling by the mean of all images would be another task.",
    )


def _training(record: Record) -> Iterator[Row]:
    trial, sides = record.spec.trial, record.facts.data.sides
    trained = trial.images if sides is None else min(trial.images or sides[0], sides[0])
    yield (
        "Images trained on in a trial",
        f"all {_TRAIN:,} of the training side",
        f"{_number(trained)} of the training side" if trial.images else f"all {_number(trained)} of the training side",
        "Fewer images make quick trials, which may favour other configurations.",
    )
    updates = "" if trained is None else f" ({math.ceil(trained / trial.batch_size) * trial.epochs:,} updates)"
    yield (
        "Images per update",
        f"{_BATCH:,} ({math.ceil(_TRAIN / _BATCH)} updates); 100 in the code's later version for GPUs",
        f"{trial.batch_size:,}{updates}",
        "Few updates of large batches learn little and depend much on the initial weights.",
    )
    yield "Epochs", "1", SAME if trial.epochs == 1 else str(trial.epochs), "Longer trainings reach higher accuracies."
    yield (
        "Network",
        "two convolutions with ReLU and max pooling, 1,024 hidden units, dropout, softmax; weights from a truncated "
        "normal of standard deviation 0.1, biases 0.1",
        SAME,
        "What is tuned is this network.",
    )
    yield (
        "Loss",
        "sum over the batch of the negative log of the softmax, which is NaN once a probability rounds to 0",
        "the same sum, computed from the logits, where nothing rounds to 0",
        "Trainings that broke by rounding alone in 2016 go on here.",
    )
    yield (
        "RMSProp",
        "TensorFlow 1's: the mean square starts at 1, ε = 1e-10 under the root",
        SAME,
        "Keras's starts at 0: the same learning rate would mean longer first steps.",
    )
    yield (
        "A network that becomes NaN",
        "not noticed: it answers the first class, the most frequent digit, and scores that share (17 to 20 %)",
        "the trial ends as diverged, without a value; the optimizer is told of a failure",
        "A plateau with a cliff misleads a surrogate, and is no accuracy.",
    )
    early = "ends early when all answers are equal; its" if trial.stop_at_chance else "is trained to the end; its"
    here = f"it {early} score counts, marked as at chance where luck explains it, and the optimizer is told that bound"
    yield (
        "A network that stays at the majority class",
        "a value like any other",
        here,
        "Differences on that plateau are luck, which would mislead a surrogate; the rule is the same for every method.",
    )


def _space(spec: StudySpec) -> Iterator[Row]:
    ours = {parameter.name: parameter for parameter in spec.space.parameters}
    differing = [parameter for parameter in _SPACE if ours.get(parameter.name) != parameter]
    for parameter in differing:
        own = ours.get(parameter.name)
        fixed = f"not searched: {scalar(SVHN_CNN.defaults[parameter.name])}"
        yield (
            f"Range of {parameter.name}",
            _range(parameter),
            fixed if own is None else _range(own),
            _WHY_RANGE.get(parameter.name, "Other networks can be found, and trials take another time."),
        )
    rest = "other parameters" if differing else "eight parameters"
    if len(differing) < len(_SPACE):
        yield f"Ranges of the {rest}", "as in the published code", SAME, "The search has the same room there."


_WHY_RANGE: Final = {
    "momentum": "A momentum of 1 never forgets: that edge is lethal by construction.",
    "decay": "A decay of 1 freezes the mean square: that edge is lethal by construction.",
}


def _range(parameter: Parameter) -> str:
    match parameter:
        case CategoricalParameter():
            return "one of " + ", ".join(scalar(choice) for choice in parameter.choices)
        case IntParameter() | FloatParameter():
            scale = "" if parameter.scale == "linear" else f", {parameter.scale}"
            return f"{scalar(parameter.low)} to {scalar(parameter.high)}{scale}"
        case _ as unreachable:
            assert_never(unreachable)


def _search(record: Record) -> Iterator[Row]:
    spec, plan = record.spec, _plan(record.members)
    methods = [spec.optimizer] if plan is None else list(plan.methods)
    yield (
        "Methods",
        "SigOpt's service, told a standard deviation of 0.05 with every value, and random search",
        f"cnnbo's {', '.join(methods)}",
        "The claim is tested for Bayesian optimisation, not for that service.",
    )
    evaluations = spec.evaluations if plan is None else plan.evaluations
    twice = f"; random search goes on to {2 * evaluations} as a further line" if _is_doubled(plan) else ""
    yield (
        "Evaluations of a run",
        f"{_EVALUATIONS} in the post, 100 in the code",
        f"{evaluations}; failed ones count{twice}",
        "With fewer evaluations methods differ less, or more: the traces show where.",
    )
    runs = 1 if plan is None else plan.runs
    yield (
        "Runs of each method",
        str(_RUNS),
        SAME if runs == _RUNS else str(runs),
        "So few runs make wide intervals; with 5 against 5 no two-sided p-value is below 0.0079.",
    )
    yield (
        "Seeds",
        "of the split only: weights and dropout differ every time",
        f"everything from the seed {spec.seed if plan is None else plan.seed}; "
        "trial k of a run trains with the seed of trial k in the other methods' run of that number (paired)",
        "Proposals repeat bit for bit; trainings as far as TensorFlow does on the same machine.",
    )
    devices = len({a.device for s in record.studies for t in s.trials for a in t.attempts})
    side_by_side = f"up to {devices}" if devices else "as many as there are devices"
    yield (
        "Trials side by side",
        "not told by the published code; the post reckons with 50 GPUs and perfect scaling",
        f"{side_by_side}, shared by all runs in turn" if plan else side_by_side,
        "A proposal knows what is running, but not what it will come to; no method gets the quiet hours.",
    )


def _is_doubled(plan: Plan | None) -> bool:
    return plan is not None and any(line.is_twice for line in lines(plan))


def _plan(members: Members | None) -> Plan | None:
    return None if members is None else members.plan


def _judgement(record: Record) -> Iterator[Row]:
    others = {} if record.members is None else record.members.others
    plan = _plan(record.members)
    if Stage.UNTUNED in others or _begins_untuned(record.spec):
        yield (
            "The untuned configuration",
            "not in the published code",
            "our reading of TensorFlow's tutorial of that year, whose network has the same layers",
            "The gain by tuning depends on what it is compared with.",
        )
    if Stage.FOREST in others:
        forest = record.facts.software.packages.get("scikit-learn")
        yield (
            "The random forest",
            "scikit-learn's, with its defaults of that year (10 trees)",
            f"scikit-learn's{f' {forest}' if forest else ''}, with its defaults of today (100 trees)",
            "More trees are a stronger baseline.",
        )
    if plan is not None:
        yield (
            "What a run chooses",
            "the best found",
            f"that, and beside it the best of its {FINALISTS} after {plan.confirm} more trainings with fresh seeds"
            if plan.confirm
            else SAME,
            "The best of many noisy values is partly luck.",
        )
    yield (
        "The test set",
        "loaded; in the published code the line that scores it is commented out",
        f"opened {times(record.test_set_openings)}, each time to score one final training on all tuning data"
        if record.test_set_openings
        else "not opened (yet): it is for final trainings on all tuning data, once for each",
        "What is looked at often is tuned for.",
    )
    packages = record.facts.software.packages
    yield (
        "Software",
        "TensorFlow 0.7.1, Python 2.7",
        f"TensorFlow {packages.get('tensorflow', '(not installed here)')}, Python {record.facts.software.python}",
        "The same arithmetic, in another order: no number repeats to its last digit.",
    )


def _begins_untuned(spec: StudySpec) -> bool:
    return any(all(SVHN_CNN.defaults.get(name) == value for name, value in start.items()) for start in spec.start)


def _number(count: int | None) -> str:
    return "an unknown number" if count is None else f"{count:,}"
