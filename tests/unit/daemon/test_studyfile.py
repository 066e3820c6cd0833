from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cnnbo.daemon.studyfile import load_study, parse_study
from cnnbo.models.registry import find_model
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.sharing import Hours, Yield
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter
from cnnbo.scheduler.spec import Budget, Direction, StudySpec

CWD = Path("/home/me")

FULL = """\
name = "svhn"
model = "svhn-cnn"
evaluations = 60
optimizer = "bo"
initial = 9
seed = 7
metric = "val_accuracy"
direction = "maximize"
[space]
learning_rate = { type = "float", low = 1e-5, high = 1.0, scale = "log" }
filter1_width = { type = "int", low = 3, high = 10 }
momentum = { type = "float", low = 0.5, high = 0.999, scale = "reverse-log" }
[[start]]
learning_rate = 1e-3
[[start]]
momentum = 0.9
filter1_width = 4
learning_rate = 1e-2
[data]
dir = "data/digits"
[trial]
epochs = 2
batch_size = 10_000
timeout = "2h"
memory = "16GiB"
stop_at_chance = false
python = "/opt/tf/bin/python"
[budget]
wall_clock = "1h30m"
cost = 100.0
energy_kwh = 5
price_per_device_hour = 2.60
[devices]
max = 2
hours = "20:00-08:00"
yield = "stop"
"""

COMMAND = """\
name = "mine"
command = ["python", "train.py", "{args}"]
[space]
lr = { type = "float", low = 0.1, high = 1 }
"""

MODEL = 'name = "a"\nmodel = "svhn-cnn"\ndata.dir = "d"\n'


def parsed(text: str, data: str | None = None) -> StudySpec:
    return parse_study(text, "train.toml", cwd=CWD, data_override=data)


