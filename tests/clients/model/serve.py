#!/usr/bin/env python3
"""Serves a model file with llama.cpp's own HTTP server, on loopback: serve.py FILE --alias NAME

Prints `serving http://127.0.0.1:PORT` once it listens, and ends on SIGTERM.
"""

import argparse
import signal
import socket

import xllamacpp

SLOTS = 2
CONTEXT_TOKENS_PER_SLOT = 32768


def free_port():
    """A port that nobody has now; the server can't be told to choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def parameters(model, alias, port):
    settings = xllamacpp.CommonParams()
    settings.model.path = model
    settings.model_alias = {alias}
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.n_parallel = SLOTS
    settings.n_ctx = SLOTS * CONTEXT_TOKENS_PER_SLOT
    # One core is for the server under test.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.n_threads_http = 4
    settings.endpoint_slots = True
    settings.use_jinja = True
    # Nothing may be fetched, and a model of two megabytes needs no warming.
    settings.offline = True
    settings.warmup = False
    return settings


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--alias", default="house-model")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the server makes its threads, so that the wait below is who gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    port = options.port or free_port()
    server = xllamacpp.Server(parameters(options.model, options.alias, port))
    print(f"serving {server.listening_address}", flush=True)
    signal.sigwait(signals)


if __name__ == "__main__":
    main()
