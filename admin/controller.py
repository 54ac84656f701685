"""`quorate controller`: run a controller in this process."""

from quorate.admin.logs import configure_logs
from quorate.admin.node_files import load_controller
from quorate.admin.options import ConfigArgument, command_group
from quorate.admin.serving import StopAtEof, serve
from quorate.controller.main import run_controller

app = command_group("Run a controller.")


@app.callback()
def _controller() -> None:
    """Run a controller."""


@app.command("start")
def start(config: ConfigArgument, stop_at_eof: StopAtEof = False) -> None:
    """Runs the controller that CONFIG describes.

    Until SIGTERM or Ctrl-C: then a leader hands over, and the process ends. A second one ends it at once.
    """
    node = load_controller(config)
    configure_logs(node)
    serve(lambda stop: run_controller(node, stop=stop), stop_at_eof=stop_at_eof)