def problems(text: str, data: str | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parsed(text, data)
    return list(caught.value.problems)


def the_problem(text: str) -> str:
    (problem,) = problems(text)
    return problem


def test_every_key_reaches_the_study() -> None:
    """A key that is read and then dropped is the worst kind of mistake."""
    spec = parsed(FULL)
    assert (spec.name, spec.model, spec.command) == ("svhn", "svhn-cnn", ())
    assert (spec.evaluations, spec.optimizer, spec.initial, spec.seed) == (60, "trieste", 9, 7)
    assert (spec.metric, spec.direction) == ("val_accuracy", Direction.MAXIMIZE)
    assert spec.space.parameters == (
        FloatParameter("learning_rate", 1e-5, 1.0, "log"),
        IntParameter("filter1_width", 3, 10),
        FloatParameter("momentum", 0.5, 0.999, "reverse-log"),
    )
    assert (spec.data_dir, spec.max_devices, spec.origin.cwd) == ("/home/me/data/digits", 2, "/home/me")
    assert (spec.hours, spec.yields) == (Hours(20 * 60, 8 * 60), Yield.STOP)
    assert (spec.trial.epochs, spec.trial.batch_size, spec.trial.timeout_s) == (2, 10_000, 7200.0)
    assert (spec.trial.memory_mib, spec.trial.stop_at_chance) == (16_384.0, False)
    assert spec.trial.python == "/opt/tf/bin/python"
    assert spec.budget == Budget(wall_clock_s=5400.0, cost=100.0, energy_kwh=5.0, price_per_device_hour=2.6)


def test_a_start_is_completed_from_the_models_defaults_in_the_order_of_the_space() -> None:
    """The contract's example names one value only; equal configurations must be equal whatever their order."""
    starts = [dict(start) for start in parsed(FULL).start]
    assert starts == [
        {"learning_rate": 1e-3, "filter1_width": 5, "momentum": 0.5},
        {"learning_rate": 1e-2, "filter1_width": 4, "momentum": 0.9},
    ]
    assert list(starts[1]) == ["learning_rate", "filter1_width", "momentum"]


def test_a_model_brings_its_space_its_defaults_and_its_figures() -> None:
    """Three lines are enough for a first study."""
    model = find_model("svhn-cnn")
    spec = parsed(MODEL)
    assert (spec.space, spec.start) == (model.space, (dict(model.defaults),))
    assert (spec.metric, spec.direction) == (model.metric, Direction(model.direction))
    assert (spec.trial.epochs, spec.trial.batch_size) == (model.epochs, model.batch_size)
    assert (spec.evaluations, spec.initial, spec.optimizer) == (80, None, "trieste")


def test_defaults_outside_of_the_given_space_are_not_tried_first() -> None:
    """The study said where to look; the model's default learning rate of 1e-4 is not there."""
    spec = parsed(MODEL + '[space]\nlearning_rate = { type = "float", low = 0.1, high = 1.0 }\n')
    assert spec.start == ()


def test_a_command_needs_no_more_than_its_space() -> None:
    """A script of one's own has no defaults that cnnbo could know."""
    spec = parsed(COMMAND)
    assert spec.command == ("python", "train.py", "{args}")
    assert (spec.start, spec.metric, spec.data_dir) == ((), "value", None)


@pytest.mark.parametrize(("written", "chance"), [("0.14", 0.14), ("-2", -2.0), ("2.25e0", 2.25)])
def test_what_luck_explains_needs_no_pattern(written: str, chance: float) -> None:
    """A script that writes a result file may know less than its user."""
    assert parsed(COMMAND + f"[report]\nchance = {written}\n").report.chance == chance
    assert parsed(COMMAND).report.chance is None


def test_choices_keep_their_types() -> None:
    """1, 1.0, true and "1" are four different choices."""
    space = 'act = { type = "categorical", choices = [1, 1.0, true, "1"] }\n'
    (_, parameter) = parsed(COMMAND + space).space.parameters
    assert parameter == CategoricalParameter("act", (1, 1.0, True, "1"))
    assert isinstance(parameter, CategoricalParameter)
    assert [type(choice) for choice in parameter.choices] == [int, float, bool, str]


@pytest.mark.parametrize(
    ("override", "expected"), [(None, "/home/me/d"), ("x/y", "/home/me/x/y"), ("/data/svhn", "/data/svhn")]
)
def test_data_counts_from_the_callers_folder_and_the_flag_wins(override: str | None, expected: str) -> None:
    """The study may be run by a daemon that stands elsewhere."""
    assert parsed(MODEL, data=override).data_dir == expected


@pytest.mark.parametrize(("override", "culprit"), [("", '""'), ("~/d", 'the ~ of "~/d"'), ("a\0", '"a\\u0000"')])
def test_a_data_flag_that_names_no_folder_is_refused(override: str, culprit: str) -> None:
    """bash leaves the ~ of --data=~/d alone, and a folder called ~ is not what was meant."""
    (problem,) = problems(MODEL, override)
    assert f"--data: {culprit} is " in problem


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("5min", 300), ("2h", 7200), ("1d", 86400), ("1.5h", 5400)]
)
def test_times_carry_their_unit(text: str, seconds: float) -> None:
    """A bare 90 would be seconds to one and minutes to another."""
    assert parsed(COMMAND + f'[trial]\ntimeout = "{text}"\n').trial.timeout_s == seconds


@pytest.mark.parametrize(("text", "mebibytes"), [("16GB", 16e9 / 2**20), ("512MB", 512e6 / 2**20), ("2GiB", 2048)])
def test_memory_is_decimal_unless_it_says_binary(text: str, mebibytes: float) -> None:
    """GB and GiB mean what the standard says."""
    assert parsed(COMMAND + f'[trial]\nmemory = "{text}"\n').trial.memory_mib == pytest.approx(mebibytes)


