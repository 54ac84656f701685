"""`quorate broker`: run a broker in this process."""

from quorate.admin.logs import configure_logs
from quorate.admin.node_files import load_broker
from quorate.admin.options import ConfigArgument, command_group
from quorate.admin.serving import StopAtEof, serve
from quorate.broker.main import run_broker

app = command_group("Run a broker.")


@app.callback()
def _broker() -> None:
    """Run a broker."""


@app.command("start")
def start(config: ConfigArgument, stop_at_eof: StopAtEof = False) -> None:
    """Runs the broker that CONFIG describes.

    Until SIGTERM or Ctrl-C: then it leaves the cluster in order. A second one ends the process at once.
    """
    node = load_broker(config)
    configure_logs(node)
    serve(lambda stop: run_broker(node, stop=stop), stop_at_eof=stop_at_eof)
