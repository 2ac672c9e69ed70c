"""The processes that ``glip fit`` starts for several devices: none outlives the others."""

import os
import sys
import threading
import time

# The variable by which a process knows the first one, which Lightning copies to those it starts.
_FIRST = "GLIP_PL_FIRST_PROCESS"
_EVERY = 1.0
# What a process may need to end by itself, once the one that started it is done.
_GRACE = 15.0


def follow_the_first() -> None:
    """End this process some seconds after the one that started it, where Lightning did so.

    Otherwise it waits up to half an hour, with its device, for a process that was killed.
    """
    if "LOCAL_RANK" not in os.environ:
        os.environ[_FIRST] = str(os.getpid())
    elif "TORCHELASTIC_RUN_ID" not in os.environ:
        # The first may be gone before this process is far enough to ask for its parent.
        first = int(os.environ.get(_FIRST, os.getppid()))
        threading.Thread(target=_follow, args=(first,), daemon=True).start()


def _follow(first: int) -> None:
    while os.getppid() == first:
        time.sleep(_EVERY)
    time.sleep(_GRACE)
    sys.stderr.write(
        f"glip: error: the first process of this run ({first}) is gone, and with it this one "
        f"({os.getpid()}); resume with --ckpt_path=last\n"
    )
    os._exit(1)


def name_the_failed(message: str) -> str | None:
    """Return our message for Lightning's, before it kills all processes because one failed."""
    if "Forcefully terminating all other processes" not in message:
        return None
    place = message.partition("]")[0].removeprefix("[")
    code = message.partition("terminated with code ")[2].partition(".")[0]
    how = (
        f"was killed by signal {code[1:]}" if code.startswith("-") else f"ended with status {code}"
    )
    return (
        f"glip: error: the process of {place} {how}, so that the others are ended; what it said "
        "last stands above. Correct that, and resume with --ckpt_path=last"
    )