def test_all_mistakes_are_told_at_once_from_top_to_bottom() -> None:
    """Fixing a file one message at a time is what people quit over."""
    text = """\
name = "svhn x"
command = ["python", "train.py", "--out={args}"]

n_trials = 100
sed = 1
[space]
width = { type = "int", low = 3, high = 10 }

lr = { type = "float", low = 0, high = 1, scale = "log" }
drop = { min = 0, max = 1 }
[trial]
timeout = 3
epochs = true
"""
    found = problems(text)
    assert [problem.split("  ")[0] for problem in found] == [
        f"train.toml:{line}" for line in (1, 2, 4, 5, 9, 10, 10, 12, 13)
    ]
    assert found[0].endswith('name: must be 1 to 40 of a-z, 0-9 and "-", not "svhn x"; try "svhn-x".')
    assert found[2].endswith('"n_trials" is Optuna\'s word; here it is "evaluations".')
    assert found[3].endswith('"sed" is no key of a study file; did you mean "seed"?')
    assert 'space.lr: scale = "log" needs low above 0, and low is 0' in found[4]
    assert found[5].endswith('space.drop: "min" is W&B\'s word; here it is "low".')
    assert found[8].endswith("trial.epochs: must be a whole number, not true.")


# What is wrong, added to a study that is well, with a part of the sentence that must come of it.
AT_THE_TOP = [
    ("evaluations = 0", "evaluations: must be at least 1, not 0."),
    ("evaluations = 80.0", "evaluations: must be a whole number, not 80.0."),
    ('evaluations = "80"', 'evaluations: must be a whole number, not "80".'),
    ("evaluations = 5\ninitial = 6", "initial: 6 is more than the 5 evaluations; lower it."),
    ("initial = -1", "initial: must be at least 0, not -1."),
    ("seed = -1", "seed: must be at least 0, not -1."),
    ("num_samples = 3", '"num_samples" is Ray\'s word; here it is "evaluations".'),
    ("run_cap = 3", '"run_cap" is W&B\'s word; here it is "evaluations".'),
    ('method = "bayes"', '"method" is W&B\'s word; here it is "optimizer".'),
    ('sampler = "tpe"', '"sampler" is Optuna\'s word; here it is "optimizer".'),
    ('goal = "maximize"', '"goal" is W&B\'s word; here it is "direction".'),
    ('optimizer = "bayes"', 'there is none called "bayes"; the nearest here is "bo".'),
    ('optimizer = "sobel"', 'there is none called "sobel"; did you mean "sobol"?'),
    ('direction = "max"', 'direction: "max" is "maximize" here.'),
    ('direction = "maximise"', 'direction: "maximise" is "maximize" here.'),
    ('direction = "sideways"', 'direction: "sideways" is not known; known are maximize, minimize.'),
    ('metric = { name = "loss", goal = "minimize" }', 'the goal is the key "direction".'),
    ('metric = ""', "metric: must not be empty"),
    ("timeout = 3", '"timeout" is no key of a study file; it belongs into the table [trial].'),
    ("start = { lr = 0.5 }", "write [[start]] with two brackets"),
    ('model = "svhn-cnn"', "command: a study has a model or a command; remove one of the two."),
    ("space = 3", "space: must be a table, not 3."),
    ("trial = 3", "trial: must be a table, not 3."),
    ('"\\u001b[31m" = 3', '"\\u001b[31m" is no key of a study file'),
]


@pytest.mark.parametrize(("lines", "sentence"), AT_THE_TOP)
def test_mistakes_at_the_top_are_named(lines: str, sentence: str) -> None:
    """Each is a slip that somebody makes on the first day."""
    text = COMMAND if not lines.startswith("space") else COMMAND.split("[space]")[0]
    found = problems(f"{lines}\n{text}")
    assert any(sentence in problem for problem in found), found


