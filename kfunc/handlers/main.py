"""The handler's main: one process by itself, several under gunicorn."""

from typing import TYPE_CHECKING

from kfunc.config import pod
from kfunc.errors import StartupError
from kfunc.handlers.serving import LOAD_HANG_S, Crew, HandlerMetrics, serve
from kfunc.http.address import listen
from kfunc.process.arguments import parse_arguments
from kfunc.process.lifecycle import Life, report, run, use_form
from kfunc.process.settings import environment

if TYPE_CHECKING:
    from kfunc.process.watcher import Heartbeat

PROGRAM = "kfunc.handlers"
MANAGE = "0.0.0.0:9097"


def start(argv: list[str], heartbeat: "Heartbeat") -> int:
    """The handler's main; the exit status."""
    try:
        arguments = parse_arguments(PROGRAM, argv, upstream=False, manage=MANAGE)
        config = pod.decode(environment())
        use_form(config.log_format, heartbeat)
        if config.workers > 1:
            from kfunc.handlers.gunicorn import manage_workers

            return manage_workers(config, arguments)
        listener = listen(arguments.listen)
        manage = listen(arguments.manage, "--manage") if arguments.manage is not None else None
    except StartupError as error:
        report(error)
        return 2

    async def main(life: Life) -> None:
        life.watch(LOAD_HANG_S)
        await serve(config, arguments, listener, manage, HandlerMetrics(slabs=1), life, Crew(1))

    return run(main, heartbeat)
