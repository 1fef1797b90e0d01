"""The figures of a card: what is drawn stands in the record, nothing else is, and the same record gives the same bytes."""

import copy
import io
import json
import warnings

import pytest
from matplotlib import image, style

from model_card import figures
from model_card.figures import direction, draw_figures, results_figure, training_figure
from tests.made_run import figure, make_recipe, make_training


@pytest.fixture
def training(tmp_path):
    (tmp_path / "model").mkdir()
    return make_training(tmp_path, make_recipe(), {}, "run")


def row(metric="rate", base=0.25, tuned=0.5, suite="math", unit="proportion", better="higher", **more):
    """A row of comparison.json; a difference of None for a value of None."""
    gap = None if None in (base, tuned) else tuned - base
    return {
        "suite": suite,
        "metric": metric,
        "unit": unit,
        "better": better,
        "base": figure(base, 9, width=0.03125),
        "tuned": figure(tuned, 9, width=0.0625),
        "difference": figure(gap, 9, width=0.125),
        **more,
    }


def lines(axes):
    """What was drawn: (x of marks and bars, heights)."""
    return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in axes.lines]


def size(data):
    return image.imread(io.BytesIO(data)).shape[1::-1]


def test_the_marks_and_bars_are_the_values_and_intervals_of_the_record():
    values, differences = results_figure([row(base=0.25, tuned=0.5)]).axes
    at = pytest.approx
    assert lines(values) == [
        (at([21.88, 28.12]), at([0.83, 0.83])),  # lane 0 is the suite's name
        (at([25]), at([0.83])),
        (at([43.75, 56.25]), at([1.17, 1.17])),
        (at([50]), at([1.17])),
    ]
    assert lines(differences)[:2] == [(at([12.5, 37.5]), [1, 1]), (at([25]), [1])]
    assert [label.get_text() for label in values.get_yticklabels()] == ["math", "rate ↑"]
    assert values.get_xlim() == (-3, 103) and values.get_xlabel() == "%"


def test_proportions_share_a_scale_and_other_units_have_their_own():
    rows = [
        row("ppl", 33.3, 31.9, "text", "perplexity", "lower"),
        row("a", suite="math"),
        row("b", suite="language"),
        row("c", 0.3, 0.4, "math", "ratio", None),
        row("d", suite="math"),
    ]
    drawn = results_figure(rows)
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in drawn.axes[::2]]
    assert names == [["math", "a ↑", "d ↑", "language", "b ↑"], ["text", "ppl ↓"], ["math", "c"]]
    assert lines(drawn.axes[2])[1][0] == [33.3], "perplexity is no percentage"


@pytest.mark.parametrize(
    ("low", "high", "better", "said"),
    [
        (0.1, 0.3, "higher", "better"),
        (0.1, 0.3, "lower", "worse"),
        (-0.3, -0.1, "lower", "better"),
        (-0.3, -0.1, "higher", "worse"),
        (0.0, 0.3, "higher", "neither"),
        (-0.3, 0.0, "lower", "neither"),
        (0.1, 0.3, None, "neither"),
        (None, None, "higher", "neither"),
    ],
)
def test_a_difference_is_better_or_worse_only_if_its_interval_leaves_out_zero(low, high, better, said):
    assert direction({"difference": {"value": 0.2, "low": low, "high": high}, "better": better}) == said


def test_what_was_not_measured_is_not_drawn(training):
    one_side = row("one", None, 0.5)
    drawn = results_figure([one_side])
    assert [x for x, _ in lines(drawn.axes[0])] == [[43.75, 56.25], [50]] and len(drawn.axes[1].lines) == 1
    bare = row("bare") | {"base": None, "difference": None, "tuned": {"value": 0.5, "low": None, "high": None}}
    assert [x for x, _ in lines(results_figure([bare]).axes[0])] == [[50]]
    absent, hidden = row("absent", None, None), row("hidden", headline=False)
    assert set(draw_figures(training, {"metrics": [absent, hidden]}, None)) == {"figures/training.png"}
    assert set(draw_figures(training, None, None)) == {"figures/training.png"}
    training["steps"] = [{"step": 1}, {"step": 2}]
    assert draw_figures(training, None, None) == {}


def test_one_metric_and_forty_both_fit_a_column(training):
    few = draw_figures(training, {"metrics": [row()]}, None)["figures/results.png"]
    many = [row(f"metric_{n}", suite=f"suite_{n // 8}") for n in range(40)]
    full = draw_figures(training, {"metrics": many}, None)["figures/results.png"]
    assert size(few)[0] == size(full)[0] == 1080
    assert size(few)[1] < size(full)[1] < 3 * 1080


def test_the_same_records_give_the_same_bytes_whatever_the_user_has_set(training):
    comparison = {"metrics": [row("a"), row("b", better="lower")]}
    before = copy.deepcopy((training, comparison))
    first = draw_figures(training, comparison, None)
    with style.context({"font.size": 20, "axes.facecolor": "black", "savefig.transparent": True}):
        assert draw_figures(training, comparison, None) == first
    assert (training, comparison) == before
    assert b"Software" not in b"".join(first.values()) and b"matplotlib" not in b"".join(first.values()).lower()


def test_the_background_is_opaque_white_for_the_dark_page(training):
    for data in draw_figures(training, {"metrics": [row()]}, None).values():
        pixels = image.imread(io.BytesIO(data))
        assert (pixels[0, 0] == 1).all() and (pixels[..., 3] == 1).all()


@pytest.mark.parametrize("name", ["$\\frac{1$", "_^{", "准确率", "\ud800", "a\nb", "x" * 5000, "\x00", "%s {0}"])
def test_any_name_can_be_drawn(name, training):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning
        drawn = draw_figures(training, {"metrics": [row(name, suite=name), row("n", 3, 4, name, name)]}, None)
    assert size(drawn["figures/results.png"])[0] == 1080


def test_the_curves_are_the_steps(training):
    training["validation"] = [{"step": 2, "loss": 2.0, "log_odds": 0.5, "pairs": 4}]
    losses, odds, accuracy = training_figure(training).axes
    for axes, field in ((losses, "loss"), (odds, "log_odds"), (accuracy, "accuracy")):
        assert lines(axes)[0] == ([1, 2, 3], [step[field] for step in training["steps"]])
    assert ([2], [2.0]) in lines(losses) and ([2], [0.5]) in lines(odds)
    labels = [text.get_text() for text in losses.get_legend().get_texts()]
    assert labels == ["loss", "loss, validation", "nll", "odds_ratio_loss"]


def test_many_steps_are_drawn_as_they_are_and_as_their_running_mean(training):
    training["steps"] = [{"step": n, "loss": float(n % 2)} for n in range(1, 101)]
    training.pop("validation", None)
    (panel,) = training_figure(training).axes
    faint, strong = lines(panel)
    assert faint[1] == [n % 2 for n in range(1, 101)]
    assert strong[1][0] == pytest.approx(0.5) and strong[1][50] == pytest.approx(5 / 11)
    assert figures.running_mean([1, 2, 6], 1) == [1.5, 3, 4]


def test_one_step_is_seen(training):
    training["steps"] = training["steps"][:1]
    assert training_figure(training).axes[0].lines[0].get_marker() == "."
    assert draw_figures(json.loads(json.dumps(training)), None, None)
