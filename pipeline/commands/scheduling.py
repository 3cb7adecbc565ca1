"""Commands of `manylabel schedule`."""

from pathlib import Path

from manylabel.pipeline.commands.options import Root, new_terminal
from manylabel.pipeline.streams import check_written


def schedule_run_due(root: Root = Path("runs")) -> None:
    """Evaluate what is due now, and end; for cron or a Kubernetes CronJob to call."""
    from manylabel.pipeline.schedule import run_due

    terminal = new_terminal()
    report = run_due(root, terminal.on_event)
    terminal.show_due(report)
    report.check()


def schedule_serve(root: Root = Path("runs")) -> None:
    """Evaluate what is due until it is stopped."""
    from manylabel.pipeline.schedule import list_schedules, serve

    terminal = new_terminal()
    terminal.show_schedules(list_schedules(root, terminal.on_event))
    serve(root, terminal.on_event)


def schedule_list(root: Root = Path("runs")) -> None:
    """Tell of each schedule what it did last, why, and what is next."""
    from manylabel.pipeline.schedule import list_schedules

    terminal = new_terminal()
    terminal.show_schedules(list_schedules(root, terminal.on_event))
    check_written()
