"""`python -m quorate.admin` is the `quorate` command; nodes that `dev` and `demo` start are started this way."""

import sys

from quorate.admin.entry import main

sys.exit(main())