IN_THE_SPACE = [
    ('x = { type = "float", low = 1, high = 1 }', "space.x: low must be below high"),
    ('x = { type = "int", low = 5, high = 3 }', "space.x: low must be below high"),
    ('x = { type = "int", low = 5, high = 5 }', "low is 5, high is 5; leave a value that never changes out of the"),
    ('x = { type = "categorical", choices = ["a"] }', "at least two entries, and has 1; leave a value that never"),
    ('x = { type = "int", low = 1.0, high = 3 }', 'space.x: type = "int" needs whole numbers as low and high'),
    ('x = { type = "float", low = true, high = 3 }', "space.x.low: must be a number, not true."),
    ('x = { type = "float", low = "0", high = 3 }', 'space.x.low: must be a number, not "0".'),
    ('x = { type = "float", high = 3 }', 'space.x: low is missing; type = "float" needs it.'),
    ('x = { type = "float", low = 0, high = 1, choices = [1, 2] }', 'space.x: type = "float" has no choices'),
    ('x = { type = "float", low = 1e10, high = 10000000000.000002, scale = "log" }', "too close to tell apart"),
    ('x = { type = "float", low = 0.5, high = 1, scale = "reverse-log" }', "needs high below 1"),
    ('x = { type = "float", low = 0.5, high = 1, scale = "log10" }', 'space.x.scale: "log10" is "log" here.'),
    ('x = { type = "categorical", choices = [] }', "space.x: choices needs at least two entries"),
    ('x = { type = "categorical", choices = ["a", "a"] }', "space.x: choices holds the same entry twice"),
    ('x = { type = "categorical", choices = ["a", ["b"]] }', "space.x.choices no. 2: must be a number, a text"),
    ('x = { type = "double", low = 0, high = 1 }', 'space.x.type: "double" is "float" here.'),
    ("x = { low = 0, high = 1 }", 'space.x: type is missing; this looks like type = "int"'),
    ('x = { type = "float", low = 0, hihg = 1 }', '"hihg" is no key of space.x; did you mean "high"?'),
    ("x = { values = [1, 2] }", 'space.x: "values" is W&B\'s word; here it is "choices".'),
    (
        'x = { type = "float", low = 1, high = 2, log = true }',
        'space.x: "log" is Optuna\'s word; here it is scale = "log".',
    ),
    ('x = { type = "float", lower = 1, high = 2 }', 'space.x: "lower" is Ray\'s word; here it is "low".'),
    ("x = 3", "space.x: must be a table like"),
    ("seed = 3", '"seed" stands in [space]; move it above the first [table] of the file.'),
    ('"a b" = { type = "float", low = 0, high = 1 }', 'space: "a b" can\'t be handed to a script'),
    ('LR = { type = "float", low = 0, high = 1 }', "space: lr and LR would share the variable CNNBO_PARAM_LR"),
    ('args = { type = "float", low = 0, high = 1 }', "space.args: {args} stands for all parameters"),
]


@pytest.mark.parametrize(("line", "sentence"), IN_THE_SPACE)
def test_mistakes_in_the_space_are_named_once(line: str, sentence: str) -> None:
    """A parameter with a mistake must not drag a second message along."""
    problem = the_problem(COMMAND + line + "\n")
    assert sentence in problem
    assert problem.startswith("train.toml:" + ("3" if "LR" in line else "5"))


