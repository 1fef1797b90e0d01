"""Draw a run: RUN_DIR/training.png and training.svg, from training.json and nothing else.

    python -m training.plots RUN_DIR

Losses, log odds, accuracy, learning rate and gradient norm over the optimizer steps. A step's value is drawn faint, the mean
of the steps around it strong; validation, where there was any, as dots. The same record gives the same files.
"""

from pathlib import Path
from typing import Any

from command import CommandParser, UserError, run_command
from run_folder import read_json, whole_file

BLUE, ORANGE, GREEN, BLACK = "#0072b2", "#d55e00", "#009e73", "#222222"  # told apart also by the colour-blind
STYLE = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "training",  # else the ids in the SVG are drawn by chance
    "svg.fonttype": "none",  # text stays text
}


def build_parser() -> CommandParser:
    parser = CommandParser(prog="python -m training.plots", description="Draw a run's losses, from its training.json.")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder with a training.json")
    return parser


def main(argv: list[str] | None = None) -> int:
    run_dir = build_parser().parse_args(argv).run_dir
    draw_run(run_dir, read_json(run_dir / "training.json"))
    print(f"{run_dir}/training.png and {run_dir}/training.svg are written.")
    return 0


def draw_run(run_dir: Path, record: dict[str, Any]) -> None:
    """Write both files whole. UserError where the record holds no steps."""
    if not record.get("steps"):
        raise UserError(f"{run_dir}/training.json holds no steps to draw.")
    import matplotlib

    matplotlib.use("Agg")
    with matplotlib.rc_context(STYLE):
        figure = draw(record)
        with whole_file(run_dir / "training.png", "wb") as stream:
            figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
        with whole_file(run_dir / "training.svg", "wb") as stream:
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        matplotlib.pyplot.close(figure)


def draw(record: dict[str, Any]) -> Any:
    """A figure of four panels, 11 × 7 inches."""
    from matplotlib import pyplot, ticker

    steps, checks = record["steps"], record.get("validation", [])
    figure, panels = pyplot.subplots(2, 2, figsize=(11, 7), sharex=True, layout="constrained")
    draw_losses(panels[0, 0], steps, checks, record["recipe"])
    draw_log_odds(panels[0, 1], steps, checks)
    draw_accuracy(panels[1, 0], steps, checks)
    draw_rates(panels[1, 1], steps)
    for panel in panels[1]:
        panel.set_xlabel("optimizer step")
        panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    if record.get("stopped_early"):
        for panel in panels.flat:
            panel.axvline(record["model_step"], color="#888888", linestyle=":", linewidth=1)
    figure.suptitle(title_of(record), x=0.01, ha="left", fontsize=11)
    return figure


def title_of(record: dict[str, Any]) -> str:
    recipe = record["recipe"]
    chosen = f", weights of step {record['model_step']}" if record.get("stopped_early") else ""
    return (
        f"{record.get('run_name', 'run')}: {len(record['steps']):,} steps of {recipe['global_batch_size']} pairs, "
        f"objective {recipe['objective']}, β {recipe['beta']:g}, seed {record['seed']}{chosen}"
    )


def draw_losses(panel: Any, steps: list[dict], checks: list[dict], recipe: dict[str, Any]) -> None:
    over = "chosen" if recipe["objective"] == "completion" else "prompt and chosen"
    beta = recipe["beta"]
    x = [step["step"] for step in steps]
    line(panel, x, [step["loss"] for step in steps], BLACK, "loss")
    line(panel, x, [step["nll"] for step in steps], BLUE, f"NLL of {over}, per token")
    line(panel, x, [beta * step["odds_ratio_loss"] for step in steps], ORANGE, "β × odds-ratio loss")
    dots(panel, checks, "loss", BLACK)
    panel.set(title="Loss", ylabel="nats")
    panel.set_ylim(bottom=0)
    panel.legend(loc="best")


def draw_log_odds(panel: Any, steps: list[dict], checks: list[dict]) -> None:
    line(panel, [step["step"] for step in steps], [step["log_odds"] for step in steps], BLUE, "training")
    dots(panel, checks, "log_odds", BLACK)
    panel.axhline(0, color="#888888", linewidth=0.8)
    panel.set(title="Log odds ratio, chosen over rejected", ylabel="nats, mean over pairs")
    legend_if_validated(panel, checks)


def draw_accuracy(panel: Any, steps: list[dict], checks: list[dict]) -> None:
    line(panel, [step["step"] for step in steps], [100 * step["accuracy"] for step in steps], BLUE, "training")
    dots(panel, [{**check, "accuracy": 100 * check["accuracy"]} for check in checks], "accuracy", BLACK)
    panel.set(title="Chosen likelier than rejected", ylabel="% of pairs", ylim=(-3, 103))
    legend_if_validated(panel, checks)


def draw_rates(panel: Any, steps: list[dict]) -> None:
    x = [step["step"] for step in steps]
    line(panel, x, [step["grad_norm"] for step in steps], BLUE, "gradient norm (left)")
    panel.set(title="Gradient norm and learning rate", ylabel="norm, before clipping")
    panel.set_ylim(bottom=0)
    right = panel.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    right.plot(
        x, [step["learning_rate"] for step in steps], color=GREEN, label="learning rate (right)", marker=marker(x)
    )
    right.set_ylabel("learning rate")
    right.set_ylim(bottom=0)
    right.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    handles = [*panel.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    panel.legend(handles=handles, loc="upper right")


def line(panel: Any, x: list[int], y: list[float], colour: str, label: str) -> None:
    """The steps' values faint and their running mean strong; the values alone where there are few."""
    width = len(x) // 20
    if width < 2:
        panel.plot(x, y, color=colour, label=label, marker=marker(x))
        return
    panel.plot(x, y, color=colour, alpha=0.25, linewidth=0.8)
    panel.plot(x, running_mean(y, width), color=colour, label=label)


def marker(x: list[int]) -> str | None:
    """A line through one or two steps cannot be seen."""
    return "." if len(x) < 3 else None


def running_mean(values: list[float], width: int) -> list[float]:
    """Mean of the values from `width` steps before to `width` after, as far as there are any."""
    windows = [values[max(0, i - width) : i + width + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def dots(panel: Any, checks: list[dict], key: str, colour: str) -> None:
    if checks:
        x = [check["step"] for check in checks]
        label = f"validation ({checks[-1]['pairs']:,} pairs)"
        panel.plot(
            x, [check[key] for check in checks], "o", color=colour, markersize=4, label=label, markerfacecolor="white"
        )


def legend_if_validated(panel: Any, checks: list[dict]) -> None:
    if checks:
        panel.legend(loc="lower right")


if __name__ == "__main__":
    run_command(main)
