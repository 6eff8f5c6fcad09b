"""What an orchestration must not call on its loop, grouped by the cure that the error names."""

CURES = {
    "executor": (
        "Threads and executors are not repeatable. Put the work in an activity (a plain `def` runs in a thread) and "
        "await ctx.schedule_activity(...)."
    ),
    "network": ("The network is not repeatable. Do it in an activity and await ctx.schedule_activity(...)."),
    "process": (
        "Subprocesses and pipes are not repeatable. Do it in an activity and await ctx.schedule_activity(...)."
    ),
    "signal": (
        "Signals belong to the process. Send an external event to the instance and await ctx.schedule_wait(...)."
    ),
    "running": (
        "An orchestration already runs on its own loop. Await the coroutine, or start it with asyncio.create_task(...)."
    ),
    "setting": ("The orchestration's loop can't be reconfigured. Configure the runtime instead."),
}

OUTSIDE = (
    "a thread, another event loop or another orchestration shares an object with it. Share nothing; use activities and "
    "external events."
)

BY_HAND = (
    "asyncio.Task(...) was made by hand in an orchestration: in a set its place would be its address, which no replay "
    "could repeat. Use asyncio.create_task(...)."
)

UNORDERED = (
    "asyncio.as_completed over bare coroutines has no order that a replay could repeat: wrap each in "
    "asyncio.create_task(...) first."
)

REFUSED = {
    "executor": ("run_in_executor", "set_default_executor"),
    "network": (
        "getaddrinfo",
        "getnameinfo",
        "create_connection",
        "create_server",
        "start_tls",
        "sendfile",
        "create_unix_connection",
        "create_unix_server",
        "connect_accepted_socket",
        "create_datagram_endpoint",
        "sock_recv",
        "sock_recv_into",
        "sock_recvfrom",
        "sock_recvfrom_into",
        "sock_sendall",
        "sock_sendto",
        "sock_connect",
        "sock_accept",
        "sock_sendfile",
        "add_reader",
        "remove_reader",
        "add_writer",
        "remove_writer",
    ),
    "process": ("connect_read_pipe", "connect_write_pipe", "subprocess_shell", "subprocess_exec"),
    "signal": ("add_signal_handler", "remove_signal_handler"),
    "running": ("run_forever", "run_until_complete", "stop", "close"),
    "setting": ("set_task_factory", "set_exception_handler", "set_debug"),
}

QUIET = {
    "async": ("shutdown_asyncgens", "shutdown_default_executor"),
    "sync": ("get_task_factory", "get_exception_handler", "default_exception_handler"),
}
