"""What this room uses of the inside of docker-py and urllib3; without it, no server starts."""

from codapi_flask.libraries import Inside

DOCKER = Inside(
    "docker",
    7,
    8,
    {
        "docker:APIClient": """
            _retrieve_server_version api_version base_url mount post timeout version
        """,
        "docker.transport:UnixHTTPAdapter": "get_connection",
    },
)

URLLIB3 = Inside(
    "urllib3",
    2,
    3,
    {
        # response.raw._fp.fp.raw._sock: what is between an answer and its socket
        "urllib3:HTTPResponse": "_fp",
        "http.client:HTTPResponse": "fp",
        "io:BufferedReader": "peek raw",
        "socket:SocketIO": "_sock",
    },
)
