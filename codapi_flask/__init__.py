"""A Codapi server in Python: runs code snippets in isolated Docker containers over HTTP.

An import points down. Each room's docstring says what comes in and what goes out.

    cli        the command codapi
    verify     the snippets of a documentation: reads pages, runs snippets, compares, reports
    doctor     checks of this host: what it is, and what boxes on it withstand
    server     the web process: config, start, gunicorn's settings
    web        the API: routes, tokens, CORS, metrics, load shedding
    client     requests of a program on this side: to a server, or executed in this process
    recipes    sandboxes from elsewhere: fetched, added to the configs, built, removed
    pool       worker processes, the bound on what runs at once
    engines    how a command is executed: docker, http
    stock      the keeper process: warm boxes, sweeping
    boxes      boxes with init: start, run, reset, directories, quotas
    daemon     the Docker daemon; the only room that imports docker
    jobs       from a request to a job, and what executes one
    config     config files, checks, defaults, the audit
    httpd      the HTTP transport inside gunicorn; knows no domain
    init       the C program that is process 1 of a box, and its protocol
    program, live                           what a step runs in a box, and what hears it meanwhile
    files, streams, process, unixsocket     what several rooms need
    libraries                               which insides of libraries are used, and a check
    stdio                                   stdout and stderr, whose writers never wait
    models, errors                          what travels between them

A request goes httpd, web, jobs, pool (to a worker process), engines, then to a box: a warm one from
stock or one that boxes or daemon starts. Its execution comes back the same way.
"""