IN_TABLES = [
    ("[trial]\nepoch = 1", '"epoch" is no key of trial; did you mean "epochs"?'),
    ("[trial]\nbatch_size = 0", "trial.batch_size: must be at least 1, not 0."),
    ('[trial]\nmemory = "16G"', 'trial.memory: must be an amount with its unit, like "512MB"'),
    ('[trial]\nmemory = "0GB"', "trial.memory: must be an amount from 1MiB on"),
    ('[trial]\ntimeout = "0s"', "trial.timeout: must be a time above zero"),
    ('[trial]\ntimeout = "2 hours"', 'trial.timeout: must be a time with its unit, like "90s"'),
    ("[trial]\nevaluations = 3", '"evaluations" stands in [trial]; move it above the first [table] of the file.'),
    ("[budget]\ncost = 5", "budget.cost: nothing costs anything without a price; add price_per_device_hour"),
    ("[budget]\nenergy_kwh = 0", "budget.energy_kwh: must be above 0"),
    ("[budget]\ntimeout = 3", "it belongs into the table [trial]."),
    ("[devices]\nmax = 0", "devices.max: must be at least 1, not 0."),
    ('[report]\npattern = "acc: ("', "is no regular expression"),
    ('[report]\npattern = "a{99999999999999999999}"', "is no regular expression"),
    ('[report]\npattern = "acc: [0-9.]+"', "has no group; put ( ) around the number"),
    ("[report]\nchance = nan", "report.chance: must be finite, not nan; write a number."),
    ("[report]\nchance = -inf", "report.chance: must be finite, not -inf; write a number."),
    (f"[report]\nchance = 1{'0' * 400}", "report.chance: is a whole number beyond 2**53; use a smaller one."),
    ('[report]\nchance = "0.14"', 'report.chance: must be a number, not "0.14".'),
    ("[report]\nchance = true", "report.chance: must be a number, not true."),
    ("[report]\nchanse = 0.14", '"chanse" is no key of report; did you mean "chance"?'),
    ("[trial]\nchance = 0.14", '"chance" is no key of trial; it belongs into the table [report].'),
    ('[report]\nuse = "best"', "report.use: says which match of report.pattern counts; add a pattern."),
    ('[data]\ndir = "~/digits"', 'data.dir: the ~ of "~/digits" is not expanded here'),
    ("[foo]\na = 1", '"foo" is no key of a study file'),
    ("[[start]]\nlr = 7", "start no. 1: lr = 7 is not a number from 0.1 to 1"),
    ("[[start]]\nlr = 0.5\nlrr = 1", 'start no. 1: "lrr" is no parameter of this space; did you mean "lr"?'),
    (
        "[[start]]\nlr = 0.5\nseed = 1",
        '"seed" is no parameter of this space; move it above the first [table].',
    ),
    ("[[start]]", "start no. 1: lr is missing"),
    ("[[start]]\nlr = [1]", "start no. 1.lr: must be a number, a text in quotes, true or false, not a list."),
    ("[[start]]\nlr = 0.5\n[[start]]\nlr = 0.5", "start no. 2: is the same as no. 1, and each is tried once"),
]


@pytest.mark.parametrize(("lines", "sentence"), IN_TABLES)
def test_mistakes_in_tables_are_named_once(lines: str, sentence: str) -> None:
    """The line is that of the culprit: the last one of each text here, but for whole tables."""
    problem = the_problem(COMMAND + lines + "\n")
    assert sentence in problem
    last = 4 + lines.count("\n") + 1
    assert int(problem.split(":")[1].split("  ")[0]) in (last, last - 1)


OF_MODELS = [
    ('name = "a"\nmodel = "svhn-cnn"', "data.dir is missing: svhn-cnn needs a folder of images; or give --data DIR."),
    ('name = "a"\nmodel = "svhn"\ndata.dir = "d"', 'There is no model "svhn"; did you mean "svhn-cnn"?'),
    ('model = "svhn-cnn"\ndata.dir = "d"', 'name is missing; give the study one, like name = "svhn".'),
    ('name = "a"', "what to train is missing"),
    (MODEL + 'metric = "loss"', 'metric: svhn-cnn reports "val_accuracy"'),
    (MODEL + "[report]\nchance = 0.14", "report: svhn-cnn reports by itself, what luck explains included; remove"),
    (
        MODEL + '[report]\npattern = "(a)"',
        "report: svhn-cnn reports by itself, what luck explains included; remove the table.",
    ),
    (MODEL + "[space]", "space: name at least one parameter."),
    (MODEL + '[space]\nwidth = { type = "int", low = 1, high = 2 }', "space.width: svhn-cnn has no such parameter"),
    (
        MODEL + '[space]\nfilter1_width = { type = "float", low = 3, high = 9 }',
        'space.filter1_width: svhn-cnn takes whole numbers here; use type = "int".',
    ),
    (
        MODEL + '[space]\nfilter1_width = { type = "categorical", choices = [3, "5"] }',
        'space.filter1_width: svhn-cnn can\'t take "5" here',
    ),
    ('name = "a"\ncommand = ["x"]', "[space] is missing: name the parameters that the command is to be given."),
]


@pytest.mark.parametrize(("text", "sentence"), OF_MODELS)
def test_what_model_or_command_needs_is_asked_for(text: str, sentence: str) -> None:
    """Found before the first trial starts, not by the first trial."""
    assert sentence in the_problem(text + "\n")


