"""`triage run -- CMD...`: a command under the traps, and what came of it.

    process    starts the command, passes signals on, waits for it
    outcome    what was dumped meanwhile, and why, as a record and as text

The command is started once and is never ended by us; nothing that it left is removed.
"""
