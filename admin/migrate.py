"""`quorate migrate`: the move from ZooKeeper, and the way back; one file per command."""

from quorate.admin.migrate_demo import demo
from quorate.admin.migrate_plan import plan
from quorate.admin.migrate_rehearse import rehearse
from quorate.admin.migrate_steering import finalize, rollback, run, status
from quorate.admin.migrate_verify import verify
from quorate.admin.options import command_group

app = command_group("Move a cluster off ZooKeeper, prove it, and go back.")

app.command("plan")(plan)
app.command("rehearse")(rehearse)
app.command("run")(run)
app.command("status")(status)
app.command("verify")(verify)
app.command("finalize")(finalize)
app.command("rollback")(rollback)
app.command("demo")(demo)