def test_a_sweep_of_wandb_is_translated_key_by_key() -> None:
    """One message per word, and none about what follows from it."""
    text = """\
name = "sweep"
program = "train.py"
method = "bayes"
metric = { name = "loss", goal = "minimize" }
[parameters.lr]
min = 0.1
max = 1.0
"""
    found = problems(text)
    assert [problem.split("  ")[0] for problem in found] == [f"train.toml:{line}" for line in (2, 3, 4, 5)]
    assert found[0].endswith('"program" is W&B\'s word; here it is "command", a list of words.')
    assert found[3].endswith('"parameters" is W&B\'s word; here it is the table [space].')


def test_a_command_written_as_one_text_is_shown_as_a_list() -> None:
    """Who comes from W&B or a shell writes a line; the remedy can be pasted."""
    problem = the_problem(COMMAND.replace('["python", "train.py", "{args}"]', '"python train.py {args}"'))
    assert problem.endswith('command: must be a list of words, not one text; write ["python", "train.py", "{args}"].')


def test_more_starts_than_evaluations_are_refused() -> None:
    """Some would never be tried."""
    text = "evaluations = 1\n" + COMMAND + "[[start]]\nlr = 0.5\n[[start]]\nlr = 0.6\n"
    assert "2 configurations don't fit into 1 evaluations" in the_problem(text)


def test_a_command_may_read_its_parameters_from_the_environment() -> None:
    """CNNBO_TRIAL and CNNBO_PARAM_LR are there without any placeholder."""
    assert parsed(COMMAND.replace(', "{args}"', "")).command == ("python", "train.py")


def test_mistakes_are_placed_in_the_file_as_the_user_named_it(tmp_path: Path) -> None:
    """The path in a message must be one that can be clicked or pasted."""
    path = tmp_path / "train.toml"
    path.write_text(COMMAND + "n = 3\n")
    with pytest.raises(ConfigurationError, match=rf"^{path}:5  space.n: must be a table"):
        load_study(path, cwd=tmp_path)
    path.write_text(COMMAND)
    assert load_study(path, cwd=tmp_path) == parse_study(COMMAND, "x", cwd=tmp_path)


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """A good study file in which a few stretches were replaced by something else."""
    content = bytearray(draw(st.sampled_from([FULL, COMMAND])).encode())
    snippets = [
        b"=",
        b'"',
        b"[",
        b"]",
        b"{",
        b"}",
        b"\n",
        b"1e999",
        b"-1",
        b"\0",
        b"true",
        b'"\\u0000"',
        b"[[start]]\n",
        b"inf",
    ]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = at + draw(st.integers(0, 12))
        content[at:end] = draw(st.sampled_from(snippets) | st.binary(max_size=6))
    return bytes(content)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(b'name = "a"\ncommand = ["a\\u0000"]\nspace.x = {type="float",low=0,high=1}')
@example(b'space = { "" = [] }\nstart = [1, {a = 1}, {b = [1]}]\ncommand = [1, 2]\ntrial.x.y = 1979-05-27')
@example(b"\xef\xbb\xbf")
@given(st.binary(max_size=60) | mutilated())
def test_garbage_is_a_configuration_error_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    """Whatever is in the file, people see sentences with a place, never a traceback."""
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    try:
        spec = load_study(path, cwd=tmp_path)
    except ConfigurationError as error:
        assert error.problems
        assert all(problem.startswith(str(path)) and problem.isprintable() for problem in error.problems)
    else:
        assert not [problem for start in spec.start for problem in spec.space.problems_with(start)]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('hours = "8-20"', """devices.hours: must look like "20:00-08:00", not '8-20'."""),
        ('hours = "08:00-08:00"', "devices.hours: begins when it ends (08:00-08:00); leave it out for the whole day."),
        ('yield = "maybe"', 'devices.yield: "maybe" is not known; known are finish, stop.'),
        ('yields = "stop"', 'did you mean "yield"?'),
        ('yeild = "stop"', 'did you mean "yield"?'),
    ],
)
def test_a_mistake_in_how_devices_are_shared_is_told_with_its_remedy(line: str, sentence: str) -> None:
    """Taken for "always", it would wake up the office's neighbours."""
    assert sentence in the_problem(f"{COMMAND}[devices]\n{line}\n")
