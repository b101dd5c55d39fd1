"""What this room uses of gunicorn's inside; a release without it stops the start."""

from codapi_flask.libraries import Inside

GUNICORN = Inside(
    "gunicorn",
    27,
    28,
    {
        "gunicorn.workers.gthread:ThreadWorker": """
            accept alive cfg enqueue_req finish_request handle_error handle_quit
            handle_request init_signals keepalived_conns load_wsgi log max_keepalived
            murder_pending notify nr_conns on_client_socket_readable poller run
            set_accept_enabled sockets worker_connections wsgi
        """,
        "gunicorn.arbiter:Arbiter": """
            WORKERS app kill_worker log manage_workers reload setup spawn_worker worker_age
        """,
        "gunicorn.app.base:BaseApplication": "reload",
        "gunicorn.workers.base:Worker": "age tmp",
        "gunicorn.workers.workertmp:WorkerTmp": "last_update",
        "gunicorn.workers.gthread:TConn": """
            close data_ready init initialized parser set_timeout sock
        """,
        "gunicorn.http:RequestParser": "unreader",
        "gunicorn.http.unreader:Unreader": "chunk take_buffered unread",
        "gunicorn.http:Request": "_expected_100_continue body force_close headers version",
        "gunicorn.http.body:Body": "read",
        "gunicorn.config:Config()": "graceful_timeout is_ssl keepalive statsd_host",
        "gunicorn.glogging:Logger": "access_log_enabled error exception reopen_files",
    },
)
